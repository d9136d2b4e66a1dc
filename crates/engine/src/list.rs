//! Lists of containers: of each what lists show, and of those that cannot be read that they are there.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use loment_monitor::health::HealthStatus;
use loment_monitor::state::State;
use loment_monitor::supervision::Supervision;
use rustix::fs::{CWD, Mode, OFlags, openat};
use serde::Deserialize;

use crate::config::{ImageUse, InitContainer, Network, RootfsUse, VERSION, Volume};
use crate::container::{Status, status_of};
use crate::engine::{CONFIG, damaged, was_lost};
use crate::health::report;
use crate::names::ids_with_prefix;
use crate::{Engine, Error};

/// No record is longer, in bytes.
const MAX_RECORD: usize = 64 << 20;
/// What is read at first, which is more than most records have.
const READ: usize = 16 << 10;

/// Which containers are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// Those that run, are paused, or are started again in a moment. Others cost nothing, however many there are.
    Active,
}

/// A container in a list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Unique among containers.
    pub name: String,
    /// RFC 3339.
    pub created: String,
    /// The image it was made from.
    pub image: Option<ImageUse>,
    /// The directory it runs over, instead of an image.
    pub rootfs: Option<RootfsUse>,
    /// What is executed.
    pub args: Vec<String>,
    /// The user's.
    pub labels: BTreeMap<String, String>,
    /// For the runtime.
    pub annotations: BTreeMap<String, String>,
    /// Whose network it has.
    pub network: Network,
    /// Ports that it serves, as its configuration has them.
    pub exposed: Vec<String>,
    /// The id of the pod it is in; empty outside of pods.
    pub pod: String,
    /// It is the one whose namespaces the others of its pod are in.
    pub infra: bool,
    /// It runs before the others of its pod.
    pub init_container: Option<InitContainer>,
    /// Files and directories of the host in it.
    pub volumes: Vec<Volume>,
    /// How it is looked after.
    pub supervision: Supervision,
    /// What was last recorded.
    pub state: State,
    /// What it is doing; [`Status::Unknown`] of one that cannot be read, of which nothing else but the id, and perhaps the name, is
    /// known.
    pub status: Status,
    /// What is known of its health, of one whose health is checked.
    pub health: Option<HealthStatus>,
    /// Why it cannot be read.
    pub problem: Option<String>,
}

impl Listed {
    /// The short form of the id.
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }
}

