//! The namespaces of a container.

use serde_json::{Value, json};

use crate::config::{Config, Network};

/// Those that it has of its own.
pub(super) fn all(config: &Config) -> Vec<Value> {
    let mut kinds = vec!["pid", "ipc", "mount", "cgroup", "uts"];
    if config.net.network == Network::None {
        kinds.push("network");
    }
    if config.namespaces.users.is_some() {
        kinds.push("user");
    }
    kinds.into_iter().map(|kind| json!({"type": kind})).collect()
}
