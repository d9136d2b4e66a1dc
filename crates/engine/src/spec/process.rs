//! The programs of a container.

use oci_spec::runtime::Process;
use serde_json::{Value, json};

use super::{capabilities, rlimits};
use crate::Error;
use crate::config::Config;

/// A process with the container's rights. Its user is filled in where the container's files are at hand.
pub(super) fn value(
    config: &Config,
    args: &[String],
    env: &[String],
    terminal: bool,
) -> Result<Value, Error> {
    let sets = capabilities::resolve(config)?;
    Ok(json!({
        "terminal": terminal,
        "user": {"uid": 0, "gid": 0, "umask": 0o022},
        "args": args,
        "env": env,
        "cwd": config.process.workdir,
        // For a user other than root; root's are dropped again where the user is known.
        "capabilities": {"bounding": sets, "effective": sets, "permitted": sets, "ambient": capabilities::added(config)?},
        "rlimits": rlimits::resolve(config)?,
        "noNewPrivileges": config.security.no_new_privileges,
    }))
}

/// A further program in the container.
pub(crate) fn of_exec(
    config: &Config,
    args: &[String],
    env: &[String],
    terminal: bool,
) -> Result<Process, Error> {
    let value = value(config, args, env, terminal)?;
    serde_json::from_value(value).map_err(|source| Error::Damaged {
        path: format!("configuration of container {}", config.id),
        source,
    })
}
