//! Networks: devices, addresses and routes of network namespaces, through netlink.
//!
//! [`Namespace`] is a network namespace that can be asked and changed; [`Moved`] takes devices from one to another with their
//! addresses, and can put them back. What is not here: who gets which device. Nothing is executed, and nothing is resolved.
//!
//! ```no_run
//! use loment_net::{Move, Moved, Namespace};
//! # let pidfd = rustix::process::pidfd_open(rustix::process::Pid::INIT, rustix::process::PidfdFlags::empty())?;
//! let mut moved = Moved::new(Namespace::current()?, Namespace::of_process(&pidfd)?)?;
//! if let Err(e) = moved.take(&Move::new("eth1", Some("net%d"))?) {
//!     let left = moved.undo(); // eth1 is where it was, unless something is in here
//!     eprintln!("{e} {left:?}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address;
mod error;
mod link;
mod message;
mod moved;
mod name;
mod namespace;
mod route;
mod socket;

pub use error::Error;
pub use moved::{Move, Moved};
pub use name::{DeviceName, NewName};
pub use namespace::Namespace;
pub use socket::Refused;
