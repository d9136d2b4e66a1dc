//! Where a container's control group is, and who makes it.

use loment_cgroup::systemd::Manager;
use loment_cgroup::{CgroupPath, Delegated, Host, Version};

use crate::Error;
use crate::config::{GroupManager, GroupUse, Groups, Limits};
use crate::container::cgroup_name;
use crate::error::invalid;

/// The slice of containers and machines (systemd.special(7)).
const SLICE: &str = "machine.slice";

/// Refuses limits of who gets no control group, which limits need.
pub(crate) fn refuse_limits(limits: &Limits, groups: Option<Groups>) -> Result<(), Error> {
    let hint = match groups {
        Some(Groups::None) => "limits need a control group: leave --cgroups disabled out",
        _ => {
            "limits need a control group, and this user may make none here: run it as root, or log in such that systemd gives this user some (systemctl --user status; user@.service, Delegate=)"
        }
    };
    match asked(limits).next() {
        Some((flag, _)) => Err(invalid("limit", flag, hint)),
        None => Ok(()),
    }
}

/// Refuses limits by controllers that an ordinary user was not given.
pub(crate) fn refuse_undelegated(limits: &Limits, groups: &Delegated) -> Result<(), Error> {
    match asked(limits).find(|(_, controller)| !controller.is_empty() && !groups.has(controller)) {
        Some((flag, controller)) => {
            let hint = format!(
                "the {controller} cgroup controller was not delegated to this user: as root, run `systemctl edit user@.service`, add [Service] and Delegate=cpu cpuset io memory pids, and log in anew"
            );
            Err(Error::Invalid { what: "limit", value: flag.into(), hint })
        }
        None => Ok(()),
    }
}

/// The limits that are set and need a control group, by their flags, with the controllers of v2 they need if that is one of them.
fn asked(limits: &Limits) -> impl Iterator<Item = (&'static str, &'static str)> {
    let set = [
        ("--memory", "memory", limits.memory.is_some()),
        ("--memory-swap", "memory", limits.memory_swap.is_some()),
        ("--memory-reservation", "memory", limits.memory_reservation.is_some()),
        ("--memory-swappiness", "memory", limits.memory_swappiness.is_some()),
        ("--oom-kill-disable", "memory", limits.oom_kill_disable),
        ("--cpu-shares", "cpu", limits.cpu_shares.is_some()),
        ("--cpus or --cpu-quota", "cpu", limits.cpu_quota.is_some()),
        ("--cpu-period", "cpu", limits.cpu_period.is_some()),
        ("--cpu-rt-runtime", "cpu", limits.cpu_rt_runtime.is_some()),
        ("--cpu-rt-period", "cpu", limits.cpu_rt_period.is_some()),
        ("--cpuset-cpus", "cpuset", limits.cpuset_cpus.is_some()),
        ("--cpuset-mems", "cpuset", limits.cpuset_mems.is_some()),
        ("--blkio-weight", "io", limits.blkio_weight.is_some()),
        ("--blkio-weight-device", "io", !limits.blkio_weight_device.is_empty()),
        ("--device-read-bps", "io", !limits.device_read_bps.is_empty()),
        ("--device-write-bps", "io", !limits.device_write_bps.is_empty()),
        ("--device-read-iops", "io", !limits.device_read_iops.is_empty()),
        ("--device-write-iops", "io", !limits.device_write_iops.is_empty()),
        ("--cgroup-conf", "", !limits.unified.is_empty()),
        ("--pids-limit", "pids", limits.pids_limit.is_some_and(|limit| limit > 0)),
    ];
    set.into_iter().filter_map(|(flag, controller, is_set)| is_set.then_some((flag, controller)))
}

impl GroupManager {
    /// systemd where it manages the v2 groups of this machine: it would take controllers away from groups of ours. On v1 it
    /// does not, and has no say in some controllers.
    pub fn of_this_machine() -> Self {
        let v2 = || Host::detect().is_ok_and(|host| host.version() == Version::V2);
        if Manager::is_running() && v2() { Self::Systemd } else { Self::Cgroupfs }
    }

