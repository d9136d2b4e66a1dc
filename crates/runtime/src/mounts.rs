//! Making mounts: each one is built detached, then attached to a target held open, descriptor to descriptor. Nothing is
//! looked up twice, so nothing can be swapped in between (CVE-2021-30465).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use loment_sys::mount::{self as attr, MountAttr};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount,
    open_tree,
};

use crate::attributes::{attach_changed, change};
use crate::copy_up::copy_up;
use crate::error::Context;
use crate::mount_label::{self, MountLabel};
use crate::options::Options;
use crate::plan::MountPlan;
use crate::sources::{is_link_to_copy, open_source};
use crate::{Failure, InRoot, systemd_v1};

/// Where control groups are on the host, and in the container.
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// A detached copy of the mount (with what is mounted below, if `recursive`) at `path` below `dir`.
pub(crate) fn clone_tree(dir: BorrowedFd<'_>, path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if path.as_os_str().is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(dir, path, flags)?)
}

/// Attaches a detached mount to the directory or file `target` is open on.
pub(crate) fn attach(mount: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags).map_err(|e| mismatch(mount, target).unwrap_or(e.into()))
}

/// Directories go on directories, files on files; the kernel's `EINVAL` does not say so.
fn mismatch(mount: &OwnedFd, target: &OwnedFd) -> Option<io::Error> {
    let is_dir = |fd| file_type(fd).ok().map(|t| t == FileType::Directory);
    let text = match (is_dir(mount)?, is_dir(target)?) {
        (true, false) => "it is a directory, but what is there in the container is a file",
        (false, true) => "it is a file, but what is there in the container is a directory",
        _ => return None,
    };
    Some(io::Error::other(text))
}

/// A detached mount of a new file system.
pub(crate) fn new_filesystem(kind: &str, source: &Path, options: &Options) -> io::Result<OwnedFd> {
    let fs = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, "source", source)?;
    for flag in &options.flags {
        fsconfig_set_flag(&fs, *flag)?;
    }
    for (key, value) in &options.data {
        match value {
            Some(v) => fsconfig_set_string(&fs, key.as_str(), v.as_str())
                .map_err(|e| mount_label::explain(key, v, e))?,
            None => fsconfig_set_flag(&fs, key.as_str())?,
        }
    }
    fsconfig_create(&fs)?;
    let set = MountAttrFlags::from_bits_retain(options.attr.set as u32);
    // A read-only file system that must be filled first is made read-only when it has been.
    let set = if options.copy_up { set.difference(MountAttrFlags::MOUNT_ATTR_RDONLY) } else { set };
    Ok(fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, set)?)
}

/// A mount of a new file system, attached nowhere; what is no option of mounts is the file system's.
///
/// # Errors
/// The kernel's errno.
pub fn new_mount(kind: &str, source: &Path, options: &[String]) -> io::Result<OwnedFd> {
    new_filesystem(kind, source, &Options::parse(options))
}

/// Attaches a mount with attributes of its own, and those of its options that are for mounts below, too.
fn finish(mount: &OwnedFd, own: MountAttr, options: &Options, target: &OwnedFd) -> io::Result<()> {
    let (propagation, recursive) = options.propagation.unwrap_or_default();
    let propagation = MountAttr { propagation, ..MountAttr::default() };
    let changes = [(false, own), (true, options.recursive), (recursive, propagation)];
    attach_changed(mount, &changes, || attach(mount, target))
}

/// Makes one mount of the specification; `source` is a bind mount's, if it is open already.
pub(crate) fn mount(
    root: &InRoot,
    m: &MountPlan,
    source: Option<&OwnedFd>,
    cgroup: Option<&str>,
    label: Option<&MountLabel>,
) -> Result<(), Failure> {
    match m.kind.as_str() {
        "bind" => bind(root, m, source),
        _ if m.systemd_v1 => systemd_v1::mount(root, m, label),
        "cgroup" | "cgroup2" => mount_cgroup(root, m, cgroup, label),
        _ => filesystem(root, m, label),
    }
    .context("mount", format_args!("{} (type {}) on {}", m.source.display(), m.kind, m.destination.display()))
}

/// Makes the directory a file system goes on, and mounts nothing.
pub(crate) fn make_target(root: &InRoot, m: &MountPlan) -> Result<(), Failure> {
    directory_target(root, m).map(drop).context("make the mount point", m.destination.display())
}

fn filesystem(root: &InRoot, m: &MountPlan, label: Option<&MountLabel>) -> io::Result<()> {
    let mounted = new_filesystem(&m.kind, &m.source, &m.options)?;
    label.map_or(Ok(()), |label| label.label_top(&m.kind, &mounted))?;
    let hides = m.options.copy_up && root.resolve(&m.destination).is_ok();
    let target = directory_target(root, m)?;
    if m.options.copy_up {
        // The mount's own descriptor only names it.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let inside = rustix::fs::openat(&mounted, ".", flags, Mode::empty())?;
        // A mode that was asked for wins over that of the hidden directory.
        let as_hidden = hides && !m.options.data.iter().any(|(key, _)| key == "mode");
        copy_up(&root.open_dir(&m.destination)?, &inside, as_hidden)?;
    }
    let late = if m.options.copy_up { m.options.attr.set & attr::ATTR_RDONLY } else { 0 };
    finish(&mounted, MountAttr { set: late, ..MountAttr::default() }, &m.options, &target)
}

