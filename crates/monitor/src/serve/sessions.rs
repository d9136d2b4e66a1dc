//! Programs: started by workers, ended by themselves.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use loment_events::{What, more};
use loment_runtime::Cause;
use loment_sys::clone::{CloneFlags, Fork, clone3};
use loment_sys::pipe;
use loment_sys::wait::{Exit, reap_any};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;

use super::container::Stage;
use super::health::Checked;
use super::log::PATIENCE;
use super::{Monitor, free};
use crate::epoll::Token;
use crate::protocol::{Answer, Exec, MAX_DATA};
use crate::session::{Session, Setup};
use crate::state::{SESSIONS, new_id};
use crate::{Error, worker};

/// Ends of children nobody asked about yet are kept, up to this many.
const UNCLAIMED: usize = 64;

impl Monitor {
    pub(super) fn exec(&mut self, client: u32, slot: u32, request: &Exec, descriptors: Vec<OwnedFd>) {
        self.hear_of_start(slot);
        let fit =
            request.descriptors.len() == descriptors.len() && request.descriptors.iter().all(|&n| n > 2);
        let descriptors: Vec<_> = request.descriptors.iter().copied().zip(descriptors).collect();
        let n = free(&mut self.sessions);
        if let Some(c) = self.clients[client as usize].as_mut() {
            (c.session, c.streams) = (Some(n), request.streams);
        }
        let started = match self.running(slot) {
            None => Err(io::Error::other("the container is not running")),
            Some(_) if !fit => Err(io::Error::other("its descriptors are not those it speaks of")),
            Some(pid) => self.spawn(n, slot, request.terminal, request.streams.stdin, |monitor, setup| {
                let c = monitor.containers[slot as usize].as_ref().expect("it is running");
                let streams = (setup.ends.as_ref(), descriptors.as_slice());
                worker::exec(&c.document, &c.head.place, pid, request, streams)
            }),
        };
        let command = request.args.join(" ");
        match (started, self.session(n)) {
            (Ok(()), Some(session)) => {
                session.command = command;
                // Without an id it runs as well.
                session.id = new_id().unwrap_or_default();
            }
            (Ok(()), None) => {}
            (Err(e), _) => {
                self.end_session(n, &Answer::Failed { cause: Cause::Setup, message: e.to_string() })
            }
        }
    }

    /// Hears that a container runs which is recorded to run already: its worker records it and then says so.
    fn hear_of_start(&mut self, slot: u32) {
        let Some(main) = self.container(slot).map(|c| c.main) else { return };
        let timeout = Timespec { tv_sec: 1, tv_nsec: 0 };
        while self.running(slot).is_none()
            && let Some(worker) = self.session(main).and_then(|session| session.worker.as_ref())
            && poll(&mut [PollFd::new(worker, PollFlags::IN)], Some(&timeout)) == Ok(1)
        {
            self.hear_worker(main);
        }
    }

    /// Forks a worker for session `n` of the container `slot`; without pipes for one that `has_streams`.
    pub(super) fn spawn(
        &mut self,
        n: u32,
        slot: u32,
        has_streams: bool,
        stdin: bool,
        work: impl FnOnce(&Self, &Setup) -> Result<loment_runtime::Created, Error>,
    ) -> io::Result<()> {
        let setup = Session::prepare(slot, has_streams, stdin)?;
        let worker = self.fork(&setup.report, |monitor| {
            work(monitor, &setup).map(|created| (created.pid, created.terminal))
        })?;
        let mut session = setup.session;
        session.worker_pid = Some(worker);
        if let Some(socket) = &session.worker {
            self.epoll.add(socket, Token::Worker(n))?;
        }
        for (i, source) in session.sources.iter().enumerate() {
            if let Some(s) = source {
                self.epoll.add(&s.fd, Token::Source(n, i == 1))?;
            }
        }
        self.sessions[n as usize] = Some(session);
        Ok(())
    }

    /// Forks a worker that does something further for session `n`, which has what it needs.
    pub(super) fn report_to(
        &mut self,
        n: u32,
        work: impl FnOnce(&Self) -> Result<Pid, Error>,
    ) -> io::Result<()> {
        let (ours, report) = Session::channel()?;
        let worker = self.fork(&report, |monitor| work(monitor).map(|pid| (pid, None)))?;
        self.epoll.add(&ours, Token::Worker(n))?;
        if let Some(session) = self.session(n) {
            (session.worker, session.worker_pid) = (Some(ours), Some(worker));
        }
        Ok(())
    }

