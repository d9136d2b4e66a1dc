//! What is done for mounts before they are made: the first use of volumes, owners, overlays, parts of directories.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use loment_runtime::{InRoot, Owners, UserNamespace, id_map};
use oci_spec::runtime::{LinuxIdMapping, Spec};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, fstat, openat, openat2,
    statat,
};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::error::Context;
use crate::launch::{Body, Lower, Restrictions, Rootfs, Volume, VolumeOverlay};
use crate::volumes::{Shown, use_first};
use crate::{Error, overlay, volume_mounts};

/// Does it. Returns the mounts that are not simply what is at their sources, by where they go in the container.
pub(super) fn prepare(
    launch: &Body,
    root: &InRoot,
    scratch: &Path,
    users: Option<&UserNamespace>,
    id: &str,
) -> Result<Vec<(PathBuf, OwnedFd)>, Error> {
    let mut mounts = Vec::new();
    if launch.volumes.is_empty() {
        return Ok(mounts);
    }
    let user = user_outside(&launch.spec);
    for volume in &launch.volumes {
        if !volume.layers.is_empty() {
            mounts.push((volume.destination.clone(), image(volume, scratch, users)?));
            continue;
        }
        let mounted = volume.mount.as_ref().map(|mount| volume_mounts::open(mount, id)).transpose()?;
        let shown = Shown { mounted, owners: owners(&launch.spec, volume)? };
        use_first(volume, &shown, root, Some(user))?;
        let mounting = || format!("{} on {}", volume.source.display(), volume.destination.display());
        if let Some(tree) = tree(volume, shown, user, scratch).context("mount", mounting())? {
            mounts.push((volume.destination.clone(), tree));
        }
    }
    Ok(mounts)
}

