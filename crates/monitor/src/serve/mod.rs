//! The monitor's loop; containers, their programs, streams and clients are in modules of their own.

mod clients;
mod container;
mod health;
mod hold;
mod log;
mod notify;
mod sessions;
mod stop;
mod streams;

use std::os::fd::{AsFd, OwnedFd};

use loment_events::Reporter;
use loment_sys::fd;
use loment_sys::signal::{self, SignalSet};
use loment_sys::wait::Exit;

use self::container::{Stage, Supervised};
use crate::client::Client;
use crate::epoll::{Epoll, Token};
use crate::error::Context;
use crate::launch::{CLIENT_FD, Document, Head, LAUNCH_FD, LOCK_FD, Place, STREAMS_FD};
use crate::session::Session;
use crate::timers::{Timer, Timers};
use crate::{Error, worker};

/// Supervises the container that the inherited launch document describes, until it has ended and is cleaned up. Returns its exit status,
/// with which the process is to end: a service manager that takes it for the service's own hears how that ended.
///
/// # Errors
/// [`Error`] when supervision could not begin; what happens later is told to clients and recorded.
pub fn serve() -> Result<u8, Error> {
    let file = fd::take_inherited(LAUNCH_FD).context("open", "the launch document")?;
    let (document, head) = Document::open(file)?;
    let mut monitor = Monitor::new()?;
    let slot = monitor.add_container(document, head)?;
    let passed = match monitor.container(slot).map(|c| &c.head.log) {
        Some(loment_logs::Settings::Passthrough) => {
            let stream = |n| fd::take_inherited(STREAMS_FD + n).context("open", "the streams of the starter");
            Some([stream(0)?, stream(1)?, stream(2)?])
        }
        _ => None,
    };
    let after = if passed.is_some() { STREAMS_FD + 3 } else { STREAMS_FD };
    let numbers = monitor.container(slot).map(|c| c.head.passed.clone()).unwrap_or_default();
    let descriptors = numbers.into_iter().zip(after..).map(|(number, fd)| {
        Ok((number, fd::take_inherited(fd).context("open", "a descriptor of the starter")?))
    });
    let descriptors = descriptors.collect::<Result<Vec<_>, Error>>()?;
    let is_member = monitor.container(slot).is_some_and(|c| c.head.is_member);
    let member = is_member.then(|| fd::take_inherited(after + descriptors.len() as i32));
    let member = member.transpose().context("open", "the pod's list of members")?;
    let lock = fd::take_inherited(LOCK_FD).context("open", "the container's lock")?;
    if let Some(c) = monitor.container(slot) {
        (c.lock, c.passed, c.descriptors, c.member) = (Some(lock), passed, descriptors, member);
    }
    monitor.watch_members(slot).context("watch", "the members of the pod")?;
    monitor.open_relay(slot).context("open", "the way to the service manager")?;
    // What the first client asked was sent before this program was started: its output is not missed.
    let first = fd::take_inherited(CLIENT_FD).context("open", "the first client")?;
    // Its engine may have to put this program into its group first.
    if !clients::asks(&first) {
        return Ok(0);
    }
    monitor.add_client(slot, first);
    monitor.read_client(0);
    monitor.start(slot);
    monitor.run()?;
    for (place, reporter) in &monitor.gone {
        worker::leave_sweeper(place, reporter);
    }
    Ok(monitor.status)
}

#[derive(Debug)]
struct Monitor {
    epoll: Epoll,
    signals: OwnedFd,
    timers: Timers,
    containers: Vec<Option<Supervised>>,
    /// Programs: of each container its own, and those that were run in it.
    sessions: Vec<Option<Session>>,
    clients: Vec<Option<Client>>,
    unclaimed: Vec<(i32, Exit)>,
    /// Where the containers were that have ended.
    gone: Vec<(Place, Reporter)>,
    /// With which the last of them ended.
    status: u8,
}

