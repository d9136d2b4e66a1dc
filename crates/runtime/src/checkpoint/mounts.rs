//! The mounts of a container that come from outside: CRIU neither saves nor makes them itself. Names are runc's.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use loment_sys::clone::{CloneFlags, unshare};
use oci_spec::runtime::LinuxNamespaceType;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags};
use rustix::process::Pid;
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use super::Error;
use super::protocol::ExternalMount;
use crate::attributes::change;
use crate::error::Context;
use crate::mounts::{clone_tree, file_type, make_target, mount};
use crate::plan::MountPlan;
use crate::{Failure, InRoot, Plan, devices, helper, masks};

/// Where control groups are on the host.
const CGROUP_ROOT: &str = "/sys/fs/cgroup";
const NULL: &str = "/dev/null";

/// A mount's place in the container, and what is mounted there.
struct Outside {
    place: PathBuf,
    source: PathBuf,
}

/// For a dump: every place is its own name.
pub(super) fn of_running(plan: &Plan, pid: Pid, cgroup: Option<&str>) -> Result<Vec<ExternalMount>, Error> {
    let path = format!("/proc/{}/root", pid.as_raw_nonzero());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, &path, flags, Mode::empty());
    let root = InRoot::new(root.context("open", path)?);
    let mut out = Vec::new();
    for outside in bound(plan, cgroup)? {
        let place = resolved(&root, &outside.place, Path::new("/")).unwrap_or(outside.place);
        out.push(external(&place, &place)?);
    }
    for masked in &plan.masked {
        let Ok(target) = root.resolve(masked) else { continue };
        if file_type(&target).context("look at", masked.display())? != FileType::Directory {
            out.push(external(masked, Path::new(NULL))?);
        }
    }
    Ok(out)
}

/// For a restore into the root file system at `root`: what has the name of a place is mounted there.
pub(super) fn of_new(plan: &Plan, root: &Path, cgroup: Option<&str>) -> Result<Vec<ExternalMount>, Error> {
    let fd = rustix::fs::openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let fd = fd.context("open root file system", root.display())?;
    let top = link(&fd).context("open root file system", root.display())?;
    let inside = InRoot::new(fd);
    let mut out = Vec::new();
    for outside in bound(plan, cgroup)? {
        let place = resolved(&inside, &outside.place, &top).unwrap_or(outside.place);
        out.push(external(&place, &outside.source)?);
    }
    out.push(external(Path::new(NULL), Path::new(NULL))?);
    Ok(out)
}

/// Bind mounts, devices, and the container's own control groups.
fn bound(plan: &Plan, cgroup: Option<&str>) -> Result<Vec<Outside>, Error> {
    let mut out = Vec::new();
    for m in &plan.mounts {
        match m.kind.as_str() {
            "bind" => out.push(Outside { place: m.destination.clone(), source: m.source.clone() }),
            "cgroup" | "cgroup2" if !plan.namespaces.have(LinuxNamespaceType::Cgroup) => {
                groups(&mut out, m, cgroup).context("list", CGROUP_ROOT)?;
            }
            _ => {}
        }
    }
    let nodes = plan.devices.iter().map(devices::Device::path);
    out.extend(nodes.map(|path| Outside { place: path.to_owned(), source: path.to_owned() }));
    Ok(out)
}

/// Without a cgroup namespace, the container's groups are directories of the host's hierarchies.
fn groups(out: &mut Vec<Outside>, m: &MountPlan, cgroup: Option<&str>) -> io::Result<()> {
    let own = |hierarchy: PathBuf| cgroup.map_or(hierarchy.clone(), |path| hierarchy.join(path));
    /// linux/magic.h
    const CGROUP2: i64 = 0x6367_7270;
    if rustix::fs::statfs(CGROUP_ROOT)?.f_type == CGROUP2 {
        out.push(Outside { place: m.destination.clone(), source: own(CGROUP_ROOT.into()) });
        return Ok(());
    }
    for entry in std::fs::read_dir(CGROUP_ROOT)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            out.push(Outside { place: m.destination.join(entry.file_name()), source: own(entry.path()) });
        }
    }
    Ok(())
}

