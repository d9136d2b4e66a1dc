//! Writable layers. The directory `containers/<id>/` is the engine's; `rootfs.json`, `upper/` and `work/` in it
//! are the store's.

use std::path::{Path, PathBuf};

use loment_sys::quota::Limits;
use rustix::fs::AtFlags;
use rustix::fs::{CWD, Gid, Mode, Uid, chmodat, chownat};
use serde::{Deserialize, Serialize};

use crate::digest::{DiffId, ImageId};
use crate::disk::{self, Durability};
use crate::error::{Context, Error};
use crate::image::{lower, visible};
use crate::inherit::inherit;
use crate::layer::{Layer, Lower, open_dir, sync_fs};
use crate::store::{COPIES, Store};
use crate::tombs::CONTAINER;
use crate::view::{Found, Tree};
use crate::whole;

/// What a container's root file system is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rootfs {
    /// The image; it may have been removed since, its layers stay.
    pub image: ImageId,
    /// Layers, top first.
    pub lower: Vec<Lower>,
    /// One more, below those: the directories and files that things are mounted on, for images that lack some.
    pub skeleton: PathBuf,
    /// overlayfs `upperdir`.
    pub upper: PathBuf,
    /// overlayfs `workdir`.
    pub work: PathBuf,
    /// All files are in `upper`, a copy, and nothing is to be mounted.
    pub whole: bool,
}

/// `rootfs.json`, version 1; also what keeps the layers from being swept.
#[derive(Serialize, Deserialize)]
pub(crate) struct RootfsDocument {
    pub(crate) version: u32,
    pub(crate) image: ImageId,
    pub(crate) layers: Vec<DiffId>,
    /// See [`Rootfs::whole`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) whole: bool,
}

