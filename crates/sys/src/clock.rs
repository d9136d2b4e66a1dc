//! What the kernel knows of the clock.

use std::io;

/// Whether somebody keeps the clock right: without one, the kernel says so after a while (`STA_UNSYNC`, adjtimex(2)).
///
/// # Errors
/// The kernel's errno; `ENOSYS` or `EPERM` where the call is filtered.
pub fn is_synchronised() -> io::Result<bool> {
    // SAFETY: `timex` consists of numbers, for which zero is a value.
    let mut clock: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `modes` is 0, so the call only writes to the structure, which is of the kernel's layout.
    super::check(unsafe { libc::syscall(libc::SYS_adjtimex, &raw mut clock) })?;
    Ok(clock.status & libc::STA_UNSYNC == 0)
}
