//! Writable layers. The directory `containers/<id>/` is the engine's; `rootfs.json`, `upper/` and `work/` in it
//! are the store's.

use std::path::{Path, PathBuf};

use loment_sys::quota::Limits;
use rustix::fs::AtFlags;
use rustix::fs::{CWD, Gid, Mode, Timespec, Timestamps, Uid, chmodat, chownat, statat, utimensat};
use serde::{Deserialize, Serialize};

use crate::digest::{DiffId, ImageId};
use crate::disk::{self, Durability};
use crate::error::{Context, Error};
use crate::image::{lower, visible};
use crate::inherit::inherit;
use crate::layer::{Layer, Lower, open_dir, sync_fs};
use crate::owners::{Owners, OwnersDocument};
use crate::shifted::{self, Content, Shifted, give, give_one};
use crate::store::{COPIES, Store};
use crate::tombs::CONTAINER;
use crate::unpack::Rights;
use crate::view::{Found, Tree};
use crate::whole::{self, Form};

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
    /// Who has the files in `upper`, and is to have those of its layers, if the kernel does not map that: see
    /// [`Store::shifted_rootfs`].
    pub owners: Option<Owners>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owners: Option<OwnersDocument>,
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
    /// described; or, in a store [with copies](Store::with_copies), has all files of the image. With `owners`, they are theirs.
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
        owners: Option<Owners>,
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
        let named = owners.as_ref().map(Owners::document);
        let (image, layers_named) = (image.clone(), record.layers);
        let document = RootfsDocument { version: 1, image, layers: layers_named, whole, owners: named };
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
            let form = Form { owners: owners.as_ref(), content: Content::Copied };
            fill(&layers, Some(&skeleton), &upper, form)?;
            mark_copied(&dir, &upper)?;
            if durability == Durability::Full {
                sync_fs(open_dir(&upper)?, &upper)?;
            }
        } else {
            describe(&layers, &upper)?;
            owners.as_ref().map_or(Ok(()), |owners| give(&upper, owners))?;
        }
        Ok(Rootfs { image: document.image, lower: lower(&layers), skeleton, upper, work, whole, owners })
    }

    /// What overlayfs is given to show an image as it is, top first. The topmost is `top`, an empty directory of the caller's, in
    /// which directories are made as by [`Store::create_rootfs`]; it is the only one in a store [with copies](Store::with_copies), and has these owners then.
    ///
    /// # Errors
    /// As [`Store::create_rootfs`].
    pub fn image_view(
        &self,
        image: &ImageId,
        top: &Path,
        owners: Option<&Owners>,
    ) -> Result<Vec<Lower>, Error> {
        let known = self.image(image)?;
        let record = known.ok_or_else(|| Error::ImageNotKnown { name: image.hex().to_owned() })?;
        let layers = self.layers_of(&record)?;
        if self.makes_copies() {
            fill(&layers, None, top, Form { owners, content: Content::Copied })?;
            return Ok(vec![Lower::Dir(top.to_owned())]);
        }
        describe(&layers, top)?;
        Ok([Lower::Dir(top.to_owned())].into_iter().chain(lower(&layers)).collect())
    }

    /// The same for a container with other owners; `tree` is a directory of the caller's to be made for that.
    ///
    /// # Errors
    /// As [`Store::shifted_rootfs`].
    pub fn shifted_view(
        &self,
        image: &ImageId,
        (top, tree): (&Path, PathBuf),
        owners: &Owners,
        content: Content,
    ) -> Result<Shifted, Error> {
        let known = self.image(image)?;
        let record = known.ok_or_else(|| Error::ImageNotKnown { name: image.hex().to_owned() })?;
        let layers = self.layers_of(&record)?;
        describe(&layers, top)?;
        give(top, owners)?;
        let mut shifted = self.shifted_at(tree, &layers, owners, content)?;
        shifted.lower.insert(0, top.to_owned());
        Ok(shifted)
    }

    /// Fills the empty directory `to` with the files of an image, and waits until they are on disk.
    ///
    /// # Errors
    /// [`Error::ImageNotKnown`], [`Error::Copy`].
    pub fn copy_image(&self, image: &ImageId, to: &Path) -> Result<(), Error> {
        let known = self.image(image)?;
        let record = known.ok_or_else(|| Error::ImageNotKnown { name: image.hex().to_owned() })?;
        let layers = self.layers_of(&record)?;
        fill(&layers, None, to, Form { owners: None, content: Content::Copied })?;
        sync_fs(open_dir(to)?, to)
    }

    /// What [`Store::create_rootfs`] made for a container, if it did.
    pub fn rootfs(&self, id: &str) -> Result<Option<Rootfs>, Error> {
        let dir = self.container_dir(id)?;
        let Some(document) = disk::read_json::<RootfsDocument>(&dir.join("rootfs.json"))? else {
            return Ok(None);
        };
        let layers = self.layers_in(&document)?;
        let (upper, work) = (dir.join("upper"), dir.join("work"));
        let (lower, skeleton) = (lower(&layers), self.skeleton()?);
        let (whole, owners) = (document.whole, document.owners.map(Owners::from));
        Ok(Some(Rootfs { image: document.image, lower, skeleton, upper, work, whole, owners }))
    }

    /// When the copy of a [whole](Rootfs::whole) container was made, if that is known.
    pub(crate) fn copied_at(&self, id: &str) -> Result<Option<(i64, u32)>, Error> {
        let mark = self.container_dir(id)?.join(COPIED);
        if mark.exists() { changed_at(&mark).map(Some) } else { Ok(None) }
    }

    /// Layers and skeleton of a container with its own owners, made if they are missing; `None` where it has none.
    ///
    /// # Errors
    /// [`Error::NotADirectory`]; [`Error::NoOwner`] for a file of somebody whom the container does not have.
    pub fn shifted_rootfs(&self, id: &str, content: Content) -> Result<Option<Shifted>, Error> {
        let path = self.container_dir(id)?.join("rootfs.json");
        let Some(mut document) = disk::read_json::<RootfsDocument>(&path)? else { return Ok(None) };
        let Some(owners) = document.owners.take().map(Owners::from) else { return Ok(None) };
        let layers = self.layers_in(&document)?;
        let key = shifted::key(&document.layers, &owners);
        self.shifted(&key, &layers, &owners, content).map(Some)
    }

    pub(crate) fn layers_in(&self, document: &RootfsDocument) -> Result<Vec<Layer>, Error> {
        let layer = |layer: &DiffId| {
            let missing = || Error::LayerMissing { layer: layer.clone(), image: document.image.clone() };
            self.layer(layer)?.ok_or_else(missing)
        };
        document.layers.iter().map(layer).collect()
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
    describe_root(layers, top).map(drop)
}

