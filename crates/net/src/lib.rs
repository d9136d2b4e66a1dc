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

/// For the fuzz target `netlink`: reads bytes as everything that the kernel may send.
pub fn read_anything(bytes: &[u8]) {
    for message in message::Messages(bytes) {
        let _ = message.answer();
        assert!(message.payload.len() < bytes.len());
        if let Some(address) = address::parse(message.payload) {
            assert!(!address.to_string().is_empty());
            let _ = address.add(1, ("eth0", "eth1"));
        }
        let _ = route::parse(message.payload).map(|route| route.add(1));
        let _ = link::parse(message.payload);
    }
}
