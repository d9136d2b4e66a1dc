//! Limits of a container's control group.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use serde_json::{Map, Value, json};

use crate::Error;
use crate::config::{DeviceLimit, Limits};
use crate::error::Context;

/// Limits, as a specification has them.
pub(super) fn resources(limits: &Limits, device_rules: Vec<Value>) -> Result<Value, Error> {
    let memory = object([
        ("limit", json!(limits.memory)),
        ("swap", json!(limits.memory_swap)),
        ("reservation", json!(limits.memory_reservation)),
        ("swappiness", json!(limits.memory_swappiness)),
        ("kernel", json!(limits.kernel_memory)),
        ("disableOOMKiller", json!(limits.oom_kill_disable.then_some(true))),
    ]);
    let cpu = object([
        ("shares", json!(limits.cpu_shares)),
        ("quota", json!(limits.cpu_quota)),
        ("period", json!(limits.cpu_period)),
        ("realtimeRuntime", json!(limits.cpu_rt_runtime)),
        ("realtimePeriod", json!(limits.cpu_rt_period)),
        ("cpus", json!(limits.cpuset_cpus)),
        ("mems", json!(limits.cpuset_mems)),
    ]);
    let block = object([
        ("weight", json!(limits.blkio_weight)),
        ("weightDevice", of_devices(&limits.blkio_weight_device, "weight")?),
        ("throttleReadBpsDevice", of_devices(&limits.device_read_bps, "rate")?),
        ("throttleWriteBpsDevice", of_devices(&limits.device_write_bps, "rate")?),
        ("throttleReadIOPSDevice", of_devices(&limits.device_read_iops, "rate")?),
        ("throttleWriteIOPSDevice", of_devices(&limits.device_write_iops, "rate")?),
    ]);
    let pids = object([("limit", json!(limits.pids_limit))]);
    let unified = if limits.unified.is_empty() { Value::Null } else { json!(limits.unified) };
    Ok(object([
        ("devices", device_rules.into()),
        ("memory", memory),
        ("cpu", cpu),
        ("pids", pids),
        ("blockIO", block),
        ("unified", unified),
    ]))
}

/// An object of what there is; nothing if there is nothing.
fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let members = members.into_iter().filter(|(_, value)| !value.is_null());
    let members: Map<String, Value> = members.map(|(name, value)| (name.to_owned(), value)).collect();
    if members.is_empty() { Value::Null } else { members.into() }
}

/// Devices by the numbers they have now.
fn of_devices(limits: &[DeviceLimit], what: &str) -> Result<Value, Error> {
    if limits.is_empty() {
        return Ok(Value::Null);
    }
    let one = |limit: &DeviceLimit| {
        let shown = limit.path.display().to_string();
        let meta = std::fs::metadata(&limit.path).context("stat", &shown)?;
        if !meta.file_type().is_block_device() {
            return Err(Error::NotBlock { path: shown });
        }
        let number = meta.rdev();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        Ok(json!({"major": major, "minor": minor, what: limit.value}))
    };
    limits.iter().map(one).collect::<Result<Vec<_>, _>>().map(Value::from)
}
