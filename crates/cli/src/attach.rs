//! Taking part in a program's standard streams.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use loment_engine::{Answer, Connection, Request, Streams};
use loment_sys::signal::{self, SignalSet};
use rustix::event::{PollFd, PollFlags, poll};

use crate::detach::Detach;
use crate::error::{Doing, Error};
use crate::output::complain;
use crate::terminal::{self, RawMode};

/// The most read from standard input at once: one message.
const CHUNK: usize = 16 * 1024;
const SIGWINCH: i32 = 28;

/// Signals that are handed on to the program: all that one process sends another, but those that are about this process's own pipes,
/// children, sockets, terminal and faults.
fn forwarded() -> impl Iterator<Item = i32> {
    let [hup, int, quit, abrt, usr1, usr2, alrm, term, stkflt, cont] = [1, 2, 3, 6, 10, 12, 14, 15, 16, 18];
    let [xcpu, xfsz, vtalrm, prof, io, pwr] = [24, 25, 26, 27, 29, 30];
    let named =
        [hup, int, quit, abrt, usr1, usr2, alrm, term, stkflt, cont, xcpu, xfsz, vtalrm, prof, io, pwr];
    // And the real-time ones.
    named.into_iter().chain(34..=64)
}

/// Standard input, output and error output of this program.
pub(crate) fn own_streams() -> [BorrowedFd<'static>; 3] {
    [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()]
}

/// How a program is taken part in.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    pub(crate) connection: Connection,
    pub(crate) streams: Streams,
    pub(crate) terminal: bool,
    pub(crate) detach_keys: &'a str,
    /// Signals this program gets are sent to that process instead, once it is known.
    pub(crate) forward_signals: bool,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The program ended with this status.
    Exited(i32),
    /// The user left; the program goes on.
    Detached,
}

impl Session<'_> {
    /// Moves bytes until the program ends or the user leaves.
    pub(crate) fn run(mut self) -> Result<Outcome, Error> {
        // Before raw mode: a bad sequence must not cost the user the terminal.
        let mut detach = Detach::parse(if self.terminal { self.detach_keys } else { "" })?;
        let signals = self.watch_signals().doing(|| "watch signals".into())?;
        let raw = if self.terminal && self.streams.stdin { RawMode::enter() } else { Ok(None) };
        let raw = raw.doing(|| "change the terminal's mode".into())?;
        if self.terminal {
            self.resize();
        }
        let outcome = self.pump(&mut detach, &signals);
        drop(raw);
        outcome
    }

    fn watch_signals(&self) -> io::Result<OwnedFd> {
        let mut wanted = vec![SIGWINCH];
        if self.forward_signals && !self.terminal {
            wanted.extend(forwarded());
        }
        let set = SignalSet::of(&wanted);
        signal::set_mask(&set)?;
        signal::signal_fd(&set)
    }

    fn resize(&self) {
        if let Some((rows, columns)) = terminal::size() {
            // A monitor that is gone is noticed by reading from it.
            let _ = self.connection.send(&Request::Resize { rows, columns });
        }
    }

    fn pump(&mut self, detach: &mut Detach, signals: &OwnedFd) -> Result<Outcome, Error> {
        let stdin = std::io::stdin();
        let mut input = self.streams.stdin;
        let mut waiting: Option<Request> = None;
        let mut process = None;
        loop {
            let reading = input && waiting.is_none();
            let ready = wait(&self.connection, signals, reading.then(|| stdin.as_fd()), waiting.is_some())
                .doing(|| "wait for input".into())?;
            if ready.connection {
                match self.connection.receive().doing(|| "hear from the monitor".into())? {
                    Some(answer) => {
                        if let Some(outcome) = self.take(answer, &mut process)? {
                            return Ok(outcome);
                        }
                    }
                    None => return Err(Error::Invalid("the monitor ended unexpectedly".into())),
                }
            }
            if ready.signal {
                self.handle_signals(signals, process.as_ref());
            }
            if ready.input {
                let mut buffer = vec![0; CHUNK];
                let n = rustix::io::read(stdin.as_fd(), &mut buffer).unwrap_or(0);
                if n == 0 {
                    input = false;
                    waiting = Some(Request::InputEnd);
                } else {
                    let (data, leave) = detach.filter(&buffer[..n]);
                    if leave {
                        // What was typed before, unless the program does not read: whoever leaves does not wait for it.
                        if !data.is_empty() {
                            let _ = self.connection.try_send(&Request::Input(data));
                        }
                        return Ok(Outcome::Detached);
                    }
                    waiting = (!data.is_empty()).then_some(Request::Input(data));
                }
            }
            if let Some(request) = &waiting {
                // Never waiting here: the monitor may be waiting for us to read.
                match self.connection.try_send(request) {
                    Ok(true) => waiting = None,
                    Ok(false) => {}
                    Err(_) => (waiting, input) = (None, false),
                }
            }
        }
    }

    fn take(&mut self, answer: Answer, process: &mut Option<OwnedFd>) -> Result<Option<Outcome>, Error> {
        match answer {
            Answer::Output(data) => write_all(&mut io::stdout(), &data)?,
            Answer::ErrorOutput(data) => write_all(&mut io::stderr(), &data)?,
            Answer::Warning { message } => complain(&format!("Warning: {message}")),
            // For who has no part in a program's streams.
            Answer::Session { .. } => {}
            Answer::Started { pid } => *process = open_process(pid),
            Answer::Failed { cause, message } => {
                return Err(loment_engine::Error::Start { cause, message }.into());
            }
            Answer::Exited { status } => return Ok(Some(Outcome::Exited(status))),
        }
        Ok(None)
    }

    fn handle_signals(&self, signals: &OwnedFd, process: Option<&OwnedFd>) {
        while let Ok(Some(number)) = signal::take_signal(signals.as_fd()) {
            match (number, process) {
                (SIGWINCH, _) => self.resize(),
                (n, Some(process)) => drop(loment_sys::process::pidfd_signal(process.as_fd(), n)),
                (n, None) => {
                    // Nothing runs yet: the signal is for this program.
                    let _ = signal::set_mask(&SignalSet::empty());
                    let _ = loment_sys::process::kill(rustix::process::getpid().as_raw_nonzero().get(), n);
                }
            }
        }
    }
}

