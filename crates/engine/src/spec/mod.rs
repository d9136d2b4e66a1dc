//! From a configuration to a runtime specification.

mod capabilities;
mod devices;
mod mounts;
mod namespaces;
mod paths;
mod process;
mod resources;
mod rlimits;
mod seccomp;
mod sysctls;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::Error;
use crate::config::{Config, Limits};

pub use capabilities::resolve as capabilities;
pub(crate) use mounts::{generated, given};
pub(crate) use namespaces::joins;
pub use seccomp::check as check_filter;
pub(crate) use sysctls::has_own as has_own_sysctl;

/// The specification of a container, as a document for its monitor. `run_dir` holds its generated files.
pub(crate) fn build(config: &Config, run_dir: &Path) -> Result<Value, Error> {
    let devices = devices::resolve(config)?;
    let (masked, read_only) = paths::hidden(config);
    let mut linux = json!({
        "namespaces": namespaces::all(config),
        "devices": devices.nodes,
        "resources": resources::resources(&config.limits, devices.rules)?,
        "maskedPaths": masked,
        "readonlyPaths": read_only,
        "cgroupsPath": config.cgroup.path,
        "rootfsPropagation": "private",
        "sysctl": sysctls::checked(config)?,
    });
    if let Some(users) = &config.namespaces.users {
        linux["uidMappings"] = json!(users.uids);
        linux["gidMappings"] = json!(users.gids);
    }
    if let Some(class) = &config.limits.rdt_class {
        linux["intelRdt"] = json!({"closID": class});
    }
    if let Some(personality) = config.process.personality {
        linux["personality"] = json!({"domain": personality});
    }
    if let Some(filter) = seccomp::filter(config)? {
        linux["seccomp"] = serde_json::to_value(filter).expect("a filter has string keys only");
    }
    let has_names = config.namespaces.uts.is_own();
    let hostname = Some(&config.net.hostname).filter(|_| has_names);
    let domainname = Some(&config.net.domainname).filter(|name| has_names && !name.is_empty());
    Ok(json!({
        "ociVersion": "1.3.0",
        "hostname": hostname,
        "domainname": domainname,
        "root": {"path": "rootfs", "readonly": config.files.read_only},
        "process": process::value(config)?,
        "mounts": mounts::all(config, run_dir, &devices.mounts)?,
        "linux": linux,
        "annotations": annotations(config),
    }))
}

/// Limits of a container's control group, as a specification has them, without rules about devices.
pub(crate) fn resources(limits: &Limits) -> Result<Value, Error> {
    resources::resources(limits, Vec::new())
}

/// Resource limits of a container's program, as a specification has them.
pub(crate) fn rlimits(config: &Config) -> Result<Value, Error> {
    rlimits::resolve(config).map(Value::from)
}

/// The user's, what systemd is to do when it stops the container's scope (what `stop` does), and what a specification has no field for.
fn annotations(config: &Config) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    if config.process.keep_groups {
        all.insert("run.oci.keep_original_groups".into(), "1".into());
    }
    if config.cgroup.slice.is_some() {
        let prefix = "org.systemd.property.";
        all.insert(format!("{prefix}KillSignal"), config.supervision.stop_signal.to_string());
        all.insert(format!("{prefix}TimeoutStopSec"), format!("uint64 {}", config.supervision.stop_timeout));
    }
    all.extend(config.annotations.clone());
    all
}
