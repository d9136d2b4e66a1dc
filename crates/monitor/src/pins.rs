//! Layers that are images of file systems: mounted once, for all containers, until their files are gone.
//!
//! They are mounted in a mount namespace of their own, which holds nothing else, so that the host's list of mounts stays as it is
//! but for the two mounts that keep that namespace: `<dir>`, mounted on itself because the kernel wants namespaces bound where
//! nothing propagates from, and `<dir>/ns`. A worker goes there for a moment and takes a clone of each of its layers along.
//!
//! A mount is named after its layer and the inode of its file: a layer that was removed and pulled again is another file.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use loment_sys::clone::{CloneFlags, unshare};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, OpenTreeFlags, UnmountFlags, mount_bind, mount_change, open_tree, unmount,
};
use rustix::process::{chdir, chroot, fchdir, pivot_root};
use rustix::thread::{
    CpuSet, LinkNameSpaceType, move_into_link_name_space, sched_getaffinity, sched_setaffinity,
};

use crate::Error;
use crate::erofs;
use crate::error::Context;
use crate::mounts::{is_mount_point, open_dir, place, private_tmpfs};

/// `NSFS_MAGIC` (statfs(2)).
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// A layer to be mounted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image<'a> {
    /// The EROFS image.
    pub(crate) file: &'a Path,
    /// What tells layers apart; letters and digits.
    pub(crate) layer: &'a str,
}