fn external(key: &Path, val: &Path) -> Result<ExternalMount, Failure> {
    let text = |path: &Path| path.to_str().map(str::to_owned).ok_or(io::ErrorKind::InvalidInput);
    let pair = || Ok::<_, io::Error>(ExternalMount { key: text(key)?, val: text(val)? });
    pair().context("name the mount on", key.display())
}

/// Where a path leads, below the root whose own path is `top`; `None` when nothing is there yet.
fn resolved(root: &InRoot, path: &Path, top: &Path) -> Option<PathBuf> {
    let place = link(root.resolve(path).ok()?).ok()?;
    Some(Path::new("/").join(place.strip_prefix(top).ok()?))
}

/// The kernel's path of a descriptor: as seen from the root of the mount namespace that it is of.
fn link(fd: impl AsFd) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

/// Takes the rights on the host's nodes away again that their mounts had not: of the masks of files, and of devices that
/// could not be made. CRIU mounts them as they are on the host.
pub(super) fn protect_nodes(plan: &Plan, pidfd: BorrowedFd<'_>) -> Result<(), Failure> {
    helper::in_child("protect the host's nodes in", "the container", || {
        move_into_thread_name_spaces(pidfd, ThreadNameSpaceType::MOUNT)
            .context("join", "the container's mount namespace")?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, "/", flags, Mode::empty());
        let root = InRoot::new(root.context("open", "root file system")?);
        let nodes = plan.devices.iter().map(devices::Device::path);
        for path in plan.masked.iter().map(PathBuf::as_path).chain(nodes) {
            let Ok(target) = root.resolve(path) else { continue };
            if is_mounted_node(&target).context("look at", path.display())? {
                change(target.as_fd(), &masks::NODE).context("protect", path.display())?;
            }
        }
        Ok(())
    })
}

/// Whether it is a device, and the root of a mount.
fn is_mounted_node(fd: &OwnedFd) -> io::Result<bool> {
    /// linux/stat.h, Linux 5.8.
    const MOUNT_ROOT: u64 = 0x2000;
    let is_node = matches!(file_type(fd)?, FileType::CharacterDevice | FileType::BlockDevice);
    let stat = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    Ok(is_node && stat.stx_attributes.bits() & MOUNT_ROOT != 0)
}

/// Makes the places of mounts in the root file system, as they are made for a new container: CRIU expects them. Those on a
/// tmpfs it makes itself. In a user namespace they are made as its superuser, and only where that may.
pub(super) fn make_places(plan: &Plan, root: &Path) -> Result<(), Failure> {
    // Places can be in what is mounted.
    helper::in_child("make the mount points of", "the container", || {
        unshare(CloneFlags::NEWNS).context("make", "a mount namespace")?;
        rustix::process::umask(Mode::empty());
        let tree = clone_tree(CWD, root, true).context("open root file system", root.display())?;
        let root = crate::rootfs::attach_root(&tree)?;
        let wanted: Vec<_> = plan.mounts.iter().filter(|m| !on_tmpfs(plan, m)).collect();
        let open = |m: &&MountPlan| -> io::Result<Option<OwnedFd>> {
            let recursive = m.options.bind.unwrap_or(true);
            (m.kind == "bind").then(|| clone_tree(CWD, &m.source, recursive)).transpose()
        };
        let open = |m: &&MountPlan| open(m).context("open", m.source.display());
        let sources = wanted.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        if let Some((uid, gid)) = plan.namespaces.mappings.as_ref().and_then(|m| m.root_outside()) {
            loment_sys::process::set_file_ids(uid, gid).context("become", "root of the user namespace")?;
        }
        for (m, source) in wanted.into_iter().zip(&sources) {
            match m.kind.as_str() {
                "cgroup" | "cgroup2" => {}
                "bind" => mount(&root, m, source.as_ref(), None, None)?,
                _ => make_target(&root, m)?,
            }
        }
        Ok(())
    })
}

fn on_tmpfs(plan: &Plan, m: &MountPlan) -> bool {
    let above = |t: &&MountPlan| t.destination != m.destination && m.destination.starts_with(&t.destination);
    plan.mounts.iter().filter(above).any(|t| t.kind == "tmpfs")
}
