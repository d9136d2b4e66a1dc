//! How a container is looked after: what its user says of its end.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::health::Health;
use crate::notify::Notify;

/// What a monitor does, and when. Part of a container's configuration, where it may change while the container runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Supervision {
    /// Removed when it ends.
    pub auto_remove: bool,
    /// Its image goes with it, unless somebody else has that.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub auto_remove_image: bool,
    /// Number of the signal that asks it to stop.
    pub stop_signal: i32,
    /// How long it gets, in seconds.
    pub stop_timeout: u32,
    /// Whether it is started again when it has ended.
    pub restart: Restart,
    /// It is killed when it has run for so many seconds.
    pub timeout: Option<u32>,
    /// How its health is checked.
    pub health: Option<Health>,
    /// It was said that it is not to be.
    pub no_check: bool,
    /// What the service manager of whoever starts it hears of it.
    pub notify: Notify,
}

/// Whether a container is started again when it has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// It is not.
    #[default]
    No,
    /// When it fails; at most so many times, if that is said.
    OnFailure(Option<u32>),
    /// However it ends, and when the machine starts.
    Always,
    /// The same, but not when the machine starts if it was stopped before.
    UnlessStopped,
}

/// What of a container's configuration a monitor reads when the container ends: it may have been changed.
#[derive(Debug, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) supervision: Supervision,
}

impl Recorded {
    /// What is in the directory of a container; `None` when it cannot be read.
    pub(crate) fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(dir.join("container.json")).ok()?).ok()
    }
}
