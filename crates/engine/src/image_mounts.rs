//! Images as directories of the host.
//!
//! Each is mounted once however often that is asked for, and counted: `<runroot>/image-mounts/<id>/` has the mount on `rootfs`, the
//! number in `count`, and `top` and `scratch` for overlayfs. After a boot there is nothing.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use loment_events::What;
use loment_image::ShortNames;
use loment_store::ImageId;
use rustix::mount::{UnmountFlags, unmount};

use crate::error::Context;
use crate::start::lower;
use crate::{Engine, Error};

/// A mounted image.
#[derive(Clone, Debug)]
pub struct MountedImage {
    /// The image.
    pub id: ImageId,
    /// Its names.
    pub names: Vec<String>,
    /// Digests of its manifests and indexes.
    pub digests: Vec<String>,
    /// Where its files are.
    pub path: PathBuf,
}

impl Engine {
    /// Mounts an image, or counts that it was asked for again. For processes with one thread.
    ///
    /// # Errors
    /// [`Error::NoImage`], [`Error::Start`] for what the kernel refuses.
    pub fn mount_image(&self, image: &str, short_names: &ShortNames) -> Result<MountedImage, Error> {
        let (id, _) = self.find_image(image, short_names)?;
        let dir = self.image_mount(&id);
        fs::create_dir_all(dir.parent().unwrap_or(&dir)).context("create", dir.display())?;
        let _lock = self.lock_image_mounts()?;
        let target = dir.join("rootfs");
        let count = if is_mounted(&target) { count(&dir) } else { 0 };
        if count == 0 {
            self.show(&id, &dir).inspect_err(|_| drop(fs::remove_dir_all(&dir)))?;
        }
        fs::write(dir.join("count"), (count + 1).to_string()).context("write the count in", dir.display())?;
        self.tell_of_image(What::Mount, id.hex(), image);
        self.described(id)
    }

    fn show(&self, id: &ImageId, dir: &Path) -> Result<(), Error> {
        // What a killed one has left.
        match fs::remove_dir_all(dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).context("remove", dir.display());
            }
            _ => {}
        }
        for name in ["top", "scratch", "rootfs"] {
            let path = dir.join(name);
            fs::create_dir_all(&path).context("create", path.display())?;
        }
        let layers = self.store().image_view(id, &dir.join("top"))?.into_iter().map(lower);
        let mut layers: Vec<_> = layers.collect();
        if let [_] = layers[..] {
            // An image without layers: overlayfs wants two.
            layers.push(loment_monitor::launch::Lower::Dir { path: dir.join("scratch") });
        }
        let shown =
            loment_monitor::show_layers(&layers, &self.pins(), &dir.join("rootfs"), &dir.join("scratch"));
        shown.map_err(|e| Error::Mount { image: id.hex().to_owned(), source: Box::new(e) })
    }

    /// All images that are mounted, in the order of their ids.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn mounted_images(&self) -> Result<Vec<MountedImage>, Error> {
        let dir = self.runroot().join("image-mounts");
        let mut ids: Vec<ImageId> = fs::read_dir(&dir)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| is_mounted(&entry.path().join("rootfs")))
            .filter_map(|entry| ImageId::from_hex(entry.file_name().to_str()?))
            .collect();
        ids.sort_by(|a, b| a.hex().cmp(b.hex()));
        ids.into_iter().map(|id| self.described(id)).collect()
    }

    /// Takes one request for a mount back, or all with `force`. With the last one the image is unmounted. `None` for an image that
    /// is not mounted.
    ///
    /// # Errors
    /// [`Error::NoImage`]; [`Error::Io`] for a mount that is in use.
    pub fn unmount_image(
        &self,
        image: &str,
        short_names: &ShortNames,
        force: bool,
    ) -> Result<Option<ImageId>, Error> {
        let (id, _) = self.find_image(image, short_names)?;
        let unmounted = self.unmount(&id, force)?;
        if unmounted {
            self.tell_of_image(What::Unmount, id.hex(), image);
        }
        Ok(unmounted.then_some(id))
    }

    /// `false` when it is not mounted.
    pub(crate) fn unmount(&self, id: &ImageId, force: bool) -> Result<bool, Error> {
        let dir = self.image_mount(id);
        let target = dir.join("rootfs");
        if !is_mounted(&target) {
            return Ok(false);
        }
        let _lock = self.lock_image_mounts()?;
        let left = if force { 0 } else { count(&dir).saturating_sub(1) };
        if left > 0 {
            fs::write(dir.join("count"), left.to_string()).context("write the count in", dir.display())?;
            return Ok(true);
        }
        // By force also from under those who work in it.
        let how = if force { UnmountFlags::DETACH } else { UnmountFlags::empty() };
        unmount(&target, how).context("unmount", target.display())?;
        fs::remove_dir_all(&dir).context("remove", dir.display())?;
        Ok(true)
    }

    /// Whether an image is mounted.
    pub(crate) fn is_image_mounted(&self, id: &ImageId) -> bool {
        is_mounted(&self.image_mount(id).join("rootfs"))
    }

    fn described(&self, id: ImageId) -> Result<MountedImage, Error> {
        let names = self.store().names_of(&id)?.into_iter().map(|name| name.name).collect();
        let record = self.store().image(&id)?;
        let digests = record.into_iter().flat_map(|record| record.manifests).map(|d| d.to_string()).collect();
        Ok(MountedImage { path: self.image_mount(&id).join("rootfs"), names, digests, id })
    }

    fn image_mount(&self, id: &ImageId) -> PathBuf {
        self.runroot().join("image-mounts").join(id.hex())
    }

    fn lock_image_mounts(&self) -> Result<File, Error> {
        let path = self.runroot().join("image-mounts");
        let file = File::open(&path).context("open", path.display())?;
        file.lock().context("lock", path.display())?;
        Ok(file)
    }
}

fn count(dir: &Path) -> u64 {
    fs::read_to_string(dir.join("count")).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1)
}

fn is_mounted(path: &Path) -> bool {
    loment_monitor::is_mount_point(path).unwrap_or_default()
}