    /// A worker that reports how its work went.
    fn fork(
        &self,
        report: &OwnedFd,
        work: impl FnOnce(&Self) -> Result<(Pid, Option<OwnedFd>), Error>,
    ) -> io::Result<i32> {
        let monitor = rustix::process::getpid();
        match clone3(CloneFlags::empty(), None)? {
            Fork::Child => {
                worker::end_with(monitor);
                worker::report(report, work(self));
                loment_sys::process::exit_now(0)
            }
            Fork::Parent { pid, .. } => Ok(pid.as_raw_nonzero().get()),
        }
    }

    /// A worker's word: a warning, success, or failure; its silent end is a failure.
    pub(super) fn hear_worker(&mut self, n: u32) {
        let mut buffer = vec![0; MAX_DATA];
        let Some(socket) = self.session(n).and_then(|s| s.worker.as_ref()) else { return };
        let (answer, mut fds) = match pipe::receive(socket, &mut buffer) {
            Ok(r) if r.len > 0 => {
                (Answer::decode(&buffer[..r.len]).unwrap_or_else(|_| worker::silent_failure()), r.fds)
            }
            _ => (worker::silent_failure(), Vec::new()),
        };
        if let Answer::Warning { .. } = answer {
            return self.tell(n, &answer);
        }
        if let Some(socket) = self.session(n).and_then(|s| s.worker.take()) {
            self.epoll.remove(&socket);
        }
        let main_of = self.container_of_main(n);
        let succeeded = matches!(answer, Answer::Started { .. });
        if let Some(c) = main_of.and_then(|slot| self.container(slot))
            && !(succeeded && c.head.hold && c.prepared)
        {
            // Its fate is known: others may look, and start or remove it.
            c.lock = None;
        }
        match (&answer, main_of) {
            (Answer::Started { pid }, _) => self.started(n, *pid, fds.pop()),
            (_, Some(slot)) => return self.fail_start(slot, answer),
            (_, None) => {}
        }
        match answer {
            // It is said when they are kept.
            Answer::Started { .. } if main_of.is_some_and(|slot| self.is_to_be_held(slot)) => {}
            Answer::Started { pid } => {
                self.note_session(n, pid);
                self.tell(n, &answer);
            }
            _ => {
                self.note_failed_check(n, &answer);
                self.end_session(n, &answer);
            }
        }
        self.finish_exec(n);
        self.forget_unclaimed();
    }

    fn started(&mut self, n: u32, pid: i32, terminal: Option<OwnedFd>) {
        let ended =
            self.unclaimed.iter().position(|(p, _)| *p == pid).map(|i| self.unclaimed.swap_remove(i).1);
        let Some(session) = self.sessions.get_mut(n as usize).and_then(Option::as_mut) else { return };
        // One that was prepared is known already, and so may be its end.
        let ended = ended.or(session.exit.filter(|_| session.pid == Some(pid)));
        (session.pid, session.exit) = (Some(pid), ended);
        if let Some(terminal) = terminal
            && session.take_terminal(terminal).is_ok()
            && let Some(source) = &session.sources[0]
        {
            let _ = self.epoll.add(&source.fd, Token::Source(n, false));
        }
        let (slot, command) = (session.slot, std::mem::take(&mut session.command));
        let is_check = session.capture.is_some();
        match self.container_of_main(n) {
            Some(slot) => self.note_start(slot),
            None if is_check => {}
            None => {
                self.tell_of(slot, |of| vec![of.event(What::Exec).with(more::COMMAND, command)]);
            }
        }
        if ended.is_some() {
            self.drain(n);
        }
    }

    pub(super) fn reap(&mut self) {
        // First of all: if it was the last of its scope that has ended, systemd removes that now.
        for c in self.containers.iter_mut().flatten() {
            c.memory.look(&c.head.place);
        }
        while let Ok(Some((pid, exit))) = reap_any() {
            let cleaned = |c: &super::Supervised| matches!(&c.stage, Stage::Cleaning { worker, .. } if *worker == Some(pid));
            if let Some(slot) = self.containers.iter().position(|c| c.as_ref().is_some_and(cleaned)) {
                self.cleaned(slot as u32, Some(exit));
                continue;
            }
            if self.end_log_chore(pid, exit) || self.end_discard(pid) {
                continue;
            }
            if let Some(s) = self.sessions.iter_mut().flatten().find(|s| s.worker_pid == Some(pid)) {
                s.worker_pid = None;
                continue;
            }
            let running = |s: &Session| s.pid == Some(pid) && s.exit.is_none();
            let found = self.sessions.iter_mut().position(|s| s.as_ref().is_some_and(running));
            match found {
                Some(n) => {
                    if let Some(s) = &mut self.sessions[n] {
                        s.exit = Some(exit);
                    }
                    self.drain(n as u32);
                }
                // Programs whose worker has not reported yet; orphans of the container.
                None => {
                    if self.unclaimed.len() == UNCLAIMED {
                        self.unclaimed.remove(0);
                    }
                    self.unclaimed.push((pid, exit));
                }
            }
        }
        self.forget_unclaimed();
    }

