//! One `epoll`, and names for what is registered in it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// How long without an event counts as quiet, in milliseconds.
const QUIET: i32 = 500;

/// What became ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A new client of a container, by its number.
    Listener(u32),
    /// A signal.
    Signal,
    /// Something is due.
    Timer,
    /// A client, by its number.
    Client(u32),
    /// A session's worker.
    Worker(u32),
    /// A session's output (0) or error output (1).
    Source(u32, bool),
    /// A session's input can take more.
    Sink(u32),
    /// A container's memory: something was counted.
    Memory(u32),
    /// Who takes a container's log can take more.
    Log(u32),
    /// Nobody is in a container's namespaces any more.
    Members(u32),
    /// A container says something to a service manager, or that can take more.
    Notify(u32),
}

impl Token {
    fn pack(self) -> u64 {
        let (kind, n) = match self {
            Self::Listener(n) => (0, n),
            Self::Signal => (1, 0),
            Self::Client(n) => (2, n),
            Self::Worker(n) => (3, n),
            Self::Source(n, false) => (4, n),
            Self::Source(n, true) => (5, n),
            Self::Sink(n) => (6, n),
            Self::Memory(n) => (7, n),
            Self::Timer => (8, 0),
            Self::Log(n) => (9, n),
            Self::Members(n) => (10, n),
            Self::Notify(n) => (11, n),
        };
        kind << 32 | u64::from(n)
    }

    fn unpack(packed: u64) -> Self {
        let n = packed as u32;
        match packed >> 32 {
            0 => Self::Listener(n),
            1 => Self::Signal,
            2 => Self::Client(n),
            3 => Self::Worker(n),
            4 => Self::Source(n, false),
            5 => Self::Source(n, true),
            6 => Self::Sink(n),
            7 => Self::Memory(n),
            8 => Self::Timer,
            9 => Self::Log(n),
            10 => Self::Members(n),
            _ => Self::Notify(n),
        }
    }
}

/// The set of descriptors that are waited for.
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

/// What to wait for.
fn flags(readable: bool, writable: bool) -> EventFlags {
    let mut flags = EventFlags::empty();
    if readable {
        flags |= EventFlags::IN;
    }
    if writable {
        flags |= EventFlags::OUT;
    }
    flags
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    /// Waits for `fd` to become readable.
    pub(crate) fn add(&self, fd: impl AsFd, token: Token) -> io::Result<()> {
        Ok(epoll::add(&self.0, fd, EventData::new_u64(token.pack()), EventFlags::IN)?)
    }

    /// Waits for `fd` from now on as told.
    pub(crate) fn set(&self, fd: impl AsFd, token: Token, readable: bool, writable: bool) -> io::Result<()> {
        let data = EventData::new_u64(token.pack());
        let flags = flags(readable, writable);
        match epoll::modify(&self.0, &fd, data, flags) {
            Err(rustix::io::Errno::NOENT) => Ok(epoll::add(&self.0, fd, data, flags)?),
            other => Ok(other?),
        }
    }

    /// Forgets `fd`: one that is not wanted must not wake the loop by having been hung up.
    pub(crate) fn remove(&self, fd: impl AsFd) {
        // Not registered is as good.
        let _ = epoll::delete(&self.0, fd);
    }

    /// Waits as long as it takes. What is quiet for a while sleeps without the memory it does not need: see
    /// [`loment_sys::memory`].
    pub(crate) fn wait_lean(&self) -> io::Result<Vec<Token>> {
        let tokens = self.wait(Some(QUIET))?;
        if !tokens.is_empty() {
            return Ok(tokens);
        }
        match loment_sys::memory::sleep_lean(self.0.as_fd()) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => Err(e),
            _ => self.wait(Some(0)),
        }
    }

    /// Waits, at most `timeout` milliseconds, for something to become ready.
    pub(crate) fn wait(&self, timeout: Option<i32>) -> io::Result<Vec<Token>> {
        let mut events: Vec<Event> = Vec::with_capacity(16);
        let timeout = timeout.map(|ms| rustix::event::Timespec {
            tv_sec: i64::from(ms / 1000),
            tv_nsec: i64::from(ms % 1000) * 1_000_000,
        });
        match epoll::wait(&self.0, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(events.iter().map(|e| Token::unpack(e.data.u64())).collect())
    }
}
