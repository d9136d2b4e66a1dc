//! Control groups: which there are, and whether the caller can make some.

use std::path::Path;

use loment_cgroup::{Host, Version};
use rustix::fs::{Access, access};

use super::{Finding, Findings};
use crate::rootless;

/// Controllers by the names in the two generations, and what needs them.
const CONTROLLERS: [(&[&str], &str); 5] = [
    (&["memory"], "--memory and what goes with it"),
    (&["cpu"], "--cpus and --cpu-shares"),
    (&["cpuset"], "--cpuset-cpus and --cpuset-mems"),
    (&["pids"], "--pids-limit, which every container has"),
    (&["io", "blkio"], "limits of devices, and --blkio-weight"),
];
const MOUNT_POINT: &str = "/sys/fs/cgroup";

pub(super) fn find() -> Vec<Finding> {
    let mut found = Findings::about("cgroups");
    let host = match Host::detect() {
        Ok(host) => host,
        Err(error) => {
            let error = crate::error::one_line(&error);
            let advice =
                "mount them: mount -t cgroup2 none /sys/fs/cgroup; or run containers with --cgroups disabled";
            found.problem(format_args!("there are no control groups: {error}"), advice);
            return found.all;
        }
    };
    match host.version() {
        Version::V2 => found.fine("version 2"),
        Version::V1 => found.fine("version 1"),
        Version::Hybrid => found.fine("versions 1 and 2 (hybrid): limits are those of version 1"),
    }
    let missing: Vec<_> =
        CONTROLLERS.iter().filter(|(names, _)| !names.iter().any(|name| host.has(name))).collect();
    for (names, what) in &missing {
        let name = names[0];
        let advice = match name {
            "memory" => "boot with cgroup_enable=memory, and without cgroup_disable=memory",
            _ => "use a kernel that has it, and look for cgroup_disable= on its command line (/proc/cmdline)",
        };
        found.note(format_args!("the controller {name} is not there: {what} do not work"), advice);
    }
    if missing.is_empty() {
        found.fine("there are the controllers for all limits");
    }
    if host.version() == Version::V1 && !host.has("freezer") {
        found.note(
            "the controller freezer is not there: pause does not work",
            "mount it below /sys/fs/cgroup",
        );
    }
    if !rootless::is_rootless() {
        match host.is_ours() {
            true => found.fine("groups can be made"),
            false => found.problem(
                "groups cannot be made: the hierarchies are read-only, or not this root's",
                "mount /sys/fs/cgroup writable, or run containers with --cgroups disabled",
            ),
        }
        return found.all;
    }
    delegated(&mut found, &host);
    found.all
}

/// What an ordinary user was given of the groups.
fn delegated(found: &mut Findings, host: &Host) {
    if host.is_ours() {
        return found.fine("groups were delegated to this user");
    }
    let advice = "limits are refused, and pause and stats are not there: run what needs them as root";
    if host.version() != Version::V2 {
        return found.note(
            "containers of ordinary users stay in the caller's group: version 1 delegates none",
            advice,
        );
    }
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    // Of a service, the user's manager has the group above.
    let dirs = Path::new(MOUNT_POINT).join(own);
    let is_mine = |dir: &&Path| {
        access(dir.join("cgroup.procs"), Access::WRITE_OK).is_ok() && access(*dir, Access::WRITE_OK).is_ok()
    };
    match dirs.ancestors().take_while(|dir| *dir != Path::new(MOUNT_POINT)).find(is_mine) {
        Some(dir) => {
            let controllers = std::fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
            let controllers = controllers.trim().replace(' ', ", ");
            found.note(
                format_args!(
                    "{} was delegated to this user with the controllers {controllers}, which loment does not use yet: containers stay in the caller's group",
                    dir.display()
                ),
                advice,
            );
        }
        None => found.note("no group was delegated to this user: containers stay in the caller's", advice),
    }
}
