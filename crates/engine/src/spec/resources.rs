//! Limits of a container's control group.

use serde_json::{Map, Value, json};

use crate::config::Limits;

/// Limits, as a specification has them.
pub(super) fn resources(limits: &Limits, device_rules: Vec<Value>) -> Value {
    let memory = object([("limit", json!(limits.memory)), ("swap", json!(limits.memory_swap))]);
    let cpu = object([
        ("quota", json!(limits.cpu_quota)),
        ("period", json!(limits.cpu_period)),
        ("cpus", json!(limits.cpuset_cpus)),
    ]);
    let pids = object([("limit", json!(limits.pids_limit))]);
    object([("devices", device_rules.into()), ("memory", memory), ("cpu", cpu), ("pids", pids)])
}

/// An object of what there is; nothing if there is nothing.
fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let members = members.into_iter().filter(|(_, value)| !value.is_null());
    let members: Map<String, Value> = members.map(|(name, value)| (name.to_owned(), value)).collect();
    if members.is_empty() { Value::Null } else { members.into() }
}