    /// The group of the pod with that id, or its slice, below `parent` if there is one.
    pub(crate) fn place_pod(self, parent: Option<&str>, id: &str) -> Result<GroupUse, Error> {
        let parent = parent.filter(|p| !p.trim_matches('/').is_empty());
        match self {
            Self::Cgroupfs => {
                let name = crate::container::pod_cgroup_name(id);
                let path = parent.map_or(Ok(CgroupPath::new(&name)?), |p| CgroupPath::new(p)?.join(&name))?;
                Ok(GroupUse { path: Some(path.as_str().to_owned()), ..GroupUse::default() })
            }
            Self::Systemd => {
                let slice = slice_of(parent, SLICE)?;
                let (slice, path) = slice_of_pod(slice, id, "")?;
                Ok(GroupUse { path: Some(path), slice: Some(slice), ..GroupUse::default() })
            }
        }
    }

    /// The group of the container with that id, below `parent` if there is one.
    pub(crate) fn place(self, parent: Option<&str>, id: &str) -> Result<GroupUse, Error> {
        let parent = parent.filter(|p| !p.trim_matches('/').is_empty());
        match self {
            Self::Cgroupfs => {
                let name = cgroup_name(id);
                let path = parent.map_or(Ok(CgroupPath::new(&name)?), |p| CgroupPath::new(p)?.join(&name))?;
                Ok(GroupUse { path: Some(path.as_str().to_owned()), ..GroupUse::default() })
            }
            Self::Systemd => {
                let slice = slice_of(parent, SLICE)?;
                let path = loment_monitor::scope_name(slice, id)?.path_below("")?;
                Ok(GroupUse {
                    path: Some(path.as_str().to_owned()),
                    slice: Some(slice.to_owned()),
                    ..GroupUse::default()
                })
            }
        }
    }
}

/// The slice of a pod in that slice, and its group below `root`. A slice is in another when its name begins with that (systemd.slice(5)).
pub(crate) fn slice_of_pod(slice: &str, id: &str, root: &str) -> Result<(String, String), Error> {
    let slice = format!("{}-loment_pod_{id}.slice", slice.trim_end_matches(".slice"));
    let path = loment_monitor::scope_name(&slice, id)?.path_below(root)?;
    let path = path.as_str().rsplit_once('/').map_or("", |(group, _)| group).to_owned();
    Ok((slice, path))
}

/// The slice that is meant as a parent: of the path of its group, the last part is its name.
pub(crate) fn slice_of<'p>(parent: Option<&'p str>, usual: &'static str) -> Result<&'p str, Error> {
    let slice = parent.map_or(usual, |p| p.trim_end_matches('/').rsplit('/').next().unwrap_or(p));
    if !slice.ends_with(".slice") {
        let hint = "a slice such as machine.slice is needed where systemd makes cgroups";
        return Err(invalid("cgroup parent", slice, hint));
    }
    Ok(slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_below_its_parent_in_the_words_of_its_manager() {
        let path =
            |manager: GroupManager, parent| manager.place(parent, "1f").ok().and_then(|group| group.path);
        assert_eq!(path(GroupManager::Cgroupfs, None).as_deref(), Some("loment-1f"));
        assert_eq!(path(GroupManager::Cgroupfs, Some("/a/b")).as_deref(), Some("a/b/loment-1f"));
        assert_eq!(path(GroupManager::Cgroupfs, Some("../b")), None);
        assert_eq!(path(GroupManager::Systemd, None).as_deref(), Some("machine.slice/loment-1f.scope"));
        let below = path(GroupManager::Systemd, Some("/a.slice/a-b.slice"));
        assert_eq!(below.as_deref(), Some("a.slice/a-b.slice/loment-1f.scope"));
        assert_eq!(path(GroupManager::Systemd, Some("a/b")), None);
    }
}
