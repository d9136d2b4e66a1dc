//! The monitor's loop: starting, ending; its streams and clients are in modules of their own.

mod clients;
mod streams;

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use loment_runtime::Cause;
use loment_sys::clone::{CloneFlags, Fork, clone3};
use loment_sys::signal::{self, SignalSet};
use loment_sys::wait::{Exit, reap_any};
use loment_sys::{fd, pipe};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::client::Client;
use crate::epoll::{Epoll, Token};
use crate::error::Context;
use crate::launch::{CLIENT_FD, LAUNCH_FD, LOCK_FD, Launch, VERSION};
use crate::log::Log;
use crate::memory::Memory;
use crate::protocol::{Answer, Exec, MAX_DATA, SOCKET};
use crate::session::Session;
use crate::{Error, worker};

/// The container's own program.
const MAIN: u32 = 0;
/// Ends of children nobody asked about yet are kept, up to this many.
const UNCLAIMED: usize = 64;
/// How much of a program's output is read at once, in bytes.
const CHUNK: usize = 16 * 1024;
/// How long clients have to take their last messages, in milliseconds.
const PARTING: i32 = 5000;

/// Supervises the container that the inherited launch document describes, until it has ended and is cleaned up.
///
/// # Errors
/// [`Error`] when supervision could not begin; what happens later is told to clients and recorded.
pub fn serve() -> Result<(), Error> {
    let mut document = Vec::new();
    let file = fd::take_inherited(LAUNCH_FD).context("open", "the launch document")?;
    std::fs::File::from(file).read_to_end(&mut document).context("read", "the launch document")?;
    let launch: Launch = serde_json::from_slice(&document).map_err(Error::Launch)?;
    drop(document);
    if launch.version != VERSION {
        return Err(Error::Version { found: launch.version, known: VERSION });
    }
    let mut monitor = Monitor::new(launch)?;
    monitor.lock = Some(fd::take_inherited(LOCK_FD).context("open", "the container's lock")?);
    // What the first client asked was sent before this program was started: its output is not missed.
    let first = fd::take_inherited(CLIENT_FD).context("open", "the first client")?;
    monitor.add_client(first);
    monitor.read_client(0);
    monitor.start();
    let result = monitor.run();
    worker::leave_sweeper(&monitor.launch.place);
    result
}

#[derive(Debug)]
struct Monitor {
    launch: Launch,
    epoll: Epoll,
    listener: OwnedFd,
    signals: OwnedFd,
    log: Log,
    sessions: Vec<Option<Session>>,
    clients: Vec<Option<Client>>,
    unclaimed: Vec<(i32, Exit)>,
    /// Held, with the starter or in its place, until the container runs or has failed to.
    lock: Option<OwnedFd>,
    /// The worker that cleans up, and what clients are told when it has.
    cleaner: Option<(i32, Answer)>,
    memory: Memory,
}

impl Monitor {
    fn new(launch: Launch) -> Result<Self, Error> {
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
        let listener = listen(&launch).context("listen in", launch.place.run_dir.display())?;
        let epoll = Epoll::new().context("make", "an epoll")?;
        epoll.add(&listener, Token::Listener).context("watch", "the listener")?;
        epoll.add(&signals, Token::Signal).context("watch", "signals")?;
        let log = Log::open(launch.log.clone()).context("open the log of", &launch.place.id)?;
        let memory = Memory::new(&launch.place);
        let (sessions, clients) = (vec![None], Vec::new());
        Ok(Self {
            launch,
            epoll,
            listener,
            signals,
            log,
            sessions,
            clients,
            unclaimed: Vec::new(),
            lock: None,
            cleaner: None,
            memory,
        })
    }

    fn run(&mut self) -> Result<(), Error> {
        loop {
            for token in self.epoll.wait_lean().context("wait for", "events")? {
                match token {
                    Token::Listener => self.accept(),
                    Token::Signal => self.take_signals(),
                    Token::Client(n) => self.serve_client(n),
                    Token::Worker(n) => self.hear_worker(n),
                    Token::Source(n, error) => self.pump(n, usize::from(error)),
                    Token::Sink(n) => self.feed(n),
                    Token::Memory => self.memory.look(&self.launch.place),
                }
            }
            if self.cleaner.is_none() && self.session(MAIN).is_some_and(|s| s.is_over()) {
                let exit = self.session(MAIN).and_then(|s| s.exit);
                let status = exit.map_or(0, Exit::status);
                self.clean_up(exit, "", Answer::Exited { status });
            }
            if matches!(&self.cleaner, Some((0, _))) {
                self.part();
                return Ok(());
            }
        }
    }

