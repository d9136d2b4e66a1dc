//! `clone3(2)`: the only way loment makes a process.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::process::Pid;

/// Which namespaces the child gets of its own (`CLONE_NEW*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloneFlags(u64);

impl CloneFlags {
    /// Cgroup namespace.
    pub const NEWCGROUP: Self = Self(libc::CLONE_NEWCGROUP as u64);
    /// IPC namespace.
    pub const NEWIPC: Self = Self(libc::CLONE_NEWIPC as u64);
    /// Network namespace.
    pub const NEWNET: Self = Self(libc::CLONE_NEWNET as u64);
    /// Mount namespace.
    pub const NEWNS: Self = Self(libc::CLONE_NEWNS as u64);
    /// Pid namespace.
    pub const NEWPID: Self = Self(libc::CLONE_NEWPID as u64);
    /// Time namespace (unshare only; Linux 5.6).
    pub const NEWTIME: Self = Self(0x80);
    /// User namespace.
    pub const NEWUSER: Self = Self(libc::CLONE_NEWUSER as u64);
    /// Host and domain name namespace.
    pub const NEWUTS: Self = Self(libc::CLONE_NEWUTS as u64);

    /// No flag.
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Whether every flag of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags of `self` that are not in `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The kernel's number.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl std::ops::BitOr for CloneFlags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for CloneFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// Where a caller of [`clone3`] wakes up.
#[derive(Debug)]
pub enum Fork {
    /// In the new process.
    Child,
    /// In the process that called.
    Parent {
        /// The child's number in the caller's pid namespace.
        pid: Pid,
        /// A descriptor that names the child for as long as it is held.
        pidfd: OwnedFd,
    },
}

/// linux/sched.h; Linux 5.7. The C library crate's constant is too narrow for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Layout of `struct clone_args` (clone3(2), `CLONE_ARGS_SIZE_VER2`, Linux 5.7).
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Makes a child with its own copy of memory, in the namespaces of `flags`, as a member of the v2 cgroup
/// `cgroup` (a directory descriptor) where one is given.
///
/// # Errors
/// `EDEADLK` when this process has more than one thread: the child would hold copies of locks whose owners
/// do not exist in it. Otherwise the kernel's errno (clone3(2)); `ENOSYS` where the call is filtered.
pub fn clone3(flags: CloneFlags, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Fork> {
    clone_with(flags.0, cgroup)
}

/// Like [`clone3`], but the child's parent is the caller's parent.
///
/// A short-lived worker makes a container for its supervisor this way: the supervisor can wait for the
/// container at once, with no orphaning in between.
///
/// # Errors
/// As [`clone3`]; `EINVAL` when the caller is pid 1 of its pid namespace.
pub fn clone3_sibling(flags: CloneFlags, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Fork> {
    clone_with(flags.0 | libc::CLONE_PARENT as u64, cgroup)
}

fn clone_with(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Fork> {
    if !single_threaded() {
        return Err(io::Error::from_raw_os_error(libc::EDEADLK));
    }
    let mut pidfd: libc::c_int = -1;
    // With CLONE_PARENT the exit signal is the caller's own (clone3(2)).
    let exit_signal = if flags & libc::CLONE_PARENT as u64 == 0 { libc::SIGCHLD as u64 } else { 0 };
    // SAFETY: the process was seen to have one thread, so the child misses no owner of a lock it may take.
    let pid = unsafe { clone_unchecked(flags, exit_signal, cgroup, &mut pidfd) };
    match super::check(pid)? {
        0 => Ok(Fork::Child),
        pid => {
            let pid = Pid::from_raw(pid as i32)
                .ok_or_else(|| io::Error::other("clone3 returned a pid that is not positive"))?;
            // SAFETY: the kernel stored a new descriptor that nobody else owns (CLONE_PIDFD).
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Fork::Parent { pid, pidfd })
        }
    }
}

/// The system call itself. Returns twice, like fork(2).
///
/// # Safety
/// `flags` are of `CLONE_*` and do not include `CLONE_VM`. In a process with other threads, the child may only do what a
/// signal handler may.
pub(crate) unsafe fn clone_unchecked(
    flags: u64,
    exit_signal: u64,
    cgroup: Option<BorrowedFd<'_>>,
    pidfd: &mut libc::c_int,
) -> libc::c_long {
    let mut args = CloneArgs {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: std::ptr::from_mut(pidfd) as u64,
        exit_signal,
        ..CloneArgs::default()
    };
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = fd.as_raw_fd() as u64;
    }
    // SAFETY: `args` is a valid clone_args of the size passed and outlives the call; without CLONE_VM and without a stack
    // the child returns here on a copy of this very stack. The rest is the caller's.
    unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) }
}

/// Whether this process has one thread, as the C library's own flag says (glibc 2.32).
pub fn single_threaded() -> bool {
    unsafe extern "C" {
        static __libc_single_threaded: libc::c_char;
    }
    // SAFETY: a plain byte that glibc only ever writes from the thread that creates the second thread,
    // which is this one if the byte is still set.
    unsafe { (&raw const __libc_single_threaded).read_volatile() != 0 }
}

/// Gives the calling process namespaces of its own (unshare(2)). A pid or time namespace is for its children.
///
/// # Errors
/// The kernel's errno.
pub fn unshare(flags: CloneFlags) -> io::Result<()> {
    // SAFETY: CloneFlags holds namespace flags only; CLONE_FILES, which would end the sharing of descriptors that other
    // threads rely on, cannot be expressed.
    super::check(unsafe { libc::syscall(libc::SYS_unshare, flags.0) }).map(drop)
}
