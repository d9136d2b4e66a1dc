//! Which capabilities a container has.

use loment_runtime::CapabilitySet;

use crate::Error;
use crate::config::Config;
use crate::error::invalid;

/// What a container has unless told otherwise: Podman's set.
const DEFAULT_CAPABILITIES: [&str; 11] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// The capabilities' full names: default, then dropped, then added; dropping ALL drops the default ones, adding ALL adds
/// every one but the dropped.
///
/// # Errors
/// [`Error::Invalid`] for an unknown name.
pub fn resolve(config: &Config) -> Result<Vec<String>, Error> {
    let full = |list: &[String]| -> Result<Vec<String>, Error> {
        list.iter().filter(|n| !n.eq_ignore_ascii_case("ALL")).map(|n| full_name(n)).collect()
    };
    let all = |list: &[String]| list.iter().any(|n| n.eq_ignore_ascii_case("ALL"));
    let (add, drop) = (full(&config.security.cap_add)?, full(&config.security.cap_drop)?);
    if let Some(both) = add.iter().find(|c| drop.contains(c)) {
        return Err(invalid("capability", both, "it is both added and dropped"));
    }
    let every = || CapabilitySet::all().iter().map(|c| format!("CAP_{c}")).collect::<Vec<_>>();
    let mut caps: Vec<String> = if config.security.privileged || all(&config.security.cap_add) {
        every()
    } else if all(&config.security.cap_drop) {
        Vec::new()
    } else if let Some(usual) = &config.security.capabilities {
        full(usual)?
    } else {
        DEFAULT_CAPABILITIES.map(str::to_owned).to_vec()
    };
    caps.retain(|c| !drop.contains(c));
    caps.extend(add);
    caps.sort();
    caps.dedup();
    Ok(caps)
}

/// Those that were added by name: a user other than root keeps them.
pub(crate) fn added(config: &Config) -> Result<Vec<String>, Error> {
    config.security.cap_add.iter().filter(|n| !n.eq_ignore_ascii_case("ALL")).map(|n| full_name(n)).collect()
}

fn full_name(name: &str) -> Result<String, Error> {
    match CapabilitySet::parse(name) {
        Some(c) => Ok(format!("CAP_{c}")),
        None => Err(invalid("capability", name, "unknown capability, see capabilities(7)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(add: &[&str], drop: &[&str]) -> Result<Vec<String>, Error> {
        let list = |l: &[&str]| l.iter().map(|s| (*s).to_owned()).collect();
        let mut config = Config::default();
        config.security.cap_add = list(add);
        config.security.cap_drop = list(drop);
        resolve(&config)
    }

    #[test]
    fn sets_are_added_and_dropped() {
        assert_eq!(with(&[], &[]).unwrap(), DEFAULT_CAPABILITIES);
        assert_eq!(with(&["net_admin"], &["ALL"]).unwrap(), ["CAP_NET_ADMIN"]);
        assert!(!with(&["ALL"], &["sys_admin"]).unwrap().contains(&"CAP_SYS_ADMIN".to_owned()));
        assert_eq!(with(&["ALL"], &[]).unwrap().len(), 41);
        assert!(with(&["NET_ADMIN"], &["CAP_NET_ADMIN"]).is_err());
        assert!(with(&["FOO"], &[]).is_err());
    }
}
