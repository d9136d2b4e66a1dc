//! Names that point to images, and to lists of images: indexes that were made here.
//!
//! A list whose last name is given to something else stays, as one without a name: then its digest is there in the place of a name,
//! which no reference is like.
//!
//! A name is read without a lock, and changed under one of its own. Its lock is taken after that of an image, never before.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use oci_spec::image::Digest;
use serde::{Deserialize, Serialize};

use crate::digest::ImageId;
use crate::disk;
use crate::error::{Context, Error};
use crate::image::{MAX_NAMES, Versioned};
use crate::store::{INDEXES, Store};

/// A name in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageName {
    /// The full reference, `host/repository:tag` or `host/repository@digest`.
    pub name: String,
    /// The image it points to.
    pub image: ImageId,
    /// Digest of the manifest or index it was resolved to when it was pulled.
    pub manifest: Option<Digest>,
    /// Whether the registry of this name had that: it was pulled from there or pushed there, and not made or loaded here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_registry: bool,
}

/// Who says that an image has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The registry of the name, which has it.
    Registry,
    /// Somebody here, or an archive: whether a registry has it is not known.
    Elsewhere,
}

/// A name of an index that was made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexName {
    /// The full reference, or the digest of an index that has none.
    pub name: String,
    /// The index, a blob of the store.
    pub index: Digest,
    /// When it was made, RFC 3339.
    pub created: Option<String>,
    /// Where images that are not here can be had: digests, and names of places.
    pub sources: BTreeMap<String, String>,
}

impl IndexName {
    /// Whether it is a name, and not what an index without one is kept by.
    pub fn is_named(&self) -> bool {
        self.name != self.index.as_ref()
    }

    /// The name, if it is one. What stands in for it could be read as one, of a repository called `sha256`.
    pub fn reference(&self) -> Option<&str> {
        self.is_named().then_some(self.name.as_str())
    }
}

/// What a name points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An image.
    Image(ImageName),
    /// An index with images for several platforms.
    Index(IndexName),
}

/// The file of a name. Version 1 is an image's, version 2 an index's.
#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<ImageId>,
    #[serde(default)]
    manifest: Option<Digest>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    of_registry: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    sources: BTreeMap<String, String>,
}

impl Document {
    fn target(self) -> Option<Target> {
        let Self { name, image, manifest, of_registry, index, created, sources, .. } = self;
        match (image, index) {
            (Some(image), _) => Some(Target::Image(ImageName { name, image, manifest, of_registry })),
            (None, Some(index)) => Some(Target::Index(IndexName { name, index, created, sources })),
            (None, None) => None,
        }
    }
}

impl Store {
    /// Points a name at an index, which must have been added under a lease that lives. `before` is what the name must point at now:
    /// nothing, or an index.
    ///
    /// # Errors
    /// [`Error::NameChanged`] when it points at something else; [`Error::BlobMissing`].
    pub fn tag_index(&self, to: &IndexName, before: Option<&Digest>) -> Result<(), Error> {
        self.need(INDEXES)?;
        let _name = self.lock_name(&to.name)?;
        let _share = self.share()?;
        let found = match self.target(&to.name)? {
            None => None,
            Some(Target::Index(known)) => Some(known.index),
            Some(Target::Image(_)) => return Err(Error::NameChanged { name: to.name.clone() }),
        };
        if found.as_ref() != before && to.is_named() {
            return Err(Error::NameChanged { name: to.name.clone() });
        }
        if !self.blob_path(&to.index).exists() {
            return Err(Error::BlobMissing { digest: to.index.clone() });
        }
        self.write_index(to.clone())
    }

    fn write_index(&self, to: IndexName) -> Result<(), Error> {
        let path = self.name_path(&to.name);
        let IndexName { name, index, created, sources } = to;
        let (version, image, manifest, of_registry, index) = (2, None, None, false, Some(index));
        let document = Document { version, name, image, manifest, of_registry, index, created, sources };
        let bytes = disk::to_json(&document);
        disk::write_file(&self.staging(), &path, &bytes, self.durability())
    }

    /// Keeps an index when its name goes elsewhere.
    fn keep_index(&self, index: IndexName) -> Result<(), Error> {
        let name = index.index.to_string();
        // Nobody waits for another name with this one.
        let _name = self.lock_name(&name)?;
        self.write_index(IndexName { name, ..index })
    }

    /// Takes a name away from its index, which stays, if need be without one; `false` when it is no index's.
    pub fn unname_index(&self, name: &str) -> Result<bool, Error> {
        let _name = self.lock_name(name)?;
        let _share = self.share()?;
        let Some(Target::Index(index)) = self.target(name)? else { return Ok(false) };
        if !index.is_named() {
            return Ok(false);
        }
        self.keep_index(index)?;
        self.remove_name(name)?;
        Ok(true)
    }

    /// Takes a name away from its index; `false` when it is no index's. With `only`, the name of another index stays: somebody has
    /// just changed it. What the index kept goes with the next [`Store::gc`].
    pub fn untag_index(&self, name: &str, only: Option<&Digest>) -> Result<bool, Error> {
        let _name = self.lock_name(name)?;
        let is = |known: &IndexName| only.is_none_or(|index| known.index == *index);
        let known = matches!(self.target(name)?, Some(Target::Index(known)) if is(&known));
        if known {
            self.remove_name(name)?;
        }
        Ok(known)
    }

