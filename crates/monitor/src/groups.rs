//! The container's control group: a directory of ours, or a scope of systemd's.

use std::collections::BTreeMap;

use loment_cgroup::systemd::{Manager, Property, Scope, ScopeName};
use loment_cgroup::{Cgroup, Error, Host, OomCounter};
use oci_spec::runtime::{LinuxResources, Spec};

use crate::launch::Place;

/// What comes before the id in the name of a scope.
const PREFIX: &str = "loment";

/// The name of the scope of a container, for which systemd has a group of the same name.
///
/// # Errors
/// [`Error::UnitName`] when that is not a slice.
pub fn scope_name(slice: &str, id: &str) -> Result<ScopeName, Error> {
    ScopeName::new(slice, PREFIX, id)
}

fn scope(place: &Place) -> Result<Option<Scope>, Error> {
    let Some(slice) = &place.slice else { return Ok(None) };
    // Who manages the system has its groups at the root.
    Ok(Some(Manager::system().scope_below(&scope_name(slice, &place.id)?, "")?))
}

/// The hierarchies in which its group is.
///
/// # Errors
/// [`Error::NotMounted`] where there are none, and it has one.
pub(crate) fn host(place: &Place) -> Result<Host, Error> {
    if place.cgroup.is_some() { Host::detect() } else { Ok(Host::none()) }
}

/// The group that a container is to get.
pub(crate) fn to_make<'h>(host: &'h Host, place: &Place, spec: &Spec) -> Result<Cgroup<'h>, Error> {
    let Some(scope) = scope(place)? else { return to_join(host, place) };
    let annotations: BTreeMap<_, _> =
        spec.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
    let properties = Property::from_annotations(&annotations)?;
    let description = format!("loment container {}", place.id);
    Ok(host.scope(scope.with_description(&description).with_properties(properties)))
}

/// The group that it has, to be joined.
pub(crate) fn to_join<'h>(host: &'h Host, place: &Place) -> Result<Cgroup<'h>, Error> {
    host.cgroup_if(place.cgroup.as_deref())
}

/// Changes the limits of one that runs; those that are not given stay.
///
/// # Errors
/// What the kernel, or systemd, says.
pub fn limit(place: &Place, resources: &LinuxResources) -> Result<(), Error> {
    let host = host(place)?;
    let group = match scope(place)? {
        // It is there; of one that is still to be made, limits are only checked.
        Some(scope) => host.scope(Manager::system().existing(scope.unit(), scope.container_path())?),
        None => to_join(&host, place)?,
    };
    group.update(resources)
}

/// Lets it go on.
pub(crate) fn thaw(place: &Place) {
    let thawed = || -> Result<(), Error> { to_join(&host(place)?, place)?.freeze(false) };
    // One that has ended meanwhile needs it no more.
    let _ = thawed();
}

/// Whether something in it was killed for lack of memory.
pub(crate) fn out_of_memory(place: &Place) -> bool {
    let count = || -> Result<u64, Error> { Ok(to_join(&host(place)?, place)?.oom_kills()) };
    count().is_ok_and(|kills| kills > 0)
}

/// What tells that of a scope, which systemd removes as soon as it is empty: opened before, and asked at once.
pub(crate) fn scope_counter(place: &Place) -> Option<OomCounter> {
    place.slice.as_ref()?;
    to_join(&host(place).ok()?, place).ok()?.oom_counter()
}

/// How many processes of the machine were killed for lack of memory since it was booted; asked for scopes only.
pub(crate) fn kills_of_machine(place: &Place) -> u64 {
    let text =
        place.slice.as_ref().and_then(|_| std::fs::read_to_string("/proc/vmstat").ok()).unwrap_or_default();
    text.lines().find_map(|l| l.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0)
}

/// Kills what is in it, thawing it if that is needed.
pub(crate) fn kill(place: &Place) {
    let killed = || -> Result<(), Error> { to_join(&host(place)?, place)?.kill() };
    let _ = killed();
}

/// Kills what is left in it and removes it. What remains when that fails is an empty group.
pub(crate) fn remove(place: &Place) {
    let removed = || -> Result<(), Error> {
        let host = host(place)?;
        let group = match scope(place)? {
            Some(scope) => host.scope(scope),
            None => to_join(&host, place)?,
        };
        if group.exists() {
            let _ = group.kill();
        }
        group.remove()
    };
    let _ = removed();
}
