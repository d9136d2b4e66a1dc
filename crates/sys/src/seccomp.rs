//! Loading a seccomp filter.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

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

/// A system call that waits to be let through (seccomp_unotify(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Which one it is, for the answer.
    pub id: u64,
    /// The thread that makes it; 0 when that is in no namespace of ours.
    pub thread: i32,
    /// Its number.
    pub number: i32,
    /// Its arguments, as they are in registers.
    pub arguments: [u64; 6],
}

/// Waits for the next system call that a filter loaded with [`FLAG_NEW_LISTENER`] asks about.
///
/// # Errors
/// The kernel's errno: `ENOENT` when the thread was killed in the meantime.
pub fn receive(listener: BorrowedFd<'_>) -> io::Result<Notification> {
    let data = libc::seccomp_data { nr: 0, arch: 0, instruction_pointer: 0, args: [0; 6] };
    let mut notification = libc::seccomp_notif { id: 0, pid: 0, flags: 0, data };
    let request = libc::SECCOMP_IOCTL_NOTIF_RECV;
    // SAFETY: the kernel fills in the one struct of the size that is part of the request's number; it was zeroed as it demands.
    super::check(unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw mut notification) }.into())?;
    Ok(Notification {
        id: notification.id,
        thread: i32::try_from(notification.pid).unwrap_or_default(),
        number: notification.data.nr,
        arguments: notification.data.args,
    })
}

/// Lets a call that waits go on, as if there were no filter.
///
/// # Errors
/// The kernel's errno: `ENOENT` when it does not wait any more.
pub fn let_through(listener: BorrowedFd<'_>, id: u64) -> io::Result<()> {
    let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
    answer(listener, libc::seccomp_notif_resp { id, val: 0, error: 0, flags })
}

/// Has a call that waits fail with `errno`, a positive number.
///
/// # Errors
/// As of [`let_through`].
pub fn refuse(listener: BorrowedFd<'_>, id: u64, errno: i32) -> io::Result<()> {
    answer(listener, libc::seccomp_notif_resp { id, val: 0, error: -errno, flags: 0 })
}

fn answer(listener: BorrowedFd<'_>, answer: libc::seccomp_notif_resp) -> io::Result<()> {
    let request = libc::SECCOMP_IOCTL_NOTIF_SEND;
    // SAFETY: the kernel reads the one struct of the size that is part of the request's number.
    super::check(unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw const answer) }.into()).map(drop)
}
