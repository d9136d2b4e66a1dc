//! Stopping, killing, waiting.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use loment_events::{What, more};
use loment_monitor::End;
use loment_monitor::protocol::{Answer, Connection, Request, Stop};
use loment_monitor::state::STOPPING;
use loment_monitor::supervision::Restart;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::container::{Container, Status};
use crate::error::Context;
use crate::{Engine, Error, Handed};

pub(crate) const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
/// The mark in the directory of a container that somebody stopped.
pub(crate) const STOPPED: &str = "stopped";
/// How long a killed process may take to go, in seconds: it can only be held by the kernel.
const KILL_TIMEOUT: u32 = 30;

/// Within this of the time that a process was given, it had all of it.
const TICK: Duration = Duration::from_millis(10);

/// How long a container gets to end after it was asked to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grace {
    /// As long as it was made for.
    #[default]
    Own,
    /// So many seconds; without any it is not even asked.
    Seconds(u32),
    /// As long as it takes.
    Forever,
}

/// How a container is to be stopped.
#[derive(Clone, Copy, Debug, Default)]
pub struct StopOptions {
    /// Number of the signal that asks it to; `None` is its own.
    pub signal: Option<i32>,
    /// How long it gets.
    pub grace: Grace,
    /// It stays although it is one that is removed at its end.
    pub keep: bool,
}

impl StopOptions {
    /// It gets so many seconds.
    pub(crate) fn within(seconds: u32) -> Self {
        Self { grace: Grace::Seconds(seconds), ..Self::default() }
    }
}

impl Engine {
    /// Asks a container to stop, and kills it when it has not in time. One that does not run is left alone.
    ///
    /// # Errors
    /// [`Error::Unkillable`].
    pub fn stop(&self, name: &str, options: &StopOptions) -> Result<Container, Error> {
        let container = self.container(name)?;
        let supervision = &container.config.supervision;
        let stop = Stop {
            signal: options.signal.unwrap_or(supervision.stop_signal),
            timeout: match options.grace {
                Grace::Own => Some(supervision.stop_timeout),
                Grace::Seconds(seconds) => Some(seconds),
                Grace::Forever => None,
            },
            // Who is asked for no more than is needed may be older.
            keep: options.keep && supervision.auto_remove,
        };
        let active = container.status.is_active();
        self.end(&container, &stop)?;
        if active {
            self.tell(&container.config, What::Stop);
        }
        Ok(container)
    }