    /// When no worker will report any more, nobody asks: numbers are used again.
    fn forget_unclaimed(&mut self) {
        if !self.sessions.iter().flatten().any(|s| s.worker.is_some()) {
            self.unclaimed.clear();
        }
    }

    /// After the end: what the program wrote is in its pipes already. What others may still write there is not waited for.
    pub(super) fn drain(&mut self, n: u32) {
        let (slot, patience) = (self.container_of_main(n), Instant::now() + PATIENCE);
        for i in 0..2 {
            // A pipe holds 64 KiB by default, at most /proc/sys/fs/pipe-max-size: bounded reads.
            for _ in 0..4096 {
                let Some(source) = self.session(n).and_then(|s| s.sources[i].as_mut()) else { break };
                // The log gets all of it, and nobody's end waits for a client that does not read.
                source.paused = false;
                let has_read = self.read_source(n, i);
                if !has_read {
                    self.close_source(n, i);
                }
                if let Some(slot) = slot {
                    self.wait_for_log(slot, patience);
                }
                if !has_read {
                    break;
                }
            }
        }
        self.finish_exec(n);
    }

    /// Tells the clients of a program run in the container that it has ended.
    pub(super) fn finish_exec(&mut self, n: u32) {
        if self.container_of_main(n).is_some() || !self.session(n).is_some_and(|s| s.is_over()) {
            return;
        }
        let Some(session) = self.session(n) else { return };
        let (slot, status) = (session.slot, session.exit.map_or(0, Exit::status));
        match session.capture.take() {
            Some(capture) => {
                let (exit, overdue) = (session.exit.unwrap_or(Exit::Code(0)), session.overdue);
                self.checked(slot, capture, Checked::Ended(exit), overdue);
            }
            None => self.tell_of(slot, |of| vec![of.event(What::ExecDied).with(more::EXIT_CODE, status)]),
        }
        self.end_session(n, &Answer::Exited { status });
    }

    /// Says that a program runs in the container, to whoever looks and to who asked for nothing else.
    fn note_session(&mut self, n: u32, pid: i32) {
        let Some(session) = self.session(n).filter(|session| !session.id.is_empty()) else { return };
        let (id, slot) = (session.id.clone(), session.slot);
        if let Some(c) = self.container(slot) {
            let dir = c.head.place.run_dir.join(SESSIONS);
            // What cannot be written is not shown; the program runs.
            let _ =
                std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(dir.join(&id), pid.to_string()));
        }
        let is_known = !cfg!(feature = "older");
        if is_known && self.clients.iter().flatten().any(|c| c.session == Some(n) && !c.streams.any()) {
            self.tell(n, &Answer::Session { id });
        }
    }

    fn note_failed_check(&mut self, n: u32, answer: &Answer) {
        let Some(session) = self.session(n) else { return };
        let (slot, overdue) = (session.slot, session.overdue);
        let (Some(capture), Answer::Failed { message, .. }) = (session.capture.take(), answer) else {
            return;
        };
        let end = if message == worker::PAUSED { Checked::Skipped } else { Checked::Failed(message.clone()) };
        self.checked(slot, capture, end, overdue);
    }

    /// The last word about a program, whose number is used again.
    fn end_session(&mut self, n: u32, answer: &Answer) {
        if let Some(session) = self.session(n).filter(|session| !session.id.is_empty()) {
            let (id, slot) = (session.id.clone(), session.slot);
            if let Some(c) = self.container(slot) {
                let _ = std::fs::remove_file(c.head.place.run_dir.join(SESSIONS).join(id));
            }
        }
        self.tell(n, answer);
        self.release_clients(n);
        self.sessions[n as usize] = None;
    }
}