    fn session(&mut self, n: u32) -> Option<&mut Session> {
        self.sessions.get_mut(n as usize)?.as_mut()
    }

    // --- starting -----------------------------------------------------------------------------------------------

    fn start(&mut self) {
        let terminal = self.launch.spec.as_ref().is_some_and(worker::wants_terminal);
        let started = self.spawn(MAIN, terminal, self.launch.stdin, worker::start);
        // Only workers need it: the monitor lives as long as the container.
        self.launch.spec = None;
        if let Err(e) = started {
            self.fail_start(&Answer::Failed { cause: Cause::Setup, message: format!("start a worker: {e}") });
        }
    }

    fn exec(&mut self, client: u32, mut request: Exec) {
        let n = self.free_session();
        if let Some(c) = self.clients[client as usize].as_mut() {
            (c.session, c.streams) = (Some(n), request.streams);
        }
        let pid = self.session(MAIN).filter(|s| s.exit.is_none()).and_then(|s| s.pid);
        let (terminal, stdin) = (request.process.terminal() == Some(true), request.streams.stdin);
        let started = match pid {
            None => Err(io::Error::other("the container is not running")),
            Some(pid) => self.spawn(n, terminal, stdin, move |launch, ends, _| {
                worker::exec(launch, pid, &mut request, ends)
            }),
        };
        if let Err(e) = started {
            self.tell(n, &Answer::Failed { cause: Cause::Setup, message: e.to_string() });
        }
    }

    fn free_session(&mut self) -> u32 {
        let free = self.sessions.iter().skip(1).position(Option::is_none).map(|i| i + 1);
        free.unwrap_or_else(|| {
            self.sessions.push(None);
            self.sessions.len() - 1
        }) as u32
    }

