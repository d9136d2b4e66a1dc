//! Parameters of the kernel that a container has of its own.

use std::collections::BTreeMap;

use crate::Error;
use crate::config::{Config, Namespace, Network};
use crate::error::invalid;

const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Whether a container has one of its own.
pub(crate) fn has_own(config: &Config, key: &str) -> bool {
    check(config, key).is_ok()
}

/// Those of the configuration; one that is the host's is refused. (The runtime looks again when a container is made.)
pub(super) fn checked(config: &Config) -> Result<&BTreeMap<String, String>, Error> {
    let sysctls = &config.namespaces.sysctls;
    sysctls.keys().try_for_each(|key| check(config, key))?;
    Ok(sysctls)
}

fn check(config: &Config, key: &str) -> Result<(), Error> {
    let dotted = key.replace('/', ".");
    let of_net = dotted.starts_with("net.");
    let of_ipc = IPC.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.");
    let of_host = [
        (of_net && config.net.network == Network::Host, "Network"),
        (of_ipc && config.namespaces.ipc == Namespace::Host, "IPC"),
        (dotted == "kernel.domainname" && config.namespaces.uts == Namespace::Host, "UTS"),
    ];
    if let Some((_, kind)) = of_host.iter().find(|(of_host, _)| *of_host) {
        return Err(invalid("sysctl", key, format!("it can't be set since {kind} Namespace set to host")));
    }
    if !of_net && !of_ipc && dotted != "kernel.domainname" {
        return Err(invalid("sysctl", key, "it is not allowed: no namespace has one of its own"));
    }
    Ok(())
}
