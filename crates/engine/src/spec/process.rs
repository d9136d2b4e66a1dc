//! The program of a container.

use serde_json::{Value, json};

use super::{capabilities, rlimits};
use crate::Error;
use crate::config::{Config, Process, Security};
use crate::error::invalid;

/// Where an init of the host's is in a container.
pub(super) const INIT: &str = "/run/podman-init";

/// The container's own. Its user is filled in where the container's files are at hand.
pub(super) fn value(config: &Config) -> Result<Value, Error> {
    let sets = capabilities::resolve(config)?;
    let process = &config.process;
    Ok(json!({
        "terminal": process.terminal,
        "user": {"uid": 0, "gid": 0, "umask": process.umask.unwrap_or(0o022)},
        "args": args(process, config.args()),
        "env": environment(config),
        "cwd": process.workdir,
        // For a user other than root; root's are dropped again where the user is known.
        "capabilities": {"bounding": sets, "effective": sets, "permitted": sets, "ambient": capabilities::added(config)?},
        "rlimits": rlimits::resolve(config)?,
        "noNewPrivileges": config.security.no_new_privileges,
        "apparmorProfile": apparmor(&config.security)?,
        "oomScoreAdj": process.oom_score_adj,
    }))
}

/// A systemd knows by it that it is in a container, and which machine it is.
fn environment(config: &Config) -> Vec<String> {
    let mut all = config.process.env.clone();
    if config.process.systemd {
        let uuid = config.id.get(..32).unwrap_or_default();
        for (name, value) in [("container", "loment"), ("container_uuid", uuid)] {
            if !all.iter().any(|entry| entry.split_once('=').is_some_and(|(other, _)| other == name)) {
                all.push(format!("{name}={value}"));
            }
        }
    }
    all
}

/// The profile, if there is one; that it is loaded is found when it is used.
fn apparmor(security: &Security) -> Result<Option<&str>, Error> {
    let profile = security.apparmor.as_deref().filter(|&profile| profile != "unconfined");
    match profile {
        Some(profile) if !loment_runtime::has_apparmor() => {
            Err(invalid("AppArmor profile", profile, "AppArmor is not enabled on this system"))
        }
        profile => Ok(profile),
    }
}

/// What is executed: by an init of the host's, if there is one.
fn args(process: &Process, args: Vec<String>) -> Vec<String> {
    match &process.init_path {
        Some(_) if process.init => [INIT, "--"].map(str::to_owned).into_iter().chain(args).collect(),
        _ => args,
    }
}
