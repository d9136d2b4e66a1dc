//! Where a container's output is kept.

use serde::{Deserialize, Serialize};

/// A container's log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogUse {
    /// `k8s-file` or `none`.
    pub driver: String,
    /// A file larger than this (bytes) is rotated.
    pub max_size: Option<u64>,
    /// Files kept, the current one included.
    pub max_files: u32,
}
