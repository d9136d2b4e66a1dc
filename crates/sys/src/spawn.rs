//! Starting another program with chosen descriptors, also from a process with threads.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::process::Pid;

/// Descriptors looked at one by one where the kernel cannot sweep them.
const SWEEP_LIMIT: i32 = 1 << 16;

/// The file of a program.
#[derive(Clone, Copy, Debug)]
pub enum Exe<'a> {
    /// One that is open. It cannot be a script, whose interpreter would have to open it again.
    File(BorrowedFd<'a>),
    /// One by its path.
    Path(&'a CStr),
}

/// A program to start.
#[derive(Debug)]
pub struct Program<'a> {
    /// Its file.
    pub exe: Exe<'a>,
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
    /// It is not a child of the caller's but, as a daemon, of process 1 or the subreaper above the caller.
    pub orphan: bool,
}

/// Starts a program.
///
/// # Errors
/// The kernel's errno for a failed fork. A failed execve ends the child with status 127.
pub fn spawn(program: &Program<'_>) -> io::Result<(Pid, OwnedFd)> {
    let Program { exe, argv, envp, fds, cgroup, tasks, orphan } = *program;
    // Copies above the targets, so that putting one in place cannot close another.
    let count = fds.len() as i32;
    let copies: Vec<OwnedFd> = fds
        .iter()
        .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, count + 1).map_err(io::Error::from))
        .collect::<Result<_, _>>()?;
    let file = match exe {
        Exe::File(file) => Some(rustix::io::fcntl_dupfd_cloexec(file, count + 1)?),
        Exe::Path(_) => None,
    };
    let (dir, path, flags) = match (exe, &file) {
        (Exe::Path(path), _) => (libc::AT_FDCWD, path, 0),
        (Exe::File(_), file) => (file.as_ref().map_or(-1, AsRawFd::as_raw_fd), c"", libc::AT_EMPTY_PATH),
    };
    let argv: Vec<_> = argv.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
    let envp: Vec<_> = envp.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
    let tasks: Vec<_> = tasks.iter().map(AsRawFd::as_raw_fd).collect();
    let mut pidfd: libc::c_int = -1;
    let between = if orphan { Some(Between::new(count)?) } else { None };
    let between = match between {
        Some(between) => {
            // SAFETY: as below.
            match unsafe { crate::clone::clone_unchecked(0, libc::SIGCHLD as u64, None, &mut pidfd) } {
                0 => Some(between),
                pid => return between.wait(super::check(pid)?, pidfd),
            }
        }
        None => None,
    };
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
        // sweeps what the caller may have left inheritable; the file and the copies are close-on-exec already.
        unsafe {
            let swept = libc::syscall(libc::SYS_close_range, count, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
            if swept != 0 {
                // Before Linux 5.11.
                for fd in count..SWEEP_LIMIT {
                    libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
                }
            }
            libc::syscall(libc::SYS_execveat, dir, path.as_ptr(), argv.as_ptr(), envp.as_ptr(), flags);
            libc::_exit(127)
        }
    }
    if let Some(between) = &between {
        between.tell(pid as i32)
    }
    let pid = super::check(pid)?;
    let pid = Pid::from_raw(pid as i32).ok_or_else(|| io::Error::other("fork returned no pid"))?;
    // SAFETY: a new descriptor that nobody else owns (CLONE_PIDFD).
    Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// The process between a program that is an orphan and whoever started it: it says who its child is and ends when that has
/// been looked at, until which the number is nobody else's.
struct Between {
    said: (OwnedFd, OwnedFd),
    seen: (OwnedFd, OwnedFd),
}

