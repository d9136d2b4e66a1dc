//! A front end, as its monitor sees it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use loment_sys::pipe;

use crate::protocol::{Answer, Streams};

/// Messages kept for a client that does not read; only what a program has left behind at its end can be that much.
const MAX_QUEUE: usize = 256;

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) socket: OwnedFd,
    /// The container it asks about.
    pub(crate) slot: u32,
    /// It has been told everything, and only has to read it.
    pub(crate) done: bool,
    /// With it ends that the container is stopped.
    pub(crate) thaws: bool,
    /// Which program it is about; none until its request has come.
    pub(crate) session: Option<u32>,
    pub(crate) streams: Streams,
    /// What it has not taken yet.
    queue: VecDeque<Vec<u8>>,
}

impl Client {
    pub(crate) fn new(slot: u32, socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket,
            slot,
            done: false,
            thaws: false,
            session: None,
            streams: Streams::default(),
            queue: VecDeque::new(),
        })
    }

    /// Sends an answer, or keeps it until the client reads. An error means that it is gone, or as good as gone.
    pub(crate) fn send(&mut self, answer: &Answer) -> io::Result<()> {
        if self.queue.len() >= MAX_QUEUE {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.queue.push_back(answer.encode());
        self.flush()
    }

    /// Sends what was kept.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while let Some(message) = self.queue.front() {
            match pipe::send(self.socket.as_fd(), message, &[]) {
                Ok(_) => drop(self.queue.pop_front()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Whether it must read before more is sent.
    pub(crate) fn is_behind(&self) -> bool {
        !self.queue.is_empty()
    }
}
