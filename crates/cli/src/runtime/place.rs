//! Which control group a container gets, and by whom.

use anyhow::bail;
use loment_cgroup::systemd::Scope;
use loment_cgroup::{CgroupPath, Host};
use loment_runtime::Plan;
use loment_runtime::state::Id;
use oci_spec::runtime::Spec;

use super::log::Log;
use super::systemd;

/// Who makes control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manager {
    /// We, as directories.
    Direct,
    /// systemd, as scopes.
    Systemd,
    /// Nobody: containers stay in the caller's.
    Disabled,
}

impl Manager {
    /// The manager of that name, as crun calls them.
    pub(crate) fn parse(name: &str) -> anyhow::Result<Self> {
        match name {
            "cgroupfs" => Ok(Self::Direct),
            "systemd" => Ok(Self::Systemd),
            "disabled" => Ok(Self::Disabled),
            other => bail!("invalid --cgroup-manager {other:?}: use cgroupfs, systemd or disabled"),
        }
    }
}

/// How control groups are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    pub(crate) manager: Manager,
    /// A group that may not be made is done without.
    pub(crate) tolerant: bool,
}

/// A container's control group, and the host it is on.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) host: Host,
    pub(crate) path: CgroupPath,
    /// What systemd makes it as, if systemd does.
    scope: Option<Scope>,
}

impl Place {
    /// The group a record names, if it names one.
    pub(crate) fn recorded(path: Option<&str>, unit: Option<&str>) -> anyhow::Result<Option<Self>> {
        let Some(path) = path else { return Ok(None) };
        let path = CgroupPath::new(path)?;
        let scope = unit.map(|unit| systemd::existing(unit, &path)).transpose()?;
        Ok(Some(Self { host: Host::detect()?, path, scope }))
    }

    pub(crate) fn group(&self) -> loment_cgroup::Cgroup<'_> {
        match &self.scope {
            Some(scope) => self.host.scope(scope.clone()),
            None => self.host.cgroup(self.path.clone()),
        }
    }

    /// The unit of systemd that it is, if it is one.
    pub(crate) fn unit(&self) -> Option<&str> {
        self.scope.as_ref().map(Scope::unit)
    }

    /// Ends every member and removes the group.
    pub(crate) fn clear(&self) -> Result<(), loment_cgroup::Error> {
        let group = self.group();
        let killed = if group.exists() { group.kill() } else { Ok(()) };
        killed.and(group.remove())
    }
}

impl Places {
    /// Makes and limits the group of a new container; `None` when it has none of its own.
    pub(crate) fn make(&self, spec: &Spec, id: &Id, plan: &Plan, log: &Log) -> anyhow::Result<Option<Place>> {
        let (path, scope) = match self.manager {
            Manager::Disabled => return Ok(None),
            Manager::Systemd => {
                let scope = systemd::scope(spec, id)?;
                (scope.container_path().clone(), Some(scope))
            }
            Manager::Direct => (path(spec, id)?, None),
        };
        let place = Place { host: Host::detect()?, path, scope };
        let group = place.group();
        match group.create_or_adopt() {
            Err(loment_cgroup::Error::Io { operation, path, source })
                if self.tolerant && is_refusal(&source) =>
            {
                log.warn(&format!("the container has no cgroup: {operation} {path}: {source}"));
                return Ok(None);
            }
            other => other?,
        }
        let limited = group.apply(&plan.resources);
        let limited = limited.and_then(|()| plan.cgroup_owner().map_or(Ok(()), |uid| group.delegate(uid)));
        if let Err(e) = limited {
            // What was wrong with the limits is what the caller needs to know.
            let _ = group.remove();
            return Err(e.into());
        }
        Ok(Some(place))
    }
}

/// Removes the group of a container whose creator was killed before it wrote down that there is one. A group that was
/// configured may be somebody else's: only an empty one goes.
pub(crate) fn abandon(spec: &Spec, id: &Id) {
    let Ok((host, path)) = Host::detect().map_err(anyhow::Error::from).and_then(|h| Ok((h, path(spec, id)?)))
    else {
        return;
    };
    let ours = path.as_str() == own_name(id);
    let group = host.cgroup(path);
    if ours && group.exists() {
        let _ = group.kill();
    }
    if ours || group.pids().is_ok_and(|pids| pids.is_empty()) {
        let _ = group.remove();
    }
}

fn own_name(id: &Id) -> String {
    format!("loment-{}", id.as_str())
}

fn is_refusal(e: &std::io::Error) -> bool {
    matches!(e.kind(), std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem)
}

/// As configured, else one of our own.
fn path(spec: &Spec, id: &Id) -> anyhow::Result<CgroupPath> {
    let configured = spec.linux().as_ref().and_then(|l| l.cgroups_path().as_ref());
    Ok(match configured.filter(|p| !p.as_os_str().is_empty()) {
        Some(path) => CgroupPath::new(&path.to_string_lossy())?,
        None => CgroupPath::new(&own_name(id))?,
    })
}
