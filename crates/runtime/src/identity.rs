//! Becoming the user the program runs as.

use std::io;

use loment_sys::process::groups_are_kept;
use rustix::io::Errno;
use rustix::process::{Gid, Pid, Resource, Rlimit, Uid, getrlimit, prlimit, setrlimit};

use crate::error::{Context, invalid};
use crate::plan::ProcessPlan;
use crate::{Error, Failure};

/// A number of a user or group. The highest is none: it means "no change" to the kernel, so what should become somebody would
/// stay what it is, mostly root.
pub(crate) fn checked(field: impl Into<String>, id: u32) -> Result<u32, Error> {
    if id == u32::MAX { Err(invalid(field, format!("{id} is nobody's number"))) } else { Ok(id) }
}

/// Sets the resource limits, exactly or not at all.
pub(crate) fn set_rlimits(p: &ProcessPlan) -> Result<(), Failure> {
    each_limit(p, setrlimit)
}

/// The same for another process: one in a user namespace may not raise its own.
pub(crate) fn set_rlimits_of(p: &ProcessPlan, pid: Pid) -> Result<(), Failure> {
    each_limit(p, |resource, limit| prlimit(Some(pid), resource, limit).map(drop))
}

/// Raises hard limits that are lower than what is asked for, and nothing else: a program that is to be run later should not
/// fail then for what is not allowed now, and no limit should hold before.
pub(crate) fn raise_hard_limits(p: &ProcessPlan) -> Result<(), Failure> {
    each_limit(p, |resource, limit| {
        let now = getrlimit(resource);
        let above = |a: Option<u64>, b: Option<u64>| a.unwrap_or(u64::MAX) > b.unwrap_or(u64::MAX);
        if above(limit.maximum, now.maximum) {
            setrlimit(resource, Rlimit { current: now.current, ..limit })
        } else {
            Ok(())
        }
    })
}

fn each_limit(p: &ProcessPlan, set: impl Fn(Resource, Rlimit) -> Result<(), Errno>) -> Result<(), Failure> {
    for (resource, limit) in &p.rlimits {
        let text = |n: Option<u64>| n.map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
        set(*resource, *limit).context(
            "set the limit",
            format_args!("{resource:?} to {}:{}", text(limit.current), text(limit.maximum)),
        )?;
    }
    Ok(())
}

/// User, groups and capabilities; CAP_SYS_ADMIN is kept besides where `admin` says so. The bounding set goes first, while
/// CAP_SETPCAP is held.
pub(crate) fn assume(p: &ProcessPlan, admin: bool) -> Result<(), Failure> {
    p.capabilities.bound().context("drop", "capabilities from the bounding set")?;
    rustix::thread::set_keep_capabilities(true).context("keep", "capabilities")?;
    if !p.keep_groups {
        let groups: Vec<Gid> = p.groups.iter().map(|&g| Gid::from_raw(g)).collect();
        match rustix::thread::set_thread_groups(&groups) {
            // Where a user namespace has no groups but its maker's, nobody gives any up (user_namespaces(7)).
            Err(Errno::PERM) if groups.is_empty() && groups_are_kept() => {}
            set => set.context("set", "supplementary groups")?,
        }
    }
    let gid = Gid::from_raw(p.gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid).context("set group", p.gid)?;
    let uid = Uid::from_raw(p.uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid).context("set user", p.uid)?;
    rustix::thread::set_keep_capabilities(false).context("keep", "capabilities")?;
    p.capabilities.apply(admin).context("set", "capabilities")
}

/// Enters the working directory, and makes sure that it is inside the root: a leaked descriptor of a host directory
/// would show as "(unreachable)" (CVE-2024-21626).
pub(crate) fn enter_directory(p: &ProcessPlan) -> Result<(), Failure> {
    rustix::process::chdir(&p.cwd).context("change directory to", p.cwd.display())?;
    let now = rustix::process::getcwd(Vec::new()).context("change directory to", p.cwd.display())?;
    if now.as_bytes().starts_with(b"/") {
        return Ok(());
    }
    Err(io::Error::other("it is outside of the container's root file system"))
        .context("change directory to", p.cwd.display())
}
