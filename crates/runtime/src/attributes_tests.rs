use std::path::Path;

use rustix::fs::{CWD, statvfs};
use rustix::mount::{UnmountFlags, mount_bind, unmount};

use super::*;
use crate::mounts::clone_tree;

/// Directories `top`, with `top/a` and `top/a/b c` on mounts of their own, in a mount namespace of this thread's own.
fn tree() -> tempfile::TempDir {
    assert!(loment_sys::process::is_root(), "this test needs root");
    loment_sys::clone::unshare(loment_sys::clone::CloneFlags::NEWNS).unwrap();
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::create_dir_all(path("top/a/b c")).unwrap();
    mount_bind(path("top"), path("top")).unwrap();
    rustix::mount::mount("tmpfs", path("top/a"), "tmpfs", MountFlags::NOSUID | MountFlags::NOATIME, None)
        .unwrap();
    std::fs::create_dir(path("top/a/b c")).unwrap();
    rustix::mount::mount("tmpfs", path("top/a/b c"), "tmpfs", MountFlags::NODEV, None).unwrap();
    dir
}

fn open(path: &Path) -> OwnedFd {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

fn of(path: &Path) -> u64 {
    attributes(statvfs(path).unwrap().f_flag)
}

#[test]
fn a_remount_changes_what_is_asked_and_keeps_the_rest() {
    let dir = tree();
    let (top, a, b) = (dir.path().join("top"), dir.path().join("top/a"), dir.path().join("top/a/b c"));
    let before = of(&top);
    let read_only = MountAttr { set: attr::ATTR_RDONLY, ..MountAttr::default() };
    remount(open(&a).as_fd(), false, &read_only).unwrap();
    assert_eq!(of(&a), attr::ATTR_RDONLY | attr::ATTR_NOSUID | attr::ATTR_NOATIME);
    assert_eq!(of(&b), attr::ATTR_NODEV, "not what is mounted below");
    let more = MountAttr {
        set: attr::ATTR_NOEXEC | attr::ATTR_STRICTATIME,
        clear: attr::ATTR_NOSUID | attr::ATTR_RDONLY | attr::ATTR_ATIME_MASK,
        ..MountAttr::default()
    };
    remount(open(&a).as_fd(), false, &more).unwrap();
    assert_eq!(of(&a), attr::ATTR_NOEXEC | attr::ATTR_STRICTATIME);
    remount(open(&top).as_fd(), true, &read_only).unwrap();
    assert_eq!(of(&top), before | attr::ATTR_RDONLY);
    assert_eq!(of(&a), attr::ATTR_RDONLY | attr::ATTR_NOEXEC | attr::ATTR_STRICTATIME);
    assert_eq!(of(&b), attr::ATTR_RDONLY | attr::ATTR_NODEV);
    unmount(&top, UnmountFlags::DETACH).unwrap();
}

#[test]
fn what_cannot_be_reached_is_an_error() {
    let dir = tree();
    let top = dir.path().join("top");
    rustix::mount::mount("tmpfs", dir.path().join("top/a"), "tmpfs", MountFlags::empty(), None).unwrap();
    let read_only = MountAttr { set: attr::ATTR_RDONLY, ..MountAttr::default() };
    // It would stay writable, and be seen again when the mount over it is taken off.
    let error = remount(open(&top).as_fd(), true, &read_only).unwrap_err();
    assert!(error.to_string().ends_with("top/a is hidden by another mount"), "{error}");
    // A detached mount is not in the list: nothing below it could be found, and the kernel refuses it, too.
    let detached = clone_tree(CWD, &top, true).unwrap();
    assert!(remount(detached.as_fd(), true, &read_only).is_err());
    unmount(&top, UnmountFlags::DETACH).unwrap();
}

#[test]
fn both_ways_lead_to_the_same() {
    let attrs = [
        MountAttr { set: attr::ATTR_RDONLY, ..MountAttr::default() },
        MountAttr { set: attr::ATTR_NOSUID | attr::ATTR_NODEV | attr::ATTR_NOEXEC, ..MountAttr::default() },
        MountAttr { set: attr::ATTR_NODIRATIME, clear: attr::ATTR_NODEV, ..MountAttr::default() },
        MountAttr { set: attr::ATTR_NOATIME, clear: attr::ATTR_ATIME_MASK, ..MountAttr::default() },
        MountAttr { set: attr::ATTR_RELATIME, clear: attr::ATTR_ATIME_MASK, ..MountAttr::default() },
        MountAttr { clear: attr::ATTR_NOSUID | attr::ATTR_RDONLY, ..MountAttr::default() },
    ];
    let dir = tree();
    let paths = ["top", "top/a", "top/a/b c"].map(|p| dir.path().join(p));
    let all = || paths.each_ref().map(|p| of(p));
    let top = open(&paths[0]);
    for (recursive, attr) in [false, true].into_iter().flat_map(|r| attrs.map(|a| (r, a))) {
        let copy = dir.path().join("copy");
        std::fs::create_dir_all(&copy).unwrap();
        let tree = clone_tree(CWD, &paths[0], true).unwrap();
        set_attributes(tree.as_fd(), c"", recursive, &attr).unwrap();
        rustix::mount::move_mount(
            &tree,
            "",
            CWD,
            &copy,
            rustix::mount::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
        )
        .unwrap();
        let new = ["", "a", "a/b c"].map(|p| of(&copy.join(p)));
        unmount(&copy, UnmountFlags::DETACH).unwrap();
        remount(top.as_fd(), recursive, &attr).unwrap();
        assert_eq!(all(), new, "{recursive} {attr:?}");
    }
    unmount(&paths[0], UnmountFlags::DETACH).unwrap();
}
