//! Attributes of mounts, also where the kernel has no mount_setattr(2) (before Linux 5.12).
//!
//! The old way, a remount through mount(2), works on attached mounts only. There a mount has its attributes a moment after
//! it is attached, in a mount namespace in which nothing else runs yet; and whatever cannot be done is an error, which ends
//! the making of the container.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use loment_sys::mount::{self as attr, MountAttr, set_attributes};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatVfsMountFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount_change, mount_remount};

use crate::mountinfo::{MountInfo, parse_mountinfo};

/// A change, and whether mounts below are changed, too.
pub(crate) type Change = (bool, MountAttr);

/// Makes `changes` of a detached mount and attaches it by `attach`.
pub(crate) fn attach_changed(
    mount: &OwnedFd,
    changes: &[Change],
    attach: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    for (recursive, attr) in changes.iter().filter(|(_, attr)| !attr.is_empty()) {
        match set_attributes(mount.as_fd(), c"", *recursive, attr) {
            Err(e) if is_too_old(&e) => {
                attach()?;
                return changes.iter().try_for_each(|(r, attr)| remount(mount.as_fd(), *r, attr));
            }
            other => other?,
        }
    }
    attach()
}

/// Changes the attributes of the attached mount that `mount` is open on the root of.
pub(crate) fn change(mount: BorrowedFd<'_>, attr: &MountAttr) -> io::Result<()> {
    match set_attributes(mount, c"", false, attr) {
        Err(e) if is_too_old(&e) => remount(mount, false, attr),
        other => other,
    }
}

/// Whether the kernel lacks mount_setattr(2).
pub(crate) fn is_too_old(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::NOSYS)
}

/// As mount_setattr(2) would, but for id mapping, and not at once.
fn remount(mount: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> io::Result<()> {
    if attr.userns != 0 {
        return Err(Errno::NOSYS.into());
    }
    if attr.set | attr.clear != 0 {
        remount_one(mount, attr)?;
        if recursive {
            mounts_below(mount)?.iter().try_for_each(|below| remount_one(below.as_fd(), attr))?;
        }
    }
    if attr.propagation != 0 {
        let mut flags = MountPropagationFlags::from_bits_retain(attr.propagation as u32);
        flags.set(MountPropagationFlags::REC, recursive);
        mount_change(name(mount), flags)?;
    }
    Ok(())
}

/// A path that leads to the mount whatever is on the way, in the caller's own procfs: no container's has been entered yet.
fn name(mount: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", mount.as_raw_fd())
}

/// A remount sets all flags: those that are not to change are given again. (To take off one that is locked is refused.)
fn remount_one(mount: BorrowedFd<'_>, attr: &MountAttr) -> io::Result<()> {
    let has = attributes(rustix::fs::fstatvfs(mount)?.f_flag);
    let flags = MountFlags::BIND | mount_flags(has & !attr.clear | attr.set);
    Ok(mount_remount(name(mount), flags, "")?)
}

/// `ST_NOSYMFOLLOW` (Linux 5.10).
const NOSYMFOLLOW: StatVfsMountFlags = StatVfsMountFlags::from_bits_retain(0x2000);

/// The attributes of a mount with these flags (statfs(2)).
fn attributes(flags: StatVfsMountFlags) -> u64 {
    let pairs = [
        (StatVfsMountFlags::RDONLY, attr::ATTR_RDONLY),
        (StatVfsMountFlags::NOSUID, attr::ATTR_NOSUID),
        (StatVfsMountFlags::NODEV, attr::ATTR_NODEV),
        (StatVfsMountFlags::NOEXEC, attr::ATTR_NOEXEC),
        (StatVfsMountFlags::NODIRATIME, attr::ATTR_NODIRATIME),
        (NOSYMFOLLOW, attr::ATTR_NOSYMFOLLOW),
    ];
    let access_time = if flags.contains(StatVfsMountFlags::NOATIME) {
        attr::ATTR_NOATIME
    } else if flags.contains(StatVfsMountFlags::RELATIME) {
        attr::ATTR_RELATIME
    } else {
        attr::ATTR_STRICTATIME
    };
    pairs.iter().filter(|(flag, _)| flags.contains(*flag)).fold(access_time, |sum, (_, attr)| sum | attr)
}

/// The flags of mount(2) for these attributes.
fn mount_flags(attributes: u64) -> MountFlags {
    /// `MS_NOSYMFOLLOW` (Linux 5.10).
    const NOSYMFOLLOW: MountFlags = MountFlags::from_bits_retain(256);
    let pairs = [
        (attr::ATTR_RDONLY, MountFlags::RDONLY),
        (attr::ATTR_NOSUID, MountFlags::NOSUID),
        (attr::ATTR_NODEV, MountFlags::NODEV),
        (attr::ATTR_NOEXEC, MountFlags::NOEXEC),
        (attr::ATTR_NODIRATIME, MountFlags::NODIRATIME),
        (attr::ATTR_NOSYMFOLLOW, NOSYMFOLLOW),
    ];
    let access_time = match attributes & attr::ATTR_ATIME_MASK {
        attr::ATTR_NOATIME => MountFlags::NOATIME,
        attr::ATTR_STRICTATIME => MountFlags::STRICTATIME,
        _ => MountFlags::RELATIME,
    };
    pairs.iter().filter(|(attr, _)| attributes & attr != 0).fold(access_time, |sum, (_, flag)| sum | *flag)
}

/// The mounts below `mount`, each open on its root. One that cannot be reached, because another is mounted over it, is an
/// error: what is mounted over it can be taken off.
fn mounts_below(mount: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let all = parse_mountinfo(&std::fs::read("/proc/thread-self/mountinfo")?);
    let top = mount_id(mount)?;
    let listed = |what: &str| io::Error::other(format!("{what} is not in the list of mounts"));
    let top = all.iter().find(|m| m.id == top).ok_or_else(|| listed("the mount"))?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    descendants(&all, top.id)
        .into_iter()
        .map(|m| {
            let inside = m.point.strip_prefix(&top.point).map_err(|_| listed("what is below"))?;
            let fd = rustix::fs::openat2(mount, inside, flags, Mode::empty(), resolve)?;
            if mount_id(fd.as_fd())? == m.id {
                return Ok(fd);
            }
            Err(io::Error::other(format!("{} is hidden by another mount", m.point.display())))
        })
        .collect()
}

/// The mounts on `top`, on these, and so on.
fn descendants(all: &[MountInfo], top: u64) -> Vec<&MountInfo> {
    let mut seen = HashSet::from([top]);
    let mut found: Vec<&MountInfo> = Vec::new();
    loop {
        let before = found.len();
        found.extend(all.iter().filter(|m| seen.contains(&m.parent) && !seen.contains(&m.id)));
        if found.len() == before {
            return found;
        }
        seen.extend(found[before..].iter().map(|m| m.id));
    }
}

/// Linux 5.8.
fn mount_id(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?.stx_mnt_id)
}

#[cfg(test)]
#[path = "attributes_tests.rs"]
mod tests;
