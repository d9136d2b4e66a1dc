//! A directory as a root file system whose changes are thrown away.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use loment_runtime::{InRoot, MountInfo, parse_mountinfo};
use loment_sys::process::is_in_user_namespace;
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, move_mount};

use crate::Error;
use crate::error::Context;
use crate::mounts::{clone_tree, open_dir, place, private_tmpfs};
use crate::overlay::{Built, over, own_namespace};

/// Below the root: not files of the host's own. The container gets its own of these, or none.
const LEFT_OUT: [&str; 7] = ["proc", "sys", "dev", "run", "etc/hosts", "etc/hostname", "etc/resolv.conf"];
/// `OVERLAYFS_SUPER_MAGIC` (statfs(2)).
const OVERLAY_MAGIC: u32 = 0x794c_7630;

/// A directory with changes thrown away. The upper layer is a tmpfs: an upper layer below its own lower one is refused by
/// the kernel (`ovl_check_layer`), and below `/` everything else is.
pub(crate) fn mount(path: &Path, (size, inodes): (u64, Option<u64>), scratch: &Path) -> Result<Built, Error> {
    own_namespace().context("make", "a mount namespace")?;
    let below = mounts_below(path).context("read", "/proc/self/mountinfo")?;
    let changes = scratch;
    private_tmpfs(Some(size), inodes)
        .and_then(|tmpfs| place(&tmpfs, CWD, changes))
        .context("mount a tmpfs on", scratch.display())?;
    let root = changes.join("root");
    let mut warnings = Vec::new();
    let tree = throwaway_layer(path, changes, 0)
        .map_err(|e| explained(path, e))
        .context("overlay", path.display())?;
    std::fs::create_dir(&root).context("create", root.display())?;
    place(&tree, CWD, &root).context("mount", root.display())?;
    let in_root = InRoot::new(open_dir(&root).context("open", root.display())?);
    for (n, mount_point) in below.iter().enumerate() {
        let inside = mount_point.strip_prefix(path).unwrap_or(mount_point);
        let layered = throwaway_layer(mount_point, changes, n + 1).and_then(|tree| {
            let target = in_root.resolve(inside)?;
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
            Ok(move_mount(&tree, "", &target, "", flags)?)
        });
        if layered.is_err() {
            warnings.push(mount_point.display().to_string());
        }
    }
    let warnings = match warnings.as_slice() {
        [] => Vec::new(),
        names => {
            vec![format!("separate file systems that are not visible in the container: {}", names.join(", "))]
        }
    };
    Ok(Built { tree: clone_tree(&root).context("open", root.display())?, warnings })
}

/// Says what the kernel does not: overlays are stacked two deep at most (`FILESYSTEM_MAX_STACK_DEPTH`), and what mounts hide stays hidden.
fn explained(path: &Path, error: io::Error) -> io::Error {
    let is_overlay = || rustix::fs::statfs(path).is_ok_and(|s| s.f_type as u32 == OVERLAY_MAGIC);
    let why = match error.kind() {
        io::ErrorKind::InvalidInput if is_overlay() => {
            "it is an overlay over an overlay already, and the kernel stacks no further: use a directory on another file system"
        }
        // `clone_private_mount` in fs/namespace.c.
        io::ErrorKind::InvalidInput if is_in_user_namespace() => {
            "an ordinary user cannot overlay a directory in which the machine has mounted something: use an image, or another directory"
        }
        _ => return error,
    };
    io::Error::other(why)
}

fn throwaway_layer(lower: &Path, changes: &Path, n: usize) -> io::Result<OwnedFd> {
    let (upper, work) = (changes.join(format!("u{n}")), changes.join(format!("w{n}")));
    std::fs::create_dir(&upper)?;
    std::fs::create_dir(&work)?;
    let scratch = changes.join(format!("m{n}"));
    std::fs::create_dir(&scratch)?;
    over(lower, &upper, &work, true, &scratch)
}

/// Mount points below `path` that hold files of the host's own, outermost first.
fn mounts_below(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mounts = parse_mountinfo(&std::fs::read("/proc/self/mountinfo")?);
    let mut points: Vec<PathBuf> = mounts.into_iter().filter(has_files).map(|m| m.point).collect();
    points.retain(|p| {
        let inside = p.strip_prefix(path).ok().filter(|inside| !inside.as_os_str().is_empty());
        inside.is_some_and(|inside| !LEFT_OUT.iter().any(|l| inside.starts_with(l)))
    });
    points.sort();
    points.dedup();
    Ok(points)
}

/// Whether it holds files, not the kernel's own objects.
fn has_files(mount: &MountInfo) -> bool {
    const KERNEL: [&str; 14] = [
        "proc",
        "sysfs",
        "devtmpfs",
        "devpts",
        "mqueue",
        "cgroup",
        "cgroup2",
        "bpf",
        "tracefs",
        "debugfs",
        "securityfs",
        "nsfs",
        "autofs",
        "binfmt_misc",
    ];
    !KERNEL.contains(&mount.kind.as_str())
}
