//! Names that point to images.
//!
//! A name is read without a lock, and changed under one of its own. Its lock is taken after that of an image, never before.

use std::fs;
use std::path::PathBuf;

use oci_spec::image::Digest;
use serde::{Deserialize, Serialize};

use crate::digest::ImageId;
use crate::disk;
use crate::error::{Context, Error};
use crate::image::Versioned;
use crate::store::Store;

/// A name in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageName {
    /// The full reference, `host/repository:tag` or `host/repository@digest`.
    pub name: String,
    /// The image it points to.
    pub image: ImageId,
    /// Digest of the manifest or index it was resolved to when it was pulled.
    pub manifest: Option<Digest>,
}

impl Store {
    /// Points `name`, a full reference, at an image; returns what it pointed at before.
    ///
    /// # Errors
    /// [`Error::ImageNotKnown`] when there is no such image.
    pub fn tag(
        &self,
        name: &str,
        image: &ImageId,
        manifest: Option<&Digest>,
    ) -> Result<Option<ImageName>, Error> {
        let _image = self.lock(&format!("image-{}", image.hex()))?; // against its removal
        let _name = self.lock_name(name)?;
        let _share = self.share()?;
        let mut record =
            self.image(image)?.ok_or_else(|| Error::ImageNotKnown { name: image.hex().to_owned() })?;
        if record.remember(name) {
            self.write_image(record, &self.staging())?;
        }
        let before = self.name(name)?;
        let body = ImageName { name: name.to_owned(), image: image.clone(), manifest: manifest.cloned() };
        let bytes = disk::to_json(&Versioned { version: 1, body });
        disk::write_file(&self.staging(), &self.name_path(name), &bytes, self.durability())?;
        Ok(before)
    }

    /// What `name`, a full reference, points at.
    pub fn name(&self, name: &str) -> Result<Option<ImageName>, Error> {
        Ok(disk::read_json::<Versioned<ImageName>>(&self.name_path(name))?.map(|document| document.body))
    }

    /// Takes a name away from its image, which stays. With `only`, a name that points at another image stays; `None` when nothing
    /// was taken.
    pub fn untag(&self, name: &str, only: Option<&ImageId>) -> Result<Option<ImageName>, Error> {
        let _name = self.lock_name(name)?;
        let known = self.name(name)?.filter(|known| only.is_none_or(|image| known.image == *image));
        if known.is_some() {
            let path = self.name_path(name);
            fs::remove_file(&path).during("remove", &path)?;
            disk::sync_dir(&self.path("refs"), self.durability())?;
        }
        Ok(known)
    }

    /// The names of one image, sorted.
    pub fn names_of(&self, id: &ImageId) -> Result<Vec<ImageName>, Error> {
        Ok(self.all_names()?.into_iter().filter(|name| name.image == *id).collect())
    }

    /// Every name, sorted.
    pub(crate) fn all_names(&self) -> Result<Vec<ImageName>, Error> {
        let refs = self.path("refs");
        let mut names = Vec::new();
        for file in disk::names(&refs)? {
            names.extend(
                disk::read_json::<Versioned<ImageName>>(&refs.join(file))?.map(|document| document.body),
            );
        }
        names.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(names)
    }

    fn lock_name(&self, name: &str) -> Result<disk::NamedLock, Error> {
        self.lock(&format!("ref-{name}"))
    }

    fn name_path(&self, name: &str) -> PathBuf {
        self.path("refs").join(disk::escape(name))
    }
}
