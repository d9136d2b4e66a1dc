//! What a container is: decided when it is created, written once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The version of the document.
pub(crate) const VERSION: u32 = 1;

/// A container's configuration.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Config {
    /// Version of this document.
    pub version: u32,
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
    /// What runs, if the command is not all of it.
    pub entrypoint: Vec<String>,
    /// The command, or the arguments of the entry point.
    pub command: Vec<String>,
    /// `NAME=VALUE`
    pub env: Vec<String>,
    /// Absolute.
    pub workdir: PathBuf,
    /// `user[:group]`; empty is root.
    pub user: String,
    /// Further groups.
    pub groups: Vec<String>,
    /// Its own host name.
    pub hostname: String,
    /// It has a terminal.
    pub terminal: bool,
    /// Standard input is kept open.
    pub stdin: bool,
    /// Process 1 is the embedded init.
    pub init: bool,
    /// Removed when it ends.
    pub auto_remove: bool,
    /// Nothing is kept from it.
    pub privileged: bool,
    /// Its root file system cannot be changed.
    pub read_only: bool,
    /// Its network.
    pub network: Network,
    /// Files and directories of the host in it.
    pub volumes: Vec<Volume>,
    /// Temporary file systems: destination and options.
    pub tmpfs: Vec<(PathBuf, Vec<String>)>,
    /// Limits.
    pub resources: Resources,
    /// Resource limits given by the user: they apply exactly.
    pub ulimits: Vec<Ulimit>,
    /// Names without CAP_.
    pub cap_add: Vec<String>,
    /// Names without CAP_.
    pub cap_drop: Vec<String>,
    /// System call filter.
    pub seccomp: Seccomp,
    /// No privileges through set-uid programs.
    pub no_new_privileges: bool,
    /// Paths shown that are hidden by default; `ALL` shows all.
    pub unmask: Vec<String>,
    /// Devices of the host in it.
    pub devices: Vec<DeviceUse>,
    /// Size of /dev/shm, in bytes.
    pub shm_size: u64,
    /// Number of the signal that asks it to stop.
    pub stop_signal: i32,
    /// How long it gets, in seconds.
    pub stop_timeout: u32,
    /// The user's.
    pub labels: BTreeMap<String, String>,
    /// For the runtime.
    pub annotations: BTreeMap<String, String>,
    /// Its log.
    pub log: LogUse,
    /// What was typed.
    pub create_command: Vec<String>,
    /// Told to programs as `container=`.
    pub flavour: String,
    /// Its control group.
    #[serde(default)]
    pub cgroup: GroupUse,
    /// Who its users and groups are outside, if it has a user namespace of its own.
    #[serde(default)]
    pub users: Option<Users>,
    /// What its changes to its root file system may occupy.
    #[serde(default)]
    pub size: SizeLimits,
}

/// Limits of a writable layer; `None` is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeLimits {
    /// Bytes.
    pub bytes: Option<u64>,
    /// Files, directories and everything else that has an inode.
    pub inodes: Option<u64>,
}

impl SizeLimits {
    /// Whether there is one. Zero is no limit, as with Podman.
    pub fn any(&self) -> bool {
        self.bytes.is_some_and(|n| n > 0) || self.inodes.is_some_and(|n| n > 0)
    }

    /// These, and those of `other` for what is not said here.
    pub fn or(self, other: Self) -> Self {
        Self { bytes: self.bytes.or(other.bytes), inodes: self.inodes.or(other.inodes) }
    }
}

impl From<SizeLimits> for loment_store::Limits {
    fn from(limits: SizeLimits) -> Self {
        Self { bytes: limits.bytes.unwrap_or_default(), inodes: limits.inodes.unwrap_or_default() }
    }
}

/// Users and groups of a user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// Users.
    pub uids: Vec<IdMapping>,
    /// Groups.
    pub gids: Vec<IdMapping>,
}

impl Users {
    /// Who the superuser and his group are outside.
    pub fn root(&self) -> Option<(u32, u32)> {
        let zero = |all: &[IdMapping]| all.iter().find(|m| m.container_id == 0).map(|m| m.host_id);
        zero(&self.uids).zip(zero(&self.gids))
    }
}

/// A range of ids, as a specification has it (config-linux.md, "User namespace mappings").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    /// The first, in the container.
    #[serde(rename = "containerID")]
    pub container_id: u32,
    /// The first, outside.
    #[serde(rename = "hostID")]
    pub host_id: u32,
    /// How many.
    pub size: u32,
}

/// A container's control group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupUse {
    /// Below the root of each hierarchy; empty in documents of versions that had but one place for it.
    pub path: String,
    /// The slice in which systemd makes it as a scope; `None` where systemd does not.
    pub slice: Option<String>,
}

/// Who makes control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupManager {
    /// We, as directories.
    Cgroupfs,
    /// systemd, as scopes.
    Systemd,
}

impl GroupManager {
    /// As users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cgroupfs => "cgroupfs",
            Self::Systemd => "systemd",
        }
    }
}

/// The image a container was made from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImageUse {
    /// Digest of its configuration.
    pub id: loment_store::ImageId,
    /// As the user gave it, completed.
    pub name: String,
    /// Manifest it was pulled with.
    pub digest: String,
}

/// The directory a container runs over.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RootfsUse {
    /// Absolute.
    pub path: PathBuf,
    /// Changes are thrown away.
    pub overlay: bool,
}

/// A container's network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// One of its own with a loopback interface only.
    #[default]
    None,
    /// The host's.
    Host,
}

impl Network {
    /// As users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Host => "host",
        }
    }
}

/// A file or directory of the host in a container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Volume {
    /// Absolute, on the host.
    pub source: PathBuf,
    /// Absolute, in the container.
    pub destination: PathBuf,
    /// Mount options.
    pub options: Vec<String>,
}

/// Limits of the control group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Resources {
    /// Bytes.
    pub memory: Option<i64>,
    /// Bytes of memory and swap together; -1 is unlimited.
    pub memory_swap: Option<i64>,
    /// Microseconds of CPU time per `cpu_period`.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// CPUs, as `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// Processes and threads; -1 is unlimited.
    pub pids_limit: Option<i64>,
}

/// A resource limit; -1 is unlimited.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile`, `core`, …
    pub name: String,
    /// What a program starts with.
    pub soft: i64,
    /// What it can raise that to.
    pub hard: i64,
}

/// A system call filter.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// The default profile.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile, as JSON.
    Profile(String),
}

/// A device of the host in a container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DeviceUse {
    /// On the host.
    pub host: PathBuf,
    /// In the container.
    pub container: PathBuf,
    /// Of `rwm`.
    pub access: String,
}

/// A container's log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LogUse {
    /// `k8s-file` or `none`.
    pub driver: String,
    /// A file larger than this (bytes) is rotated.
    pub max_size: Option<u64>,
    /// Files kept, the current one included.
    pub max_files: u32,
}

impl Config {
    /// What is executed.
    pub fn args(&self) -> Vec<String> {
        self.entrypoint.iter().chain(&self.command).cloned().collect()
    }
}
