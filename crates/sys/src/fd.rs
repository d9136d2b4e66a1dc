//! Descriptor ranges, inherited descriptors, and what they stand for.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Whether what is open is what is at a path, and not what was there before it was removed or replaced. A link at the path is itself.
pub fn is_at(open: &File, path: &Path) -> bool {
    let now = std::fs::symlink_metadata(path).ok().zip(open.metadata().ok());
    now.is_some_and(|(now, then)| (now.dev(), now.ino()) == (then.dev(), then.ino()))
}

/// Closes every descriptor from `first` upwards.
///
/// # Errors
/// The kernel's errno (close_range(2), Linux 5.9).
pub fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: used by a process that is about to run another program or has just been made by `clone3`
    // and keeps no owned descriptor at or above `first`; no memory is passed.
    super::check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(drop)
}

/// Moves the descriptors of `keep` to the numbers from `first` on, close-on-exec, and closes every other one from `first`
/// upwards.
///
/// For a child that is about to run another program: until then, a path through /proc/self/fd must not find what the
/// child's creator had open (CVE-2024-21626). Values that own a closed descriptor must not be used, nor dropped: the child
/// ends with execve or `_exit`.
///
/// # Errors
/// The kernel's errno.
pub fn keep_only(keep: &[BorrowedFd<'_>], first: u32) -> io::Result<Vec<OwnedFd>> {
    let end = first as RawFd + keep.len() as RawFd;
    // First out of the way of each other, then in place.
    let copies: Vec<OwnedFd> = keep
        .iter()
        .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, end).map_err(io::Error::from))
        .collect::<io::Result<_>>()?;
    let mut kept = Vec::with_capacity(keep.len());
    for (copy, target) in copies.iter().zip(first as RawFd..) {
        // SAFETY: the call closes what `target` was, as announced; no memory is passed.
        super::check(libc::c_long::from(unsafe { libc::dup3(copy.as_raw_fd(), target, libc::O_CLOEXEC) }))?;
        // SAFETY: just made under that number, and owned by nobody else from now on.
        kept.push(unsafe { OwnedFd::from_raw_fd(target) });
    }
    std::mem::forget(copies);
    match close_from(end as u32) {
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS)) => close_one_by_one(end),
        other => other,
    }?;
    Ok(kept)
}

/// The fallback of [`close_from`] for kernels before 5.9 and filters that hide it.
fn close_one_by_one(first: RawFd) -> io::Result<()> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20);
    for fd in first..limit.min(1 << 20) as RawFd {
        // SAFETY: as `keep_only` announces; a number that is not open returns EBADF.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

/// Closes, in a child that is to become another program, its copy of what its creator owns. The owner in the child must not
/// be used, nor dropped: the child ends with execve or `_exit`.
pub fn close_copy(fd: &OwnedFd) {
    // SAFETY: the descriptor is open; as announced, nothing of the child closes it again or uses it.
    unsafe { libc::close(fd.as_raw_fd()) };
}

/// Takes ownership of a descriptor this program was started with.
///
/// # Errors
/// `EBADF` when nothing is open under that number.
pub fn take_inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD touches no memory.
    super::check(libc::c_long::from(unsafe { libc::fcntl(fd, libc::F_GETFD) }))?;
    // SAFETY: the descriptor is open (checked above); by the contract of the internal command line it was
    // passed for this program alone and is taken once.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}

/// Of the numbers below `end` and from 3 on, gives those of `passed` to these descriptors, inheritable, and closes the others.
///
/// For a child that is about to run another program, as [`keep_only`]: values that own a descriptor there must not be used, nor
/// dropped. The descriptors themselves are at `end` or above.
///
/// # Errors
/// The kernel's errno (dup2(2)).
pub fn pass(passed: &[(RawFd, &OwnedFd)], end: RawFd) -> io::Result<()> {
    for number in 3..end {
        match passed.iter().find(|(target, _)| *target == number) {
            Some((_, fd)) => install_at(fd, number)?,
            // SAFETY: as announced; a number that is not open returns EBADF.
            None => drop(unsafe { libc::close(number) }),
        }
    }
    Ok(())
}

/// Puts `fd` at the number `target` (which it may already have), inheritable by the next program.
///
/// # Errors
/// The kernel's errno (dup2(2)).
pub fn install_at(fd: &OwnedFd, target: RawFd) -> io::Result<()> {
    // SAFETY: `fd` is open. The call closes whatever `target` was, which callers own: it is used in a
    // process made for running another program, for numbers set aside for it.
    let r = unsafe {
        if fd.as_raw_fd() == target {
            libc::fcntl(target, libc::F_SETFD, 0)
        } else {
            libc::dup2(fd.as_raw_fd(), target)
        }
    };
    super::check(libc::c_long::from(r)).map(drop)
}
