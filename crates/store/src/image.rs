//! Images.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use oci_spec::image::Digest;
use serde::{Deserialize, Serialize};

use crate::digest::{Algorithm, DiffId, ImageId};
use crate::disk;
use crate::error::{Context, Error};
use crate::layer::{Layer, Lower};
use crate::lease::Lease;
use crate::name::{ImageName, IndexName, Origin, Target};
use crate::store::Store;

/// What an image runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagePlatform {
    /// `linux`
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, `v8`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// One image: everything lists and lookups need without opening its blobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Digest of its configuration.
    pub id: ImageId,
    /// Manifests and indexes it was pulled through, all kept as blobs.
    pub manifests: Vec<Digest>,
    /// Layers, lowest first.
    pub layers: Vec<DiffId>,
    /// What it runs on.
    pub platform: ImagePlatform,
    /// When it was built, RFC 3339, as the configuration says.
    pub created: Option<String>,
    /// Bytes of all layers, uncompressed.
    pub size: u64,
    /// When it came here, seconds since the epoch.
    pub pulled: u64,
    /// Names it has or had, the last one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names_history: Vec<String>,
}

/// Names of an image that are remembered.
pub(crate) const MAX_NAMES: usize = 256;

impl NamedImage {
    /// Names it has, the first one first, and then those it had, the last one first.
    pub fn names_history(&self) -> Vec<&str> {
        let is_its = |known: &&str| self.names.iter().any(|name| name.name == *known);
        let known = || self.image.names_history.iter().map(String::as_str);
        known().rev().filter(is_its).chain(known().filter(|known| !is_its(known))).collect()
    }
}

impl ImageRecord {
    /// Remembers a name; `false` when it was the last one already.
    pub(crate) fn remember(&mut self, name: &str) -> bool {
        if self.names_history.first().is_some_and(|last| last == name) {
            return false;
        }
        self.names_history.retain(|known| known != name);
        self.names_history.insert(0, name.to_owned());
        self.names_history.truncate(MAX_NAMES);
        true
    }
}

/// How often an image is removed before it has its name until that is taken for what is wanted.
const MAX_TRIES: u32 = 100;

#[derive(Serialize, Deserialize)]
pub(crate) struct Versioned<T> {
    pub(crate) version: u32,
    #[serde(flatten)]
    pub(crate) body: T,
}

/// An image with its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedImage {
    /// The image.
    pub image: ImageRecord,
    /// Its names, sorted; empty for a dangling one.
    pub names: Vec<ImageName>,
}

/// What names can point at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// All images, in order of id.
    pub images: Vec<NamedImage>,
    /// All names of indexes, sorted.
    pub indexes: Vec<IndexName>,
}

impl Lease {
    /// Makes an image visible. Its layers, configuration and manifests must have been added under this lease.
    /// An image already there keeps the manifests and names it has and gains the new ones.
    pub fn commit_image(&self, record: &ImageRecord) -> Result<(), Error> {
        let store = self.store();
        let _lock = store.lock(&format!("image-{}", record.id.hex()))?;
        let _share = store.share()?;
        let mut record = record.clone();
        let known = match store.image(&record.id) {
            // A damaged record is replaced.
            Err(Error::Document { .. }) => None,
            known => known?,
        };
        if known.is_none() {
            // Names may have outlived a record that was damaged or lost. One that cannot be read is another thing to mend.
            for file in disk::names(&store.path("refs"))? {
                if let Ok(Some(Target::Image(name))) = store.target_in(&file)
                    && name.image == record.id
                {
                    record.remember(&name.name);
                }
            }
        }
        if let Some(known) = known {
            let gained = std::mem::replace(&mut record.manifests, known.manifests);
            // One that is gone, or that a damaged record only seems to name, is not named again.
            record
                .manifests
                .retain(|digest| Algorithm::of(digest).is_some() && store.blob_path(digest).exists());
            record.manifests.extend(gained);
            let mut seen = HashSet::new();
            record.manifests.retain(|digest| seen.insert(digest.clone()));
            let gained = std::mem::replace(&mut record.names_history, known.names_history);
            for name in gained.iter().rev() {
                record.remember(name);
            }
        }
        for layer in &record.layers {
            if store.layer(layer)?.is_none() {
                return Err(Error::LayerMissing { layer: layer.clone(), image: record.id.clone() });
            }
        }
        let mut parts = BTreeSet::from([store.path("layers")]);
        for digest in record.manifests.iter().chain([record.id.digest()]) {
            let path = store.blob_path(digest);
            if !path.exists() {
                return Err(Error::BlobMissing { digest: digest.clone() });
            }
            parts.extend(path.ancestors().skip(1).take(2).map(Path::to_path_buf));
        }
        // Some may be another process's, which has not flushed yet what it made.
        parts.iter().try_for_each(|dir| disk::sync_dir(dir, store.durability()))?;
        store.write_image(record, &self.staging())
    }
}

