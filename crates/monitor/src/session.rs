//! One program: the container's own, or one that was run in it.

use std::io;
use std::os::fd::OwnedFd;

use loment_logs::Stream;
use loment_sys::wait::Exit;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::sink::Sink;
use crate::source::Source;
use crate::worker::Ends;

/// A program and its streams.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// The container it is in.
    pub(crate) slot: u32,
    /// Where its worker reports, until it has.
    pub(crate) worker: Option<OwnedFd>,
    /// The worker itself, until it has been reaped.
    pub(crate) worker_pid: Option<i32>,
    pub(crate) pid: Option<i32>,
    pub(crate) exit: Option<Exit>,
    /// Output and error output.
    pub(crate) sources: [Option<Source>; 2],
    pub(crate) sink: Option<Sink>,
    pub(crate) terminal: Option<OwnedFd>,
    /// Asked for before there was a terminal.
    pub(crate) size: Option<(u16, u16)>,
    /// What runs, of a program that is run later.
    pub(crate) command: String,
    /// Of a program that was run in the container: 64 hexadecimal digits; otherwise empty.
    pub(crate) id: String,
    /// What a check of the container's health writes.
    pub(crate) capture: Option<Capture>,
    /// It was killed since it took too long.
    pub(crate) overdue: bool,
}

/// What a program writes, the beginning of it.
#[derive(Debug)]
pub(crate) struct Capture {
    /// When it was started: RFC 3339.
    pub(crate) start: String,
    pub(crate) output: Vec<u8>,
    /// Bytes that are kept at most.
    pub(crate) most: usize,
}

impl Capture {
    pub(crate) fn take(&mut self, data: &[u8]) {
        let left = self.most.saturating_sub(self.output.len());
        self.output.extend(&data[..data.len().min(left)]);
    }
}

/// How a session's streams are set up.
pub(crate) struct Setup {
    pub(crate) session: Session,
    /// The program's ends; none with a terminal.
    pub(crate) ends: Option<Ends>,
    pub(crate) report: OwnedFd,
}

impl Session {
    /// Nothing has been started yet.
    pub(crate) fn of(slot: u32) -> Self {
        Self { slot, ..Self::default() }
    }

    /// A session about to be started, with pipes unless it has streams: a terminal, or those of somebody else.
    pub(crate) fn prepare(slot: u32, has_streams: bool, stdin: bool) -> io::Result<Setup> {
        let (worker, report) = Self::channel()?;
        let mut session = Self { slot, worker: Some(worker), ..Self::default() };
        if has_streams {
            return Ok(Setup { session, ends: None, report });
        }
        let (out, out_end) = pipe_with(PipeFlags::CLOEXEC)?;
        let (err, err_end) = pipe_with(PipeFlags::CLOEXEC)?;
        let in_end = if stdin {
            let (in_end, input) = pipe_with(PipeFlags::CLOEXEC)?;
            session.sink = Some(Sink::new(input)?);
            in_end
        } else {
            std::fs::File::open("/dev/null")?.into()
        };
        session.sources = [Some(Source::new(out, Stream::Stdout)?), Some(Source::new(err, Stream::Stderr)?)];
        Ok(Setup { session, ends: Some([in_end, out_end, err_end]), report })
    }

    /// Where a worker reports: our end, and its.
    pub(crate) fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
        Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
    }

    /// Takes over the terminal that the program got.
    pub(crate) fn take_terminal(&mut self, terminal: OwnedFd) -> io::Result<()> {
        self.sources[0] = Some(Source::new(terminal.try_clone()?, Stream::Stdout)?);
        self.sink = Some(Sink::new(terminal.try_clone()?)?);
        self.terminal = Some(terminal);
        self.size.map_or(Ok(()), |(rows, columns)| self.resize(rows, columns))
    }

    pub(crate) fn resize(&mut self, rows: u16, columns: u16) -> io::Result<()> {
        let Some(terminal) = &self.terminal else {
            self.size = Some((rows, columns));
            return Ok(());
        };
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(rustix::termios::tcsetwinsize(terminal, size)?)
    }

    /// Whether it has ended, everything it wrote was read, and no worker has still to say how its start went.
    pub(crate) fn is_over(&self) -> bool {
        self.exit.is_some() && self.worker.is_none() && self.sources.iter().all(Option::is_none)
    }
}
