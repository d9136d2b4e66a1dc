//! A container's control group, and who makes it.

use serde::{Deserialize, Serialize};

/// A container's control group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupUse {
    /// Below the root of each hierarchy; `None`: it has none of its own.
    pub path: Option<String>,
    /// The slice in which systemd makes it as a scope; `None` where systemd does not.
    pub slice: Option<String>,
    /// Its monitor has none of its own: it stays where it is started.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub monitor_stays: bool,
    /// Its monitor's, where that is not one beside it at the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<String>,
    /// It is a part of the group of whoever starts it: `path` is where it was at the last start, `None` before the first.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub split: bool,
    /// The scope is one of the user's systemd, and both groups are ours to make in it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub of_user: bool,
}

/// Which control groups a container gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Groups {
    /// One for it and one for its monitor.
    #[default]
    Both,
    /// One for it; its monitor stays where it is started.
    NoMonitor,
    /// The group of whoever starts it has two parts from then on: one for it, one for all others.
    Split,
    /// None.
    None,
}

impl GroupUse {
    /// Which there are.
    pub fn groups(&self) -> Groups {
        match (&self.path, self.monitor_stays) {
            _ if self.split => Groups::Split,
            (None, _) => Groups::None,
            (Some(_), true) => Groups::NoMonitor,
            (Some(_), false) => Groups::Both,
        }
    }
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
