//! A container as it is now: its configuration, its recorded state, and what the kernel says.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use loment_monitor::protocol::Connection;
use loment_monitor::state::{Phase, State, boot_id};
use loment_runtime::state::process_start_time;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::Error;
use crate::config::Config;
use crate::error::Context;
use crate::stop::STOPPED;

/// What a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Never started.
    Created,
    /// All is made and ready for its program, which waits for a start.
    Initialized,
    /// Its program runs.
    Running,
    /// Its program was asked to end, and has not yet.
    Stopping,
    /// Its program is stopped in the midst of what it does.
    Paused,
    /// Its program has ended, and is started again in a moment.
    Restarting,
    /// Its program has ended.
    Exited,
    /// What it is cannot be read.
    Unknown,
}

impl Status {
    /// The word users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Initialized => "initialized",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it has a process.
    pub fn has_process(self) -> bool {
        matches!(self, Self::Initialized | Self::Running | Self::Stopping | Self::Paused)
    }

    /// Whether its program has been started, and is not over for good.
    pub fn is_running(self) -> bool {
        self.is_active() && self != Self::Initialized
    }

    /// Whether it must be stopped before it can be removed.
    pub fn is_active(self) -> bool {
        self.has_process() || self == Self::Restarting
    }
}

/// A container.
#[derive(Clone, Debug)]
pub struct Container {
    /// What it is.
    pub config: Config,
    /// What was last recorded.
    pub state: State,
    /// What it is doing.
    pub status: Status,
    /// Its directory.
    pub dir: PathBuf,
    /// Where its monitor's socket and generated files are while it runs.
    pub run_dir: PathBuf,
}

/// The exit code of a container whose end nobody saw.
pub const UNKNOWN_EXIT: i32 = -1;

impl Container {
    pub(crate) fn new(config: Config, mut state: State, dir: PathBuf, run_dir: PathBuf) -> Self {
        let status = status_of(&mut state);
        Self { config, state, status, dir, run_dir }
    }

    /// Whether it has a copy of all files of its image, and not an overlay.
    pub fn has_copy(&self) -> bool {
        loment_store::has_copy(&self.dir)
    }

    /// The short form of the id.
    pub fn short_id(&self) -> &str {
        self.config.id.get(..12).unwrap_or(&self.config.id)
    }

    /// A descriptor of its first process, if it runs.
    pub fn open_process(&self) -> Option<OwnedFd> {
        if !self.status.has_process() {
            return None;
        }
        let pidfd = pidfd_open(Pid::from_raw(self.state.pid)?, PidfdFlags::empty()).ok()?;
        // Looked at after the descriptor was opened: it cannot become another process now.
        is_alive(&self.state).then_some(pidfd)
    }

    /// What its first process has in /proc under a name, such as `ns/mnt`; `None` when it does not run.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn open_of_process(&self, name: &str, flags: OFlags) -> Result<Option<OwnedFd>, Error> {
        if self.open_process().is_none() {
            return Ok(None);
        }
        let path = format!("/proc/{}/{name}", self.state.pid);
        let opened = openat(CWD, path.as_str(), flags | OFlags::CLOEXEC, Mode::empty());
        // Looked at after it was opened: it was that process then.
        if self.open_process().is_none() {
            return Ok(None);
        }
        opened.map(Some).context("open", path)
    }

    /// A descriptor of its monitor, if it has one.
    pub(crate) fn open_monitor(&self) -> Option<OwnedFd> {
        let pidfd = pidfd_open(Pid::from_raw(self.state.monitor_pid)?, PidfdFlags::empty()).ok()?;
        is_supervised(&self.state).then_some(pidfd)
    }

    /// A connection to its monitor; `None` when there is none.
    pub fn monitor(&self) -> Option<Connection> {
        Connection::open(&self.run_dir).ok()
    }

    /// The same, which waits no longer than that for each answer.
    pub(crate) fn monitor_within(&self, limit: Duration) -> Option<Connection> {
        Connection::open_within(&self.run_dir, Some(limit)).ok()
    }

    /// The ids of programs that were run in it and have not ended, sorted.
    pub fn exec_ids(&self) -> Vec<String> {
        if !self.status.has_process() {
            return Vec::new();
        }
        let entries = std::fs::read_dir(self.run_dir.join(loment_monitor::state::SESSIONS));
        let name = |entry: std::fs::DirEntry| entry.file_name().into_string().ok();
        let mut ids: Vec<_> = entries.into_iter().flatten().flatten().filter_map(name).collect();
        ids.sort_unstable();
        ids
    }

    /// Whether somebody wanted it to end, and has not started it since.
    pub fn is_stopped_by_user(&self) -> bool {
        self.dir.join(STOPPED).exists()
    }

    /// Its control group, if it has one.
    pub fn cgroup(&self) -> Option<&str> {
        self.config.cgroup.path.as_deref()
    }

    /// Where its log is, if that is a file.
    pub fn log_path(&self) -> Option<PathBuf> {
        let log = &self.config.log;
        log.driver.has_files().then(|| log.path.clone().unwrap_or_else(|| self.dir.join("ctr.log")))
    }
}

/// The control group, among our own, of the container with that id.
pub(crate) fn cgroup_name(id: &str) -> String {
    format!("loment-{id}")
}

/// That of a pod.
pub(crate) fn pod_cgroup_name(id: &str) -> String {
    format!("loment-pod-{id}")
}

/// The control group of its monitor.
pub(crate) fn monitor_cgroup_name(id: &str) -> String {
    format!("loment-{id}-monitor")
}

/// What a container does whose record that is, but for being paused. One that does not say how it ended is completed.
pub(crate) fn status_of(state: &mut State) -> Status {
    match state.phase {
        Phase::Created => Status::Created,
        Phase::Exited if !state.restart_at.is_empty() && is_supervised(state) => Status::Restarting,
        Phase::Exited => Status::Exited,
        // Its end may be on its way to the record: while its monitor lives, it counts as running.
        Phase::Running if state.initialized => match is_alive(state) {
            true => Status::Initialized,
            // Its program never ran.
            false if state.finished_at.is_empty() => Status::Created,
            false => Status::Exited,
        },
        Phase::Running if is_alive(state) || is_supervised(state) => Status::Running,
        Phase::Running => {
            // Its end was not recorded: a power cut, or its monitor was killed.
            state.exit_code = UNKNOWN_EXIT;
            state.pid = 0;
            Status::Exited
        }
    }
}

fn is_alive(state: &State) -> bool {
    lives(state.pid, state.start_time) && state.boot_id == boot_id()
}

fn is_supervised(state: &State) -> bool {
    lives(state.monitor_pid, state.monitor_start_time) && state.boot_id == boot_id()
}

/// Whether the process of that number is the one that was started then.
fn lives(pid: i32, start_time: u64) -> bool {
    process_start_time(pid).is_some_and(|t| t == start_time)
}