/// The files of an image. What a container changes in them goes with its run.
pub(crate) fn image(
    volume: &Volume,
    scratch: &Path,
    users: Option<&UserNamespace>,
) -> Result<OwnedFd, Error> {
    let mounting = || format!("an image on {}", volume.destination.display());
    let restrictions = Restrictions::default();
    let rootfs = match &volume.layers[..] {
        // All files are there, made for this run.
        [Lower::Dir { path }] => Rootfs::Copy { path: path.clone(), restrictions },
        _ => {
            let changes = volume.overlay.as_ref().ok_or(Errno::INVAL).context("mount", mounting())?;
            empty(changes).context("mount", mounting())?;
            if let Some(users) = users.filter(|_| volume.owned) {
                let (uid, gid) = (Uid::from_raw(users.root.0), Gid::from_raw(users.root.1));
                let given = chownat(CWD, &changes.upper, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
                given.context("change owner of", changes.upper.display())?;
            }
            Rootfs::Overlay {
                lower: volume.layers.clone(),
                data: volume.data.clone(),
                owned: volume.owned,
                pins: volume.pins.clone(),
                upper: changes.upper.clone(),
                work: changes.work.clone(),
                volatile: true,
                shown: PathBuf::new(),
                restrictions,
            }
        }
    };
    let tree = overlay::build(&rootfs, scratch, users)?.tree;
    let Some(path) = &volume.subpath else { return Ok(tree) };
    let cut = || -> io::Result<OwnedFd> {
        let inside = path.strip_prefix("/").unwrap_or(path);
        let top = openat(&tree, ".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        clone(&InRoot::new(top).resolve(inside).map_err(|error| missing(path, &error))?)
    };
    cut().context("mount", mounting())
}

/// What is at a descriptor, attached nowhere.
fn clone(part: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(open_tree(part, "", flags | OpenTreeFlags::AT_RECURSIVE | OpenTreeFlags::AT_EMPTY_PATH)?)
}

pub(crate) fn tree(
    volume: &Volume,
    shown: Shown,
    (uid, gid): (u32, u32),
    scratch: &Path,
) -> io::Result<Option<OwnedFd>> {
    let (mounted, user) = (shown.mounted, shown.owners.on_disk(uid, gid));
    let whole = mounted.as_ref().map(|tree| PathBuf::from(format!("/proc/self/fd/{}", tree.as_raw_fd())));
    let whole = whole.as_ref().unwrap_or(&volume.source);
    let part = volume.subpath.as_ref().map(|path| part(whole, path)).transpose()?;
    if volume.overlay.is_none() && part.is_none() {
        if volume.chown {
            give(whole, user)?;
        }
        return Ok(mounted);
    }
    let source = match &part {
        Some(part) => PathBuf::from(format!("/proc/self/fd/{}", part.as_raw_fd())),
        None => whole.clone(),
    };
    if volume.chown {
        give(&source, user)?;
    }
    if let Some(changes) = &volume.overlay {
        return overlay_of(&source, changes, scratch).map(Some);
    }
    part.as_ref().map(clone).transpose()
}

/// A path below a directory; nothing leads out of that, whatever links there are.
fn part(source: &Path, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let inside = path.strip_prefix("/").unwrap_or(path);
    let root = InRoot::new(openat(CWD, source, flags, Mode::empty())?);
    root.resolve(inside).map_err(|error| missing(path, &error))
}

fn missing(subpath: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("subpath {}: {error}", subpath.display()))
}

/// Makes the directories for changes anew, if they are the container's own.
fn empty(changes: &VolumeOverlay) -> io::Result<()> {
    if let Some(fresh) = &changes.fresh {
        match std::fs::remove_dir_all(fresh) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        for dir in [&changes.upper, &changes.work] {
            DirBuilder::new().mode(0o755).recursive(true).create(dir)?;
        }
    }
    Ok(())
}

fn overlay_of(source: &Path, changes: &VolumeOverlay, scratch: &Path) -> io::Result<OwnedFd> {
    empty(changes)?;
    overlay::over(source, &changes.upper, &changes.work, changes.fresh.is_some(), scratch)
}

/// Whose files on disk are those of a volume.
fn owners(spec: &Spec, volume: &Volume) -> Result<Owners, Error> {
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let mount = mounts.iter().rfind(|mount| *mount.destination() == volume.destination);
    match (mount, spec.linux()) {
        (Some(mount), Some(linux)) => Ok(Owners::of_mount(mount, linux)?),
        _ => Ok(Owners::default()),
    }
}

/// Who the program's user and group are on the host.
fn user_outside(spec: &Spec) -> (u32, u32) {
    let user = spec.process().as_ref().map(|process| process.user().clone()).unwrap_or_default();
    let linux = spec.linux().clone().unwrap_or_default();
    let outside = |id: u32, mappings: &Option<Vec<LinuxIdMapping>>| {
        mappings.as_ref().and_then(|mappings| id_map(mappings).outside(id)).unwrap_or(id)
    };
    (outside(user.uid(), linux.uid_mappings()), outside(user.gid(), linux.gid_mappings()))
}

/// Gives a directory and everything below to a user. No link is followed, whatever happens there meanwhile, and what goes meanwhile
/// is left out.
fn give(top: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    let open = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let handle = openat(CWD, top, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let stat = fstat(&handle)?;
    if (stat.st_uid, stat.st_gid) != (uid.as_raw(), gid.as_raw()) {
        chownat(&handle, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
    }
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Ok(());
    }
    let root = openat(&handle, ".", open | OFlags::DIRECTORY, Mode::empty())?;
    let mut left = vec![PathBuf::from(".")];
    while let Some(path) = left.pop() {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = open | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let dir = match openat2(&root, &path, flags, Mode::empty(), resolve) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            opened => opened?,
        };
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let stat = match statat(dir.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                found => found?,
            };
            if (stat.st_uid, stat.st_gid) != (uid.as_raw(), gid.as_raw()) {
                match chownat(dir.as_fd(), name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => continue,
                    given => given?,
                }
            }
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(name.to_bytes());
                left.push(path.join(name));
            }
        }
    }
    Ok(())
}
