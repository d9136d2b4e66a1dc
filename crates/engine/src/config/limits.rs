//! What a container may use.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Limits of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// The class of resctrl that its processes are in, which is there.
    pub rdt_class: Option<String>,
    /// Bytes.
    pub memory: Option<i64>,
    /// Bytes of memory and swap together; -1 is unlimited.
    pub memory_swap: Option<i64>,
    /// Bytes of memory that are left to it when memory is short.
    pub memory_reservation: Option<i64>,
    /// How readily its memory is swapped out, from 0 to 100; control groups of version 1 only.
    pub memory_swappiness: Option<u64>,
    /// Its programs wait for memory instead of being killed; version 1 only.
    pub oom_kill_disable: bool,
    /// Bytes of the kernel's memory; version 1 of old kernels only.
    pub kernel_memory: Option<i64>,
    /// Share of CPU time among groups that want it, 1024 for the usual one.
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU time per `cpu_period`.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// Microseconds of real-time scheduling per `cpu_rt_period`; version 1 only.
    pub cpu_rt_runtime: Option<i64>,
    /// Microseconds.
    pub cpu_rt_period: Option<u64>,
    /// CPUs, as `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes, as `0,1`.
    pub cpuset_mems: Option<String>,
    /// Share of the time of disks, from 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// The same, of single disks.
    pub blkio_weight_device: Vec<DeviceLimit>,
    /// Bytes a second.
    pub device_read_bps: Vec<DeviceLimit>,
    /// Bytes a second.
    pub device_write_bps: Vec<DeviceLimit>,
    /// Operations a second.
    pub device_read_iops: Vec<DeviceLimit>,
    /// Operations a second.
    pub device_write_iops: Vec<DeviceLimit>,
    /// Files of the control group and what is written to them; version 2 only.
    pub unified: BTreeMap<String, String>,
    /// Processes and threads; -1 is unlimited.
    pub pids_limit: Option<i64>,
    /// Resource limits given by the user: they apply exactly.
    pub ulimits: Vec<Ulimit>,
    /// Those are the ones of whoever starts it, all of them.
    pub host_ulimits: bool,
}

/// A limit of one device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceLimit {
    /// The device, on the host.
    pub path: PathBuf,
    /// In the unit of the limit.
    pub value: u64,
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
