//! What a container's monitor does.

use serde::{Deserialize, Serialize};

/// How a container is looked after.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Supervision {
    /// Removed when it ends.
    pub auto_remove: bool,
    /// Number of the signal that asks it to stop.
    pub stop_signal: i32,
    /// How long it gets, in seconds.
    pub stop_timeout: u32,
}