    /// Stops a container, if it runs, and starts it: `stop` is to keep it. Returns warnings. `stdio` as in [`Engine::start_with`].
    ///
    /// # Errors
    /// Those of [`Engine::stop`] and [`Engine::start`].
    pub fn restart(
        &self,
        name: &str,
        stop: &StopOptions,
        stdio: Option<[BorrowedFd<'_>; 3]>,
    ) -> Result<Vec<String>, Error> {
        // It does not end with this one.
        let _pod = self.container(name).ok().and_then(|container| self.keep_pod(&container.config));
        let container = self.stop(name, stop)?;
        let handed = Handed { stdio, ..Handed::default() };
        let warnings = self.start(&container.config.id, handed)?;
        self.tell(&container.config, What::Restart);
        Ok(warnings)
    }

    /// Ends a container for good: the monitor does it, whatever becomes of the caller; where that fails, the caller.
    pub(crate) fn end(&self, container: &Container, stop: &Stop) -> Result<(), Error> {
        if !container.status.is_active() {
            return Ok(());
        }
        self.note_stop(container, true)?;
        let since = Instant::now();
        let monitor = container.monitor();
        let asked = monitor.as_ref().is_some_and(|m| m.send(&Request::Stop(stop.clone())).is_ok());
        if asked && stop.timeout.is_none() {
            let _ = std::fs::write(container.run_dir.join(STOPPING), "");
        }
        if container.status == Status::Paused && stop.timeout != Some(0) {
            // It can do nothing about the signal before.
            self.freeze(container, false)?;
        }
        if !asked
            && container.state.is_held()
            && let Some(monitor) = container.open_monitor()
        {
            // All that it has is its monitor's.
            signal(&monitor, SIGTERM)?;
            if !ends_within(&monitor, 1) {
                signal(&monitor, SIGKILL)?;
                ends_within(&monitor, KILL_TIMEOUT);
            }
        }
        if let Some(process) = container.open_process() {
            if !asked && stop.timeout != Some(0) {
                signal(&process, stop.signal)?;
            }
            if let Some(refusal) = monitor.as_ref().filter(|_| asked).and_then(|m| refusal(m, &process, stop))
            {
                self.note_stop(container, false)?;
                return Err(refusal);
            }
            let ended = match stop.timeout {
                // Its monitor kills it.
                Some(0) if asked => ends_within(&process, 1),
                Some(seconds) => {
                    let given = Duration::from_secs(seconds.into());
                    readable_within(&process, given.saturating_sub(since.elapsed()))
                }
                None => ends(&process),
            };
            // Its monitor may have been quicker.
            if let Some(seconds @ 1..) = stop.timeout
                && (!ended || since.elapsed() + TICK >= Duration::from_secs(seconds.into()))
            {
                self.tell_of_kill(container, stop.signal, seconds);
            }
            if !ended {
                self.kill_all(container, &process)?;
            }
        }
        self.wait_for_record(container)
    }

    /// In Podman's words.
    fn tell_of_kill(&self, container: &Container, signal: i32, seconds: u32) {
        let name = &container.config.name;
        let signal = match signal {
            1..=31 => format!("SIG{}", loment_runtime::signal_name(signal)),
            real_time => format!("({real_time})"),
        };
        let text = format!(
            "StopSignal {signal} failed to stop container {name} in {seconds} seconds, resorting to SIGKILL"
        );
        (self.warn)(&text);
    }

    /// Remembers that somebody wanted a container to end, or to start. For those that are started when the machine is, that survives
    /// a power cut.
    pub(crate) fn note_stop(&self, container: &Container, stopped: bool) -> Result<(), Error> {
        let durable = container.config.supervision.restart != Restart::No;
        let mark = container.dir.join(STOPPED);
        let result = match stopped {
            true => std::fs::File::create(&mark).map(drop),
            false => std::fs::remove_file(&mark),
        };
        match result {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            // It may be gone, or be told where there is no room: nobody's end or start depends on that.
            _ if !durable => Ok(()),
            result => result
                .and_then(|()| std::fs::File::open(&container.dir)?.sync_all())
                .context("write", mark.display()),
        }
    }

    /// Kills a container's first process, then whatever else is in its group, and waits until it has ended.
    fn kill_all(&self, container: &Container, process: &OwnedFd) -> Result<(), Error> {
        signal(process, SIGKILL)?;
        // Somebody may have frozen it.
        if !ends_within(process, 1) {
            self.group(container.cgroup())?.kill()?;
        }
        if !ends_within(process, KILL_TIMEOUT) {
            return Err(Error::Unkillable { id: container.config.id.clone(), seconds: KILL_TIMEOUT });
        }
        Ok(())
    }

    /// Sends a signal to a container's first process. One that asks it to end also means that it is not started again. After one
    /// that ends it whatever it does, waits until its end is recorded.
    ///
    /// # Errors
    /// [`Error::State`] when it does not run; [`Error::Unkillable`].
    pub fn kill(&self, name: &str, number: i32) -> Result<Container, Error> {
        let container = self.container(name)?;
        if container.status == Status::Initialized {
            return Err(Error::State {
                operation: "kill",
                id: container.config.id.clone(),
                status: container.status.name(),
                hint: ": can only kill running containers",
            });
        }
        let reporter = self.reporter(&container.config);
        let told = || reporter.tell(&[reporter.event(What::Kill).with(more::SIGNAL, number)]);
        let ends = number == SIGKILL || number == SIGTERM && container.state.is_held();
        if ends && container.status.is_active() {
            told();
            self.end(&container, &Stop { signal: SIGKILL, timeout: Some(0), keep: false })?;
            return Ok(container);
        }
        let Some(process) = container.open_process() else {
            if matches!(container.status, Status::Running | Status::Stopping) {
                // It has ended this moment, which is what signals are mostly for.
                return Ok(container);
            }
            return Err(Error::State {
                operation: "kill",
                id: container.config.id.clone(),
                status: container.status.name(),
                hint: ": can only kill running containers",
            });
        };
        let supervision = &container.config.supervision;
        if number == supervision.stop_signal {
            self.note_stop(&container, true)?;
        }
        if number == supervision.stop_signal && supervision.restart != Restart::No {
            let stop = Stop { signal: number, timeout: None, keep: false };
            if container.monitor().is_some_and(|monitor| monitor.send(&Request::Stop(stop)).is_ok()) {
                told();
                return Ok(container);
            }
        }
        signal(&process, number)?;
        told();
        Ok(container)
    }

    /// Whether its program runs. It does not while its end is on its way to the record.
    pub(crate) fn is_program_alive(container: &Container) -> bool {
        let holds = container.status.is_running() && container.state.is_held();
        holds || container.open_process().is_some_and(|process| !ends_within(process, 0))
    }

    /// Waits until a container has ended, and returns its exit code.
    ///
    /// # Errors
    /// [`Error::NoContainer`].
    pub fn wait(&self, name: &str) -> Result<i32, Error> {
        let container = self.container(name)?;
        if !container.status.is_active() {
            return Ok(container.state.exit_code);
        }
        if let Some(monitor) = container.monitor() {
            let asked = monitor.send(&Request::Wait);
            while let Ok(Some(answer)) = asked.as_ref().map_or(Ok(None), |()| monitor.receive()) {
                if let Answer::Exited { status } = answer {
                    return Ok(status);
                }
            }
        }
        // Without a monitor nobody learns the exit code.
        if let Some(process) = container.open_process() {
            let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], None);
        }
        let id = &container.config.id;
        match self.load(id)? {
            Some(now) => Ok(now.state.exit_code),
            // It was removed at its end, in this moment.
            None => Ok(self.last_exit_code(id)),
        }
    }

    /// How a container that is not there any more ended, by what was told of it; [`crate::UNKNOWN_EXIT`] where nothing was.
    pub fn last_exit_code(&self, id: &str) -> i32 {
        self.told_exit_code(id).unwrap_or(crate::UNKNOWN_EXIT)
    }

    /// After the process has ended: waits until its monitor has recorded that, or does the clean-up of one that is gone.
    pub(crate) fn wait_for_record(&self, container: &Container) -> Result<(), Error> {
        let deadline = Instant::now() + Duration::from_secs(u64::from(KILL_TIMEOUT));
        let process = container.open_monitor();
        if let Some(monitor) = container.monitor()
            && monitor.send(&Request::Wait).is_ok()
        {
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                if !readable_within(&monitor, left) {
                    return Err(Error::MonitorGone { id: container.config.id.clone() });
                }
                match monitor.receive() {
                    Ok(Some(Answer::Exited { .. })) | Ok(None) | Err(_) => break,
                    Ok(Some(_)) => {}
                }
            }
        }
        if let Some(process) = process {
            // Its last steps take no time; then its own group can go.
            ends_within(&process, KILL_TIMEOUT);
            let _ = loment_monitor::remove_monitor_cgroup(&self.place(&container.config));
        }
        // Nothing to do when the monitor has done it.
        if let Ok(Some(now)) = self.load(&container.config.id)
            && !now.status.is_active()
            && now.state.phase == loment_monitor::state::Phase::Running
        {
            self.clear_leftovers(&now);
        }
        Ok(())
    }

    /// Waits until the monitor of a container whose program has ended has cleaned up and gone.
    ///
    /// # Errors
    /// [`Error::MonitorStays`].
    pub(crate) fn wait_for_monitor(&self, container: &Container) -> Result<(), Error> {
        let Some(monitor) = container.open_monitor() else { return Ok(()) };
        if !ends_within(&monitor, KILL_TIMEOUT) {
            let (id, pid) = (container.config.id.clone(), container.state.monitor_pid);
            return Err(Error::MonitorStays { id, pid, seconds: KILL_TIMEOUT });
        }
        Ok(())
    }

    /// Removes what a container without a living process and monitor has left.
    pub(crate) fn clear_leftovers(&self, container: &Container) {
        let recorded = container.state.phase != loment_monitor::state::Phase::Running;
        if recorded && !container.run_dir.exists() {
            return;
        }
        let mut place = self.place(&container.config);
        place.removal = None;
        let exit = (!recorded).then_some(loment_sys::wait::Exit::Code(crate::UNKNOWN_EXIT));
        let error = match recorded {
            true => container.state.error.clone(),
            false => "its end was not recorded".to_owned(),
        };
        let _ = loment_monitor::remove_monitor_cgroup(&place);
        let reporter = self.reporter(&container.config);
        loment_monitor::clean_up(&place, &reporter, &End { exit, error, ..End::default() });
    }
}

