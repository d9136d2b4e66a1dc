//! Network devices of the creator's namespace that become the container's (runtime-spec 1.3, config-linux.md, "Network
//! Devices").
//!
//! They are moved by the creator, which has the right to, when the container's process is in its network namespace, and before
//! kernel parameters are set and hooks are run: both may be meant for them. While a container is made its creator holds that
//! namespace open, because the kernel destroys virtual devices together with theirs; when it cannot be made they go back.
//! Afterwards nobody but the kernel moves them.

use std::collections::HashMap;
use std::error::Error as _;
use std::io;
use std::os::fd::BorrowedFd;

use loment_net::{Move, Moved, Namespace};
use oci_spec::runtime::{Linux, LinuxNamespaceType};

use crate::error::{Context, invalid};
use crate::namespaces::Namespaces;
use crate::{Error, Failure};

/// Which devices a container gets: first those that say how they are to be called, since templates avoid what is there.
pub(crate) fn plan(linux: &Linux, namespaces: &Namespaces) -> Result<Vec<Move>, Error> {
    const FIELD: &str = "linux.netDevices";
    let none = HashMap::new();
    let devices = linux.net_devices().as_ref().unwrap_or(&none);
    if !devices.is_empty() && !namespaces.have(LinuxNamespaceType::Network) {
        return Err(invalid(FIELD, "they need a network namespace of the container's own"));
    }
    let order = |(name, device): (&String, &oci_spec::runtime::LinuxNetDevice)| {
        Move::new(name, device.name().as_deref()).map_err(|e| invalid(FIELD, e.to_string()))
    };
    let mut moves = devices.iter().map(order).collect::<Result<Vec<_>, _>>()?;
    moves.sort_by(|a, b| (a.is_template(), a.device()).cmp(&(b.is_template(), b.device())));
    let mut names: Vec<_> = moves.iter().filter(|m| !m.is_template()).map(|m| m.name().as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(invalid(FIELD, format!("two of them are to be called {}", pair[0])));
    }
    Ok(moves)
}

/// Moves them into the network namespace of a process; what was done is in `moved`, also after a failure.
pub(crate) fn give(
    devices: &[Move],
    pidfd: BorrowedFd<'_>,
    moved: &mut Option<Moved>,
) -> Result<(), Failure> {
    let namespaces = || -> Result<_, loment_net::Error> {
        Moved::new(Namespace::current()?, Namespace::of_process(pidfd)?)
    };
    let moved = moved.insert(namespaces().map_err(io::Error::other).context("set up", "linux.netDevices")?);
    for device in devices {
        let taken = moved.take(device).map_err(io::Error::other);
        taken.context("set up", format_args!("linux.netDevices.{}", device.device()))?;
    }
    Ok(())
}

/// Puts them back when a container cannot be made; what could not be put back, and why.
pub(crate) fn take_back(moved: Option<Moved>) -> Vec<String> {
    let failures = moved.map(Moved::undo).unwrap_or_default();
    let reason = |e: &loment_net::Error| e.source().map(|s| format!(": {s}")).unwrap_or_default();
    failures.iter().map(|e| format!("{e}{}", reason(e))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(devices: serde_json::Value, namespaces: serde_json::Value) -> Result<Vec<Move>, Error> {
        let linux = serde_json::json!({ "namespaces": namespaces, "netDevices": devices });
        let linux: Linux = serde_json::from_value(linux).unwrap();
        plan(&linux, &Namespaces::new(&linux)?)
    }

    #[test]
    fn devices_need_a_network_namespace_and_names_of_their_own() {
        let own = || serde_json::json!([{ "type": "mount" }, { "type": "network" }]);
        let moves = planned(
            serde_json::json!({ "b": {}, "a": { "name": "net%d" }, "c": { "name": "net%d" } }),
            own(),
        );
        let names: Vec<_> =
            moves.unwrap().iter().map(|m| format!("{} {}", m.device(), m.name().as_str())).collect();
        assert_eq!(names, ["b b", "a net%d", "c net%d"]);
        let refused = |devices, namespaces| planned(devices, namespaces).unwrap_err().to_string();
        let error = refused(serde_json::json!({ "a": {} }), serde_json::json!([{ "type": "mount" }]));
        assert!(error.contains("network namespace"), "{error}");
        let error = refused(serde_json::json!({ "a": { "name": "b" }, "b": {} }), own());
        assert!(error.contains("two of them are to be called b"), "{error}");
        for bad in ["a/b", "..", "1234567890123456", "a b", "a%s"] {
            let error = refused(serde_json::json!({ "a": { "name": bad } }), own());
            assert!(error.starts_with("invalid linux.netDevices: "), "{error}");
            refused(serde_json::json!({ bad: {} }), own());
        }
        assert!(planned(serde_json::json!({}), serde_json::json!([{ "type": "mount" }])).unwrap().is_empty());
    }
}
