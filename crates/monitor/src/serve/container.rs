//! One container under supervision: its start, its end, and what comes after.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use loment_events::{Event, Reporter};
use loment_logs::Writer;
use loment_runtime::Cause;
use loment_sys::clone::{CloneFlags, Fork, clone3};
use loment_sys::pipe;
use loment_sys::wait::Exit;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::Monitor;
use crate::client::Client;
use crate::decide::{Ended, restart_after};
use crate::epoll::Token;
use crate::error::Context;
use crate::health::Checks;
use crate::launch::{Document, Head};
use crate::memory::Memory;
use crate::notify::Relay;
use crate::protocol::{Answer, SOCKET, Stop};
use crate::session::Session;
use crate::state::State;
use crate::supervision::Recorded;
use crate::timers::Timer;
use crate::worker::End;
use crate::{Error, worker};

const SIGKILL: i32 = 9;
/// How long clients have to take their last messages.
const PARTING: Duration = Duration::from_secs(5);

/// A container, its monitor's view.
#[derive(Debug)]
pub(super) struct Supervised {
    pub(super) head: Head,
    pub(super) document: Document,
    pub(super) listener: OwnedFd,
    pub(super) log: Writer,
    /// The process that does something for the log.
    pub(super) log_worker: Option<i32>,
    /// Its program's streams each time it is started, if they are those of its starter.
    pub(super) passed: Option<worker::Ends>,
    /// Further descriptors of its starter's, and their numbers in its program.
    pub(super) descriptors: Vec<(i32, OwnedFd)>,
    pub(super) memory: Memory,
    /// Its group is watched.
    is_watched: bool,
    /// The session of its program.
    pub(super) main: u32,
    pub(super) stage: Stage,
    /// Held, with the starter or in its place, until the container runs or has failed to.
    pub(super) lock: Option<OwnedFd>,
    /// It is prepared, or about to be, and its program is not run yet.
    pub(super) prepared: bool,
    /// Open while it is looked after, of a member of a pod that ends with its members.
    pub(super) member: Option<OwnedFd>,
    /// Where it is seen that the last of those has ended.
    pub(super) members: Option<OwnedFd>,
    /// Its namespaces, of one that has no process: by their names in `/proc/PID/ns`.
    pub(super) held: Vec<(&'static str, OwnedFd)>,
    /// Somebody asked for that before it was.
    pub(super) begin_when_prepared: bool,
    /// Somebody asked that it end.
    pub(super) stopped: bool,
    /// Its monitor was: nothing starts it again.
    pub(super) ending: bool,
    /// They did before it ran.
    pub(super) stop_when_started: Option<Stop>,
    /// It is started again when it has ended, whatever its policy is.
    pub(super) start_again: bool,
    /// It is killed because its time is over.
    pub(super) expired: bool,
    /// What checks of its health have come to.
    pub(super) checks: Checks,
    /// The session of the check that runs.
    pub(super) check: Option<u32>,
    /// That one is of before its checks were changed.
    pub(super) stale_check: bool,
    /// How often it was started again.
    restarts: u32,
    /// How long the last of these was waited for.
    waited: Duration,
    pub(super) started: Option<Instant>,
    /// The way to a service manager.
    pub(super) relay: Option<Relay>,
    /// That has been told that it is ready.
    pub(super) was_ready: bool,
}

/// Where it is in its life.
#[derive(Debug)]
pub(super) enum Stage {
    /// Its program is being started, or runs.
    Active,
    /// A worker records its end; then clients are told.
    Cleaning { worker: Option<i32>, end: End, parting: Answer },
    /// It is started again when its time has come.
    Waiting,
    /// All is done, but clients have not read their last messages.
    Parting,
}

impl Supervised {
    pub(super) fn new(document: Document, head: Head, main: u32) -> Result<Self, Error> {
        let place = &head.place;
        Ok(Self {
            listener: listen(&head).context("listen in", place.run_dir.display())?,
            log: Writer::none(),
            log_worker: None,
            passed: None,
            descriptors: Vec::new(),
            memory: Memory::new(place),
            is_watched: false,
            main,
            stage: Stage::Active,
            lock: None,
            prepared: head.prepare || head.hold,
            held: Vec::new(),
            member: None,
            members: None,
            begin_when_prepared: false,
            stopped: false,
            ending: false,
            stop_when_started: None,
            start_again: false,
            expired: false,
            checks: Checks::default(),
            check: None,
            stale_check: false,
            restarts: 0,
            waited: Duration::ZERO,
            started: None,
            relay: None,
            was_ready: false,
            document,
            head,
        })
    }
}

impl Monitor {
    /// The container that a session's program is in, if the program is its first.
    pub(super) fn container_of_main(&self, session: u32) -> Option<u32> {
        let found = self.containers.iter().position(|c| c.as_ref().is_some_and(|c| c.main == session));
        found.map(|slot| slot as u32)
    }

