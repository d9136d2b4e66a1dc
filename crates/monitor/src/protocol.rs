//! What a front end and a monitor say to each other: one message per SEQPACKET packet, a letter and its payload.
//!
//! A connection carries one request. One that is too long for a packet is in a file in memory that the packet carries.
//!
//! A front end may be newer than a monitor, which lives as long as its container. Such a monitor answers what it does not know, a
//! letter or a field, with [`Answer::Failed`]; nothing that was asked for is left undone in silence. For that, requests say only
//! what is not as it is by default, and a letter or a field is never used again for something else.

#[cfg(feature = "older")]
mod older;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use loment_runtime::Cause;
use loment_sys::memfd;
use loment_sys::pipe;
use rustix::fs::{SealFlags, fcntl_get_seals};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, connect, socket_with};
use serde::{Deserialize, Serialize};

use crate::sparse::sparse;

/// What it calls itself.
const VERSION: &str = if cfg!(feature = "older") { "0.0.0" } else { env!("CARGO_PKG_VERSION") };
/// The name of the socket in a container's run directory.
pub const SOCKET: &str = "monitor.sock";
/// The most payload of one message, in bytes.
pub const MAX_DATA: usize = 32 * 1024;
/// The longest packet: a letter and its payload.
pub(crate) const MAX_PACKET: usize = 1 + MAX_DATA;
/// Descriptors that a request can bring: one more may be the request itself.
pub const MAX_DESCRIPTORS: usize = pipe::MAX_FDS - 1;
/// The longest request, in bytes. A program's arguments and environment take 6 MiB at most (execve(2)), and six times as much
/// where JSON must escape every byte.
const MAX_REQUEST: u64 = 64 << 20;
/// A packet that is only this letter carries a file with the request.
const FILE: u8 = b'F';

/// Which streams a client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Streams {
    /// It will send standard input.
    pub stdin: bool,
    /// Standard output (and error, with a terminal).
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

impl Streams {
    /// Whether there is one.
    pub fn any(self) -> bool {
        self.stdin || self.stdout || self.stderr
    }
}

/// A program to run in the container. Its rights and limits are those of the container's own.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Exec {
    /// What to run.
    pub args: Vec<String>,
    /// `NAME=VALUE`, added to the container's.
    pub env: Vec<String>,
    /// Instead of the container's; absolute.
    pub workdir: Option<PathBuf>,
    /// `user[:group]` instead of the container's, looked up in the container's own files.
    pub user: Option<String>,
    /// It has a terminal.
    pub terminal: bool,
    /// With every capability.
    pub privileged: bool,
    /// The client's part in it.
    pub streams: Streams,
    /// The numbers under which it has the descriptors that come with the request, each at least 3.
    pub descriptors: Vec<i32>,
}

/// How a container is to end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stop {
    /// Number of the signal that asks it to.
    pub signal: i32,
    /// How long it has until it is killed, in seconds; 0 is at once and without that signal, `None` is for ever.
    pub timeout: Option<u32>,
    /// It is not removed at its end, whatever was said of that: it is started again by whoever asks.
    pub keep: bool,
}

/// What a client says.
#[derive(Debug)]
pub enum Request {
    /// Take part in the container's standard streams.
    Attach(Streams),
    /// Run the program of a container that was only prepared, and take part in its streams.
    Begin(Streams),
    /// Run a program.
    Exec(Box<Exec>),
    /// Tell when the container has ended.
    Wait,
    /// Let the container go on when this connection ends, however it does: whoever asks stops it meanwhile.
    Thaw,
    /// Look at the container's record again: it was changed.
    Reread,
    /// Check the container's health now, and tell how the check ended.
    Check,
    /// End the container, do not start it again, and tell when that is done.
    Stop(Stop),
    /// Standard input.
    Input(Vec<u8>),
    /// The end of standard input.
    InputEnd,
    /// The terminal's new size.
    Resize {
        /// Lines.
        rows: u16,
        /// Columns.
        columns: u16,
    },
}

