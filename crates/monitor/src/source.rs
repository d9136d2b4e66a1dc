//! Where a program's output comes from.

use std::io;
use std::os::fd::OwnedFd;

use loment_logs::Stream;

use crate::protocol::MAX_DATA;

/// A pipe or a terminal that is read from.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) fd: OwnedFd,
    pub(crate) stream: Stream,
    /// A client has not taken the last chunk yet: reading waits for it, so that nothing piles up here.
    pub(crate) paused: bool,
}

/// What a read gave.
pub(crate) enum Chunk<'b> {
    Data(&'b [u8]),
    Nothing,
    End,
}

impl Source {
    pub(crate) fn new(fd: OwnedFd, stream: Stream) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self { fd, stream, paused: false })
    }

    pub(crate) fn read<'b>(&self, buffer: &'b mut [u8]) -> Chunk<'b> {
        let len = buffer.len().min(MAX_DATA);
        match rustix::io::read(&self.fd, &mut buffer[..len]) {
            Ok(0) => Chunk::End,
            Ok(n) => Chunk::Data(&buffer[..n]),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Chunk::Nothing,
            // EIO: nobody has the terminal open any more.
            Err(_) => Chunk::End,
        }
    }
}
