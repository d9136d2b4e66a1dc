//! What the child tells its creator: whole messages on a SEQPACKET socket. The last, that all is set, followed by the end of
//! the stream is success.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use loment_sys::pipe;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::sources::{Place, Sources};
use crate::{Cause, Failure};

const FAILED: u8 = b'E';
const TERMINAL: u8 = b'T';
const READY: u8 = b'R';
const HOOKS: u8 = b'H';
const DEVICES: u8 = b'N';
const DELEGATE: u8 = b'D';
const OUTPUT: u8 = b'O';
const BUILT: u8 = b'B';
const PIDFD: u8 = b'P';
const LISTENER: u8 = b'L';
/// What the creator answers.
const GO: u8 = b'G';
/// What the creator sends before: a mount, and what it is for.
const SOURCE: u8 = b'M';
/// The root's number among mounts.
const ROOT: u32 = u32::MAX;
/// The child is about to become the program.
const SET: u8 = b'S';
/// Longer texts are cut: the message must fit one packet.
const MAX_TEXT: usize = 1500;

/// A message of the child.
#[derive(Debug)]
pub(crate) enum Message {
    Failed(Failure),
    /// The primary side of the terminal the child made in its own devpts.
    Terminal(OwnedFd),
    /// Everything is set up; waiting for the order to start.
    Ready,
    /// Everything is set up and the program comes next: the end of the stream is success from here on.
    Set,
    /// Everything but the root is set up; waiting for the creator's hooks to have run.
    Hooks,
    /// Its network namespace is there; waiting for the network devices that go into it.
    Devices,
    /// It is in its cgroup and has made its cgroup namespace; waiting to be moved into a group below.
    Delegate,
    /// It is built, and runs nothing before its creator has written down that it is there.
    Built,
    /// The order to start has come; waiting for the files its hooks write to.
    Output,
    /// A seccomp filter is about to be loaded; its listener will have this number.
    Listener(RawFd),
    /// The container's process, from whoever made it for the creator.
    Pidfd(OwnedFd),
    /// The socket was closed: by execve, or by the end of the process.
    Closed,
}

fn put(out: &mut Vec<u8>, text: &str) {
    let bytes = &text.as_bytes()[..text.len().min(MAX_TEXT)];
    out.extend((bytes.len() as u16).to_le_bytes());
    out.extend(bytes);
}

