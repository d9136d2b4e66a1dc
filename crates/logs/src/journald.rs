//! Writing to systemd's journal in its own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): a datagram per message, of fields.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use loment_sys::memfd;
use memchr::memchr;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, connect, sendmsg, socket_with, sockopt,
};

use crate::record::Stream;
use crate::time::Moment;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// A line is sent in parts of so many bytes, as conmon and Docker do. The journal itself takes some hundred times that.
const PART: usize = 16 * 1024;
/// What is sent at once may wait in the kernel up to so many bytes.
const SEND_BUFFER: usize = 8 << 20;

/// How long the end of a stream waits for the journal where nothing else does.
const GRACE: Duration = Duration::from_secs(1);

/// A connection to the journal.
#[derive(Debug)]
pub(crate) struct Journal {
    socket: OwnedFd,
    /// Where it listens.
    path: &'static str,
    /// Fields of every message.
    fields: Vec<u8>,
    /// Beginnings of lines.
    lines: [Vec<u8>; 2],
    /// Messages that were not taken, and their length together.
    waiting: VecDeque<Vec<u8>>,
    held: usize,
    /// What does not fit into so many bytes is lost, and nobody waits.
    buffer: Option<u64>,
}

impl Journal {
    pub(crate) fn open(fields: &BTreeMap<String, String>, buffer: Option<u64>) -> io::Result<Self> {
        let explain =
            |e: io::Error| io::Error::new(e.kind(), format!("connect to the journal at {SOCKET}: {e}"));
        Self::connect(SOCKET, fields, buffer).map_err(explain)
    }

    fn connect(
        path: &'static str,
        fields: &BTreeMap<String, String>,
        buffer: Option<u64>,
    ) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        // Less will do, too.
        let _ = sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER);
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        let mut encoded = Vec::new();
        for (name, value) in fields {
            field(&mut encoded, name, value.as_bytes());
        }
        Ok(Self {
            socket,
            path,
            fields: encoded,
            lines: [Vec::new(), Vec::new()],
            waiting: VecDeque::new(),
            held: 0,
            buffer,
        })
    }

    pub(crate) fn write(&mut self, stream: Stream, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let line = &mut self.lines[stream as usize];
            let end = memchr(b'\n', data);
            let take = end.unwrap_or(data.len()).min(PART - line.len());
            line.extend(&data[..take]);
            let is_whole = end == Some(take);
            data = &data[take + usize::from(is_whole)..];
            // A line that fills a part exactly is not sent as one and then as nothing.
            if is_whole || (line.len() == PART && !data.is_empty()) {
                self.message(stream, !is_whole)?;
            }
        }
        self.resume()
    }

    pub(crate) fn finish(&mut self, stream: Stream) -> io::Result<()> {
        if !self.lines[stream as usize].is_empty() {
            self.message(stream, false)?;
        }
        self.resume()?;
        if self.buffer.is_some() {
            self.wait_a_moment()?;
        }
        Ok(())
    }

    /// What was kept has no other chance than this one.
    fn wait_a_moment(&mut self) -> io::Result<()> {
        let end = Instant::now() + GRACE;
        while !self.waiting.is_empty() {
            let left = Timespec::try_from(end.saturating_duration_since(Instant::now())).unwrap_or_default();
            if poll(&mut [PollFd::new(&self.socket, PollFlags::OUT)], Some(&left))? == 0 {
                break;
            }
            self.resume()?;
        }
        Ok(())
    }

    /// Makes a message of what is there of a line.
    fn message(&mut self, stream: Stream, partial: bool) -> io::Result<()> {
        let text = std::mem::take(&mut self.lines[stream as usize]);
        let mut message = Vec::with_capacity(text.len() + self.fields.len() + 128);
        field(&mut message, "MESSAGE", &text);
        // 6 is information, 3 an error (syslog(3)).
        field(&mut message, "PRIORITY", if stream == Stream::Stderr { b"3" } else { b"6" });
        if partial {
            field(&mut message, "CONTAINER_PARTIAL_MESSAGE", b"true");
        }
        // The journal has a time of its own: that at which it came to this message.
        field(&mut message, "SYSLOG_TIMESTAMP", Moment::now().to_string().as_bytes());
        message.extend(&self.fields);
        if let Some(most) = self.buffer
            && (self.held + message.len()) as u64 > most
        {
            self.resume()?;
            if !self.waiting.is_empty() && (self.held + message.len()) as u64 > most {
                return Ok(());
            }
        }
        self.held += message.len();
        self.waiting.push_back(message);
        Ok(())
    }

    /// The socket, while it takes nothing.
    pub(crate) fn blocked_on(&self) -> Option<BorrowedFd<'_>> {
        (!self.waiting.is_empty() && self.buffer.is_none()).then(|| self.socket.as_fd())
    }

    pub(crate) fn resume(&mut self) -> io::Result<()> {
        while let Some(message) = self.waiting.front() {
            let sent = match send(&self.socket, message) {
                Err(Errno::AGAIN | Errno::NOBUFS) => return Ok(()),
                Err(Errno::INTR) => continue,
                // The journal was started again, with another socket. A message that finds none is lost.
                Err(Errno::CONNREFUSED | Errno::CONNRESET | Errno::NOTCONN) => SocketAddrUnix::new(self.path)
                    .and_then(|address| connect(&self.socket, &address))
                    .and_then(|()| send(&self.socket, message)),
                sent => sent,
            };
            self.held -= message.len();
            self.waiting.pop_front();
            sent?;
        }
        Ok(())
    }
}

/// `NAME=VALUE`, or with its length if there are ends of lines in it.
fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend((value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend(value);
    out.push(b'\n');
}

fn send(socket: &OwnedFd, message: &[u8]) -> Result<(), Errno> {
    let flags = SendFlags::NOSIGNAL;
    match sendmsg(socket, &[IoSlice::new(message)], &mut SendAncillaryBuffer::default(), flags) {
        // Too large for a datagram.
        Err(Errno::MSGSIZE | Errno::NOBUFS) => {}
        sent => return sent.map(drop),
    }
    let file = memfd::sealed("message", memfd::Content::Data, |file| file.write_all(message));
    let file = file.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [file.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(socket, &[], &mut control, flags).map(drop)
}
