//! Devices in a container.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A container's devices besides the usual ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Devices {
    /// Devices of the host in it.
    pub nodes: Vec<DeviceUse>,
    /// Names of devices that files describe: `VENDOR/CLASS=NAME`.
    pub described: Vec<String>,
    /// Where these files are, if that is said.
    pub descriptions: Option<Vec<PathBuf>>,
    /// Rights to others, as control groups of version 1 have them: `c 1:3 rwm`, `b 8:* r`, `a *:* m`.
    pub rules: Vec<String>,
}

/// A device of the host in a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceUse {
    /// On the host.
    pub host: PathBuf,
    /// In the container.
    pub container: PathBuf,
    /// Of `rwm`.
    pub access: String,
}