impl Store {
    /// Directory of a container, which need not exist.
    pub fn container_dir(&self, id: &str) -> Result<PathBuf, Error> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        let valid = id.len() <= 255 && id.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if !valid || !id.bytes().all(plain) {
            return Err(Error::ContainerId { name: id.to_owned() });
        }
        Ok(self.path("containers").join(id))
    }

    /// Makes the writable layer of a container from an image; its layers stay until the container goes.
    ///
    /// It is empty but for directories a layer implies and a lower one describes, made here with the attributes
    /// described; or, in a store [with copies](Store::with_copies), has all files of the image.
    ///
    /// A container that does not outlive a boot needs no [`Durability::Full`], which costs two flushes.
    ///
    /// # Errors
    /// [`Error::NoLimits`] when there are limits and the file system keeps none.
    pub fn create_rootfs(
        &self,
        id: &str,
        image: &ImageId,
        durability: Durability,
        limits: Limits,
    ) -> Result<Rootfs, Error> {
        let dir = self.container_dir(id)?;
        let skeleton = self.skeleton()?;
        let whole = self.makes_copies();
        if whole {
            self.need(COPIES)?;
        }
        let share = self.share()?;
        let record =
            self.image(image)?.ok_or_else(|| Error::ImageNotKnown { name: image.hex().to_owned() })?;
        let layers = self.layers_of(&record)?;
        disk::make_dir(&dir)?;
        let document = RootfsDocument { version: 1, image: image.clone(), layers: record.layers, whole };
        // Written beside it: what is left of that goes with the container.
        disk::write_file(&dir, &dir.join("rootfs.json"), &disk::to_json(&document), durability)?;
        disk::sync_dir(&self.path("containers"), durability)?;
        let (upper, work) = (dir.join("upper"), dir.join("work"));
        disk::make_dir(&upper)?;
        disk::make_dir(&work)?;
        if limits != Limits::default() {
            // Before anything is in it, which would not be counted.
            self.limit(id, [&upper, &work], limits)?;
        }
        if whole {
            // The layers are named now, so nobody who decides what goes has to wait for this.
            drop(share);
            fill(&layers, Some(&skeleton), &upper)?;
            if durability == Durability::Full {
                sync_fs(open_dir(&upper)?, &upper)?;
            }
        } else {
            describe(&layers, &upper)?;
        }
        Ok(Rootfs { image: image.clone(), lower: lower(&layers), skeleton, upper, work, whole })
    }

    /// What overlayfs is given to show an image as it is, top first. The topmost is `top`, an empty directory of the caller's, in
    /// which directories are made as by [`Store::create_rootfs`]; it is the only one in a store [with copies](Store::with_copies).
    pub fn image_view(&self, image: &ImageId, top: &Path) -> Result<Vec<Lower>, Error> {
        let known = self.image(image)?;
        let record = known.ok_or_else(|| Error::ImageNotKnown { name: image.hex().to_owned() })?;
        let layers = self.layers_of(&record)?;
        if self.makes_copies() {
            fill(&layers, None, top)?;
            return Ok(vec![Lower::Dir(top.to_owned())]);
        }
        describe(&layers, top)?;
        Ok([Lower::Dir(top.to_owned())].into_iter().chain(lower(&layers)).collect())
    }

    /// What [`Store::create_rootfs`] made for a container, if it did.
    pub fn rootfs(&self, id: &str) -> Result<Option<Rootfs>, Error> {
        let dir = self.container_dir(id)?;
        let Some(document) = disk::read_json::<RootfsDocument>(&dir.join("rootfs.json"))? else {
            return Ok(None);
        };
        let mut layers = Vec::new();
        for layer in &document.layers {
            let missing = || Error::LayerMissing { layer: layer.clone(), image: document.image.clone() };
            layers.push(self.layer(layer)?.ok_or_else(missing)?);
        }
        let (upper, work) = (dir.join("upper"), dir.join("work"));
        let (lower, skeleton) = (lower(&layers), self.skeleton()?);
        Ok(Some(Rootfs { image: document.image, lower, skeleton, upper, work, whole: document.whole }))
    }

    /// Removes a container's directory with everything in it. Nothing may be mounted there. A missing one is fine.
    pub fn remove_container(&self, id: &str) -> Result<(), Error> {
        self.container_dir(id)?;
        let containers = self.path("containers");
        if !self.entomb(&containers, id, CONTAINER)? {
            return Ok(());
        }
        disk::sync_dir(&containers, self.durability())?;
        self.empty_tombs_for_a_moment()
    }
}

/// Whether the container with this directory has a copy of all files of its image; see [`Rootfs::whole`].
pub fn has_copy(dir: &Path) -> bool {
    let document = disk::read_json::<RootfsDocument>(&dir.join("rootfs.json"));
    document.is_ok_and(|document| document.is_some_and(|document| document.whole))
}

/// Makes in the directory above all layers what they need there: directories that one implies and a lower one describes, and the
/// attributes of the merged root.
fn describe(layers: &[Layer], top: &Path) -> Result<(), Error> {
    inherit(&visible(layers), top)?;
    describe_root(layers, top)
}

/// Fills a directory with the files of all layers.
fn fill(layers: &[Layer], skeleton: Option<&Path>, top: &Path) -> Result<(), Error> {
    whole::copy(layers, skeleton, top)?;
    describe_root(layers, top)
}

/// The attributes of the merged root are those of the highest layer that has any.
fn describe_root(layers: &[Layer], top: &Path) -> Result<(), Error> {
    let (mut mode, mut owner) = (0o755, (0, 0));
    if let Some(layer) = layers.iter().rev().find(|layer| layer.document().explicit_root)
        && let Found::Directory(look) = Tree::of(layer)?.directory(b"")?
    {
        (mode, owner) = (look.mode, look.owner);
    }
    let (user, group) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
    chownat(CWD, top, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW).during("change owner of", top)?;
    chmodat(CWD, top, Mode::from_raw_mode(mode), AtFlags::empty()).during("change mode of", top)
}