impl Monitor {
    fn new() -> Result<Self, Error> {
        // It was executed by descriptor, which leaves a number for a name before Linux 6.14.
        let _ = rustix::thread::set_name(c"loment");
        // A session of its own: the terminal of whoever started it is not its business.
        let _ = rustix::process::setsid();
        // Nor is its directory, which it may want to unmount.
        rustix::process::chdir("/").context("change directory to", "/")?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .context("become", "a subreaper")?;
        // Whoever started this may have ignored SIGCHLD, which would hide every end.
        signal::reset_dispositions();
        signal::ignore_sigpipe();
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let set = SignalSet::of(&[1, 2, 3, 15, 17]);
        signal::set_mask(&set).context("block", "signals")?;
        let signals = signal::signal_fd(&set).context("open", "a signal descriptor")?;
        let epoll = Epoll::new().context("make", "an epoll")?;
        epoll.add(&signals, Token::Signal).context("watch", "signals")?;
        let timers = Timers::new().context("make", "a timer")?;
        epoll.add(&timers, Token::Timer).context("watch", "a timer")?;
        Ok(Self {
            epoll,
            signals,
            timers,
            containers: Vec::new(),
            sessions: Vec::new(),
            clients: Vec::new(),
            unclaimed: Vec::new(),
            gone: Vec::new(),
            status: 0,
        })
    }

    /// Takes a container on. It is not started yet.
    fn add_container(&mut self, document: Document, head: Head) -> Result<u32, Error> {
        let slot = free(&mut self.containers);
        let main = free(&mut self.sessions);
        let supervised = Supervised::new(document, head, main)?;
        self.epoll.add(&supervised.listener, Token::Listener(slot)).context("watch", "the listener")?;
        self.containers[slot as usize] = Some(supervised);
        self.sessions[main as usize] = Some(Session::of(slot));
        Ok(slot)
    }

    fn run(&mut self) -> Result<(), Error> {
        while self.containers.iter().any(Option::is_some) {
            for token in self.epoll.wait_lean().context("wait for", "events")? {
                match token {
                    Token::Listener(slot) => self.accept(slot),
                    Token::Signal => self.take_signals(),
                    Token::Timer => self.take_timers(),
                    Token::Client(n) => self.serve_client(n),
                    Token::Worker(n) => self.hear_worker(n),
                    Token::Source(n, error) => self.pump(n, usize::from(error)),
                    Token::Sink(n) => self.feed(n),
                    Token::Log(slot) => self.resume_log(slot),
                    Token::Members(slot) => self.members_left(slot),
                    Token::Notify(slot) => self.relay(slot),
                    Token::Memory(slot) => {
                        if let Some(c) = self.container(slot) {
                            c.memory.look(&c.head.place);
                        }
                    }
                }
            }
            for slot in 0..self.containers.len() as u32 {
                self.go_on(slot);
            }
        }
        Ok(())
    }

    /// What is to be done about a container when nothing else is known to happen to it.
    fn go_on(&mut self, slot: u32) {
        let Some(c) = self.container(slot) else { return };
        let (main, active) = (c.main, matches!(c.stage, Stage::Active));
        if active && let Some(exit) = self.session(main).filter(|s| s.is_over()).and_then(|s| s.exit) {
            self.clean_up(slot, exit);
        }
        self.part(slot, false);
    }

    fn session(&mut self, n: u32) -> Option<&mut Session> {
        self.sessions.get_mut(n as usize)?.as_mut()
    }

    fn take_signals(&mut self) {
        while let Ok(Some(number)) = signal::take_signal(self.signals.as_fd()) {
            if number == 17 {
                self.reap();
                continue;
            }
            // Whoever asks the monitor to stop means its containers.
            for slot in 0..self.containers.len() as u32 {
                self.pass_on(slot, number);
            }
        }
    }

    fn take_timers(&mut self) {
        while let Some(timer) = self.timers.next_due() {
            match timer {
                Timer::Kill(slot) => self.kill(slot),
                Timer::Expire(slot) => self.expire(slot),
                Timer::KillGroup(slot) => self.kill_group(slot),
                Timer::Restart(slot) => self.start(slot),
                Timer::Check(slot) => self.check(slot),
                Timer::CheckOver(slot) => self.end_check(slot),
                Timer::Notify(slot) => self.relay_late(slot),
                Timer::Part(slot) => self.part(slot, true),
            }
        }
    }
}

/// The number of a free place, at the end if there is no other.
fn free<T>(places: &mut Vec<Option<T>>) -> u32 {
    let found = places.iter().position(Option::is_none);
    found.unwrap_or_else(|| {
        places.push(None);
        places.len() - 1
    }) as u32
}