/// Mounts of these layers that are attached nowhere, in the same order. Layers that are not mounted yet are. For processes with one
/// thread.
pub(crate) fn clones(dir: &Path, images: &[Image<'_>]) -> Result<Vec<OwnedFd>, Error> {
    let names = images.iter().map(|image| {
        let inode = std::fs::metadata(image.file).map(|m| m.ino());
        inode.context("find", image.file.display()).map(|inode| format!("{}.{inode}", image.layer))
    });
    let names = names.collect::<Result<Vec<_>, _>>()?;
    let look = |ns: &OwnedFd| {
        let found = visit(ns, || Ok(names.iter().map(|name| clone(name)).collect::<Vec<_>>()));
        let found = found.and_then(|all| {
            let missing = |tree: Result<OwnedFd, Errno>| match tree {
                Err(Errno::NOENT) => Ok(None),
                tree => Ok(Some(tree?)),
            };
            all.into_iter().map(missing).collect::<io::Result<Vec<_>>>()
        });
        found.context("look for layers in", dir.display())
    };
    let lock = open_lock(dir)?;
    lock.lock_shared().context("lock", dir.display())?;
    if let Some(ns) = namespace(dir)?
        && let Some(all) = look(&ns)?.into_iter().collect()
    {
        return Ok(all);
    }
    lock.unlock().context("unlock", dir.display())?;
    lock.lock().context("lock", dir.display())?;
    let ns = namespace_or_new(dir)?;
    let mut found = look(&ns)?;
    let mut new = Vec::new();
    for ((image, name), tree) in images.iter().zip(&names).zip(&found) {
        if tree.is_none() {
            let tree =
                erofs::mount(image.file).map_err(explain).context("mount layer", image.file.display())?;
            new.push((name, tree));
        }
    }
    let attached =
        visit(&ns, || new.iter().map(|(name, tree)| attach(tree, name)).collect::<io::Result<Vec<_>>>());
    let mut attached = attached.context("keep layers in", dir.display())?.into_iter();
    for tree in found.iter_mut().filter(|tree| tree.is_none()) {
        *tree = attached.next();
    }
    Ok(found.into_iter().flatten().collect())
}

/// Ends the mounts of layers that `keep` has nothing to say for: it is asked with the name of a layer and the inode of its file.
/// Containers that run keep theirs. For processes with one thread.
///
/// # Errors
/// [`Error::Io`].
pub fn release(dir: &Path, keep: impl Fn(&str, u64) -> bool) -> Result<(), Error> {
    // Without one, nothing was ever mounted, and no lock is made.
    if namespace(dir)?.is_none() {
        return Ok(());
    }
    let lock = open_lock(dir)?;
    lock.lock().context("lock", dir.display())?;
    let Some(ns) = namespace(dir)? else { return Ok(()) };
    let sweep = || -> io::Result<usize> {
        let mut left = 0;
        for entry in std::fs::read_dir("/")? {
            let entry = entry?;
            if is_kept(&entry.file_name(), &keep) {
                left += 1;
                continue;
            }
            let path = entry.path();
            match unmount(&path, UnmountFlags::DETACH) {
                // One that was not attached: its maker was killed.
                Ok(()) | Err(Errno::INVAL) => {}
                Err(errno) => return Err(errno.into()),
            }
            std::fs::remove_dir(path)?;
        }
        Ok(left)
    };
    let left = visit(&ns, sweep).context("unmount layers in", dir.display())?;
    if left == 0 {
        drop(ns);
        unmount(dir, UnmountFlags::DETACH).context("unmount", dir.display())?;
    }
    Ok(())
}

/// A clone of the mount of that name, which no layer has. It is made when it is not there, and stays until [`end`]. Nobody else asks
/// for that name meanwhile: what is mounted may be slow to answer, and others are not kept waiting for it. For processes with one
/// thread.
pub(crate) fn shared(
    dir: &Path,
    name: &str,
    new: impl FnOnce() -> io::Result<OwnedFd>,
) -> Result<OwnedFd, Error> {
    let lock = open_lock(dir)?;
    lock.lock_shared().context("lock", dir.display())?;
    if let Some(ns) = namespace(dir)? {
        match visit(&ns, || Ok(clone(name))).context("look for a mount in", dir.display())? {
            Err(Errno::NOENT) => {}
            found => return found.context("find", name),
        }
    }
    lock.unlock().context("unlock", dir.display())?;
    let tree = new().context("mount", name)?;
    lock.lock().context("lock", dir.display())?;
    let ns = namespace_or_new(dir)?;
    visit(&ns, || attach(&tree, name)).context("keep", name)
}

/// Ends such a mount, if it is there. Who has a clone keeps that. For processes with one thread.
pub(crate) fn end(dir: &Path, name: &str) -> Result<(), Error> {
    if namespace(dir)?.is_none() {
        return Ok(());
    }
    let lock = open_lock(dir)?;
    lock.lock().context("lock", dir.display())?;
    let Some(ns) = namespace(dir)? else { return Ok(()) };
    let path = PathBuf::from("/").join(name);
    let end = || -> io::Result<()> {
        match unmount(&path, UnmountFlags::DETACH) {
            Ok(()) | Err(Errno::INVAL) => Ok(std::fs::remove_dir(&path)?),
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    };
    visit(&ns, end).context("unmount", name)
}

/// The beginning of names that no layer has: these mounts end by [`end`] only.
pub(crate) const SHARED: &str = "volume-";

fn is_kept(name: &OsStr, keep: impl Fn(&str, u64) -> bool) -> bool {
    if name.as_encoded_bytes().starts_with(SHARED.as_bytes()) {
        return true;
    }
    let parts = name.to_str().and_then(|name| name.split_once('.'));
    parts.is_some_and(|(layer, inode)| inode.parse().is_ok_and(|inode| keep(layer, inode)))
}

fn explain(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc) if libc == Errno::NODEV.raw_os_error() => io::Error::other(
            "this kernel has no EROFS: load its module, or pull the image again with --storage-opt loment.form=dir",
        ),
        _ => error,
    }
}

fn open_lock(dir: &Path) -> Result<File, Error> {
    let path = dir.with_extension("lock");
    // Who can open it can lock it, and so keep every container from starting: nobody else can.
    let mut options = File::options();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(&path).context("open", path.display())
}

/// The namespace, for who has the lock.
fn namespace_or_new(dir: &Path) -> Result<OwnedFd, Error> {
    match namespace(dir)? {
        Some(ns) => Ok(ns),
        None => make(dir).context("make a mount namespace in", dir.display()),
    }
}

/// The namespace, if there is one.
fn namespace(dir: &Path) -> Result<Option<OwnedFd>, Error> {
    let path = dir.join("ns");
    match rustix::fs::openat(CWD, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => {
            let kind = rustix::fs::fstatfs(&file).context("look at", path.display())?.f_type;
            Ok(Some(file).filter(|_| kind as u64 == NSFS_MAGIC))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).context("open", path.display()),
    }
}

