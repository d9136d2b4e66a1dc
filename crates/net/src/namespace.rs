//! Network namespaces.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::thread::{
    LinkNameSpaceType, ThreadNameSpaceType, move_into_link_name_space, move_into_thread_name_spaces,
};

use crate::Error;
use crate::socket::Socket;

/// A network namespace, held open: it lives at least as long as this.
#[derive(Debug)]
pub struct Namespace {
    pub(crate) socket: Socket,
    file: OwnedFd,
}

impl Namespace {
    /// The caller's.
    ///
    /// # Errors
    /// [`Error::Namespace`].
    pub fn current() -> Result<Self, Error> {
        let failed = |operation| move |source| Error::Namespace { operation, source };
        let file = File::open("/proc/thread-self/ns/net").map_err(failed("open"))?.into();
        Ok(Self { socket: Socket::open().map_err(failed("open a socket in"))?, file })
    }

    /// That of another process. The caller enters it for a moment, because a socket is of the namespace its maker is in; no
    /// other thread is moved.
    ///
    /// # Errors
    /// [`Error::Namespace`]. If its operation is `return to`, the caller is in that namespace still and must end.
    pub fn of_process(pidfd: impl AsFd) -> Result<Self, Error> {
        let own = Self::current()?;
        move_into_thread_name_spaces(pidfd.as_fd(), ThreadNameSpaceType::NETWORK)
            .map_err(|e| Error::Namespace { operation: "join", source: e.into() })?;
        let other = Self::current();
        move_into_link_name_space(own.file.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|e| Error::Namespace { operation: "return to", source: e.into() })?;
        other
    }

    /// Whether both are the same.
    pub(crate) fn is(&self, other: &Self) -> Result<bool, Error> {
        let identity = |file: &OwnedFd| -> io::Result<_> {
            let stat = rustix::fs::fstat(file)?;
            Ok((stat.st_dev, stat.st_ino))
        };
        let same = || -> io::Result<bool> { Ok(identity(&self.file)? == identity(&other.file)?) };
        same().map_err(|source| Error::Namespace { operation: "examine", source })
    }

    /// What names it in a message to the kernel.
    pub(crate) fn number(&self) -> [u8; 4] {
        self.file.as_raw_fd().to_ne_bytes()
    }
}
