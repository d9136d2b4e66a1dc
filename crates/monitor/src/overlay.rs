//! Root file systems. Every mount is made detached, or in a mount namespace of the worker's own: nothing shows in the
//! host's mount table, and nothing is left behind however the worker ends.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use loment_runtime::UserNamespace;
use loment_seccomp::KernelVersion;
use loment_sys::clone::{CloneFlags, unshare};
use loment_sys::mount::{ATTR_ATIME_MASK, ATTR_IDMAP, ATTR_NODEV, ATTR_RDONLY, MountAttr, set_attributes};
use loment_sys::process::is_in_user_namespace;
use rustix::fs::{CWD, Mode};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change,
};

use crate::Error;
use crate::error::Context;
use crate::launch::{Lower, Restrictions, Rootfs};
use crate::mounts::{clone_tree, open_dir, place};
use crate::owner;
use crate::pins::{self, Here, Image};
use crate::shown::open_shown;
use crate::throwaway;

/// A root file system, detached, and what could not be done as asked.
pub(crate) struct Built {
    pub(crate) tree: OwnedFd,
    pub(crate) warnings: Vec<String>,
}

/// Makes a root file system. `scratch` is an existing directory of the container's own. With a user namespace, what belongs to a
/// user in the files of an image or a container belongs to whom that user is outside of the namespace.
pub(crate) fn build(rootfs: &Rootfs, scratch: &Path, users: Option<&UserNamespace>) -> Result<Built, Error> {
    match rootfs {
        Rootfs::Overlay { lower, data, owned, pins, upper, work, volatile, shown, restrictions } => {
            let users = users.filter(|_| !owned);
            if let Some(tree) = open_shown(shown).context("open", shown.display())? {
                return Ok(Built { tree, warnings: Vec::new() });
            }
            if *volatile {
                forget_volatile(work);
            }
            let lower = &opened(lower, pins, users)?;
            let changes = users.map(|users| Changes::mapped(upper, work, users)).transpose()?;
            let (upper, work) = changes.as_ref().map_or((&**upper, &**work), |c| (&c.upper, &c.work));
            let base = changes.as_ref().map(|c| &c.tree);
            let flags = flags(*restrictions);
            let changes = Some((upper, work));
            let layers = Layers { lower, changes, base, data, volatile: *volatile, flags };
            // Overlayfs makes files as the one who mounted it.
            let tree = owner::act(users, || layers.mount(scratch))
                .context("mount the overlay of", upper.display())?;
            Ok(Built { tree, warnings: Vec::new() })
        }
        Rootfs::Directory { path } => {
            let tree = clone_tree(path).context("open root file system", path.display())?;
            Ok(Built { tree, warnings: Vec::new() })
        }
        Rootfs::Copy { path, restrictions } => {
            let tree = clone_tree(path).context("open root file system", path.display())?;
            restrict(&tree, *restrictions).context("restrict", path.display())?;
            Ok(Built { tree, warnings: Vec::new() })
        }
        Rootfs::Throwaway { path, size, inodes } => throwaway::mount(path, (*size, *inodes), scratch),
    }
}

fn restrict(tree: &OwnedFd, restrictions: Restrictions) -> io::Result<()> {
    let set = u64::from(flags(restrictions).bits());
    // The ways to keep the time of access are one field.
    let clear = if restrictions.noatime { ATTR_ATIME_MASK } else { 0 };
    match set {
        0 => Ok(()),
        _ => set_attributes(tree.as_fd(), c"", false, &MountAttr { set, clear, ..MountAttr::default() }),
    }
}

fn flags(restrictions: Restrictions) -> MountAttrFlags {
    let Restrictions { nodev, nosuid, noexec, noatime } = restrictions;
    let pairs = [
        (nodev, MountAttrFlags::MOUNT_ATTR_NODEV),
        (nosuid, MountAttrFlags::MOUNT_ATTR_NOSUID),
        (noexec, MountAttrFlags::MOUNT_ATTR_NOEXEC),
        (noatime, MountAttrFlags::MOUNT_ATTR_NOATIME),
    ];
    pairs.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).collect()
}

/// Where a file of a mount that is attached nowhere can be found.
pub(crate) fn path_in(tree: &OwnedFd, name: &str) -> PathBuf {
    format!("/proc/self/fd/{}/{name}", tree.as_raw_fd()).into()
}

