//! From a configuration to a runtime specification.

mod capabilities;
mod devices;
mod mounts;
mod paths;

use std::collections::BTreeMap;
use std::path::Path;

use loment_seccomp::{Arch, Caps, KernelVersion, Profile, default_profile};
use oci_spec::runtime::{LinuxSeccomp, Process};
use serde_json::{Value, json};

use crate::config::{Config, Network, Seccomp};
use crate::container::cgroup_of;
use crate::error::{Context, invalid};
use crate::{Error, rlimits};

pub use capabilities::resolve as capabilities;
pub(crate) use mounts::GENERATED;

/// The specification of a container, as a document for its monitor. `run_dir` holds its generated files.
pub(crate) fn build(config: &Config, run_dir: &Path) -> Result<Value, Error> {
    let devices = devices::resolve(config)?;
    let (masked, read_only) = paths::hidden(config);
    let mut namespaces = vec![json!({"type": "pid"}), json!({"type": "ipc"}), json!({"type": "mount"})];
    namespaces.push(json!({"type": "cgroup"}));
    namespaces.push(json!({"type": "uts"}));
    if config.network == Network::None {
        namespaces.push(json!({"type": "network"}));
    }
    if config.users.is_some() {
        namespaces.push(json!({"type": "user"}));
    }
    let mut linux = json!({
        "namespaces": namespaces,
        "devices": devices.nodes,
        "resources": resources(config, devices.rules),
        "maskedPaths": masked,
        "readonlyPaths": read_only,
        "cgroupsPath": cgroup_of(config),
        "rootfsPropagation": "private",
    });
    if let Some(users) = &config.users {
        linux["uidMappings"] = json!(users.uids);
        linux["gidMappings"] = json!(users.gids);
    }
    if let Some(filter) = seccomp(config)? {
        linux["seccomp"] = serde_json::to_value(filter).expect("a filter has string keys only");
    }
    Ok(json!({
        "ociVersion": "1.3.0",
        "hostname": config.hostname,
        "root": {"path": "rootfs", "readonly": config.read_only},
        "process": process_value(config, &config.args(), &config.env, config.terminal)?,
        "mounts": mounts::all(config, run_dir)?,
        "linux": linux,
        "annotations": annotations(config),
    }))
}

/// The user's, and what systemd is to do when it stops the container's scope: what `stop` does.
fn annotations(config: &Config) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    if config.cgroup.slice.is_some() {
        let prefix = "org.systemd.property.";
        all.insert(format!("{prefix}KillSignal"), config.stop_signal.to_string());
        all.insert(format!("{prefix}TimeoutStopSec"), format!("uint64 {}", config.stop_timeout));
    }
    all.extend(config.annotations.clone());
    all
}

/// A process with the container's rights. Its user is filled in where the container's files are at hand.
fn process_value(config: &Config, args: &[String], env: &[String], terminal: bool) -> Result<Value, Error> {
    let sets = self::capabilities(config)?;
    Ok(json!({
        "terminal": terminal,
        "user": {"uid": 0, "gid": 0, "umask": 0o022},
        "args": args,
        "env": env,
        "cwd": config.workdir,
        // For a user other than root; root's are dropped again where the user is known.
        "capabilities": {"bounding": sets, "effective": sets, "permitted": sets, "ambient": capabilities::added(config)?},
        "rlimits": rlimits::resolve(config)?,
        "noNewPrivileges": config.no_new_privileges,
    }))
}

/// A further program in the container.
pub(crate) fn exec_process(
    config: &Config,
    args: &[String],
    env: &[String],
    terminal: bool,
) -> Result<Process, Error> {
    let value = process_value(config, args, env, terminal)?;
    serde_json::from_value(value).map_err(|source| Error::Damaged {
        path: format!("configuration of container {}", config.id),
        source,
    })
}

/// The filter the container's programs get; `None` for none.
pub(crate) fn seccomp(config: &Config) -> Result<Option<LinuxSeccomp>, Error> {
    let custom;
    let profile = match &config.seccomp {
        Seccomp::Unconfined => return Ok(None),
        Seccomp::Default if config.privileged => return Ok(None),
        Seccomp::Default => default_profile(),
        Seccomp::Profile(json) => {
            custom = Profile::parse(json.as_bytes())?;
            &custom
        }
    };
    let names = self::capabilities(config)?;
    let caps = Caps::from_names(names.iter().map(String::as_str))
        .map_err(|e| invalid("capability", e.0, "see capabilities(7)"))?;
    let release = rustix::system::uname();
    let kernel: KernelVersion = release
        .release()
        .to_string_lossy()
        .parse()
        .map_err(|_| std::io::Error::other("it is not a version"))
        .context("read the kernel's version", release.release().to_string_lossy())?;
    let Some(arch) = Arch::native() else {
        return Err(Error::Unsupported {
            what: "a seccomp profile on this architecture".into(),
            hint: ": use --security-opt seccomp=unconfined",
        });
    };
    Ok(Some(profile.resolve(caps, arch, kernel)))
}

fn resources(config: &Config, device_rules: Vec<Value>) -> Value {
    let r = &config.resources;
    let mut memory = serde_json::Map::new();
    if let Some(limit) = r.memory {
        memory.insert("limit".into(), limit.into());
    }
    if let Some(swap) = r.memory_swap {
        memory.insert("swap".into(), swap.into());
    }
    let mut cpu = serde_json::Map::new();
    if let Some(quota) = r.cpu_quota {
        cpu.insert("quota".into(), quota.into());
    }
    if let Some(period) = r.cpu_period {
        cpu.insert("period".into(), period.into());
    }
    if let Some(cpus) = &r.cpuset_cpus {
        cpu.insert("cpus".into(), cpus.clone().into());
    }
    let mut out = json!({"devices": device_rules});
    if !memory.is_empty() {
        out["memory"] = memory.into();
    }
    if !cpu.is_empty() {
        out["cpu"] = cpu.into();
    }
    if let Some(limit) = r.pids_limit {
        out["pids"] = json!({"limit": limit});
    }
    out
}
