//! The record of one container.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use loment_cgroup::{CgroupPath, Host};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use super::{Id, START, directory};
use crate::Error;
use crate::resctrl::Membership;

/// The version of the record that this program writes, and the only one it reads.
pub const VERSION: u32 = 2;

/// What is remembered of a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Version of this document.
    pub version: u32,
    /// The container's id.
    pub id: Id,
    /// Its first process.
    pub pid: i32,
    /// When that process was started, in clock ticks since boot: tells it from a later one with its number.
    pub start_time: u64,
    /// Absolute.
    pub bundle: PathBuf,
    /// Absolute.
    pub rootfs: PathBuf,
    /// Its cgroup, relative to each hierarchy.
    pub cgroup: Option<String>,
    /// The unit of systemd that this is, if it is one.
    #[serde(default)]
    pub unit: Option<String>,
    /// Its class of resctrl, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Membership>,
    /// RFC 3339.
    pub created: String,
    /// Who made it.
    pub owner: u32,
    /// Whether it has a session keyring of its own, as what `exec` runs then has, too.
    pub keyring: bool,
    /// Whether its configuration has something for `start` and `delete` to do: hooks, an agent of a seccomp filter.
    pub attended: bool,
    /// From the specification.
    pub annotations: BTreeMap<String, String>,
}

/// What a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is being made.
    Creating,
    /// It waits for its start.
    Created,
    /// Its program runs.
    Running,
    /// Its processes are stopped until somebody lets them go on (runc's and crun's, not the specification's).
    Paused,
    /// Its program has ended.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

impl Record {
    /// What the container is doing, from what the kernel says now; `dir` is its directory.
    ///
    /// # Errors
    /// [`Error::Cgroup`] when the host's control groups cannot be found.
    pub fn status(&self, dir: &Path) -> Result<Status, Error> {
        if !self.lives() {
            return Ok(Status::Stopped);
        }
        if directory::is_locked(dir) {
            return Ok(Status::Creating);
        }
        if self.is_frozen()? {
            return Ok(Status::Paused);
        }
        Ok(if dir.join(START).exists() { Status::Created } else { Status::Running })
    }

    /// Whether its first process is there.
    pub fn lives(&self) -> bool {
        process_start_time(self.pid) == Some(self.start_time)
    }

    fn is_frozen(&self) -> Result<bool, Error> {
        let Some(path) = &self.cgroup else { return Ok(false) };
        let host = Host::detect()?;
        Ok(host.cgroup(CgroupPath::new(path)?).is_frozen())
    }

    /// A descriptor of the container's first process; `None` when it has ended.
    pub fn open_process(&self) -> Option<OwnedFd> {
        let pidfd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        // Looked at after the descriptor was opened: it cannot become another process now.
        self.lives().then_some(pidfd)
    }
}

/// When a process was started (proc_pid_stat(5), field 22); `None` when there is none or it is a zombie.
pub fn process_start_time(pid: i32) -> Option<u64> {
    // 52 fields; the kernel gives them in one piece.
    let mut buffer = [0; 2048];
    let len =
        std::io::Read::read(&mut std::fs::File::open(format!("/proc/{pid}/stat")).ok()?, &mut buffer).ok()?;
    // The name may be any bytes, spaces and parentheses among them: fields are counted behind the last one.
    let stat = String::from_utf8_lossy(&buffer[..len]);
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    if state == "Z" || state == "X" { None } else { fields.nth(18)?.parse().ok() }
}