/// A layer of an overlay, ready to be used.
enum Opened {
    Dir(PathBuf),
    /// Attached nowhere.
    Mount(OwnedFd),
}

impl Opened {
    fn path(&self) -> PathBuf {
        match self {
            Self::Dir(path) => path.clone(),
            Self::Mount(tree) => format!("/proc/self/fd/{}", tree.as_raw_fd()).into(),
        }
    }
}

/// Where changes go, on a mount that maps ids.
struct Changes {
    tree: OwnedFd,
    upper: PathBuf,
    work: PathBuf,
}

impl Changes {
    fn mapped(upper: &Path, work: &Path, users: &UserNamespace) -> Result<Self, Error> {
        let parent = upper.parent().filter(|parent| work.parent() == Some(parent));
        let parent = parent.ok_or(Errno::XDEV).context("map the ids of", upper.display())?;
        let tree = clone_tree(parent).context("open", parent.display())?;
        map_ids(&tree, users).context("map the ids of", parent.display())?;
        let inside = |path: &Path| {
            PathBuf::from(format!("/proc/self/fd/{}", tree.as_raw_fd()))
                .join(path.file_name().unwrap_or_default())
        };
        let (upper, work) = (inside(upper), inside(work));
        Ok(Self { tree, upper, work })
    }
}

/// A volatile mount leaves a mark for those who would take what is there for complete after a power cut (overlayfs.rst, "Volatile
/// mount"). What is thrown away at its end is not there after one.
fn forget_volatile(work: &Path) {
    // There is none before it was mounted.
    let _ = std::fs::remove_dir_all(work.join("work/incompat"));
}

pub(crate) fn map_ids(tree: &OwnedFd, users: &UserNamespace) -> io::Result<()> {
    let attr = MountAttr { set: ATTR_IDMAP, userns: users.fd.as_raw_fd() as u64, ..MountAttr::default() };
    set_attributes(tree.as_fd(), c"", false, &attr).map_err(|e| match e.raw_os_error() {
        Some(code) if code == Errno::INVAL.raw_os_error() => {
            io::Error::other("this kernel cannot map the ids of this file system (Linux 5.19 can, for most)")
        }
        _ => e,
    })
}

/// Mounts what must be mounted.
fn opened(lower: &[Lower], pins: &Path, users: Option<&UserNamespace>) -> Result<Vec<Opened>, Error> {
    let images = lower.iter().filter_map(|l| match l {
        Lower::Dir { .. } => None,
        Lower::Erofs { file, layer } => Some(Image { file, layer }),
    });
    let images: Vec<_> = images.collect();
    let mut mounts = if images.is_empty() { Vec::new() } else { pins::clones(pins, &images)? }.into_iter();
    let mut layers = Vec::new();
    for layer in lower {
        layers.push(match (layer, users) {
            (Lower::Dir { path }, None) => Opened::Dir(path.clone()),
            (Lower::Dir { path }, Some(users)) => {
                let tree = clone_tree(path).context("open layer", path.display())?;
                map_ids(&tree, users).context("map the ids of layer", path.display())?;
                Opened::Mount(tree)
            }
            (Lower::Erofs { file, .. }, users) => {
                let tree = mounts.next().ok_or(Errno::NOENT).context("find layer", file.display())?;
                users
                    .map_or(Ok(()), |users| map_ids(&tree, users))
                    .context("map the ids of layer", file.display())?;
                Opened::Mount(tree)
            }
        });
    }
    Ok(layers)
}

/// What works on the oldest works on one of which nothing is known.
fn kernel() -> KernelVersion {
    rustix::system::uname().release().to_string_lossy().parse().unwrap_or(KernelVersion::new(0, 0))
}

/// Whether an overlay in a user namespace takes the content of files from layers that have nothing else.
pub fn takes_data_layers() -> bool {
    kernel() >= KernelVersion::new(6, 16)
}

/// What an overlay is made of.
struct Layers<'a> {
    /// The topmost first.
    lower: &'a [Opened],
    /// Where changes go, and a directory of overlayfs's own; nowhere when there are none.
    changes: Option<(&'a Path, &'a Path)>,
    /// The mount that `upper` and `work` are on, if it is attached nowhere.
    base: Option<&'a OwnedFd>,
    /// Directories with nothing but the content of files, the topmost first.
    data: &'a [PathBuf],
    /// Nothing of it has to survive the machine.
    volatile: bool,
    flags: MountAttrFlags,
}

