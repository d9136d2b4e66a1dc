//! Starting another program with chosen descriptors, also from a process with threads.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::process::Pid;

/// A program to start.
#[derive(Debug)]
pub struct Program<'a> {
    /// Its file.
    pub exe: BorrowedFd<'a>,
    /// Its arguments, with its name.
    pub argv: &'a [CString],
    /// Its environment.
    pub envp: &'a [CString],
    /// They become its descriptors 0, 1, 2, … in that order; it inherits nothing else.
    pub fds: &'a [BorrowedFd<'a>],
    /// The v2 cgroup it begins in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// `tasks` files of v1 cgroups it becomes a member of.
    pub tasks: &'a [BorrowedFd<'a>],
}

/// Starts a program.
///
/// # Errors
/// The kernel's errno for a failed fork. A failed execve ends the child with status 127.
pub fn spawn(program: &Program<'_>) -> io::Result<(Pid, OwnedFd)> {
    let Program { exe, argv, envp, fds, cgroup, tasks } = *program;
    // Copies above the targets, so that putting one in place cannot close another.
    let count = fds.len() as i32;
    let copies: Vec<OwnedFd> = fds
        .iter()
        .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, count + 1).map_err(io::Error::from))
        .collect::<Result<_, _>>()?;
    let exe = rustix::io::fcntl_dupfd_cloexec(exe, count + 1)?;
    let argv: Vec<_> = argv.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
    let envp: Vec<_> = envp.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
    let tasks: Vec<_> = tasks.iter().map(AsRawFd::as_raw_fd).collect();
    let mut pidfd: libc::c_int = -1;
    // SAFETY: without CLONE_VM this is fork(2). Other threads may hold locks, so until execveat the child only makes
    // system calls on values prepared above: no allocation, no lock, no unwinding.
    let pid = unsafe { crate::clone::clone_unchecked(0, libc::SIGCHLD as u64, cgroup, &mut pidfd) };
    if pid == 0 {
        for fd in tasks {
            // SAFETY: one static byte; a group that cannot be joined is the starter's, which works as well.
            unsafe { libc::write(fd, c"0".as_ptr().cast(), 1) };
        }
        for (target, fd) in copies.iter().enumerate() {
            // SAFETY: both are descriptors of this child; the target is below every copy.
            unsafe { libc::dup2(fd.as_raw_fd(), target as i32) };
        }
        // SAFETY: as above; the arrays end with null pointers and live in this child's copy of the memory. The kernel
        // sweeps what the caller may have left inheritable; `exe` and the copies are close-on-exec already.
        unsafe {
            libc::syscall(libc::SYS_close_range, count, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
            libc::syscall(
                libc::SYS_execveat,
                exe.as_raw_fd(),
                c"".as_ptr(),
                argv.as_ptr(),
                envp.as_ptr(),
                libc::AT_EMPTY_PATH,
            );
            libc::_exit(127)
        }
    }
    let pid = super::check(pid)?;
    let pid = Pid::from_raw(pid as i32).ok_or_else(|| io::Error::other("fork returned no pid"))?;
    // SAFETY: a new descriptor that nobody else owns (CLONE_PIDFD).
    Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// This program's own file, through a read-only mount of its own where the kernel allows: whoever gets at a process's
/// /proc/PID/exe cannot write to the file on the host (CVE-2019-5736).
///
/// # Errors
/// The kernel's errno.
pub fn own_executable() -> io::Result<OwnedFd> {
    use rustix::fs::{CWD, Mode, OFlags};
    use rustix::mount::{OpenTreeFlags, open_tree};
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if let Ok(tree) = open_tree(CWD, "/proc/self/exe", flags) {
        let attr = crate::mount::MountAttr { set: crate::mount::ATTR_RDONLY, ..Default::default() };
        if crate::mount::set_attributes(tree.as_fd(), c"", false, &attr).is_ok() {
            return Ok(tree);
        }
    }
    Ok(rustix::fs::openat(CWD, "/proc/self/exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}
