//! Parameters of the kernel that a container has of its own.

use std::collections::BTreeMap;

use loment_runtime::namespace_of_sysctl;
use oci_spec::runtime::LinuxNamespaceType;

use crate::Error;
use crate::config::{Config, Namespace, Network};
use crate::error::invalid;

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
    let (is_hosts, kind) = match namespace_of_sysctl(key) {
        Some(LinuxNamespaceType::Network) => (config.net.network == Network::Host, "Network"),
        Some(LinuxNamespaceType::Ipc) => (config.namespaces.ipc == Namespace::Host, "IPC"),
        Some(_) => (config.namespaces.uts == Namespace::Host, "UTS"),
        None => return Err(invalid("sysctl", key, "it is not allowed: no namespace has one of its own")),
    };
    match is_hosts {
        true => Err(invalid("sysctl", key, format!("it can't be set since {kind} Namespace set to host"))),
        false => Ok(()),
    }
}