impl Layers<'_> {
    /// The overlay, detached. `scratch` is an existing directory of the container's own.
    fn mount(&self, scratch: &Path) -> io::Result<OwnedFd> {
        self.mount_on(scratch, kernel())
    }

    /// The same on a kernel of that version. It is not tried what that can: every failure is a line in the kernel's log, and a failed
    /// mount that was to be volatile leaves a mark in `work`, with which no other is made there.
    fn mount_on(&self, scratch: &Path, kernel: KernelVersion) -> io::Result<OwnedFd> {
        let detached = self.base.is_some() || self.has_mounts();
        // Layers one by one. All in one value do not do: it may have 256 bytes.
        let has_parameters = kernel >= KernelVersion::new(6, 8);
        if has_parameters && (!detached || kernel >= KernelVersion::new(6, 15)) {
            return Ok(self.by_parameters()?);
        }
        own_namespace()?;
        self.attach(scratch)?;
        if has_parameters { Ok(self.by_parameters()?) } else { self.by_mount(scratch) }
    }

    /// Attaches what is attached nowhere, which the kernel takes as a layer since Linux 6.15 only. In a mount namespace of the
    /// caller's own, one over the other on `scratch`: they are found by their descriptors.
    fn attach(&self, scratch: &Path) -> io::Result<()> {
        let layers = self.lower.iter().filter_map(|layer| match layer {
            Opened::Mount(tree) => Some(tree),
            Opened::Dir(_) => None,
        });
        for tree in layers.chain(self.base) {
            place(tree, CWD, scratch)?;
            // A clone is a peer of what it was taken from, so what is mounted on it would be mounted on the host's directory, too.
            mount_change(scratch, MountPropagationFlags::PRIVATE)?;
        }
        Ok(())
    }

    /// Whether there are layers that are mounts. Their files would show different devices, so that programs which stay on one file
    /// system leave out some.
    fn has_mounts(&self) -> bool {
        self.lower.iter().any(|layer| matches!(layer, Opened::Mount(_)))
    }

    fn by_parameters(&self) -> rustix::io::Result<OwnedFd> {
        let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&fs, "source", "overlay")?;
        self.lower.iter().try_for_each(|layer| fsconfig_set_string(&fs, "lowerdir+", layer.path()))?;
        self.data.iter().try_for_each(|path| fsconfig_set_string(&fs, "datadir+", path))?;
        if let Some((upper, work)) = self.changes {
            fsconfig_set_string(&fs, "upperdir", upper)?;
            fsconfig_set_string(&fs, "workdir", work)?;
        }
        if self.has_mounts() {
            fsconfig_set_string(&fs, "xino", "on")?;
        }
        if is_in_user_namespace() {
            fsconfig_set_flag(&fs, "userxattr")?;
        }
        if self.volatile {
            // Linux 5.10. Without it the container is only slower.
            let _ = fsconfig_set_flag(&fs, "volatile");
        }
        fsconfig_create(&fs)?;
        fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, self.flags)
    }

    /// The same through mount(2), on `scratch`, which takes a mount namespace of the caller's own. Directories are named by their
    /// descriptors: the options of a mount have one page for all of them, and their paths may contain what separates options.
    fn by_mount(&self, scratch: &Path) -> io::Result<OwnedFd> {
        let name = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
        let layers = self.lower.iter().map(|l| open_dir(&l.path())).collect::<io::Result<Vec<_>>>()?;
        let mut options = format!("lowerdir={}", layers.iter().map(name).collect::<Vec<_>>().join(":"));
        let changes = match self.changes {
            Some((upper, work)) => Some((open_dir(upper)?, open_dir(work)?)),
            None => None,
        };
        if let Some((upper, work)) = &changes {
            options += &format!(",upperdir={},workdir={}", name(upper), name(work));
        }
        if is_in_user_namespace() {
            options += ",userxattr";
        }
        if self.volatile {
            options += ",volatile";
        }
        if self.has_mounts() {
            options += ",xino=on";
        }
        let options = CString::new(options).map_err(io::Error::other)?;
        // But for this one they have the same numbers: MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC.
        let without_atime = self.flags.contains(MountAttrFlags::MOUNT_ATTR_NOATIME);
        let same = self.flags.difference(MountAttrFlags::MOUNT_ATTR_NOATIME);
        let mut flags = MountFlags::from_bits_retain(same.bits());
        flags.set(MountFlags::NOATIME, without_atime);
        rustix::mount::mount("overlay", scratch, "overlay", flags, Some(options.as_c_str()))?;
        clone_tree(scratch)
    }
}

