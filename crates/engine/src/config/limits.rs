//! What a container may use.

use serde::{Deserialize, Serialize};

/// Limits of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
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
    /// Resource limits given by the user: they apply exactly.
    pub ulimits: Vec<Ulimit>,
}

/// A resource limit; -1 is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile`, `core`, …
    pub name: String,
    /// What a program starts with.
    pub soft: i64,
    /// What it can raise that to.
    pub hard: i64,
}
