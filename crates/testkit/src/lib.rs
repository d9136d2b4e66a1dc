//! What tests and benchmarks of the binary stand on: real images, a real registry, a world of their own.
//!
//! What it does: writes images layer by layer ([`Layer`], [`Image`], [`Layout`]), serves them from Debian's
//! docker-registry on a free port of 127.0.0.1 ([`Registry`], [`Fixtures`]) or, for what that one does not know yet, from a
//! small one of our own ([`OciRegistry`]), and runs the binary in a temporary root that is emptied of containers and deleted
//! whatever happens ([`World`]). What it does not: replace any part of loment by a stand-in. Nothing of it is in the product; failures of what a test needs are panics, as in a test.
//!
//! ```no_run
//! use loment_testkit::{Fixtures, World};
//! let fixtures = Fixtures::cached("target/tmp".as_ref());
//! let registry = fixtures.serve();
//! let world = World::new("target/debug/loment".as_ref());
//! let image = registry.name("busybox:latest");
//! world.loment(["pull", "--tls-verify=false", &image]).succeeds();
//! assert_eq!(world.loment(["run", "--rm", &image, "echo", "hello"]).succeeds(), "hello");
//! ```

mod command;
mod cut;
mod debian;
mod descriptor;
mod digest;
mod faults;
mod faulty;
mod fixtures;
mod image;
mod layer;
mod layout;
mod oci_registry;
mod oras;
mod ordinary;
mod registry;
mod slow;
mod terminal;
mod tmux;
mod tree;
mod web;
mod world;

pub use command::{Output, Patience, run, run_with_input};
pub use cut::{Cut, Disk, Recording};
pub use debian::mirror as debian_mirror;
pub use descriptor::receive_descriptor;
pub use digest::digest;
pub use faults::{Faults, Flushed, Lives, Stopped, Victim};
pub use faulty::{Fault, FaultyWay};
pub use fixtures::{Fixtures, busybox_rootfs};
pub use image::{Compression, Config, Image};
pub use layer::{Entry, Layer, RawLayer};
pub use layout::{Layout, Variant};
pub use oci_registry::{OciRegistry, Referrers};
pub use oras::oras;
pub use ordinary::{ID as ORDINARY_USER, Ids};
pub use registry::Registry;
pub use slow::SlowWay;
pub use terminal::Terminal;
pub use tmux::Tmux;
pub use tree::{Expected, HOLES, sparse_expectations, tree_expectations, tree_image};
pub use web::WebServer;
pub use world::World;

/// Prints why a check cannot be made on this machine, in the form that `cargo xtask test` counts.
#[expect(clippy::print_stdout, reason = "the line is what makes a skipped check visible")]
pub fn skip(what: &str, why: &str) {
    println!("skipped: {what}, because {why}");
}