impl Lease {
    /// Makes an image visible, as [`Lease::commit_image`] does, and points `name`, a full reference, at it; returns what that pointed
    /// at before. Somebody who removes every image may remove this one in between: then it is made visible again.
    pub fn commit_image_as(
        &self,
        record: &ImageRecord,
        origin: Origin,
        name: &str,
        manifest: Option<&Digest>,
    ) -> Result<Option<ImageName>, Error> {
        let mut tries = 0;
        loop {
            self.commit_image(record)?;
            match self.store().tag_from(origin, name, &record.id, manifest) {
                Err(Error::ImageNotKnown { .. }) if tries < MAX_TRIES => tries += 1,
                result => return result,
            }
        }
    }
}

impl Store {
    /// One image by id.
    pub fn image(&self, id: &ImageId) -> Result<Option<ImageRecord>, Error> {
        Ok(disk::read_json::<Versioned<ImageRecord>>(&self.image_path(id))?.map(|document| document.body))
    }

    /// The image a full reference, an id (with or without `sha256:`) or the start of an id means.
    ///
    /// # Errors
    /// [`Error::ImageNotKnown`], [`Error::Ambiguous`].
    pub fn resolve(&self, name_or_id: &str) -> Result<ImageId, Error> {
        if let Some(name) = self.name(name_or_id)? {
            return Ok(name.image);
        }
        let unknown = || Error::ImageNotKnown { name: name_or_id.to_owned() };
        let prefix = name_or_id.strip_prefix("sha256:").unwrap_or(name_or_id);
        if prefix.is_empty() || !prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(unknown());
        }
        if let Some(id) = ImageId::from_hex(prefix) {
            return if self.image_path(&id).exists() { Ok(id) } else { Err(unknown()) };
        }
        let mut found = self.image_ids()?.into_iter().filter(|id| id.hex().starts_with(prefix));
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(id),
            (Some(_), Some(_)) => Err(Error::Ambiguous { prefix: name_or_id.to_owned() }),
            (None, _) => Err(unknown()),
        }
    }

    /// All images with their names, in order of id.
    pub fn images(&self) -> Result<Vec<NamedImage>, Error> {
        Ok(self.catalog()?.images)
    }

    /// Everything in the store that can have names. Each file is read once.
    pub fn catalog(&self) -> Result<Catalog, Error> {
        let id = |file: &str| file.strip_suffix(".json").and_then(ImageId::from_hex);
        // Hundreds of small files: what is spent on names and on records is about the same.
        let (targets, records) = std::thread::scope(|scope| {
            let other = std::thread::Builder::new().spawn_scoped(scope, || self.targets());
            let records: Result<Vec<(String, Versioned<ImageRecord>)>, Error> =
                disk::documents(&self.path("images"), |file| id(file).is_some());
            // Where there is no thread to be had, one does.
            let targets = match other.map(|other| other.join()) {
                Ok(targets) => targets.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(_) => self.targets(),
            };
            (targets, records)
        });
        let mut names: HashMap<ImageId, Vec<ImageName>> = HashMap::new();
        let mut indexes = Vec::new();
        for target in targets? {
            match target {
                Target::Image(name) => names.entry(name.image.clone()).or_default().push(name),
                Target::Index(name) => indexes.push(name),
            }
        }
        let named = |(file, record): (String, Versioned<ImageRecord>)| {
            let names = id(&file).and_then(|id| names.remove(&id)).unwrap_or_default();
            NamedImage { image: record.body, names }
        };
        let mut images: Vec<NamedImage> = records?.into_iter().map(named).collect();
        // A name was given to one that was made after the records were looked for.
        for (id, names) in names {
            images.extend(self.image(&id)?.map(|image| NamedImage { image, names }));
        }
        Ok(Catalog { images, indexes })
    }

    /// Removes an image and its names, which are returned. Layers go with the next [`Store::gc`].
    ///
    /// # Errors
    /// [`Error::SeveralNames`], unless `all_names` may go.
    pub fn remove_image(&self, id: &ImageId, all_names: bool) -> Result<Vec<ImageName>, Error> {
        let _lock = self.lock(&format!("image-{}", id.hex()))?;
        if !self.image_path(id).exists() {
            return Err(Error::ImageNotKnown { name: id.hex().to_owned() });
        }
        let names = self.names_of(id)?;
        if !all_names && names.len() > 1 {
            let names = names.into_iter().map(|name| name.name).collect();
            return Err(Error::SeveralNames { id: id.clone(), names });
        }
        let mut removed = Vec::new();
        for name in names {
            // One that points elsewhere by now is not this image's to take away.
            removed.extend(self.untag(&name.name, Some(id))?);
        }
        self.remove_record(id)?;
        Ok(removed)
    }

    /// Removes an image unless it has a name, which somebody may have given it a moment ago; whether it is gone.
    pub fn remove_nameless_image(&self, id: &ImageId) -> Result<bool, Error> {
        let _lock = self.lock(&format!("image-{}", id.hex()))?; // who gives it a name has this one
        if !self.image_path(id).exists() || !self.names_of(id)?.is_empty() {
            return Ok(false);
        }
        self.remove_record(id).map(|()| true)
    }

    fn remove_record(&self, id: &ImageId) -> Result<(), Error> {
        let path = self.image_path(id);
        fs::remove_file(&path).during("remove", &path)?;
        // Before any layer goes: after a power cut an image must not come back without its layers.
        disk::sync_dir(&self.path("images"), self.durability())
    }

    /// The layers of an image, lowest first.
    ///
    /// # Errors
    /// [`Error::LayerMissing`].
    pub fn layers_of(&self, image: &ImageRecord) -> Result<Vec<Layer>, Error> {
        let find = |diff_id: &DiffId| {
            let missing = || Error::LayerMissing { layer: diff_id.clone(), image: image.id.clone() };
            self.layer(diff_id)?.ok_or_else(missing)
        };
        image.layers.iter().map(find).collect()
    }

    /// What overlayfs is given for an image, top first, without what an opaque root hides.
    pub fn lower(&self, image: &ImageRecord) -> Result<Vec<Lower>, Error> {
        Ok(lower(&self.layers_of(image)?))
    }

    /// The same as directories for `lowerdir`.
    ///
    /// # Errors
    /// [`Error::NotADirectory`] for a layer that must be mounted first.
    pub fn layer_dirs(&self, image: &ImageRecord) -> Result<Vec<PathBuf>, Error> {
        self.lower(image)?.into_iter().map(Lower::directory).collect()
    }

    pub(crate) fn write_image(&self, record: ImageRecord, staging: &Path) -> Result<(), Error> {
        let path = self.image_path(&record.id);
        let bytes = disk::to_json(&Versioned { version: 1, body: record });
        disk::write_file(staging, &path, &bytes, self.durability())
    }

    pub(crate) fn image_ids(&self) -> Result<Vec<ImageId>, Error> {
        let names = disk::names(&self.path("images"))?;
        Ok(names.iter().filter_map(|name| name.strip_suffix(".json")).filter_map(ImageId::from_hex).collect())
    }

    pub(crate) fn image_path(&self, id: &ImageId) -> PathBuf {
        self.path("images").join(format!("{}.json", id.hex()))
    }
}

pub(crate) fn lower(layers: &[Layer]) -> Vec<Lower> {
    visible(layers).into_iter().map(Layer::lower).collect()
}

/// The layers a container is made of, top first: nothing shows through one with an opaque root.
///
/// Of a layer that an image has more than once, such as the empty one, the topmost covers the others, and
/// overlayfs refuses to mount a directory twice (`ELOOP`).
pub(crate) fn visible(layers: &[Layer]) -> Vec<&Layer> {
    let lowest = layers.iter().rposition(|layer| layer.document().opaque_root).unwrap_or(0);
    let mut seen = HashSet::new();
    layers[lowest..].iter().rev().filter(|layer| seen.insert(layer.diff_id().hex())).collect()
}
