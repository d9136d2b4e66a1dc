//! What the record of an image repeats, so that lists and lookups open nothing else: compared with those who say it first, the
//! configuration, the layers and the names, and computed from them again.

use std::collections::BTreeSet;
use std::fs;
use std::time::UNIX_EPOCH;

use oci_spec::image::Digest;
use serde::Deserialize;
use serde_json::Value;

use crate::check::is_damage;
use crate::digest::{DiffId, ImageId};
use crate::disk;
use crate::error::Error;
use crate::image::{ImagePlatform, ImageRecord, MAX_NAMES};
use crate::name::{ImageName, Target};
use crate::store::Store;

/// Larger blobs are no manifests (distribution-spec, "Pushing Manifests": registries take 4 MiB).
const MAX_MANIFEST: u64 = 4 << 20;

/// What a configuration says that a record repeats (image-spec, config.md). What is null is absent: Go writes both.
#[derive(Deserialize)]
struct Configuration {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    created: Option<String>,
    rootfs: Rootfs,
}

#[derive(Deserialize)]
struct Rootfs {
    diff_ids: Option<Vec<DiffId>>,
}

/// The part of a record that others say first.
#[derive(PartialEq, Eq)]
struct Repeated {
    platform: ImagePlatform,
    created: Option<String>,
    layers: Vec<DiffId>,
    /// Of all layers; `None` when one is not here.
    size: Option<u64>,
}

impl Repeated {
    fn problem_of(&self, record: &ImageRecord) -> Option<&'static str> {
        if record.layers != self.layers {
            Some("layers")
        } else if record.platform != self.platform {
            Some("platform")
        } else if record.created != self.created {
            Some("date")
        } else if self.size.is_some_and(|size| record.size != size) {
            Some("size")
        } else {
            None
        }
    }
}

impl Store {
    /// What the record of an image says otherwise than its configuration and its layers; nothing when those cannot be read, which
    /// is damage of theirs.
    pub(crate) fn record_problem(&self, record: &ImageRecord) -> Result<Option<Error>, Error> {
        let problem = self.repeated(&record.id)?.and_then(|repeated| repeated.problem_of(record));
        Ok(problem.map(|part| Error::Record { image: record.id.clone(), part }))
    }

    /// Whether an image whose name that is forgot it: then it is not found by who asks the image for its names.
    pub(crate) fn is_forgotten(&self, name: &ImageName) -> Result<bool, Error> {
        let forgets = |record: &ImageRecord| {
            record.names_history.len() < MAX_NAMES && !record.names_history.contains(&name.name)
        };
        // Before a name is given it is remembered, so one that is there now is remembered by then.
        let still =
            matches!(self.target(&name.name)?, Some(Target::Image(known)) if known.image == name.image);
        Ok(still && self.image(&name.image).ok().flatten().is_some_and(|record| forgets(&record)))
    }

    /// Computes the record of an image again from what is stored of it: its configuration, its layers, its manifests and its names.
    /// `false` when that changes nothing, or when some of these are missing or damaged themselves.
    ///
    /// # Errors
    /// What keeps it from reading or writing.
    pub fn mend_record(&self, id: &ImageId) -> Result<bool, Error> {
        let _lock = self.lock(&format!("image-{}", id.hex()))?;
        let _share = self.share()?;
        let known = match self.image(id) {
            Err(error) if is_damage(&error) => None,
            known => known?.filter(|record| record.id == *id),
        };
        let Some(Repeated { platform, created, layers, size: Some(size) }) = self.repeated(id)? else {
            return Ok(false);
        };
        let names = self.names_that_are(id)?;
        let Some(manifests) = self.manifests_again(id, known.as_ref(), &names)? else { return Ok(false) };
        let mut record = ImageRecord {
            id: id.clone(),
            manifests,
            layers,
            platform,
            created,
            size,
            pulled: known.as_ref().map_or_else(|| self.arrival(id), |record| record.pulled),
            names_history: known.as_ref().map(|record| record.names_history.clone()).unwrap_or_default(),
        };
        for name in &names {
            if record.names_history.len() < MAX_NAMES && !record.names_history.contains(&name.name) {
                record.names_history.push(name.name.clone());
            }
        }
        if known.as_ref() == Some(&record) {
            return Ok(false);
        }
        self.write_image(record, &self.staging())?;
        Ok(true)
    }

