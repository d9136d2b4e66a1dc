//! A program's standard input.

use std::io;
use std::os::fd::OwnedFd;

/// A pipe or terminal that is written to without ever waiting.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) fd: OwnedFd,
    queue: Vec<u8>,
    ending: bool,
}

/// What is left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing.
    Idle,
    /// The program must read first.
    Blocked,
    /// Everything was written and the end was asked for, or nobody reads any more: close it.
    Done,
}

impl Sink {
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self { fd, queue: Vec::new(), ending: false })
    }

    /// Whether the program must read before more is taken.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(crate) fn push(&mut self, data: &[u8]) -> Progress {
        self.queue.extend(data);
        self.flush()
    }

    pub(crate) fn end(&mut self) -> Progress {
        self.ending = true;
        self.flush()
    }

    pub(crate) fn flush(&mut self) -> Progress {
        while !self.queue.is_empty() {
            match rustix::io::write(&self.fd, &self.queue) {
                Ok(n) => drop(self.queue.drain(..n)),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Progress::Blocked,
                Err(_) => return Progress::Done,
            }
        }
        self.queue = Vec::new();
        if self.ending { Progress::Done } else { Progress::Idle }
    }
}