    /// Forks a worker for session `n`.
    fn spawn(
        &mut self,
        n: u32,
        terminal: bool,
        stdin: bool,
        work: impl FnOnce(&mut Launch, Option<&worker::Ends>, &OwnedFd) -> Result<loment_runtime::Created, Error>,
    ) -> io::Result<()> {
        let setup = Session::prepare(terminal, stdin)?;
        let monitor = rustix::process::getpid();
        let worker = match clone3(CloneFlags::empty(), None)? {
            Fork::Child => {
                worker::end_with(monitor);
                let result = work(&mut self.launch, setup.ends.as_ref(), &setup.report);
                worker::report(&setup.report, result);
                loment_sys::process::exit_now(0)
            }
            Fork::Parent { pid, .. } => pid.as_raw_nonzero().get(),
        };
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

    /// A worker's word: a warning, success, or failure; its silent end is a failure.
    fn hear_worker(&mut self, n: u32) {
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
        if n == MAIN {
            // Its fate is known: others may look, and start or remove it.
            self.lock = None;
        }
        if let Answer::Started { pid } = answer {
            self.started(n, pid, fds.pop());
        } else if n == MAIN {
            return self.fail_start(&answer);
        }
        self.tell(n, &answer);
        if !matches!(answer, Answer::Started { .. }) {
            self.sessions[n as usize] = None;
        }
        self.finish_exec(n);
        self.forget_unclaimed();
    }

    fn started(&mut self, n: u32, pid: i32, terminal: Option<OwnedFd>) {
        let ended =
            self.unclaimed.iter().position(|(p, _)| *p == pid).map(|i| self.unclaimed.swap_remove(i).1);
        let Some(session) = self.sessions.get_mut(n as usize).and_then(Option::as_mut) else { return };
        (session.pid, session.exit) = (Some(pid), ended);
        if n == MAIN
            && let Some(changes) = self.memory.watch(&self.launch.place)
        {
            // Without, it is asked when something ends.
            let _ = self.epoll.add(changes, Token::Memory);
        }
        if let Some(terminal) = terminal
            && session.take_terminal(terminal).is_ok()
            && let Some(source) = &session.sources[0]
        {
            let _ = self.epoll.add(&source.fd, Token::Source(n, false));
        }
        if ended.is_some() {
            self.drain(n);
        }
    }

    fn fail_start(&mut self, answer: &Answer) {
        let Answer::Failed { cause, message } = answer else { return };
        // Its fate is known.
        self.lock = None;
        let answer = Answer::Failed { cause: *cause, message: message.clone() };
        self.clean_up(None, message, answer);
    }

    // --- ending -------------------------------------------------------------------------------------------------

    fn take_signals(&mut self) {
        while let Ok(Some(number)) = signal::take_signal(self.signals.as_fd()) {
            match number {
                17 => self.reap(),
                // Whoever asks the monitor to stop means the container.
                other => {
                    // One that has been reaped is somebody else's number by now.
                    if let Some(pid) = self.session(MAIN).filter(|s| s.exit.is_none()).and_then(|s| s.pid) {
                        let _ = loment_sys::process::kill(pid, other);
                    }
                }
            }
        }
    }

    fn reap(&mut self) {
        // First of all: if it was the last of its scope that has ended, systemd removes that now.
        self.memory.look(&self.launch.place);
        while let Ok(Some((pid, exit))) = reap_any() {
            if let Some((cleaner, _)) = &mut self.cleaner
                && *cleaner == pid
            {
                *cleaner = 0;
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
    fn drain(&mut self, n: u32) {
        for i in 0..2 {
            // A pipe holds 64 KiB by default, at most /proc/sys/fs/pipe-max-size: bounded reads.
            for _ in 0..4096 {
                let Some(source) = self.session(n).and_then(|s| s.sources[i].as_mut()) else { break };
                // The log gets all of it, and nobody's end waits for a client that does not read.
                source.paused = false;
                if !self.read_source(n, i) {
                    self.close_source(n, i);
                    break;
                }
            }
        }
        self.finish_exec(n);
    }

    /// Tells the clients of a program run in the container that it has ended.
    fn finish_exec(&mut self, n: u32) {
        if n == MAIN || !self.session(n).is_some_and(|s| s.is_over()) {
            return;
        }
        let status = self.session(n).and_then(|s| s.exit).map_or(0, Exit::status);
        self.tell(n, &Answer::Exited { status });
        self.sessions[n as usize] = None;
    }

    fn clean_up(&mut self, exit: Option<Exit>, error: &str, parting: Answer) {
        let out_of_memory = self.memory.ran_out(&self.launch.place, exit);
        let clean_up = || worker::clean_up_after(&self.launch.place, exit, error, out_of_memory);
        match clone3(CloneFlags::empty(), None) {
            Ok(Fork::Child) => {
                clean_up();
                loment_sys::process::exit_now(0)
            }
            Ok(Fork::Parent { pid, .. }) => self.cleaner = Some((pid.as_raw_nonzero().get(), parting)),
            Err(_) => {
                // No process to be had: do it here.
                clean_up();
                self.cleaner = Some((0, parting));
            }
        }
    }

    /// Everything is done and recorded: the last words, within limits.
    fn part(&mut self) {
        let Some((_, answer)) = self.cleaner.take() else { return };
        for n in 0..self.clients.len() {
            let wants = self.clients[n].as_ref().is_some_and(|c| c.session == Some(MAIN));
            if wants {
                self.send(n as u32, &answer);
            }
        }
        let started = std::time::Instant::now();
        while self.clients.iter().flatten().any(Client::is_behind) {
            let left = PARTING - i32::try_from(started.elapsed().as_millis()).unwrap_or(PARTING);
            if left <= 0 {
                return;
            }
            let Ok(tokens) = self.epoll.wait(Some(left)) else { return };
            for token in tokens {
                match token {
                    Token::Client(n) => self.flush_client(n),
                    Token::Listener => self.epoll.remove(&self.listener),
                    Token::Signal => while let Ok(Some(_)) = signal::take_signal(self.signals.as_fd()) {},
                    _ => {}
                }
            }
        }
    }
}

fn listen(launch: &Launch) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    let (address, _dir) = pipe::address_in(&launch.place.run_dir, SOCKET)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, 64)?;
    Ok(socket)
}