/// What a monitor says.
#[derive(Debug)]
pub enum Answer {
    /// The container, or the program, runs. Its number is the host's.
    Started {
        /// The process.
        pid: i32,
    },
    /// The id of a program that was run in the container, for a client that has no part in its streams. Before it is said to run.
    Session {
        /// 64 hexadecimal digits.
        id: String,
    },
    /// It could not be started, or the request not be done.
    Failed {
        /// What kind of failure.
        cause: Cause,
        /// One line.
        message: String,
    },
    /// Something the user should know.
    Warning {
        /// One line.
        message: String,
    },
    /// Standard output.
    Output(Vec<u8>),
    /// Standard error.
    ErrorOutput(Vec<u8>),
    /// It has ended and everything is recorded.
    Exited {
        /// As a shell reports it.
        status: i32,
    },
}

impl Request {
    fn encode(&self) -> io::Result<Vec<u8>> {
        Ok(match self {
            Self::Attach(streams) => packet(b'A', &document(streams)?),
            Self::Begin(streams) => packet(b'B', &document(streams)?),
            Self::Exec(exec) => packet(b'X', &document(exec.as_ref())?),
            Self::Wait => vec![b'Q'],
            Self::Check => vec![b'H'],
            Self::Reread => vec![b'R'],
            Self::Thaw => vec![b'T'],
            Self::Stop(stop) => packet(b'S', &document(stop)?),
            Self::Input(data) => packet(b'I', data),
            Self::InputEnd => vec![b'D'],
            Self::Resize { rows, columns } => {
                packet(b'W', &[rows.to_le_bytes(), columns.to_le_bytes()].concat())
            }
        })
    }

    /// Of the descriptors that came with a packet, those that the request is about.
    pub(crate) fn own_descriptors(packet: &[u8], mut fds: Vec<OwnedFd>) -> Vec<OwnedFd> {
        if packet == [FILE] && !fds.is_empty() {
            fds.remove(0);
        }
        fds
    }

    /// Reads the request of a packet, with the descriptors that came with it.
    ///
    /// # Errors
    /// `InvalidData` for a letter or a field that this version does not know; the message says what to do.
    pub fn receive(packet: &[u8], fds: &[OwnedFd]) -> io::Result<Self> {
        let decoded = match (packet, fds) {
            ([FILE], [file, ..]) => Self::decode(&read_sealed(file)?),
            _ => Self::decode(packet),
        };
        decoded.map_err(|error| {
            let hint = "restart the container, which gives it a new one";
            let text = format!("the monitor of this container is of version {VERSION}: {error}: {hint}");
            io::Error::new(io::ErrorKind::InvalidData, text)
        })
    }

    fn decode(bytes: &[u8]) -> io::Result<Self> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, "it does not know this request");
        let (letter, payload) = bytes.split_first().ok_or_else(invalid)?;
        #[cfg(feature = "older")]
        if let Some(known) = older::decode(*letter, payload) {
            return known;
        }
        Ok(match letter {
            b'A' => Self::Attach(serde_json::from_slice(payload)?),
            b'B' => Self::Begin(serde_json::from_slice(payload)?),
            b'X' => Self::Exec(serde_json::from_slice(payload)?),
            b'Q' => Self::Wait,
            b'H' => Self::Check,
            b'R' => Self::Reread,
            b'T' => Self::Thaw,
            b'S' => Self::Stop(serde_json::from_slice(payload)?),
            b'I' => Self::Input(payload.to_vec()),
            b'D' => Self::InputEnd,
            b'W' => match *payload {
                [a, b, c, d] => {
                    Self::Resize { rows: u16::from_le_bytes([a, b]), columns: u16::from_le_bytes([c, d]) }
                }
                _ => return Err(invalid()),
            },
            _ => return Err(invalid()),
        })
    }
}

fn document<T: Serialize + Default>(content: &T) -> io::Result<Vec<u8>> {
    Ok(sparse(content)?.to_string().into_bytes())
}

/// A file in memory that nobody can change any more.
fn sealed(content: &[u8]) -> io::Result<OwnedFd> {
    memfd::sealed("request", memfd::Content::Data, |file| file.write_all(content))
}

