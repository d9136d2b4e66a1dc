//! Messages with descriptors over unix sockets.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix,
};

/// The address of the socket `name` in `dir`, whatever the length of its path (an address holds 108 bytes): through a
/// descriptor, which must live until the address has been used.
///
/// # Errors
/// The kernel's errno.
pub fn address_in(dir: &Path, name: &str) -> io::Result<(SocketAddrUnix, Option<OwnedFd>)> {
    if let Ok(address) = SocketAddrUnix::new(dir.join(name)) {
        return Ok((address, None));
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(CWD, dir, flags, Mode::empty())?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", fd.as_raw_fd()))?;
    Ok((address, Some(fd)))
}

/// The most descriptors one message carries.
pub const MAX_FDS: usize = 64;

/// Sends one message, with descriptors, on a SEQPACKET or stream socket.
///
/// # Errors
/// The kernel's errno; `EPIPE` when the other side is gone (no signal is raised).
pub fn send(socket: impl AsFd, data: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    loop {
        match rustix::net::sendmsg(&socket, &[IoSlice::new(data)], &mut control, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// A received message: its length in the buffer, its descriptors, and whether it was cut.
#[derive(Debug)]
pub struct Received {
    /// Bytes stored in the buffer; 0 is the end of the stream.
    pub len: usize,
    /// Descriptors that came along, close-on-exec.
    pub fds: Vec<OwnedFd>,
    /// The message was longer than the buffer.
    pub truncated: bool,
}

/// Receives one message.
///
/// # Errors
/// The kernel's errno; `EAGAIN` on a non-blocking socket without a message.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let iov = &mut [IoSliceMut::new(buffer)];
        match rustix::net::recvmsg(&socket, iov, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    let mut fds = Vec::new();
    for m in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = m {
            fds.extend(rights);
        }
    }
    let truncated = message.flags.contains(rustix::net::ReturnFlags::TRUNC);
    Ok(Received { len: message.bytes, fds, truncated })
}

/// What was found of a message whose descriptors were left where they are.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Bytes stored in the buffer.
    pub len: usize,
    /// It carries descriptors.
    pub has_fds: bool,
}

/// Receives the bytes of one message, or with [`RecvFlags::PEEK`] only looks at them, and does not take its descriptors: the kernel
/// says that there are some, and without `PEEK` closes them.
///
/// # Errors
/// The kernel's errno; `EAGAIN` on a non-blocking socket without a message.
pub fn look(socket: impl AsFd, buffer: &mut [u8], flags: RecvFlags) -> io::Result<Look> {
    loop {
        let iov = &mut [IoSliceMut::new(buffer)];
        match rustix::net::recvmsg(&socket, iov, &mut RecvAncillaryBuffer::default(), flags) {
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
            Ok(message) => {
                let has_fds = message.flags.contains(rustix::net::ReturnFlags::CTRUNC);
                return Ok(Look { len: message.bytes, has_fds });
            }
        }
    }
}
