//! Session keyrings: a container must not see its creator's keys.

use std::ffi::CStr;
use std::io;

/// Joins a new session keyring called `name` (keyctl(2), `KEYCTL_JOIN_SESSION_KEYRING`).
///
/// # Errors
/// `ENOSYS` where the kernel has no keyrings, `EDQUOT` when the user's key quota is used up.
pub fn join_session(name: &CStr) -> io::Result<()> {
    // SAFETY: `name` is NUL-terminated and outlives the call.
    super::check(unsafe {
        libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING as libc::c_long, name.as_ptr())
    })
    .map(drop)
}