    /// What the configuration and the layers of an image say; `None` when the configuration cannot be read.
    fn repeated(&self, id: &ImageId) -> Result<Option<Repeated>, Error> {
        let bytes = match self.blob(id.digest()) {
            Err(Error::BlobMissing { .. } | Error::Digest { .. }) => return Ok(None),
            Err(error) if is_damage(&error) => return Ok(None),
            bytes => bytes?,
        };
        let Ok(says) = serde_json::from_slice::<Configuration>(&bytes) else { return Ok(None) };
        let Configuration { os, architecture, variant, created, rootfs } = says;
        let (os, architecture) = (os.unwrap_or_default(), architecture.unwrap_or_default());
        let layers = rootfs.diff_ids.unwrap_or_default();
        let mut size = Some(0u64);
        for layer in &layers {
            let layer = match self.layer(layer) {
                Err(error) if is_damage(&error) => None,
                layer => layer?,
            };
            size = size.zip(layer).map(|(size, layer)| size.saturating_add(layer.size()));
        }
        Ok(Some(Repeated { platform: ImagePlatform { os, architecture, variant }, created, layers, size }))
    }

    /// The manifests and indexes of an image. Those its record names, if it can be read: one of them that is not here, where another
    /// that leads to the image is, has been changed in the record. `None` when they cannot be told: they have to be fetched.
    fn manifests_again(
        &self,
        id: &ImageId,
        known: Option<&ImageRecord>,
        names: &[ImageName],
    ) -> Result<Option<Vec<Digest>>, Error> {
        let is_here = |digest: &Digest| {
            self.path("blobs").join(digest.algorithm().as_ref()).is_dir() && self.blob_path(digest).exists()
        };
        let of_record = known.map(|record| record.manifests.clone()).unwrap_or_default();
        if known.is_some() && of_record.iter().all(is_here) {
            return Ok(Some(of_record));
        }
        if !names.iter().filter_map(|name| name.manifest.as_ref()).all(is_here) {
            return Ok(known.map(|_| of_record));
        }
        let found = self.leading_to(id)?;
        let missing = of_record.iter().filter(|digest| !is_here(digest)).count();
        let strays: Vec<_> = found.into_iter().filter(|digest| !of_record.contains(digest)).collect();
        if known.is_some() && strays.len() < missing {
            return Ok(Some(of_record));
        }
        let mut manifests: Vec<_> = of_record.into_iter().filter(is_here).collect();
        manifests.extend(strays);
        Ok(Some(manifests).filter(|manifests| !manifests.is_empty()))
    }

    /// Blobs that are manifests with this configuration, after the indexes that list them.
    fn leading_to(&self, id: &ImageId) -> Result<Vec<Digest>, Error> {
        let documents = self.documents()?;
        let is_of = |document: &Value| document["config"]["digest"].as_str() == Some(id.digest().as_ref());
        let own = documents.iter().filter(|(_, document)| is_of(document) && document["layers"].is_array());
        let own: Vec<Digest> = own.map(|(digest, _)| digest.clone()).collect();
        let mut reached: BTreeSet<String> = own.iter().map(Digest::to_string).collect();
        let mut found = own;
        // An index may list an index; each round reaches one level, and there are no more levels than documents.
        for _ in 0..documents.len() {
            let lists = |document: &Value| {
                let listed = document["manifests"].as_array().into_iter().flatten();
                listed.filter_map(|entry| entry["digest"].as_str()).any(|digest| reached.contains(digest))
            };
            let next =
                documents.iter().filter(|(digest, document)| !found.contains(digest) && lists(document));
            let next: Vec<Digest> = next.map(|(digest, _)| digest.clone()).collect();
            if next.is_empty() {
                break;
            }
            reached.extend(next.iter().map(Digest::to_string));
            found.splice(0..0, next);
        }
        Ok(found)
    }

    /// All blobs that are JSON and have the digest they are named after.
    fn documents(&self) -> Result<Vec<(Digest, Value)>, Error> {
        let (mut documents, blobs) = (Vec::new(), self.path("blobs"));
        for algorithm in disk::names(&blobs)? {
            for shard in disk::names(&blobs.join(&algorithm))? {
                let shard = blobs.join(&algorithm).join(shard);
                for hex in disk::names(&shard)? {
                    let small = fs::metadata(shard.join(&hex)).is_ok_and(|meta| meta.len() <= MAX_MANIFEST);
                    let digest = format!("{algorithm}:{hex}").parse::<Digest>().ok().filter(|_| small);
                    let bytes = digest.as_ref().and_then(|digest| self.blob(digest).ok());
                    let document = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
                    documents.extend(digest.zip(document));
                }
            }
        }
        Ok(documents)
    }

    /// The names that point at an image, by reading all that can be read.
    fn names_that_are(&self, id: &ImageId) -> Result<Vec<ImageName>, Error> {
        let mut names = self.readable_names()?;
        names.retain(|name| name.image == *id);
        Ok(names)
    }

    /// When the configuration of an image came, seconds since the epoch.
    fn arrival(&self, id: &ImageId) -> u64 {
        let modified = fs::metadata(self.blob_path(id.digest())).and_then(|meta| meta.modified()).ok();
        modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs())
    }
}