    pub(super) fn container(&mut self, slot: u32) -> Option<&mut Supervised> {
        self.containers.get_mut(slot as usize)?.as_mut()
    }

    /// The number of a container's first process, while it runs.
    pub(super) fn running(&self, slot: u32) -> Option<i32> {
        let container = self.containers.get(slot as usize)?.as_ref()?;
        let main = container.main;
        // What it is said to be then is the monitor.
        if !container.held.is_empty() {
            return None;
        }
        // One that has been reaped is somebody else's number by now.
        self.sessions.get(main as usize)?.as_ref().filter(|s| s.exit.is_none())?.pid
    }

    /// Writes what has happened to a container, or in it.
    pub(super) fn tell_of(&self, slot: u32, events: impl FnOnce(&Reporter) -> Vec<Event>) {
        if let Some(Some(c)) = self.containers.get(slot as usize) {
            c.head.reporter.tell(&events(&c.head.reporter));
        }
    }

    pub(super) fn start(&mut self, slot: u32) {
        let Some(c) = self.containers[slot as usize].as_mut() else { return };
        c.stage = Stage::Active;
        c.prepared |= c.head.hold;
        if c.restarts == 0 {
            match Writer::open(c.head.log.clone()) {
                Ok(log) => c.log = log,
                Err(e) => {
                    let message = format!("open the log: {e}");
                    return self.fail_start(slot, Answer::Failed { cause: Cause::Setup, message });
                }
            }
        }
        let (main, stdin, restarts) = (c.main, c.head.stdin, c.restarts);
        // It has streams already, or gets them from its terminal.
        let has_streams = c.head.terminal || c.passed.is_some();
        let attached = self.clients.iter().flatten().any(|c| c.session == Some(main) && c.streams.any());
        let started = self.spawn(main, slot, has_streams, stdin, |monitor, setup| {
            match monitor.containers.get(slot as usize) {
                Some(Some(c)) => {
                    let ends = c.passed.as_ref().or(setup.ends.as_ref());
                    let streams = (ends, c.descriptors.as_slice());
                    let when = if c.prepared { worker::When::Asked } else { worker::When::Now };
                    worker::start(&c.document, &c.head.place, (restarts, when), streams, &setup.report)
                        .inspect(|_| worker::tell_of_start(&c.head.reporter, when, attached))
                }
                _ => unreachable!("it was there before the fork"),
            }
        });
        if let Err(e) = started {
            self.fail_start(
                slot,
                Answer::Failed { cause: Cause::Setup, message: format!("start a worker: {e}") },
            );
        }
    }

    /// Its program runs.
    pub(super) fn note_start(&mut self, slot: u32) {
        let Some(c) = self.containers[slot as usize].as_mut() else { return };
        if !c.is_watched {
            c.is_watched = true;
            if let Some(changes) = c.memory.watch(&c.head.place) {
                // Without, it is asked when something ends.
                let _ = self.epoll.add(changes, Token::Memory(slot));
            }
        }
        let Some(c) = self.containers[slot as usize].as_mut() else { return };
        if c.prepared {
            let (stop, begin) = (c.stop_when_started.take(), std::mem::take(&mut c.begin_when_prepared));
            return match stop {
                Some(stop) => self.stop(slot, &stop),
                None if self.container(slot).is_some_and(|c| c.head.hold) => self.hold(slot),
                None if begin => self.begin(slot),
                None => {}
            };
        }
        if c.head.hold && c.held.is_empty() {
            return;
        }
        c.started = Some(Instant::now());
        if let Some(seconds) = c.head.supervision.timeout.filter(|&seconds| seconds > 0) {
            self.timers.set(Timer::Expire(slot), Duration::from_secs(seconds.into()));
        }
        self.notify_start(slot);
        self.begin_checks(slot);
        if let Some(stop) = self.container(slot).and_then(|c| c.stop_when_started.take()) {
            self.stop(slot, &stop);
        }
    }

