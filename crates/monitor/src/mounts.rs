//! What is done to mounts in more than one place.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use loment_runtime::parse_mountinfo;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags, openat, statx};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

/// Opens a directory, to name it and nothing else.
pub(crate) fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// What is mounted at and below `path`, again, attached nowhere.
pub(crate) fn clone_tree(path: &Path) -> io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    Ok(open_tree(CWD, path, flags)?)
}

/// Attaches a mount at `path` below `dir`.
pub(crate) fn place(tree: &OwnedFd, dir: impl AsFd, path: &Path) -> io::Result<()> {
    Ok(move_mount(tree, "", dir, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// A tmpfs for its owner alone, of `size` bytes or the kernel's default, attached nowhere.
pub(crate) fn private_tmpfs(size: Option<u64>, inodes: Option<u64>) -> io::Result<OwnedFd> {
    let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, "mode", "0700")?;
    if let Some(size) = size {
        fsconfig_set_string(&fs, "size", size.to_string())?;
    }
    if let Some(inodes) = inodes {
        fsconfig_set_string(&fs, "nr_inodes", inodes.to_string())?;
    }
    fsconfig_create(&fs)?;
    Ok(fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
}

/// Whether something is mounted at `path` or anywhere below.
///
/// # Errors
/// The kernel's; `NotFound` for what is not there.
pub fn has_mounts(path: &Path) -> io::Result<bool> {
    let path = path.canonicalize()?;
    let mounts = parse_mountinfo(&std::fs::read("/proc/self/mountinfo")?);
    Ok(mounts.iter().any(|mount| mount.point.starts_with(&path)))
}

/// Whether something is mounted at `path` (statx(2), Linux 5.8).
///
/// # Errors
/// The kernel's; `NotFound` for what is not there.
pub fn is_mount_point(path: &Path) -> io::Result<bool> {
    let stat = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty())?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
