//! Every unsafe line and raw system call of loment, typed and documented.
//!
//! What is here: the calls that `rustix` lacks (clone3, execve, mount_setattr, close_range, seccomp,
//! signal masks, keyrings, the clock, cgroup BPF programs, interface flags, project quotas), memory that is a file, and
//! the ids of user namespaces. What is not here: policy. A caller decides what to do,
//! this crate says it to the kernel and returns `std::io::Error` with the kernel's errno.
//!
//! ```no_run
//! use loment_sys::clone::{CloneFlags, Fork, clone3};
//! match clone3(CloneFlags::NEWPID | CloneFlags::NEWNS, None)? {
//!     Fork::Child => std::process::abort(), // pid 1 of a new pid namespace
//!     Fork::Parent { pidfd, .. } => loment_sys::wait::wait_exit(&pidfd).map(drop)?,
//! }
//! # Ok::<(), std::io::Error>(())
//! ```

pub mod bpf;
pub mod clock;
pub mod clone;
pub mod exec;
pub mod fd;
pub mod ids;
pub mod init;
pub mod keyring;
pub mod loopdev;
pub mod memfd;
pub mod memory;
pub mod mount;
pub mod net;
pub mod pipe;
pub mod process;
pub mod quota;
pub mod scheduling;
pub mod seccomp;
pub mod signal;
pub mod spawn;
pub mod table;
pub mod wait;

use std::io;

/// Turns a raw system call's result into `io::Result`.
fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