/// A descriptor of the program: its number may be another's by the time a signal comes.
fn open_process(pid: i32) -> Option<OwnedFd> {
    rustix::process::pidfd_open(rustix::process::Pid::from_raw(pid)?, rustix::process::PidfdFlags::empty())
        .ok()
}

/// A reader that has gone ends this program, as SIGPIPE would; the container goes on.
fn write_all(out: &mut impl Write, data: &[u8]) -> Result<(), Error> {
    match out.write_all(data).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(Error::Shown { status: 128 + 13 }),
        other => other.doing(|| "write the program's output".into()),
    }
}

#[derive(Debug, Default)]
struct Ready {
    connection: bool,
    signal: bool,
    input: bool,
}

fn wait(
    connection: &Connection,
    signals: &OwnedFd,
    stdin: Option<BorrowedFd<'_>>,
    sending: bool,
) -> io::Result<Ready> {
    let mut wanted = PollFlags::IN;
    if sending {
        wanted |= PollFlags::OUT;
    }
    let mut fds = vec![PollFd::new(connection, wanted), PollFd::new(signals, PollFlags::IN)];
    if let Some(stdin) = stdin {
        fds.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
    }
    match poll(&mut fds, None) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok(Ready::default()),
        Err(e) => return Err(e.into()),
    }
    let readable = |fd: &PollFd<'_>| fd.revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
    Ok(Ready {
        connection: readable(&fds[0]),
        signal: readable(&fds[1]),
        input: fds.get(2).is_some_and(readable),
    })
}

/// The exit status of a program that ran, or could not.
pub(crate) fn exit_status(result: Result<Outcome, Error>) -> Result<u8, Error> {
    match result? {
        Outcome::Exited(status) => Ok(status as u8),
        Outcome::Detached => Ok(0),
    }
}