/// What is read of a configuration. The rest is passed over.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Record {
    version: u32,
    name: String,
    created: String,
    image: Option<ImageUse>,
    rootfs: Option<RootfsUse>,
    process: Program,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    files: Volumes,
    net: NetworkOf,
    pod: String,
    infra: bool,
    init_container: Option<InitContainer>,
    supervision: Supervision,
    cgroup: Group,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Program {
    entrypoint: Vec<String>,
    command: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Volumes {
    volumes: Vec<Volume>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NetworkOf {
    network: Network,
    exposed: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Group {
    path: Option<String>,
}

impl Engine {
    /// Containers, the oldest first.
    ///
    /// # Errors
    /// [`Error::Io`] for the directory of all of them; one that cannot be read is in the list.
    pub fn list(&self, which: Which) -> Result<Vec<Listed>, Error> {
        self.sweep_tombs();
        if which == Which::All {
            self.sweep_new_pods();
        }
        let (all, missing) = self.read_list(which);
        for id in missing.iter().filter(|id| which == Which::All && self.is_half_made(id)) {
            self.remove_half_made(id)?;
        }
        Ok(all)
    }

    /// Reads the list and changes nothing. The second of what is returned are the ids of those that are not whole, or not any more.
    pub(crate) fn read_list(&self, which: Which) -> (Vec<Listed>, Vec<String>) {
        let ids = match which {
            Which::All => ids_with_prefix(&self.containers_dir(), ""),
            Which::Active => ids_with_prefix(&self.runroot().join("containers"), ""),
        };
        let Ok(mut records) = Records::open(&self.containers_dir()) else { return Default::default() };
        let mut missing = Vec::new();
        let mut names = None;
        let mut all = Vec::with_capacity(ids.len());
        for id in ids {
            let listed = records.listed(&id, |status, group| self.closer(status, &id, group));
            match listed {
                Ok(Some(mut one)) if which == Which::All || one.status.is_running() => {
                    one.health = self.health_of(&one);
                    all.push(one);
                }
                Ok(Some(_)) => {}
                Ok(None) => missing.push(id),
                Err(_) if which == Which::Active => {}
                Err(_) if was_lost(&self.dir(&id).join(CONFIG)) => missing.push(id),
                Err(problem) => {
                    let names = names.get_or_insert_with(|| self.names().all());
                    let name = names.get(&id).cloned().unwrap_or_default();
                    all.push(unreadable(id, name, problem.to_string()));
                }
            }
        }
        all.sort_by(|a: &Listed, b| a.created.cmp(&b.created));
        (all, missing)
    }
}

impl Engine {
    fn health_of(&self, one: &Listed) -> Option<HealthStatus> {
        one.supervision.health.as_ref()?;
        Some(report(&self.run_dir(&one.id), &self.dir(&one.id)).status)
    }
}

fn unreadable(id: String, name: String, problem: String) -> Listed {
    Listed {
        id,
        name,
        created: String::new(),
        image: None,
        rootfs: None,
        args: Vec::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        network: Network::default(),
        exposed: Vec::new(),
        pod: String::new(),
        infra: false,
        init_container: None,
        volumes: Vec::new(),
        supervision: Supervision::default(),
        state: State::default(),
        status: Status::Unknown,
        health: None,
        problem: Some(problem),
    }
}

/// Reads records of many containers: with few calls, into one buffer.
struct Records {
    dir: OwnedFd,
    buffer: Vec<u8>,
}

impl Records {
    fn open(dir: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { dir: openat(CWD, dir, flags, Mode::empty())?, buffer: vec![0; READ] })
    }

    /// A container; `None` for one that is not there (any more), or not yet.
    fn listed(
        &mut self,
        id: &str,
        closer: impl Fn(Status, Option<&str>) -> Status,
    ) -> io::Result<Option<Listed>> {
        let Some(bytes) = self.read(id, CONFIG)? else { return Ok(None) };
        let record: Record = serde_json::from_slice(bytes)?;
        if record.version != VERSION {
            let problem = format!("it is version {}, this program understands {VERSION}", record.version);
            return Err(io::Error::other(problem));
        }
        let mut state = match self.read(id, loment_monitor::state::FILE)? {
            Some(bytes) => State::parse(bytes).or_else(damaged)?,
            None => State::default(),
        };
        let status = closer(status_of(&mut state), record.cgroup.path.as_deref());
        let Program { mut entrypoint, command } = record.process;
        entrypoint.extend(command);
        Ok(Some(Listed {
            id: id.to_owned(),
            name: record.name,
            created: record.created,
            image: record.image,
            rootfs: record.rootfs,
            args: entrypoint,
            labels: record.labels,
            annotations: record.annotations,
            network: record.net.network,
            exposed: record.net.exposed,
            pod: record.pod,
            infra: record.infra,
            init_container: record.init_container,
            volumes: record.files.volumes,
            supervision: record.supervision,
            state,
            status,
            health: None,
            problem: None,
        }))
    }

    /// All of a file of a container; `None` when it is not there.
    fn read(&mut self, id: &str, name: &str) -> io::Result<Option<&[u8]>> {
        let path: PathBuf = [id, name].iter().collect();
        let file = match openat(&self.dir, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            other => other?,
        };
        let mut length = 0;
        loop {
            let read = rustix::io::read(&file, &mut self.buffer[length..])?;
            length += read;
            // A regular file gives less than was asked for at its end only.
            if length < self.buffer.len() {
                return Ok(Some(&self.buffer[..length]));
            }
            if length >= MAX_RECORD {
                return Err(io::Error::other("it is too long to be a record"));
            }
            self.buffer.resize(length * 2, 0);
        }
    }
}
