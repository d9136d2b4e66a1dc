//! Pods: containers that are started and stopped together, share namespaces and have a control group around theirs.
//!
//! `<root>/pods/<id>/pod.json` is one, written when all else of it is there but its infra container, without which it is none. Its lock is that of its directory: to
//! be had before that of a container. Who is in it the containers say: there is no list that could be wrong.
//!
//! What is shared is that of a container of its own, the infra container. That runs nothing: its monitor keeps its namespaces, and there
//! is no process for it, unless processes are shared, too: these have the embedded init as their first one.

mod clone;
mod create;
mod filter;
mod life;
mod list;
mod remove;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use loment_monitor::supervision::Restart;
use serde::{Deserialize, Serialize};

pub use self::clone::ClonePod;
pub use self::create::NewPod;
pub use self::filter::PodFilters;
pub(crate) use self::filter::is_called;
pub use self::life::OfPod;
pub use self::list::{ListedPod, PodStatus};
use crate::config::{GroupUse, Limits, Security};
use crate::engine::CONFIG;
use crate::error::Context;
use crate::lock::{PATIENCE, lock_dir};
use crate::names::ids_with_prefix;
use crate::{Engine, Error};

const RECORD: &str = "pod.json";
/// The version of the record.
const VERSION: u32 = 1;
/// The directory that is the root file system of an infra container; in it is the embedded init.
const ROOTFS: &str = "rootfs";

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Version of this document.
    pub version: u32,
    /// 64 hexadecimal digits.
    pub id: String,
    /// Unique among pods and containers.
    pub name: String,
    /// RFC 3339.
    pub created: String,
    /// What its members are called that share that.
    pub hostname: String,
    /// The user's.
    pub labels: BTreeMap<String, String>,
    /// What was typed.
    pub create_command: Vec<String>,
    /// The id of the container whose namespaces its members are in.
    pub infra: Option<String>,
    /// Which these are.
    pub share: Vec<Shared>,
    /// What becomes of it when all its members have ended.
    pub exit_policy: ExitPolicy,
    /// When its members are started again that do not say.
    pub restart: Restart,
    /// The control group of all; systemd's slice where that makes groups.
    pub cgroup: GroupUse,
    /// Those of its members are in it.
    pub shares_cgroup_parent: bool,
    /// What all of them may use together.
    pub limits: Limits,
    /// What its members may do that do not say.
    pub security: Security,
}

/// What members of a pod may have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shared {
    /// What they see of control groups.
    Cgroup,
    /// Semaphores, queues and shared memory.
    Ipc,
    /// The network.
    Net,
    /// Processes.
    Pid,
    /// Users.
    User,
    /// The host name.
    Uts,
}

impl Shared {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Cgroup, Self::Ipc, Self::Net, Self::Pid, Self::User, Self::Uts];

    /// As users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Ipc => "ipc",
            Self::Net => "net",
            Self::Pid => "pid",
            Self::User => "user",
            Self::Uts => "uts",
        }
    }
}

/// What becomes of a pod when all its members have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExitPolicy {
    /// It stays as it is.
    #[default]
    Continue,
    /// What they shared ends, too.
    Stop,
}

impl ExitPolicy {
    /// As users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Stop => "stop",
        }
    }
}

impl Pod {
    /// The short form of the id.
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }
}

impl Engine {
    pub(crate) fn pods_dir(&self) -> PathBuf {
        self.root().join("pods")
    }

    fn pod_dir(&self, id: &str) -> PathBuf {
        self.pods_dir().join(id)
    }

    /// The pod with that name, id, or unambiguous beginning of an id.
    ///
    /// # Errors
    /// [`Error::NoPod`], [`Error::AmbiguousPod`]; those of its record.
    pub fn pod(&self, name: &str) -> Result<Pod, Error> {
        let none = || Error::NoPod { name: name.to_owned() };
        if let Some(id) = self.names().id(name) {
            return self.load_pod(&id)?.ok_or_else(none);
        }
        let is_hex = !name.is_empty() && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let found = if is_hex { ids_with_prefix(&self.pods_dir(), name) } else { Vec::new() };
        match found.as_slice() {
            [id] => self.load_pod(id)?.ok_or_else(none),
            [] => Err(none()),
            _ => Err(Error::AmbiguousPod { name: name.to_owned() }),
        }
    }

    /// Reads a pod; `None` when it is not there (any more). Without its infra container, which is the last that is made and the last of
    /// its containers that is removed, it is not.
    pub(crate) fn load_pod(&self, id: &str) -> Result<Option<Pod>, Error> {
        let pod = self.read_pod(id)?;
        Ok(pod.filter(|pod| pod.infra.as_ref().is_none_or(|infra| self.dir(infra).join(CONFIG).exists())))
    }

    /// Reads the record of a pod, which may be half made or half removed.
    fn read_pod(&self, id: &str) -> Result<Option<Pod>, Error> {
        let path = self.pod_dir(id).join(RECORD);
        let bytes = match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.context("read", path.display())?,
        };
        let damaged = |source| Error::Damaged { path: path.display().to_string(), source };
        let pod: Pod = serde_json::from_slice(&bytes).map_err(damaged)?;
        if pod.version != VERSION {
            let path = path.display().to_string();
            return Err(Error::Version { path, found: pod.version, known: VERSION });
        }
        Ok(Some(pod))
    }

    /// Waits until nobody else makes or removes members of a pod, which is for moments.
    pub(crate) fn lock_pod(&self, id: &str) -> Result<File, Error> {
        let none = || Error::NoPod { name: id.to_owned() };
        let busy = || Error::PodBusy { id: id.to_owned(), seconds: PATIENCE.as_secs() };
        match lock_dir(&self.pod_dir(id), PATIENCE, busy) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Err(none()),
            // It may have been removed while it was waited for.
            Ok(_) if self.load_pod(id)?.is_none() => Err(none()),
            lock => lock,
        }
    }
}
