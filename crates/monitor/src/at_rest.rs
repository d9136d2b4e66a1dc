//! What is mounted in a container that does not run, as its programs would see it: with the ids that they know.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use loment_runtime::{InRoot, Owners, UserNamespace};
use loment_sys::mount::{ATTR_RDONLY, MountAttr, set_attributes};
use oci_spec::runtime::LinuxIdMapping;
use rustix::fs::{CWD, FileType};
use rustix::mount::{MoveMountFlags, move_mount};

use crate::Error;
use crate::error::Context;
use crate::launch::Volume;
use crate::mounts::{clone_tree, open_dir, place};
use crate::overlay::{map_ids, own_namespace};
use crate::pins::Here;
use crate::volume_mounts;
use crate::volumes::{Shown, use_first};
use crate::worker::volumes::{image, tree};

/// The container.
#[derive(Debug)]
pub struct AtRest<'a> {
    /// Its root file system.
    pub root: &'a InRoot,
    /// A directory of its own that nothing else uses.
    pub scratch: &'a Path,
    /// Who uses volumes meanwhile that are file systems: see [`volume_mounts::open`].
    pub user: &'a str,
    /// Its user and that one's group, as it knows them: whose a volume becomes where the image has no such directory.
    pub owner: Option<(u32, u32)>,
}

/// Users and groups of files on disk, and whom they are shown as: `containerID` as `hostID`.
pub type SeenAs = (Vec<LinuxIdMapping>, Vec<LinuxIdMapping>);

impl AtRest<'_> {
    /// A volume or a directory, attached nowhere. For processes with one thread.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(&self, volume: &Volume, seen_as: Option<&SeenAs>) -> Result<OwnedFd, Error> {
        let here = Here::new().context("find", "this mount namespace")?;
        let opened = self.open_there(volume, seen_as);
        // Older kernels take a mount namespace of its own to do it.
        here.come_back().context("come back to", "this mount namespace")?;
        opened
    }

    fn open_there(&self, volume: &Volume, seen_as: Option<&SeenAs>) -> Result<OwnedFd, Error> {
        if !volume.layers.is_empty() {
            return image(volume, self.scratch, None);
        }
        let owners = seen_as.map_or_else(Owners::default, |(uids, gids)| Owners::of_lists(uids, gids));
        let mounted = volume.mount.as_ref().map(|mount| volume_mounts::open(mount, self.user)).transpose()?;
        let shown = Shown { mounted, owners };
        use_first(volume, &shown, self.root, self.owner)?;
        let mounting = || format!("{} on {}", volume.source.display(), volume.destination.display());
        let tree = match tree(volume, shown, (0, 0), self.scratch).context("mount", mounting())? {
            Some(tree) => tree,
            None => clone_tree(&volume.source).context("open", volume.source.display())?,
        };
        if let Some((uids, gids)) = seen_as {
            let users = UserNamespace::of_lists(uids, gids)?;
            map_ids(&tree, &users).context("map the ids of", mounting())?;
        }
        Ok(tree)
    }
}

/// Something that is mounted in a root file system.
#[derive(Debug)]
pub struct Attached {
    /// Attached nowhere.
    pub tree: OwnedFd,
    /// In the root.
    pub destination: PathBuf,
    /// Nothing is written there.
    pub read_only: bool,
}

/// A root file system with what is mounted there.
#[derive(Debug)]
pub struct Assembled {
    /// Its root.
    pub root: OwnedFd,
    /// All of it is there as long as this is open.
    pub namespace: OwnedFd,
    /// What has no place in it, and where that would be.
    pub left_out: Vec<(PathBuf, OwnedFd)>,
}

/// Attaches a root file system on `scratch`, and on it what is to be mounted there, in this order. Returns the root, and the mount
/// namespace that all of it is in, which lives as long as it is open. For a caller with one thread. Without `make`
/// nothing is changed: what has no place there is returned. With `read_only` the root itself cannot be changed then.
///
/// # Errors
/// [`Error::Io`].
pub fn attach_over(
    tree: &OwnedFd,
    scratch: &Path,
    mounts: Vec<Attached>,
    (make, read_only): (bool, bool),
) -> Result<Assembled, Error> {
    let here = Here::new().context("find", "this mount namespace")?;
    own_namespace().context("make", "a mount namespace")?;
    let attached = attach_there(tree, scratch, mounts, (make, read_only));
    // Others may have to be looked at, too, and layers and volumes are found here only.
    here.come_back().context("come back to", "this mount namespace")?;
    attached
}

fn attach_there(
    tree: &OwnedFd,
    scratch: &Path,
    mounts: Vec<Attached>,
    (make, read_only): (bool, bool),
) -> Result<Assembled, Error> {
    let namespace = File::open("/proc/thread-self/ns/mnt").context("open", "this mount namespace")?;
    place(tree, CWD, scratch).context("mount", scratch.display())?;
    let root = InRoot::new(open_dir(scratch).context("open", scratch.display())?);
    let attr = MountAttr { set: ATTR_RDONLY, ..MountAttr::default() };
    let mut left_out = Vec::new();
    for Attached { tree, destination, read_only } in mounts {
        let attach = || -> io::Result<()> {
            if read_only {
                set_attributes(tree.as_fd(), c"", true, &attr)?;
            }
            let stat = rustix::fs::fstat(&tree)?;
            let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            let target = match (make, is_dir) {
                (true, true) => root.make_dir_all(&destination)?,
                (true, false) => root.make_file(&destination)?,
                (false, _) => root.resolve(&destination)?,
            };
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
            Ok(move_mount(&tree, "", &target, "", flags)?)
        };
        match attach() {
            Err(error) if !make && error.kind() == io::ErrorKind::NotFound => {
                left_out.push((destination, tree))
            }
            attached => attached.context("mount on", destination.display())?,
        }
    }
    let root = open_dir(scratch).context("open", scratch.display())?;
    if read_only {
        set_attributes(root.as_fd(), c"", false, &attr).context("make read-only", scratch.display())?;
    }
    Ok(Assembled { root, namespace: namespace.into(), left_out })
}