    /// Runs the program of one that was only prepared.
    pub(super) fn begin(&mut self, slot: u32) {
        let Some(c) = self.container(slot).filter(|c| c.prepared) else { return };
        let main = c.main;
        if self.running(slot).is_none() {
            // It is not prepared yet, or it has ended.
            if let Some(c) = self.container(slot) {
                c.begin_when_prepared = true;
            }
            return;
        }
        let begun = self.report_to(main, |monitor| match monitor.containers.get(slot as usize) {
            Some(Some(c)) => {
                let attached = |c: &Client| c.session == Some(main) && c.streams.any();
                let attached = monitor.clients.iter().flatten().any(attached);
                worker::begin(&c.document, &c.head.place)
                    .inspect(|_| worker::tell_of_start(&c.head.reporter, worker::When::Begun, attached))
            }
            _ => unreachable!("it was there before the fork"),
        });
        if let Some(c) = self.container(slot) {
            (c.prepared, c.head.prepare) = (false, false);
        }
        if let Err(e) = begun {
            let message = format!("start a worker: {e}");
            self.fail_start(slot, Answer::Failed { cause: Cause::Setup, message });
        }
    }

    pub(super) fn fail_start(&mut self, slot: u32, answer: Answer) {
        let (Answer::Failed { cause, message }, Some(c)) = (&answer, self.container(slot)) else { return };
        // Its fate is known.
        c.lock = None;
        // For one that ran before, this is an end; for another, its state stays what it was.
        let exit = (c.restarts > 0).then_some(Exit::Code(failed_status(*cause).into()));
        let error = message.clone();
        self.clean_up_with(slot, exit, error, answer);
    }

    /// Its program has ended; or the process that waited to run it, which leaves its state what it was.
    pub(super) fn clean_up(&mut self, slot: u32, exit: Exit) {
        if self.container(slot).is_some_and(|c| c.prepared) {
            return self.clean_up_with(slot, None, String::new(), Answer::Exited { status: exit.status() });
        }
        let expired = self.container(slot).is_some_and(|c| std::mem::take(&mut c.expired));
        // What conmon says of one whose time was over.
        let exit = if expired && exit == Exit::Signal(SIGKILL) { Exit::Code(-1) } else { exit };
        self.clean_up_with(slot, Some(exit), String::new(), Answer::Exited { status: exit.status() });
    }

    /// Records its end, and does what else is to be done then, in a worker.
    fn clean_up_with(&mut self, slot: u32, exit: Option<Exit>, error: String, parting: Answer) {
        self.timers.cancel_all(slot);
        self.finish_relay(slot);
        if exit.is_some() && self.container(slot).is_some_and(|c| c.check.is_some()) {
            self.end_unchecked(slot);
        }
        let Some(c) = self.container(slot) else { return };
        (c.check, c.stale_check) = (None, false);
        // It may have been changed since it was started.
        c.reread();
        let again = std::mem::take(&mut c.start_again) && !c.is_to_end();
        let restart = exit.and_then(|exit| c.restart_after(exit).or(again.then_some(Duration::ZERO)));
        let out_of_memory = c.memory.ran_out(&c.head.place, exit);
        let checkpointed = exit == Some(Exit::Signal(SIGKILL)) && c.head.place.is_being_saved();
        let restart = restart.filter(|_| !checkpointed);
        let end = End { exit, error, out_of_memory, checkpointed, restart };
        let worker = match clone3(CloneFlags::empty(), None) {
            Ok(Fork::Child) => loment_sys::process::exit_now(worker::clean_up_unless_shut_down(
                &c.head.place,
                &c.head.reporter,
                &end,
            )),
            Ok(Fork::Parent { pid, .. }) => Some(pid.as_raw_nonzero().get()),
            // No process to be had.
            Err(_) => None,
        };
        c.stage = Stage::Cleaning { worker, end, parting };
        if worker.is_none() {
            self.cleaned(slot, None);
        }
    }

