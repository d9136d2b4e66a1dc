//! Images as directories of the host: see [`crate::shown`].

use std::path::{Path, PathBuf};

use loment_events::What;
use loment_image::ShortNames;
use loment_store::ImageId;
use loment_sys::process::is_in_user_namespace;

use crate::shown::{IMAGES, Shown};
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
        let shown = self.image_mount(&id);
        shown.show(&["top", "scratch"], || self.show(&id, shown.dir()))?;
        self.tell_of_image(What::Mount, id.hex(), image);
        self.described(id)
    }

    fn show(&self, id: &ImageId, dir: &Path) -> Result<(), Error> {
        // Nothing is changed there, so an overlay will do wherever layers can be mounted.
        let copies = self.makes_copies() && is_in_user_namespace();
        let store = self.store().with_copies(copies);
        let layers = store.image_view(id, &dir.join("top"), None)?.into_iter().map(lower);
        let layers: Vec<_> = layers.collect();
        let shown =
            loment_monitor::show_layers(&layers, &self.pins(), &dir.join("rootfs"), &dir.join("scratch"));
        shown.map_err(|e| Error::Mount { image: id.hex().to_owned(), source: Box::new(e) })
    }

    /// All images that are mounted, in the order of their ids.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn mounted_images(&self) -> Result<Vec<MountedImage>, Error> {
        let ids = Shown::all(&self.runroot().join(IMAGES));
        let ids = ids.iter().filter_map(|id| ImageId::from_hex(id));
        ids.map(|id| self.described(id)).collect()
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
        let unmounted = self.image_mount(&id).hide(force)?;
        if unmounted {
            self.tell_of_image(What::Unmount, id.hex(), image);
        }
        Ok(unmounted.then_some(id))
    }

    /// Whether an image is mounted.
    pub(crate) fn is_image_mounted(&self, id: &ImageId) -> bool {
        self.image_mount(id).is_mounted()
    }

    fn described(&self, id: ImageId) -> Result<MountedImage, Error> {
        let names = self.store().names_of(&id)?.into_iter().map(|name| name.name).collect();
        let record = self.store().image(&id)?;
        let digests = record.into_iter().flat_map(|record| record.manifests).map(|d| d.to_string()).collect();
        Ok(MountedImage { path: self.image_mount(&id).target(), names, digests, id })
    }

    pub(crate) fn image_mount(&self, id: &ImageId) -> Shown {
        Shown::new(&self.runroot().join(IMAGES), id.hex())
    }
}
