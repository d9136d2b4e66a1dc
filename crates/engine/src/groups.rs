//! Where a container's control group is, and who makes it.

use loment_cgroup::systemd::Manager;
use loment_cgroup::{CgroupPath, Host, Version};

use crate::Error;
use crate::config::{GroupManager, GroupUse};
use crate::container::cgroup_name;
use crate::error::invalid;

/// The slice of containers and machines (systemd.special(7)).
const SLICE: &str = "machine.slice";

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
                let name = format!("loment-pod-{id}");
                let path = parent.map_or(Ok(CgroupPath::new(&name)?), |p| CgroupPath::new(p)?.join(&name))?;
                Ok(GroupUse { path: path.as_str().to_owned(), slice: None })
            }
            Self::Systemd => {
                let slice = slice_of(parent)?;
                // A slice is in another when its name begins with that (systemd.slice(5)).
                let slice = format!("{}-loment_pod_{id}.slice", slice.trim_end_matches(".slice"));
                let path = loment_monitor::scope_name(&slice, id)?.path_below("")?;
                let path = path.as_str().rsplit_once('/').map_or("", |(group, _)| group).to_owned();
                Ok(GroupUse { path, slice: Some(slice) })
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
                Ok(GroupUse { path: path.as_str().to_owned(), slice: None })
            }
            Self::Systemd => {
                let slice = slice_of(parent)?;
                let path = loment_monitor::scope_name(slice, id)?.path_below("")?;
                Ok(GroupUse { path: path.as_str().to_owned(), slice: Some(slice.to_owned()) })
            }
        }
    }
}

/// The slice that is meant as a parent: of the path of its group, the last part is its name.
fn slice_of(parent: Option<&str>) -> Result<&str, Error> {
    let slice = parent.map_or(SLICE, |p| p.trim_end_matches('/').rsplit('/').next().unwrap_or(p));
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
        let path = |manager: GroupManager, parent| manager.place(parent, "1f").map(|g| g.path).ok();
        assert_eq!(path(GroupManager::Cgroupfs, None).as_deref(), Some("loment-1f"));
        assert_eq!(path(GroupManager::Cgroupfs, Some("/a/b")).as_deref(), Some("a/b/loment-1f"));
        assert_eq!(path(GroupManager::Cgroupfs, Some("../b")), None);
        assert_eq!(path(GroupManager::Systemd, None).as_deref(), Some("machine.slice/loment-1f.scope"));
        let below = path(GroupManager::Systemd, Some("/a.slice/a-b.slice"));
        assert_eq!(below.as_deref(), Some("a.slice/a-b.slice/loment-1f.scope"));
        assert_eq!(path(GroupManager::Systemd, Some("a/b")), None);
    }
}
