//! `--systemd-cgroup`: the scope that a container gets, and the one it has.

use std::collections::BTreeMap;

use loment_cgroup::CgroupPath;
use loment_cgroup::systemd::{Manager, Property, Scope, ScopeName};
use loment_runtime::state::Id;
use oci_spec::runtime::Spec;

use crate::users_systemd;

/// The name of a group that the container gets in its scope; empty for none.
const SUBGROUP: &str = "run.oci.systemd.subgroup";

/// The scope of a new container: that of its `cgroupsPath`, which has the form `slice:prefix:name`, else one named after it.
pub(super) fn scope(spec: &Spec, id: &Id) -> anyhow::Result<Scope> {
    let manager = manager();
    let configured = spec.linux().as_ref().and_then(|l| l.cgroups_path().as_ref());
    let name = match configured.and_then(|p| p.to_str()).filter(|p| !p.is_empty()) {
        Some(text) => ScopeName::parse(text, manager.default_slice())?,
        None => ScopeName::new(manager.default_slice(), "loment", id.as_str())?,
    };
    let annotations: BTreeMap<String, String> =
        spec.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
    let scope = manager
        .scope(&name)?
        .with_description(&format!("loment container {}", id.as_str()))
        .with_properties(Property::from_annotations(&annotations)?);
    Ok(match annotations.get(SUBGROUP).filter(|name| !name.is_empty()) {
        Some(name) => scope.with_subgroup(name)?,
        None => scope,
    })
}

/// The scope of a container that is recorded with this unit and path.
pub(super) fn existing(unit: &str, path: &CgroupPath) -> anyhow::Result<Scope> {
    Ok(manager().existing(unit, path)?)
}

/// The system's for root, and for everybody else his own.
fn manager() -> Manager {
    if loment_sys::process::is_root() && !is_mapped() {
        return Manager::system();
    }
    Manager::user(users_systemd::addresses())
}

/// Whether this process's users are not the host's: then its root is somebody else outside.
fn is_mapped() -> bool {
    !loment_sys::ids::IdMap::own_users().is_the_machines()
}