/// What the content of a file must be safe from: older builds leave its seals unsealed.
const SEALS: SealFlags = memfd::SEALS.difference(SealFlags::SEAL);

/// The content of what [`sealed`] made. Only files in memory have seals: no other, which could make the reader wait, is read.
fn read_sealed(fd: &OwnedFd) -> io::Result<Vec<u8>> {
    let invalid = |message| io::Error::new(io::ErrorKind::InvalidData, message);
    if !fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(SEALS)) {
        return Err(invalid("a request in a file that is not sealed"));
    }
    let file = File::from(fd.try_clone()?);
    let len = file.metadata()?.len();
    if len > MAX_REQUEST {
        return Err(invalid("a request that is too long"));
    }
    let mut content = vec![0; len as usize];
    file.read_exact_at(&mut content, 0)?;
    Ok(content)
}

fn packet(letter: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 1);
    out.push(letter);
    out.extend(payload);
    out
}

impl Answer {
    /// The bytes of the message.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Started { pid } => packet(b'P', &pid.to_le_bytes()),
            Self::Session { id } => packet(b's', id.as_bytes()),
            Self::Failed { cause, message } => {
                let cause = match cause {
                    Cause::Setup => 0,
                    Cause::NotFound => 1,
                    Cause::NotExecutable => 2,
                };
                let text = &message.as_bytes()[..message.len().min(MAX_DATA)];
                packet(b'E', &[&[cause], text].concat())
            }
            Self::Warning { message } => packet(b'n', message.as_bytes()),
            Self::Output(data) => packet(b'o', data),
            Self::ErrorOutput(data) => packet(b'e', data),
            Self::Exited { status } => packet(b'x', &status.to_le_bytes()),
        }
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// `InvalidData` for what this version does not know.
    pub fn decode(bytes: &[u8]) -> io::Result<Self> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, "an answer this program does not know");
        let number = |p: &[u8]| p.try_into().map(i32::from_le_bytes).map_err(|_| invalid());
        let (letter, payload) = bytes.split_first().ok_or_else(invalid)?;
        Ok(match letter {
            b'P' => Self::Started { pid: number(payload)? },
            b's' => Self::Session { id: String::from_utf8_lossy(payload).into_owned() },
            b'E' => {
                let (cause, text) = payload.split_first().ok_or_else(invalid)?;
                let cause = match cause {
                    1 => Cause::NotFound,
                    2 => Cause::NotExecutable,
                    _ => Cause::Setup,
                };
                Self::Failed { cause, message: String::from_utf8_lossy(text).into_owned() }
            }
            b'n' => Self::Warning { message: String::from_utf8_lossy(payload).into_owned() },
            b'o' => Self::Output(payload.to_vec()),
            b'e' => Self::ErrorOutput(payload.to_vec()),
            b'x' => Self::Exited { status: number(payload)? },
            _ => return Err(invalid()),
        })
    }
}

/// A front end's end.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
}

