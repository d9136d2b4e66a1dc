//! Signal masks, dispositions and descriptors.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// A set of signal numbers.
#[derive(Clone, Copy)]
pub struct SignalSet(libc::sigset_t);

impl std::fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignalSet")
    }
}

impl SignalSet {
    /// The empty set.
    pub fn empty() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the whole set.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            Self(set.assume_init())
        }
    }

    /// Every signal.
    pub fn all() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigfillset initialises the whole set.
        unsafe {
            libc::sigfillset(set.as_mut_ptr());
            Self(set.assume_init())
        }
    }

    /// The set of `signals`; numbers that are no signals are left out.
    pub fn of(signals: &[i32]) -> Self {
        let mut set = Self::empty();
        for &s in signals {
            // SAFETY: the set is initialised; an invalid number returns EINVAL and changes nothing.
            unsafe { libc::sigaddset(&raw mut set.0, s) };
        }
        set
    }
}

/// Replaces the calling thread's signal mask, returning the old one.
///
/// # Errors
/// The kernel's errno.
pub fn set_mask(set: &SignalSet) -> io::Result<SignalSet> {
    let mut old = SignalSet::empty();
    // SAFETY: both sets are initialised and outlive the call.
    let r = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set.0, &raw mut old.0) };
    if r == 0 { Ok(old) } else { Err(io::Error::from_raw_os_error(r)) }
}

/// Signals that may be ignored, the lowest bit for signal 1. Whoever started this program may have ignored any; what happens
/// later is known, because dispositions are changed only here (and by the standard library before `main`). A forked child has
/// a copy, and what it says is as true of the child.
static MAYBE_IGNORED: AtomicU64 = AtomicU64::new(u64::MAX);

/// Signals that cannot be ignored: SIGKILL and SIGSTOP.
const NEVER_IGNORED: u64 = bit(libc::SIGKILL) | bit(libc::SIGSTOP);

const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Sets a disposition by the system call itself: the C library refuses its own signals, 32 and 33. `handler` is SIG_DFL or
/// SIG_IGN.
fn set_disposition(signal: i32, handler: libc::sighandler_t) {
    // `struct sigaction` of the kernel: handler, flags, restorer, mask.
    let action = [handler as u64, 0, 0, 0];
    // SAFETY: the kernel reads 32 bytes, of which 8 are the mask, as the last argument says; it installs no handler.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            action.as_ptr(),
            std::ptr::null::<u64>(),
            size_of::<u64>(),
        )
    };
}

/// Ignores SIGPIPE, so that a closed reader is an error of the write.
pub fn ignore_sigpipe() {
    MAYBE_IGNORED.fetch_or(bit(libc::SIGPIPE), Ordering::Relaxed);
    set_disposition(libc::SIGPIPE, libc::SIG_IGN);
}

/// Gives SIGCHLD its default action: a program whose starter ignored it could not wait for its children.
pub fn default_sigchld() {
    set_disposition(libc::SIGCHLD, libc::SIG_DFL);
    MAYBE_IGNORED.fetch_and(!bit(libc::SIGCHLD), Ordering::Relaxed);
}

/// Gives every signal that may be ignored its default action: a program started with an ignored signal keeps it ignored.
/// (Handlers need no care: execve(2) takes them away.) The first time these are nearly all, 9 µs; in a child of a process that
/// has done it, those that were ignored since.
pub fn reset_dispositions() {
    let ignored = MAYBE_IGNORED.swap(0, Ordering::Relaxed) & !NEVER_IGNORED;
    for signal in (1..=u64::BITS as i32).filter(|&signal| ignored & bit(signal) != 0) {
        set_disposition(signal, libc::SIG_DFL);
    }
}

/// A descriptor that becomes readable when a signal of `set` (which must be blocked) is pending.
///
/// # Errors
/// The kernel's errno (signalfd(2)).
pub fn signal_fd(set: &SignalSet) -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised and outlives the call.
    let fd = unsafe { libc::signalfd(-1, &raw const set.0, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    super::check(libc::c_long::from(fd))?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes one pending signal from a [`signal_fd`]: its number, or `None` when there is none.
///
/// # Errors
/// The kernel's errno.
pub fn take_signal(fd: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the buffer is exactly one signalfd_siginfo, which the kernel fills.
    let n = unsafe { libc::read(fd.as_raw_fd(), info.as_mut_ptr().cast(), size) };
    match super::check(n as libc::c_long) {
        // SAFETY: the kernel writes whole records only.
        Ok(n) if n as usize == size => Ok(Some(unsafe { info.assume_init() }.ssi_signo as i32)),
        Ok(_) => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(e) => Err(e),
    }
}

/// The highest real-time signal number.
pub fn max_signal() -> i32 {
    libc::SIGRTMAX()
}

/// The lowest real-time signal number a program may use.
pub fn min_realtime() -> i32 {
    libc::SIGRTMIN()
}
