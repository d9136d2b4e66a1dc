//! Descriptors that are sent over sockets.

use std::fs::File;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixListener;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// Receives a descriptor and what is sent with it, its name mostly, from the next who connects.
#[track_caller]
pub fn receive_descriptor(listener: &UnixListener) -> (String, File) {
    let (stream, _) = listener.accept().unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let (mut control, mut name) = (RecvAncillaryBuffer::new(&mut space), [0; 100]);
    let iov = &mut [IoSliceMut::new(&mut name)];
    let len = recvmsg(&stream, iov, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap().bytes;
    let fd = control.drain().find_map(|m| match m {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    (String::from_utf8(name[..len].to_vec()).unwrap(), fd.expect("a descriptor came along").into())
}
