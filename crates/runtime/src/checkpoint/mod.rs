//! Checkpoint and restore: a container's processes as files, by CRIU (criu.org).
//!
//! The way of the data is [`Criu::probe`] (is there a usable program, and which version) → [`checkpoint`] or [`restore`].
//! Both start `criu swrk`, a program that serves one request on a socket ([`protocol`]), and answer what it asks while it
//! works ([`process`]): hooks are run, a terminal is taken over, the first process is written down. What the program cannot
//! find out itself is said in the request: the mounts that come from outside ([`mounts`]) and the namespaces that somebody
//! else made. The images are as runc writes them, with the same names for what is outside, so each restores the other's.
//!
//! Nothing here decides where the program is, or what happens to a container whose processes are gone.

mod criu;
mod descriptors;
mod dump;
mod error;
mod log;
mod mounts;
mod options;
mod process;
mod protocol;
mod restore;
mod stats;

pub use criu::Criu;
pub use descriptors::FILE as DESCRIPTORS;
pub use dump::{Dump, checkpoint};
pub use error::Error;
pub use options::{Cgroups, Images, NetworkLock, Options, PageServer};
pub use restore::{HandOver, Restore, restore};
pub use stats::{DumpStats, RestoreStats};
