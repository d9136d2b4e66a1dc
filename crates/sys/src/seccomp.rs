//! Loading a seccomp filter.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// One instruction of a classic BPF program, as the kernel reads it (`struct sock_filter`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions skipped when the test is true.
    pub jt: u8,
    /// Instructions skipped when the test is false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`: the call returns a notification descriptor.
pub const FLAG_NEW_LISTENER: u32 = 1 << 3;

/// Loads `program` for the calling thread with `SECCOMP_FILTER_FLAG_*` `flags` (seccomp(2)).
///
/// Returns the notification descriptor when [`FLAG_NEW_LISTENER`] was given.
///
/// # Errors
/// The kernel's errno: `EACCES` without no_new_privs and CAP_SYS_ADMIN, `EINVAL` for a bad program or flag.
pub fn load(program: &[Instruction], flags: u32) -> io::Result<Option<OwnedFd>> {
    let len = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let fprog = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: `fprog` points at `len` instructions of sock_filter's layout (repr(C) above); the kernel
    // copies them and writes nothing.
    let r = super::check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::c_long::from(libc::SECCOMP_SET_MODE_FILTER),
            libc::c_long::from(flags),
            &raw const fprog,
        )
    })?;
    if flags & FLAG_NEW_LISTENER == 0 {
        return Ok(None);
    }
    // SAFETY: with NEW_LISTENER the result is a new descriptor that nobody else owns.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(r as i32) }))
}
