//! Whose control groups containers get: the machine's, or those that an ordinary user was given.

use loment_cgroup::systemd::Manager;
use loment_cgroup::{CgroupPath, Delegated, Host, Version};

use crate::config::{Config, GroupManager, GroupUse, Groups, Limits};
use crate::container::{cgroup_name, monitor_cgroup_name};
use crate::error::invalid;
use crate::groups::{refuse_undelegated, slice_of, slice_of_pod};
use crate::{Engine, Error};

/// The slice of a user's containers, as other runtimes name it.
const USERS_SLICE: &str = "user.slice";
/// The group, among those a user was given, that ours are in. It hands controllers on, which nobody can end while it is there.
const USERS_GROUP: &str = "loment";

/// In a group that containers have parts of, everybody else: who starts them, and their monitors.
const OTHERS: &str = "loment-monitors";

/// In the scope of a container of a user's.
const CONTAINER: &str = "container";
/// The same, its monitor.
pub(crate) const MONITOR: &str = "monitor";

/// Where groups are made, and by whom.
#[derive(Debug)]
pub(crate) struct Places {
    manager: GroupManager,
    /// What an ordinary user was given.
    given: Option<Delegated>,
    /// The group that containers have parts of.
    split: Option<CgroupPath>,
}

impl Engine {
    /// Where the caller's containers get their groups; `None` where that can make none.
    pub(crate) fn places(
        &self,
        manager: Option<GroupManager>,
        groups: Groups,
    ) -> Result<Option<Places>, Error> {
        let of_machine = loment_sys::process::is_root_of_machine();
        if of_machine || self.groups()?.is_ours() {
            let manager = manager.unwrap_or_else(GroupManager::of_this_machine);
            return Ok(Some(Places { manager, given: None, split: None }));
        }
        let host = self.groups()?;
        if host.version() != Version::V2 {
            return Ok(None);
        }
        // A scope is made around a process, and there is none yet where the monitor is not in it.
        if manager != Some(GroupManager::Cgroupfs) && groups == Groups::Both {
            match self.of_users_systemd(host) {
                Ok(given) => {
                    let manager = GroupManager::Systemd;
                    return Ok(Some(Places { manager, given: Some(given), split: None }));
                }
                Err(error) if manager.is_some() => {
                    (self.warn)(&format!("this user's systemd makes no control groups: {}", chain(&error)));
                }
                Err(_) => {}
            }
        }
        let given = host.delegated()?;
        let manager = GroupManager::Cgroupfs;
        Ok(given.map(|given| Places { manager, given: Some(given), split: None }))
    }

    /// The caller's group, whose containers have parts of it.
    pub(crate) fn split_places(&self) -> Result<Places, Error> {
        let host = self.groups()?;
        let hint = "this process is in the root control group, which is not split: start the container in a group of its own, as that of a service is";
        let own = host.own_group()?.ok_or_else(|| invalid("cgroups", "split", hint))?;
        // Who has a part already starts others from there.
        let own = match own.as_str().strip_suffix(OTHERS).and_then(|own| own.strip_suffix('/')) {
            Some(whole) => CgroupPath::new(whole)?,
            None => own,
        };
        let of_machine = loment_sys::process::is_root_of_machine() || host.is_ours();
        let given = if of_machine { None } else { Some(host.delegated_once_empty(own.as_str())?) };
        Ok(Places { manager: GroupManager::Cgroupfs, given, split: Some(own) })
    }

    /// Makes room for a container that is to have a part of the caller's group, and records which.
    pub(crate) fn split_group(&self, config: &mut Config) -> Result<(), Error> {
        if !config.cgroup.split {
            return Ok(());
        }
        let places = self.split_places()?;
        places.check(&config.limits)?;
        let path = places.place(None, &config.id)?.path;
        if let Some(own) = places.split {
            self.groups()?.cgroup(own).empty_into(&CgroupPath::new(OTHERS)?)?;
        }
        if config.cgroup.path != path {
            config.cgroup.path = path;
            self.save(config)?;
        }
        Ok(())
    }

    fn of_users_systemd(&self, host: &Host) -> Result<Delegated, loment_cgroup::Error> {
        host.delegated_at(&self.users_systemd().root()?)
    }

    /// The systemd of the user who called.
    pub(crate) fn users_systemd(&self) -> Manager {
        Manager::user((self.users_systemd)())
    }
}

/// An error with what it comes of.
fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

impl Places {
    /// Whether groups can have limits of that controller.
    pub(crate) fn has(&self, controller: &str) -> Result<bool, Error> {
        Ok(match &self.given {
            Some(given) => given.has(controller),
            None => Host::detect()?.has(controller),
        })
    }

    /// Refuses limits that are not to be had.
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), Error> {
        self.given.as_ref().map_or(Ok(()), |given| refuse_undelegated(limits, given))
    }

    /// The group of the container with that id, below `parent` if there is one.
    pub(crate) fn place(&self, parent: Option<&str>, id: &str) -> Result<GroupUse, Error> {
        if let Some(own) = &self.split {
            let path = own.join(&cgroup_name(id))?.to_string();
            return Ok(GroupUse { path: Some(path), split: true, ..GroupUse::default() });
        }
        let Some(given) = &self.given else { return self.manager.place(parent, id) };
        let parent = parent.filter(|p| !p.trim_matches('/').is_empty());
        if self.manager == GroupManager::Systemd {
            let slice = slice_of(parent, USERS_SLICE)?;
            let scope = loment_monitor::scope_name(slice, id)?.path_below(given.path().as_str())?;
            return Ok(GroupUse {
                path: Some(scope.join(CONTAINER)?.to_string()),
                slice: Some(slice.to_owned()),
                monitor: Some(scope.join(MONITOR)?.to_string()),
                of_user: true,
                ..GroupUse::default()
            });
        }
        let parent = below(given, parent)?;
        Ok(GroupUse {
            path: Some(parent.join(&cgroup_name(id))?.to_string()),
            monitor: Some(parent.join(&monitor_cgroup_name(id))?.to_string()),
            ..GroupUse::default()
        })
    }

    /// The group of the pod with that id, or its slice, below `parent` if there is one.
    pub(crate) fn place_pod(&self, parent: Option<&str>, id: &str) -> Result<GroupUse, Error> {
        let Some(given) = &self.given else { return self.manager.place_pod(parent, id) };
        let parent = parent.filter(|p| !p.trim_matches('/').is_empty());
        if self.manager == GroupManager::Systemd {
            let (slice, path) = slice_of_pod(slice_of(parent, USERS_SLICE)?, id, given.path().as_str())?;
            return Ok(GroupUse {
                path: Some(path),
                slice: Some(slice),
                of_user: true,
                ..GroupUse::default()
            });
        }
        let path = below(given, parent)?.join(&crate::container::pod_cgroup_name(id))?;
        Ok(GroupUse { path: Some(path.to_string()), ..GroupUse::default() })
    }
}

/// A group below what a user was given; one that is there already is meant as it is.
fn below(given: &Delegated, parent: Option<&str>) -> Result<CgroupPath, Error> {
    let parent = parent.unwrap_or(USERS_GROUP).trim_start_matches('/');
    let known = CgroupPath::new(parent)?;
    Ok(if known.is_below(given.path()) { known } else { given.path().join(parent)? })
}