impl Between {
    /// Above the numbers that the program's own descriptors get.
    fn new(above: i32) -> io::Result<Self> {
        let pair = || -> io::Result<(OwnedFd, OwnedFd)> {
            let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
            let up = |fd: OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, above + 1);
            Ok((up(read)?, up(write)?))
        };
        Ok(Self { said: pair()?, seen: pair()? })
    }

    /// In it: `pid` is the program's, or negative when it could not be made.
    fn tell(&self, pid: i32) -> ! {
        let mut byte = 0u8;
        // SAFETY: four bytes that are read and one that is written, which outlive the calls; descriptors of this process, which
        // ends here and drops nothing.
        unsafe {
            libc::close(self.seen.1.as_raw_fd());
            libc::write(self.said.1.as_raw_fd(), (&raw const pid).cast(), 4);
            libc::read(self.seen.0.as_raw_fd(), (&raw mut byte).cast(), 1);
            libc::_exit(0)
        }
    }

    /// In who started it: the program, when `process` has said which that is and has ended.
    fn wait(self, process: libc::c_long, pidfd: libc::c_int) -> io::Result<(Pid, OwnedFd)> {
        let Self { said, seen } = self;
        // SAFETY: a new descriptor that nobody else owns (CLONE_PIDFD).
        let between = unsafe { OwnedFd::from_raw_fd(pidfd) };
        drop(said.1);
        let mut number = [0; 4];
        let told = io::Read::read_exact(&mut std::fs::File::from(said.0), &mut number);
        let found = told.and_then(|()| {
            let none = || io::Error::other("the program could not be made");
            let pid = Pid::from_raw(i32::from_ne_bytes(number).max(0)).ok_or_else(none)?;
            Ok((pid, rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?))
        });
        drop(seen);
        drop(between);
        // Its number is its own until it is waited for.
        let options = rustix::process::WaitOptions::empty();
        let _ = rustix::process::waitpid(Pid::from_raw(process as i32), options);
        found
    }
}

/// This program's own file in a form that cannot be written to: through a read-only mount of its own, which is in no mount
/// table, or as a sealed copy in memory where the kernel has no such mounts (before Linux 5.12). Whoever gets at
/// /proc/PID/exe of a process that runs it does not get at the file on the host (CVE-2019-5736).
///
/// # Errors
/// The kernel's errno.
pub fn own_executable() -> io::Result<OwnedFd> {
    use rustix::fs::CWD;
    use rustix::mount::{OpenTreeFlags, open_tree};
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if let Ok(tree) = open_tree(CWD, EXE, flags) {
        let attr = crate::mount::MountAttr { set: crate::mount::ATTR_RDONLY, ..Default::default() };
        if crate::mount::set_attributes(tree.as_fd(), c"", false, &attr).is_ok() {
            return Ok(tree);
        }
    }
    sealed_copy()
}

/// Whether the file this program runs from cannot be written to: see [`own_executable`].
pub fn is_protected() -> bool {
    use rustix::fs::{SealFlags, StatVfsMountFlags};
    if rustix::fs::statvfs(EXE).is_ok_and(|s| s.f_flag.contains(StatVfsMountFlags::RDONLY)) {
        return true;
    }
    let seals = std::fs::File::open(EXE).ok().and_then(|exe| rustix::fs::fcntl_get_seals(exe).ok());
    seals.is_some_and(|seals| seals.contains(SealFlags::WRITE))
}

const EXE: &str = "/proc/self/exe";

fn sealed_copy() -> io::Result<OwnedFd> {
    crate::memfd::sealed("loment", crate::memfd::Content::Program, |copy| {
        io::copy(&mut std::fs::File::open(EXE)?, copy).map(drop)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_form_of_the_program_can_be_written_to() {
        assert!(!is_protected(), "a test is run from where it was built");
        for exe in [own_executable().unwrap(), sealed_copy().unwrap()] {
            let path = format!("/proc/self/fd/{}", exe.as_raw_fd());
            assert!(std::fs::read(&path).unwrap().starts_with(b"\x7fELF"));
            let mut options = std::fs::File::options();
            let written =
                options.write(true).open(&path).and_then(|mut f| io::Write::write_all(&mut f, b"x"));
            assert!(written.is_err(), "{path}");
        }
    }
}
