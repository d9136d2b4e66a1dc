//! How a process ended.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It called exit with this status.
    Code(i32),
    /// A signal of this number ended it.
    Signal(i32),
}

impl Exit {
    /// The status a shell reports: the code, or 128 + the signal.
    pub fn status(self) -> i32 {
        match self {
            Self::Code(c) => c,
            Self::Signal(s) => 128 + s,
        }
    }
}

fn wait(kind: libc::idtype_t, id: libc::id_t, flags: i32) -> io::Result<Option<(i32, Exit)>> {
    // SAFETY: siginfo_t is a plain C struct for which all zeroes is a valid value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: `info` outlives the call, which fills it.
        let r = unsafe { libc::waitid(kind, id, &raw mut info, libc::WEXITED | flags) };
        match super::check(libc::c_long::from(r)) {
            Ok(_) => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    // SAFETY: after success the record is either zero (WNOHANG and nothing to report) or a SIGCHLD record.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    let exit = if info.si_code == libc::CLD_EXITED { Exit::Code(status) } else { Exit::Signal(status) };
    Ok(Some((pid, exit)))
}

/// Waits for the child that `pidfd` names and reaps it.
///
/// # Errors
/// `ECHILD` when it is not a child of this process.
pub fn wait_exit(pidfd: impl AsFd) -> io::Result<Exit> {
    let id = pidfd.as_fd().as_raw_fd() as libc::id_t;
    let done = wait(libc::P_PIDFD, id, 0)?;
    done.map(|(_, exit)| exit).ok_or_else(|| io::Error::from_raw_os_error(libc::ECHILD))
}

/// Whether `pidfd` names a child of this process that it has not waited for yet, alive or not.
pub fn is_child(pidfd: impl AsFd) -> bool {
    let id = pidfd.as_fd().as_raw_fd() as libc::id_t;
    wait(libc::P_PIDFD, id, libc::WNOHANG | libc::WNOWAIT).is_ok()
}

/// Reaps any child that has ended: its pid and how it ended, or `None` when none has.
///
/// # Errors
/// The kernel's errno; having no child at all is `Ok(None)`.
pub fn reap_any() -> io::Result<Option<(i32, Exit)>> {
    match wait(libc::P_ALL, 0, libc::WNOHANG) {
        Err(e) if e.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        other => other,
    }
}
