//! Trees of files with other owners, for overlays in user namespaces: the kernel maps the ids of a mount only for who owns the
//! file system (mount_setattr(2), `MOUNT_ATTR_IDMAP`), which an ordinary user does not.
//!
//! A tree is what layers show together, in `shifted/`, made when a container is to be mounted; it appears by one rename, and containers
//! with the same layers and ids share it. They name both in `rootfs.json`: a sweep takes trees that no container has.
//!
//! Since Linux 6.16 an overlay in a user namespace takes the content of files from layers that have nothing but content (overlayfs.rst,
//! "Data-only lower layers"), if there is one other layer only, which is why there is one tree for all layers: then that has inodes and
//! no content. `docs/rootless.md` has what was measured.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Uid, chmodat, chownat, statat};

use crate::container::fill;
use crate::digest::{DiffId, sha256};
use crate::disk::{self, Durability};
use crate::error::{Context, Error};
use crate::gc::Marks;
use crate::image::visible;
use crate::layer::{self, Layer};
use crate::owners::Owners;
use crate::store::Store;
use crate::whole::Form;

/// What a tree has of the content of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// All of it.
    Copied,
    /// None: it is that of the layers. For overlays since Linux 6.16.
    OfLayers,
}

/// What overlayfs is given for layers with other owners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shifted {
    /// Directories, the topmost first.
    pub lower: Vec<PathBuf>,
    /// Where the content of their files is, the topmost first.
    pub data: Vec<PathBuf>,
}

/// The directory of trees, in a store's.
pub(crate) const SHIFTED: &str = "shifted";
/// Before the key in the name of a tree: with content, and without.
pub(crate) const PREFIXES: [&str; 2] = ["whole-", "inodes-"];

/// The same for the same layers and owners, and for no others.
pub(crate) fn key(layers: &[DiffId], owners: &Owners) -> String {
    let layers: Vec<&str> = layers.iter().map(DiffId::hex).collect();
    let text = format!("{} {} {}", layers.join(" "), owners.users, owners.groups);
    sha256(text.as_bytes()).digest()[..32].to_owned()
}

impl Store {
    /// A tree of layers (the topmost first) and the skeleton, with the owners of a container, which names them. It is made if it is missing.
    ///
    /// # Errors
    /// [`Error::NotADirectory`]; [`Error::NoOwner`] for a file of somebody whom the container does not have; [`Error::Io`].
    pub(crate) fn shifted(
        &self,
        key: &str,
        layers: &[Layer],
        owners: &Owners,
        content: Content,
    ) -> Result<Shifted, Error> {
        let tree = self.path(SHIFTED).join(format!("{}{key}", PREFIXES[content as usize]));
        if !tree.exists() {
            // Who comes meanwhile waits, and then has it.
            let _lock = self.lock(&format!("shifted-{key}"))?;
            if !tree.exists() {
                self.make_shifted(&tree, layers, owners, content)?;
            }
        }
        Ok(Shifted { lower: vec![tree], data: data(layers, content)? })
    }

    fn make_shifted(
        &self,
        tree: &Path,
        layers: &[Layer],
        owners: &Owners,
        content: Content,
    ) -> Result<(), Error> {
        let lease = self.lease()?;
        let staged = lease.staging().join(SHIFTED);
        self.copy_layers(layers, &staged, owners, content)?;
        if self.durability() == Durability::Full {
            layer::sync_fs(layer::open_dir(&staged)?, &staged)?;
        }
        let trees = self.path(SHIFTED);
        let _share = self.share()?;
        disk::make_dir(&trees)?;
        std::fs::rename(&staged, tree).during("create", tree)?;
        disk::sync_dir(&trees, self.durability())?;
        disk::sync_dir(self.root(), self.durability())
    }

    /// The same in a directory of the caller's, which does not exist, without the skeleton.
    pub(crate) fn shifted_at(
        &self,
        tree: PathBuf,
        layers: &[Layer],
        owners: &Owners,
        content: Content,
    ) -> Result<Shifted, Error> {
        disk::make_dir(&tree)?;
        fill(layers, None, &tree, Form { owners: Some(owners), content })?;
        Ok(Shifted { lower: vec![tree], data: data(layers, content)? })
    }

    /// Copies layers and the skeleton to a directory that does not exist.
    pub(crate) fn copy_layers(
        &self,
        layers: &[Layer],
        to: &Path,
        owners: &Owners,
        content: Content,
    ) -> Result<(), Error> {
        disk::make_dir(to)?;
        fill(layers, Some(&self.skeleton()?), to, Form { owners: Some(owners), content })
    }

    /// Takes a damaged tree away: it is made again when a container with it is mounted. None that has it may be mounted.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn drop_tree(&self, tree: &Path) -> Result<(), Error> {
        let _share = self.share()?;
        let name = tree.file_name().unwrap_or_default().to_string_lossy();
        self.entomb(&self.path(SHIFTED), &name, "tomb-").map(drop)
    }

    /// Trees that no container has: their names in `shifted/`.
    pub(crate) fn unused_trees(&self, marks: &Marks) -> Result<Vec<String>, Error> {
        let is_used = |name: &String| {
            let key = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix));
            key.is_some_and(|key| marks.shifted.contains(key))
        };
        Ok(disk::names(&self.path(SHIFTED))?.into_iter().filter(|name| !is_used(name)).collect())
    }
}

fn data(layers: &[Layer], content: Content) -> Result<Vec<PathBuf>, Error> {
    match content {
        Content::Copied => Ok(Vec::new()),
        Content::OfLayers => visible(layers).into_iter().map(|layer| layer.lower().directory()).collect(),
    }
}

/// Gives what is in a small tree, such as the directory for a container's changes when it is made, to the container's owners.
pub(crate) fn give(tree: &Path, owners: &Owners) -> Result<(), Error> {
    let mut left = vec![tree.to_owned()];
    while let Some(path) = left.pop() {
        if give_one(&path, owners)? == FileType::Directory {
            left.extend(disk::names(&path)?.into_iter().map(|name| path.join(name)));
        }
    }
    Ok(())
}

/// The same for one file; returns its kind.
pub(crate) fn give_one(path: &Path, owners: &Owners) -> Result<FileType, Error> {
    let stat = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).during("look at", path)?;
    let no_owner = || Error::NoOwner { path: path.to_owned(), uid: stat.st_uid, gid: stat.st_gid };
    let (uid, gid) = owners.outside(stat.st_uid, stat.st_gid).ok_or_else(no_owner)?;
    chownat(CWD, path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)
        .during("change owner of", path)?;
    // Which chown(2) takes from files with set-id bits.
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::Directory {
        chmodat(CWD, path, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())
            .during("change mode of", path)?;
    }
    Ok(kind)
}
