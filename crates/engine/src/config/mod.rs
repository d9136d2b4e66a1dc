//! What a container is: decided when it is created.

mod devices;
mod files;
mod groups;
mod limits;
mod log;
mod namespaces;
mod net;
mod process;
mod security;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::devices::{DeviceUse, Devices};
pub use self::files::{
    FileSystem, Files, Given, ImageFiles, ImageUse, OverlayUse, Relabel, RootfsUse, SecretPlace, SecretUse,
    SizeLimits, Volume, VolumeUse,
};
pub use self::groups::{GroupManager, GroupUse, Groups};
pub use self::limits::{DeviceLimit, Limits, Ulimit};
pub use self::log::{LogDriver, LogUse};
pub use self::namespaces::{IdMapping, Namespace, Namespaces, Users};
pub use self::net::{HostEntry, Hosts, HostsBase, Net, Network, PortRange, Resolver};
pub use self::process::{Accounts, Attach, Personality, Process};
pub use self::security::{Seccomp, Security};
pub use loment_monitor::launch::Restrictions;
pub use loment_monitor::notify::{Notify, NotifyMode};
pub use loment_monitor::supervision::{Restart, Supervision};

/// The version of the document. A part that a reader does not know and can do without does not change it.
pub(crate) const VERSION: u32 = 2;

/// A container's configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
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
    /// What was typed.
    pub create_command: Vec<String>,
    /// Told to programs as `container=`.
    pub flavour: String,
    /// The user's.
    pub labels: BTreeMap<String, String>,
    /// The boot that it does not outlive; empty for one that stays.
    pub transient: String,
    /// For the runtime.
    pub annotations: BTreeMap<String, String>,
    /// Files in which the numbers of its processes are kept.
    pub pid_files: PidFiles,
    /// The id of the pod it is in; empty outside of pods.
    pub pod: String,
    /// It is the one whose namespaces the others of its pod are in.
    pub infra: bool,
    /// It runs before the others of its pod, each time that is started or once.
    pub init_container: Option<InitContainer>,
    /// What runs, and as whom.
    pub process: Process,
    /// What it sees of files.
    pub files: Files,
    /// Devices.
    pub devices: Devices,
    /// What it shares with whom.
    pub namespaces: Namespaces,
    /// The ids of containers that must run before it does.
    pub requires: Vec<String>,
    /// Those of them that must be healthy by then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requires_healthy: Vec<String>,
    /// Where files say which programs are run at stages of its life, if that is said.
    pub hook_dirs: Option<Vec<PathBuf>>,
    /// What it may use.
    pub limits: Limits,
    /// Its control group.
    pub cgroup: GroupUse,
    /// What it may do.
    pub security: Security,
    /// Its network.
    pub net: Net,
    /// What its monitor does.
    pub supervision: Supervision,
    /// Its log.
    pub log: LogUse,
}

/// How often a container that prepares its pod for others is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InitContainer {
    /// When the pod is first started; then it is removed.
    Once,
    /// Each time the pod is started.
    Always,
}

/// Files of the host that a number is written to each time a container starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PidFiles {
    /// That of its first process.
    pub container: Option<PathBuf>,
    /// That of its monitor.
    pub monitor: Option<PathBuf>,
}

impl Config {
    /// Whether it need not survive a power cut.
    pub(crate) fn is_volatile(&self) -> bool {
        self.supervision.auto_remove || !self.transient.is_empty()
    }

    /// What is executed.
    pub fn args(&self) -> Vec<String> {
        self.process.entrypoint.iter().chain(&self.process.command).cloned().collect()
    }

    /// The document: without what is as it is by default. Lists of containers read one for each.
    pub(crate) fn document(&self) -> serde_json::Result<Value> {
        loment_monitor::sparse(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_no_defaults_and_is_read_as_what_was_written() {
        let mut config = Config { version: VERSION, id: "a".repeat(64), ..Config::default() };
        config.process.env = vec!["A=b".into()];
        config.labels.insert("a".into(), String::new());
        config.limits.memory = Some(0);
        config.namespaces.users = Some(Users::default());
        config.supervision.stop_timeout = 10;
        let document = config.document().unwrap();
        assert_eq!(document["process"], serde_json::json!({"env": ["A=b"]}));
        assert!(document.get("files").is_none() && document.get("name").is_none());
        assert_eq!(serde_json::from_value::<Config>(document).unwrap(), config);
    }
}