    /// The worker that cleans up has ended: clients are told, and then it is started again, or that was it.
    pub(super) fn cleaned(&mut self, slot: u32, worker: Option<Exit>) {
        let Some(c) = self.container(slot) else { return };
        let Stage::Cleaning { end, parting, .. } = std::mem::replace(&mut c.stage, Stage::Parting) else {
            return;
        };
        let restart = match worker {
            Some(Exit::Code(0)) => end.restart,
            Some(Exit::Code(worker::SHUT_DOWN)) => None,
            // There was none, or it was killed: an end that nobody records would be forgotten.
            _ => {
                worker::clean_up(&c.head.place, &c.head.reporter, &end);
                end.restart
            }
        };
        let main = c.main;
        self.status = match &parting {
            Answer::Exited { status } => *status as u8,
            Answer::Failed { cause, .. } => failed_status(*cause),
            _ => 0,
        };
        self.tell(main, &parting);
        let Some(c) = self.containers[slot as usize].as_mut() else { return };
        match restart {
            Some(after) => {
                c.stage = Stage::Waiting;
                (c.restarts, c.waited, c.started) = (c.restarts + 1, after, None);
                (c.memory, c.is_watched) = (Memory::new(&c.head.place), false);
                let is_to_end = c.is_to_end();
                self.release_clients(main);
                self.sessions[main as usize] = Some(Session::of(slot));
                self.timers.set(Timer::Restart(slot), after);
                // It was asked to stop in the meantime.
                if is_to_end {
                    self.end_now(slot);
                }
            }
            None => {
                self.epoll.remove(&c.listener);
                self.timers.set(Timer::Part(slot), PARTING);
            }
        }
    }

    /// Ends one that waits for its next start for good.
    pub(super) fn end_now(&mut self, slot: u32) {
        let Some(c) = self.container(slot) else { return };
        let state = State::load(&c.head.place.dir).unwrap_or_default();
        self.clean_up_with(slot, None, state.error, Answer::Exited { status: state.exit_code });
    }

    /// Forgets what is over.
    pub(super) fn part(&mut self, slot: u32, overdue: bool) {
        let Some(c) = self.container(slot).filter(|c| matches!(c.stage, Stage::Parting)) else { return };
        let main = c.main;
        let behind = |c: &Client| c.session == Some(main) && c.is_behind();
        if !overdue && self.clients.iter().flatten().any(behind) {
            return;
        }
        self.timers.cancel(Timer::Part(slot));
        if let Some(c) = self.containers[slot as usize].take() {
            self.gone.push((c.head.place, c.head.reporter));
        }
        // Programs that were run in it have ended with it.
        for session in &mut self.sessions {
            session.take_if(|session| session.slot == slot);
        }
        for n in 0..self.clients.len() as u32 {
            if self.clients[n as usize].as_ref().is_some_and(|client| client.slot == slot) {
                self.drop_client(n);
            }
        }
    }
}

impl Supervised {
    /// Reads again of its record what may change while it runs; whether that could be read.
    pub(super) fn reread(&mut self) -> bool {
        let Some(recorded) = Recorded::read(&self.head.place.dir) else { return false };
        self.head.supervision = recorded.supervision;
        self.head.reporter.rename(&recorded.name);
        if let Some(removal) = &mut self.head.place.removal {
            removal.name = recorded.name;
        }
        true
    }

    /// Whoever ends it means it to stay so.
    fn is_to_end(&self) -> bool {
        self.stopped || self.ending
    }

    fn restart_after(&self, exit: Exit) -> Option<Duration> {
        let ended = Ended {
            failed: exit.status() != 0,
            stopped: self.is_to_end(),
            ran: self.started.map_or(Duration::ZERO, |started| started.elapsed()),
            restarts: self.restarts,
            waited: self.waited,
        };
        restart_after(self.head.supervision.restart, ended)
    }
}

/// The exit status of a container whose program could not be started.
fn failed_status(cause: Cause) -> u8 {
    match cause {
        Cause::Setup => 125,
        Cause::NotExecutable => 126,
        Cause::NotFound => 127,
    }
}

fn listen(head: &Head) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    let (address, _dir) = pipe::address_in(&head.place.run_dir, SOCKET)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, 64)?;
    Ok(socket)
}
