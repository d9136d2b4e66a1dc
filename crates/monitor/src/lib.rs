//! The supervisor of one container: standard streams, log, attach, exec, exit record, clean-up.
//!
//! [`serve`] is a process of its own, with one thread and one `epoll`: it starts the container in a forked worker, then
//! only moves bytes until the container ends. Front ends come and go; they speak [`protocol`] over a SEQPACKET socket in
//! the container's run directory. What is not here: images, names, flags; what to start is a [`launch::Document`].
//!
//! ```no_run
//! use loment_monitor::protocol::{Answer, Connection, Request};
//! let connection = Connection::open("/run/loment/containers/1f2e".as_ref())?;
//! connection.send(&Request::Wait)?;
//! while let Some(answer) = connection.receive()? {
//!     if let Answer::Exited { status } = answer {
//!         assert_eq!(status, 0);
//!     }
//! }
//! # Ok::<(), std::io::Error>(())
//! ```

pub mod accounts;
mod at_rest;
pub mod changes;
mod client;
mod decide;
mod epoll;
mod erofs;
mod error;
mod groups;
pub mod health;
pub mod launch;
mod memory;
mod mounts;
pub mod notify;
mod overlay;
mod owner;
mod pins;
mod probe;
pub mod protocol;
mod serve;
mod session;
mod shown;
mod sink;
mod source;
mod sparse;
pub mod state;
pub mod supervision;
mod throwaway;
mod timers;
pub mod user;
pub mod volume_mounts;
pub mod volumes;
mod worker;

pub use at_rest::{Assembled, AtRest, Attached, SeenAs, attach_over};
pub use erofs::mounts_files;
pub use error::Error;
pub use groups::{limit, scope_name};
pub use loment_logs::now_rfc3339;
pub use mounts::{has_mounts, is_mount_point};
pub use overlay::{open_rootfs, show_layers, takes_data_layers};
pub use owner::act_as;
pub use pins::release as release_layers;
pub use probe::keeps_changes;
pub use serve::serve;
pub use shown::{open_shown, show_rootfs, show_tree};
pub use sparse::sparse;
pub use worker::{End, clean_up, remove_monitor_cgroup};
