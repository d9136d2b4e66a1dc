//! What the kernel knows of the clock.

use std::io;
use std::time::{Duration, SystemTime};

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

/// When this machine was started, by its clock as it goes now.
pub fn booted_at() -> SystemTime {
    let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let up = Duration::new(up.tv_sec.cast_unsigned(), up.tv_nsec as u32);
    SystemTime::now().checked_sub(up).unwrap_or(SystemTime::UNIX_EPOCH)
}