fn take(data: &mut &[u8]) -> Option<String> {
    let (len, rest) = data.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
    *data = rest;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// Encodes a failure: kind, errno, operation, object.
pub(crate) fn encode(failure: &Failure) -> Vec<u8> {
    let cause = match failure.cause {
        Cause::Setup => 0,
        Cause::NotFound => 1,
        Cause::NotExecutable => 2,
    };
    let mut out = vec![FAILED, cause];
    out.extend(failure.source.raw_os_error().unwrap_or(0).to_le_bytes());
    put(&mut out, &failure.operation);
    put(&mut out, &failure.object);
    if failure.source.raw_os_error().is_none() {
        put(&mut out, &failure.source.to_string());
    }
    out
}

/// Decodes what [`encode`] made.
pub(crate) fn decode(data: &[u8]) -> Option<Failure> {
    let mut rest = data.strip_prefix(&[FAILED])?;
    let (cause, tail) = rest.split_first()?;
    let (errno, tail) = tail.split_first_chunk::<4>()?;
    rest = tail;
    let cause = match cause {
        1 => Cause::NotFound,
        2 => Cause::NotExecutable,
        _ => Cause::Setup,
    };
    let (operation, object) = (take(&mut rest)?, take(&mut rest)?);
    let source = match i32::from_le_bytes(*errno) {
        0 => io::Error::other(take(&mut rest)?),
        n => io::Error::from_raw_os_error(n),
    };
    Some(Failure { cause, operation, object, source })
}

pub(crate) fn send_failure(socket: impl AsFd, failure: &Failure) {
    // Nobody is left to tell when this fails.
    let _ = pipe::send(socket, &encode(failure), &[]);
}

pub(crate) fn send_terminal(socket: impl AsFd, primary: &OwnedFd) -> io::Result<()> {
    pipe::send(socket, &[TERMINAL], &[primary.as_fd()]).map(drop)
}

pub(crate) fn send_ready(socket: impl AsFd) -> io::Result<()> {
    pipe::send(socket, &[READY], &[]).map(drop)
}

pub(crate) fn send_pidfd(socket: impl AsFd, pidfd: &OwnedFd) -> io::Result<()> {
    pipe::send(socket, &[PIDFD], &[pidfd.as_fd()]).map(drop)
}

/// Asks the creator to move the caller into the group that the container manages, and waits until that is done.
pub(crate) fn move_below(socket: impl AsFd) -> io::Result<()> {
    pipe::send(&socket, &[DELEGATE], &[])?;
    wait_for_go(socket)
}

/// Waits until the creator has written down that there is a container: it ends with one that dies before.
pub(crate) fn wait_until_noted(socket: impl AsFd) -> io::Result<()> {
    pipe::send(&socket, &[BUILT], &[])?;
    wait_for_go(socket)
}

/// Asks the creator to run its hooks, and waits until they have.
pub(crate) fn run_hooks(socket: impl AsFd) -> io::Result<()> {
    pipe::send(&socket, &[HOOKS], &[])?;
    wait_for_go(socket)
}

/// Asks the creator for network devices, and waits until they are there.
pub(crate) fn ask_for_devices(socket: impl AsFd) -> io::Result<()> {
    pipe::send(&socket, &[DEVICES], &[])?;
    wait_for_go(socket)
}

/// Asks whoever starts the container for the files that its hooks write to.
pub(crate) fn ask_for_output(socket: impl AsFd) -> io::Result<Vec<OwnedFd>> {
    pipe::send(&socket, &[OUTPUT], &[])?;
    let mut buffer = [0u8; 1];
    let received = pipe::receive(socket, &mut buffer)?;
    match received.len {
        0 => Err(io::ErrorKind::ConnectionReset.into()),
        _ => Ok(received.fds),
    }
}

/// The answer.
pub(crate) fn send_output(socket: impl AsFd, files: &[BorrowedFd<'_>]) -> io::Result<()> {
    pipe::send(socket, &[GO], files).map(drop)
}

/// Says which number the listener of the filter that is about to be loaded will have.
pub(crate) fn send_listener(socket: impl AsFd, number: RawFd) -> io::Result<()> {
    let [a, b, c, d] = number.to_le_bytes();
    pipe::send(socket, &[LISTENER, a, b, c, d], &[]).map(drop)
}

/// Sends the child a mount.
pub(crate) fn send_source(socket: impl AsFd, place: Place, tree: &OwnedFd) -> io::Result<()> {
    let number = match place {
        Place::Root => ROOT,
        Place::Mount(n) => n as u32,
    };
    let [a, b, c, d] = number.to_le_bytes();
    pipe::send(socket, &[SOURCE, a, b, c, d], &[tree.as_fd()]).map(drop)
}

/// Takes mounts from the creator until it lets the child go on.
pub(crate) fn take_sources(socket: impl AsFd, sources: &mut Sources) -> io::Result<()> {
    loop {
        let mut buffer = [0u8; 8];
        let mut received = pipe::receive(&socket, &mut buffer)?;
        let number = buffer[1..].first_chunk::<4>().map(|n| u32::from_le_bytes(*n));
        match (buffer[0], received.len, number, received.fds.pop()) {
            (GO, 1, ..) => return Ok(()),
            (SOURCE, 5, Some(ROOT), Some(tree)) => sources.put(Place::Root, tree),
            (SOURCE, 5, Some(n), Some(tree)) => sources.put(Place::Mount(n as usize), tree),
            (_, 0, ..) => return Err(io::ErrorKind::ConnectionReset.into()),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Says that only what needs no creator any more is left to do.
pub(crate) fn send_set(socket: impl AsFd) -> io::Result<()> {
    pipe::send(socket, &[SET], &[]).map(drop)
}

/// Lets the child go on.
pub(crate) fn send_go(socket: impl AsFd) -> io::Result<()> {
    pipe::send(socket, &[GO], &[]).map(drop)
}

/// Waits for the creator's word; a creator that is gone will not give it.
pub(crate) fn wait_for_go(socket: impl AsFd) -> io::Result<()> {
    let mut buffer = [0u8; 1];
    loop {
        // The plainest of calls: a filter that has been loaded may know it.
        match rustix::io::read(&socket, &mut buffer) {
            Ok(1) => return Ok(()),
            Ok(_) => return Err(io::ErrorKind::ConnectionReset.into()),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// The creator's and the child's end.
pub(crate) fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Waits for the child's next message.
pub(crate) fn receive(socket: impl AsFd) -> io::Result<Message> {
    let mut buffer = [0u8; 4096];
    let mut received = pipe::receive(socket, &mut buffer)?;
    let data = &buffer[..received.len];
    match data.first() {
        None => Ok(Message::Closed),
        Some(&READY) => Ok(Message::Ready),
        Some(&HOOKS) => Ok(Message::Hooks),
        Some(&DEVICES) => Ok(Message::Devices),
        Some(&DELEGATE) => Ok(Message::Delegate),
        Some(&OUTPUT) => Ok(Message::Output),
        Some(&BUILT) => Ok(Message::Built),
        Some(&SET) => Ok(Message::Set),
        Some(&LISTENER) => match data[1..].try_into() {
            Ok(number) => Ok(Message::Listener(RawFd::from_le_bytes(number))),
            Err(_) => Err(io::ErrorKind::InvalidData.into()),
        },
        Some(&PIDFD) if !received.fds.is_empty() => Ok(Message::Pidfd(received.fds.remove(0))),
        Some(&TERMINAL) if !received.fds.is_empty() => Ok(Message::Terminal(received.fds.remove(0))),
        _ => decode(data).map(Message::Failed).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_socket() {
        let failure = Failure {
            cause: Cause::NotFound,
            operation: "run".into(),
            object: "é".repeat(2000),
            source: io::Error::from_raw_os_error(2),
        };
        let back = decode(&encode(&failure)).unwrap();
        assert_eq!((back.cause, back.operation.as_str()), (Cause::NotFound, "run"));
        assert_eq!(back.source.raw_os_error(), Some(2));
        assert!(back.object.starts_with("éé"));
        assert!(
            decode(b"E").is_none() && decode(b"").is_none() && decode(b"E\x01\0\0\0\0\xff\xff").is_none()
        );
    }
}