impl Connection {
    /// The pid of the process that listens; it is that process's as long as this is open and answers.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn peer(&self) -> io::Result<i32> {
        Ok(rustix::net::sockopt::socket_peercred(&self.socket)?.pid.as_raw_nonzero().get())
    }

    /// Connects to the monitor whose run directory is `run_dir`.
    ///
    /// # Errors
    /// `NotFound` or `ConnectionRefused` when there is no monitor.
    pub fn open(run_dir: &Path) -> io::Result<Self> {
        Self::open_within(run_dir, None)
    }

    /// The same, with a limit for each time that the monitor is waited for.
    ///
    /// # Errors
    /// As [`Connection::open`]; `WouldBlock` when the time is over, then and later.
    pub fn open_within(run_dir: &Path, limit: Option<Duration>) -> io::Result<Self> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        for which in [Timeout::Recv, Timeout::Send].into_iter().filter(|_| limit.is_some()) {
            set_socket_timeout(&socket, which, limit)?;
        }
        let (address, _dir) = pipe::address_in(run_dir, SOCKET)?;
        connect(&socket, &address)?;
        Ok(Self { socket })
    }

    /// Uses one end of a socket pair whose other end was given to a new monitor.
    pub fn from_fd(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// `BrokenPipe` when the monitor is gone, `InvalidInput` when it is too long.
    pub fn send(&self, request: &Request) -> io::Result<()> {
        self.send_with(request, &[])
    }

    /// The same, with descriptors: at most [`MAX_DESCRIPTORS`].
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub fn send_with(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = request.encode()?;
        if bytes.len() <= MAX_PACKET {
            return pipe::send(&self.socket, &bytes, fds).map(drop);
        }
        if bytes.len() as u64 > MAX_REQUEST {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "arguments and environment are too long",
            ));
        }
        let file = sealed(&bytes)?;
        let all: Vec<_> = std::iter::once(file.as_fd()).chain(fds.iter().copied()).collect();
        pipe::send(&self.socket, &[FILE], &all).map(drop)
    }

    /// Sends a request if that needs no waiting; whether it was sent. A front end that waited here while its monitor waits for
    /// it to read would wait for ever.
    ///
    /// # Errors
    /// `BrokenPipe` when the monitor is gone.
    pub fn try_send(&self, request: &Request) -> io::Result<bool> {
        match rustix::net::send(&self.socket, &request.encode()?, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(_) => Ok(true),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Waits for the next answer; `None` when the monitor is gone.
    ///
    /// # Errors
    /// The kernel's errno, or `InvalidData`.
    pub fn receive(&self) -> io::Result<Option<Answer>> {
        let mut buffer = vec![0; MAX_DATA + 16];
        let received = match pipe::receive(&self.socket, &mut buffer) {
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            other => other?,
        };
        if received.len == 0 { Ok(None) } else { Answer::decode(&buffer[..received.len]).map(Some) }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_and_garbage_is_refused() {
        let request = Request::Resize { rows: 24, columns: 300 };
        let Request::Resize { rows, columns } = Request::decode(&request.encode().unwrap()).unwrap() else {
            panic!("another request")
        };
        assert_eq!((rows, columns), (24, 300));
        let answer = Answer::Failed { cause: Cause::NotFound, message: "no such file".into() };
        assert!(matches!(
            Answer::decode(&answer.encode()).unwrap(),
            Answer::Failed { cause: Cause::NotFound, message } if message == "no such file"
        ));
        for bad in [&b""[..], b"?", b"W12", b"A{", b"P", b"F"] {
            assert!(Request::decode(bad).is_err() || bad == b"P", "{bad:?}");
            assert!(Answer::decode(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_an_older_monitor_does_not_know_is_refused_and_what_is_not_used_is_not_said() {
        let refused = |bytes: &[u8]| Request::receive(bytes, &[]).unwrap_err().to_string();
        let said = refused(br#"X{"args":["true"],"preserve_fds":2}"#);
        assert!(said.contains("unknown field `preserve_fds`"), "{said}");
        assert!(said.contains("restart the container") && refused(b"Z").contains("this request"));
        let exec = Exec { args: vec!["true".into()], ..Exec::default() };
        assert_eq!(Request::Exec(Box::new(exec)).encode().unwrap(), br#"X{"args":["true"]}"#);
        let stop = Stop { signal: 15, timeout: None, keep: false };
        assert_eq!(Request::Stop(stop).encode().unwrap(), br#"S{"signal":15}"#);
    }

    #[test]
    fn a_long_request_arrives_and_only_sealed_files_are_read() {
        let (ours, theirs) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let text = vec![b'x'; 3 << 20];
        Connection::from_fd(ours.into()).send(&Request::Input(text.clone())).unwrap();
        let mut buffer = vec![0; MAX_PACKET];
        let received = pipe::receive(&theirs, &mut buffer).unwrap();
        let request = Request::receive(&buffer[..received.len], &received.fds).unwrap();
        assert!(matches!(request, Request::Input(data) if data == text));
        let (pipe, _end) = std::io::pipe().unwrap();
        let unsealed = rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        for fd in [OwnedFd::from(pipe), unsealed, File::open("/dev/zero").unwrap().into()] {
            assert!(Request::receive(b"F", &[fd]).is_err());
        }
    }
}