/// Does something in another mount namespace, whose root is `/` there, and comes back.
fn visit<T>(ns: &OwnedFd, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let here = Here::new()?;
    move_into_link_name_space(ns.as_fd(), Some(LinkNameSpaceType::Mount))?;
    let result = act();
    here.come_back()?;
    result
}

/// A mount namespace to come back to.
pub(crate) struct Here {
    namespace: File,
    root: OwnedFd,
    directory: OwnedFd,
}

impl Here {
    pub(crate) fn new() -> io::Result<Self> {
        let namespace = File::open("/proc/thread-self/ns/mnt")?;
        let directory = openat(CWD, ".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { namespace, root: open_dir(Path::new("/"))?, directory })
    }

    pub(crate) fn come_back(&self) -> io::Result<()> {
        move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Mount))?;
        // The namespace's own root may be further up than the one this process had.
        fchdir(&self.root)?;
        chroot(".")?;
        Ok(fchdir(&self.directory)?)
    }
}

fn clone(name: &str) -> Result<OwnedFd, Errno> {
    let path = PathBuf::from("/").join(name);
    let tree = open_tree(CWD, &path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    // A directory on which nothing was mounted, because its maker was killed, is none.
    if is_mount_point(&path).unwrap_or(false) { Ok(tree) } else { Err(Errno::NOENT) }
}

/// Attaches a mount and returns a clone of it.
fn attach(tree: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let path = PathBuf::from("/").join(name);
    match std::fs::create_dir(&path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    place(tree, CWD, &path)?;
    Ok(clone(name)?)
}

/// Makes the namespace and what keeps it. What a killed maker left is used.
fn make(dir: &Path) -> io::Result<OwnedFd> {
    DirBuilder::new().mode(0o700).recursive(true).create(dir)?;
    if !is_mount_point(dir)? {
        mount_bind(dir, dir)?;
    }
    mount_change(dir, MountPropagationFlags::PRIVATE)?;
    let file = dir.join("ns");
    drop(File::options().write(true).create(true).truncate(false).open(&file)?);
    let keep = |ns: &OwnedFd| mount_bind(format!("/proc/self/fd/{}", ns.as_raw_fd()), &file);
    let ns = apart(dir)?;
    match keep(&ns) {
        Err(Errno::INVAL) => {}
        kept => return Ok(kept.map(|()| ns)?),
    }
    // Only a namespace that is younger than this one may be bound in it, which the kernel tells by their numbers; and Linux 6.18 gives
    // each processor a range of those. On the one where this namespace was made, the next number is a higher one.
    let all = sched_getaffinity(None)?;
    let kept = (0..CpuSet::MAX_CPU).filter(|&cpu| all.is_set(cpu)).find_map(|cpu| {
        let mut only = CpuSet::new();
        only.set(cpu);
        sched_setaffinity(None, &only).ok()?;
        let ns = apart(dir).ok()?;
        keep(&ns).is_ok().then_some(ns)
    });
    sched_setaffinity(None, &all)?;
    Ok(kept.ok_or(Errno::INVAL)?)
}

/// A mount namespace in which nothing is mounted.
fn apart(dir: &Path) -> io::Result<OwnedFd> {
    let here = Here::new()?;
    unshare(CloneFlags::NEWNS)?;
    let made = empty(dir);
    here.come_back()?;
    made
}

/// Makes the mount namespace of the caller an empty one: mounts it kept of the host's would keep their devices in use.
fn empty(dir: &Path) -> io::Result<OwnedFd> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let ns = File::open("/proc/thread-self/ns/mnt")?;
    let tmpfs = private_tmpfs(None, None)?;
    place(&tmpfs, CWD, dir)?;
    chdir(dir)?;
    match pivot_root(".", ".") {
        Ok(()) => unmount(".", UnmountFlags::DETACH)?,
        // The root is the kernel's first file system, which cannot go: it is covered.
        Err(Errno::INVAL) => place(&tmpfs, CWD, Path::new("/"))?,
        Err(errno) => return Err(errno.into()),
    }
    Ok(ns.into())
}

#[cfg(test)]
mod tests;
