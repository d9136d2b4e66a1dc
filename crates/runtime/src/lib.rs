//! The OCI runtime: makes a container from a specification, starts it, enters it.
//!
//! The way of the data is parse → [`Plan`] (everything checked that can be) → [`create`] (one `clone3`) → the child in
//! [`child`](self), which sets itself up and becomes the program. [`enter`] runs a further program in a container; [`checkpoint`]
//! saves and restores one.
//! What is not here: images, logs, supervision, defaults. The caller must have one thread.
//!
//! ```no_run
//! use loment_runtime::{Bundle, Container, Description, Plan, Rootfs, Start, Stdio, create};
//! let bundle = Bundle::load("/tmp/bundle".as_ref())?;
//! let host = loment_cgroup::Host::detect()?;
//! let group = host.cgroup(loment_cgroup::CgroupPath::new("demo")?);
//! let plan = Plan::new(&bundle.spec, &bundle.path)?;
//! let description = Description::new("demo", &bundle.path, bundle.spec.annotations().as_ref());
//! let container = Container { plan: &plan, description: &description, rootfs: Rootfs::Bundle, mounts: &[], stdio: Stdio::Inherit,
//!     start: Start::Now, cgroup: Some(&group), tasks: &[], keep_fds: 0, pass: &[], keyring: true, init: false, sibling: false, pivot: true };
//! let created = create(&container, |_pid| {})?;
//! let exit = loment_sys::wait::wait_exit(&created.pidfd)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod annotations;
mod attributes;
mod borrowed;
mod bundle;
mod capabilities;
pub mod checkpoint;
mod child;
mod copy_up;
mod create;
mod description;
mod descriptors;
mod devices;
mod enter;
mod error;
mod executable;
mod filter;
mod helper;
mod home;
mod hook_output;
mod hooks;
mod identity;
mod idmap;
mod in_root;
mod labels;
mod listener;
mod masks;
mod mount_label;
mod mountinfo;
mod mounts;
mod namespaces;
mod network;
mod offspring;
mod options;
mod owners;
mod plan;
mod proc_handle;
mod report;
pub mod resctrl;
mod rootfs;
mod scheduling;
mod signals;
mod sources;
mod spec_text;
pub mod state;
mod stdio;
mod systemd_v1;

pub use annotations::RECEIVER;
pub use borrowed::mount_of;
pub use bundle::Bundle;
pub use capabilities::CapabilitySet;
pub use copy_up::copy_tree;
pub use create::{Container, Created, Rootfs, Start, create, wait_for_program};
pub use description::Description;
pub use enter::{Enter, enter};
pub use error::{Cause, Error, Failure};
pub use hooks::Hooks;
pub use idmap::map as id_map;
pub use in_root::InRoot;
pub use labels::{has_apparmor, has_selinux};
pub use mountinfo::{MountInfo, parse_mountinfo};
pub use mounts::new_mount;
pub use namespaces::UserNamespace;
pub use owners::Owners;
pub use plan::{Plan, ProcessPlan, namespace_of_sysctl};
pub use signals::{parse_signal, signal_name};
pub use spec_text::{parse_process, parse_spec};
pub use stdio::Stdio;