/// The directory a file system goes on, made when missing.
pub(crate) fn directory_target(root: &InRoot, m: &MountPlan) -> io::Result<OwnedFd> {
    let kernel = matches!(m.kind.as_str(), "proc" | "sysfs" | "cgroup" | "cgroup2")
        || m.destination == Path::new("/dev");
    if !kernel {
        return root.make_dir_all(&m.destination);
    }
    match root.resolve_no_links(&m.destination) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            root.make_dir_all(&m.destination)?;
            root.resolve_no_links(&m.destination)
        }
        // runc's words. Elsewhere the kernel's objects would be taken for files (CVE-2019-19921).
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            let what =
                format!("{} must be mounted on ordinary directory, not through a symbolic link", m.kind);
            Err(io::Error::other(what))
        }
        other => other,
    }
}

fn bind(root: &InRoot, m: &MountPlan, source: Option<&OwnedFd>) -> io::Result<()> {
    let own;
    let source = match source {
        Some(source) => source,
        None => {
            own = open_source(m)?;
            &own
        }
    };
    if is_link_to_copy(m, source) {
        return root.make_link(&m.destination, &rustix::fs::readlinkat(source, "", Vec::new())?);
    }
    let is_dir = file_type(source)? == FileType::Directory;
    let target = if m.options.target_no_follow {
        root.resolve_last(&m.destination)?
    } else if is_dir {
        root.make_dir_all(&m.destination)?
    } else {
        root.make_file(&m.destination)?
    };
    finish(source, m.options.attr, &m.options, &target)
}

pub(crate) fn file_type(fd: &OwnedFd) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode))
}

/// The container's view of its own control groups: its directory of every hierarchy, nothing above.
fn mount_cgroup(
    root: &InRoot,
    m: &MountPlan,
    cgroup: Option<&str>,
    label: Option<&MountLabel>,
) -> io::Result<()> {
    let target = directory_target(root, m)?;
    let host = rustix::fs::openat(
        CWD,
        CGROUP_ROOT,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let own = |hierarchy: &str| match cgroup {
        Some(path) => PathBuf::from(hierarchy).join(path),
        None => PathBuf::from(hierarchy),
    };
    // Copies of the host's mounts would go on to follow them.
    let attributes = MountAttr { propagation: attr::PRIVATE, ..m.options.attr };
    let writable = MountAttr { set: attributes.set & !attr::ATTR_RDONLY, ..attributes };
    if rustix::fs::fstatfs(&host)?.f_type == 0x6367_7270 {
        let tree = clone_tree(host.as_fd(), &own("."), false)?;
        let attributes = if m.options.systemd { writable } else { attributes };
        return attach_changed(&tree, &[(false, attributes)], || attach(&tree, &target));
    }
    let mut options = Options::parse(&["mode=755".to_owned(), "nosuid".to_owned(), "nodev".to_owned()]);
    options.attr.set |= attr::ATTR_NOEXEC;
    if let Some(label) = label {
        label.add_to("tmpfs", &mut options);
    }
    let base = new_filesystem("tmpfs", Path::new("tmpfs"), &options)?;
    attach(&base, &target)?;
    for entry in rustix::fs::Dir::read_from(&host)? {
        let entry = entry?;
        let name = entry.file_name();
        match entry.file_type() {
            FileType::Directory if !name.to_bytes().starts_with(b".") => {
                let tree = clone_tree(host.as_fd(), &own(&name.to_string_lossy()), false)?;
                rustix::fs::mkdirat(&base, name, Mode::from_raw_mode(0o755))?;
                let dir = rustix::fs::openat(
                    &base,
                    name,
                    OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                    Mode::empty(),
                )?;
                // Limits are elsewhere.
                let tracks =
                    m.options.systemd && ["systemd", "unified"].map(str::as_bytes).contains(&name.to_bytes());
                let attributes = if tracks { writable } else { attributes };
                attach_changed(&tree, &[(false, attributes)], || attach(&tree, &dir))?;
            }
            FileType::Symlink => {
                let to = rustix::fs::readlinkat(&host, name, Vec::new())?;
                rustix::fs::symlinkat(to, &base, name)?;
            }
            _ => {}
        }
    }
    let read_only = MountAttr { set: m.options.attr.set & attr::ATTR_RDONLY, ..MountAttr::default() };
    if read_only.is_empty() { Ok(()) } else { change(base.as_fd(), &read_only) }
}

/// Changes how mounts of the caller's namespace spread, from its root downwards.
pub(crate) fn set_root_propagation(propagation: u64, recursive: bool) -> io::Result<()> {
    let mut flags = MountPropagationFlags::from_bits_retain(propagation as u32);
    flags.set(MountPropagationFlags::REC, recursive);
    Ok(mount_change("/", flags)?)
}
