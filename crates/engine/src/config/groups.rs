//! A container's control group, and who makes it.

use serde::{Deserialize, Serialize};

/// A container's control group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupUse {
    /// Below the root of each hierarchy.
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