/// What an older monitor says to a request it does not know. Waits until the process ends, or its time is over.
fn refusal(monitor: &Connection, process: &OwnedFd, stop: &Stop) -> Option<Error> {
    let timeout = stop.timeout.map(|seconds| Timespec { tv_sec: seconds.max(1).into(), tv_nsec: 0 });
    let mut fds = [PollFd::new(monitor, PollFlags::IN), PollFd::new(process, PollFlags::IN)];
    poll(&mut fds, timeout.as_ref()).ok()?;
    if !fds[1].revents().is_empty() || fds[0].revents().is_empty() {
        return None;
    }
    match monitor.receive() {
        Ok(Some(Answer::Failed { cause, message })) => Some(Error::Start { cause, message }),
        _ => None,
    }
}

fn signal(process: impl AsFd, number: i32) -> Result<(), Error> {
    match loment_sys::process::pidfd_signal(process.as_fd(), number) {
        // It has ended: whoever sent the signal wanted nothing else, or will see so.
        Err(e) if e.raw_os_error() == Some(3) => Ok(()),
        other => other.context("send the signal", number),
    }
}

fn readable_within(fd: impl AsFd, time: Duration) -> bool {
    let timeout = rustix::event::Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    };
    let started = Instant::now();
    loop {
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)) {
            Ok(n) => return n > 0,
            Err(rustix::io::Errno::INTR) if started.elapsed() < time => {}
            Err(_) => return false,
        }
    }
}

/// Whether the process ends (its descriptor becomes readable) in time.
pub(crate) fn ends_within(process: impl AsFd, seconds: u32) -> bool {
    readable_within(process, Duration::from_secs(seconds.into()))
}

/// Waits until the process ends.
fn ends(process: impl AsFd) -> bool {
    readable_within(process, Duration::MAX)
}