    /// Names of indexes, sorted, and what indexes without names are kept by.
    pub fn index_names(&self) -> Result<Vec<IndexName>, Error> {
        let index = |target| match target {
            Target::Index(name) => Some(name),
            Target::Image(_) => None,
        };
        Ok(self.targets()?.into_iter().filter_map(index).collect())
    }

    /// What `name`, a full reference, points at.
    pub fn target(&self, name: &str) -> Result<Option<Target>, Error> {
        Ok(disk::read_json::<Document>(&self.name_path(name))?.and_then(Document::target))
    }

    /// Points `name`, a full reference, at an image; returns what image it pointed at before. An index that it pointed at stays.
    ///
    /// # Errors
    /// [`Error::ImageNotKnown`] when there is no such image.
    pub fn tag(
        &self,
        name: &str,
        image: &ImageId,
        manifest: Option<&Digest>,
    ) -> Result<Option<ImageName>, Error> {
        self.tag_from(Origin::Elsewhere, name, image, manifest)
    }

    /// The same, for a name that its registry may have given. That it did is remembered as long as the name means the same.
    ///
    /// # Errors
    /// [`Error::ImageNotKnown`] when there is no such image.
    pub fn tag_from(
        &self,
        origin: Origin,
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
        let before = match self.target(name)? {
            Some(Target::Index(index)) => {
                self.keep_index(index)?;
                None
            }
            Some(Target::Image(image)) => Some(image),
            None => None,
        };
        let same = |before: &&ImageName| before.image == *image && before.manifest.as_ref() == manifest;
        let of_registry =
            origin == Origin::Registry || before.as_ref().filter(same).is_some_and(|name| name.of_registry);
        let (image, manifest) = (image.clone(), manifest.cloned());
        let body = ImageName { name: name.to_owned(), image, manifest, of_registry };
        let bytes = disk::to_json(&Versioned { version: 1, body });
        disk::write_file(&self.staging(), &self.name_path(name), &bytes, self.durability())?;
        Ok(before)
    }

    /// The image that `name`, a full reference, points at; `None` for the name of an index, too.
    pub fn name(&self, name: &str) -> Result<Option<ImageName>, Error> {
        Ok(self.target(name)?.and_then(image_name))
    }

    /// Takes a name away from its image, which stays. With `only`, a name that points at another image stays; `None` when nothing
    /// was taken.
    pub fn untag(&self, name: &str, only: Option<&ImageId>) -> Result<Option<ImageName>, Error> {
        let _name = self.lock_name(name)?;
        let known = self.name(name)?.filter(|known| only.is_none_or(|image| known.image == *image));
        if known.is_some() {
            self.remove_name(name)?;
        }
        Ok(known)
    }

    fn remove_name(&self, name: &str) -> Result<(), Error> {
        let path = self.name_path(name);
        fs::remove_file(&path).during("remove", &path)?;
        disk::sync_dir(&self.path("refs"), self.durability())
    }

    /// The names of one image, sorted. Every name was remembered in the image's record before it was given, so that only those need
    /// to be looked at.
    pub fn names_of(&self, id: &ImageId) -> Result<Vec<ImageName>, Error> {
        let remembered = match self.image(id) {
            Ok(record) => record.map(|record| record.names_history).unwrap_or_default(),
            Err(Error::Document { .. }) => return self.search_names_of(id),
            Err(error) => return Err(error),
        };
        if remembered.len() >= MAX_NAMES {
            return self.search_names_of(id); // some may have been forgotten
        }
        let mut names = Vec::new();
        for name in &remembered {
            names.extend(self.name(name)?.filter(|name| name.image == *id));
        }
        names.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(names)
    }

    /// The same by reading all names.
    fn search_names_of(&self, id: &ImageId) -> Result<Vec<ImageName>, Error> {
        Ok(self.all_names()?.into_iter().filter(|name| name.image == *id).collect())
    }

    /// Every name of an image, sorted.
    pub(crate) fn all_names(&self) -> Result<Vec<ImageName>, Error> {
        Ok(self.targets()?.into_iter().filter_map(image_name).collect())
    }

    pub(crate) fn targets(&self) -> Result<Vec<Target>, Error> {
        let documents: Vec<(String, Document)> = disk::documents(&self.path("refs"), |_| true)?;
        let mut documents: Vec<_> = documents.into_iter().map(|(_, document)| document).collect();
        documents.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(documents.into_iter().filter_map(Document::target).collect())
    }

    /// What the name in a file of `refs/` points at.
    pub(crate) fn target_in(&self, file: &str) -> Result<Option<Target>, Error> {
        Ok(disk::read_json::<Document>(&self.path("refs").join(file))?.and_then(Document::target))
    }

    fn lock_name(&self, name: &str) -> Result<disk::NamedLock, Error> {
        self.lock(&format!("ref-{name}"))
    }

    fn name_path(&self, name: &str) -> PathBuf {
        self.path("refs").join(disk::escape(name))
    }
}

fn image_name(target: Target) -> Option<ImageName> {
    match target {
        Target::Image(name) => Some(name),
        Target::Index(_) => None,
    }
}