/// Gives the caller a mount namespace from which nothing spreads.
pub(crate) fn own_namespace() -> io::Result<()> {
    unshare(CloneFlags::NEWNS)?;
    Ok(mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}

/// The root file system of a container that does not run, detached, with the ids that the container has. For a caller with one
/// thread; `scratch` is an existing directory that nothing else uses.
///
/// # Errors
/// [`Error::Io`].
pub fn open_rootfs(rootfs: &Rootfs, scratch: &Path) -> Result<OwnedFd, Error> {
    let here = Here::new().context("find", "this mount namespace")?;
    let built = build(rootfs, scratch, None);
    // Older kernels take a mount namespace of its own to do it.
    here.come_back().context("come back to", "this mount namespace")?;
    Ok(built?.tree)
}

/// Layers over each other on `target`, in the mount namespace of the caller, which has one thread. `scratch` and `target` are
/// existing directories.
///
/// # Errors
/// [`Error::Io`].
pub fn show_layers(lower: &[Lower], pins: &Path, target: &Path, scratch: &Path) -> Result<(), Error> {
    if let [Lower::Dir { path }] = lower {
        // All files are there, and overlayfs wants two.
        let attr = MountAttr { set: ATTR_RDONLY | ATTR_NODEV, ..MountAttr::default() };
        let show = || {
            let tree = clone_tree(path)?;
            set_attributes(tree.as_fd(), c"", false, &attr)?;
            place(&tree, CWD, target)
        };
        return show().context("mount", target.display());
    }
    let here = Here::new().context("find", "this mount namespace")?;
    let lower = &opened(lower, pins, None)?;
    let flags = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV;
    let layers = Layers { lower, changes: None, base: None, data: &[], volatile: false, flags };
    let tree = layers.mount(scratch);
    // Older kernels take a mount namespace of its own to do it.
    here.come_back().context("come back to", "this mount namespace")?;
    tree.and_then(|tree| place(&tree, CWD, target)).context("mount", target.display())
}

/// What must hold in a file system must hold in the overlay of it: a program set-uid on a mount that is `nosuid` stays
/// without effect.
fn restrictions(lower: &OwnedFd) -> io::Result<MountAttrFlags> {
    use rustix::fs::StatVfsMountFlags as Has;
    let has = rustix::fs::fstatvfs(lower)?.f_flag;
    let pairs = [
        (Has::NOSUID, MountAttrFlags::MOUNT_ATTR_NOSUID),
        (Has::NODEV, MountAttrFlags::MOUNT_ATTR_NODEV),
        (Has::NOEXEC, MountAttrFlags::MOUNT_ATTR_NOEXEC),
    ];
    Ok(pairs.into_iter().filter(|(flag, _)| has.contains(*flag)).map(|(_, attr)| attr).collect())
}

/// A directory with changes elsewhere. `scratch` as for root file systems; what is in `upper` need not survive the machine where it is
/// `volatile`.
pub(crate) fn over(
    lower: &Path,
    upper: &Path,
    work: &Path,
    volatile: bool,
    scratch: &Path,
) -> io::Result<OwnedFd> {
    let (from, to) = (open_dir(lower)?, std::fs::File::open(upper)?);
    own_as(&from, &to)?;
    let flags = restrictions(&from)?;
    let lower = [Opened::Dir(lower.to_owned())];
    Layers { lower: &lower, changes: Some((upper, work)), base: None, data: &[], volatile, flags }
        .mount(scratch)
}

/// Gives a directory the owner and mode of another: the root of an overlay shows those of its upper directory.
fn own_as(from: &OwnedFd, to: &std::fs::File) -> io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    let (uid, gid) = (rustix::fs::Uid::from_raw(stat.st_uid), rustix::fs::Gid::from_raw(stat.st_gid));
    match rustix::fs::fchown(to, Some(uid), Some(gid)) {
        // It belongs to nobody in this user namespace, and so its copy to who made it.
        Err(Errno::INVAL) => {}
        done => done?,
    }
    Ok(rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?)
}

#[cfg(test)]
mod tests;