/// A file in the directory of a container, made when its copy was: what was changed in it since is no older.
const COPIED: &str = "copied";
/// Times that it is tried to be younger than the copy, where the clock of the file system stands still for a while.
const TRIES: u32 = 500;
/// Between two of them: what the clock of a common kernel needs for a step.
const STEP: std::time::Duration = std::time::Duration::from_millis(4);

fn mark_copied(dir: &Path, copy: &Path) -> Result<(), Error> {
    let mark = dir.join(COPIED);
    let last = changed_at(copy)?;
    disk::write_new(&mark, b"", Durability::None)?;
    for _ in 0..TRIES {
        if changed_at(&mark)? > last {
            break;
        }
        std::thread::sleep(STEP);
        chmodat(CWD, &mark, Mode::RUSR | Mode::WUSR, AtFlags::empty()).during("change mode of", &mark)?;
    }
    Ok(())
}

/// When a file was last changed in any way, in seconds and nanoseconds.
fn changed_at(path: &Path) -> Result<(i64, u32), Error> {
    let stat = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).during("look at", path)?;
    Ok((stat.st_ctime, stat.st_ctime_nsec as u32))
}

/// Fills a directory with the files of all layers.
pub(crate) fn fill(
    layers: &[Layer],
    skeleton: Option<&Path>,
    top: &Path,
    form: Form<'_>,
) -> Result<(), Error> {
    whole::copy(layers, skeleton, top, form)?;
    let (tv_sec, nanos) = describe_root(layers, top)?;
    if let Some(owners) = form.owners {
        give_one(top, owners)?;
    }
    // What was made in it has changed them.
    let time = Timespec { tv_sec, tv_nsec: nanos.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, top, &times, AtFlags::SYMLINK_NOFOLLOW).during("set times of", top)
}

/// The attributes of the merged root are those of the highest layer that has any.
/// Returns their time, seconds and nanoseconds.
fn describe_root(layers: &[Layer], top: &Path) -> Result<(i64, u32), Error> {
    let (mut mode, mut owner, mut time) = (0o755, (0, 0), (0, 0));
    if let Some(layer) = layers.iter().rev().find(|layer| layer.document().explicit_root)
        && let Found::Directory(look) = Tree::of(layer)?.directory(b"")?
    {
        (mode, owner, time) = (look.mode, look.owner, look.mtime);
    }
    if !Rights::own().has_one_id() {
        let (user, group) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
        chownat(CWD, top, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
            .during("change owner of", top)?;
    }
    chmodat(CWD, top, Mode::from_raw_mode(mode), AtFlags::empty()).during("change mode of", top)?;
    Ok(time)
}
