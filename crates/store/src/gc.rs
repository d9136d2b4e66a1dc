//! Removing what nothing refers to.
//!
//! Roots are images, names of indexes, containers and live leases. Deciding happens under the exclusive lock and only renames;
//! deleting happens after it (see `tombs`). Anything that cannot be read stops the sweep: in doubt nothing is deleted.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use oci_spec::image::Digest;
use serde::Deserialize;

use crate::container::RootfsDocument;
use crate::digest::DiffId;
use crate::disk;
use crate::error::{Context, Error};
use crate::layer::{Form, LayerDocument};
use crate::owners::Owners;
use crate::partial::{self, PARTIAL};
use crate::shifted::{self, SHIFTED};
use crate::store::Store;
use crate::tombs::MOUNTED;

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Layers.
    pub layers: u64,
    /// Bytes of their tars; what is free on disk afterwards differs by headers and holes.
    pub layer_bytes: u64,
    /// Manifests, indexes and configurations.
    pub blobs: u64,
}

/// What is referred to.
#[derive(Default)]
pub(crate) struct Marks {
    /// Hexadecimal diffIDs.
    pub(crate) layers: HashSet<String>,
    /// Whole digests.
    pub(crate) blobs: HashSet<String>,
    /// Keys of trees with other owners.
    pub(crate) shifted: HashSet<String>,
}

/// What any document names that may be here. Each is read by itself and by what it needs only: documents are others', and what one of
/// them has in the place of another's digests must not keep everything from being swept.
#[derive(Default, Deserialize)]
struct Listed {
    manifests: Option<Vec<Named>>,
}

#[derive(Default, Deserialize)]
struct Configured {
    /// Of a manifest; a configuration has another thing of that name.
    config: Option<Named>,
}

#[derive(Default, Deserialize)]
struct Layered {
    rootfs: Option<Layers>,
}

#[derive(Deserialize)]
struct Named {
    digest: Option<String>,
}

#[derive(Deserialize)]
struct Layers {
    diff_ids: Option<Vec<DiffId>>,
}

impl Store {
    /// Removes layers and blobs that no image, container or live lease refers to, and what dead processes left. Large layers are
    /// deleted later, by [`Store::empty_tombs`].
    pub fn gc(&self) -> Result<Freed, Error> {
        let mut freed = Freed::default();
        {
            let _lock = self.exclude()?;
            self.entomb_stale()?;
            let marks = self.mark()?;
            self.entomb_layers(&marks, &mut freed)?;
            self.entomb_trees(&marks)?;
            self.unlink_dangling()?;
            self.remove_blobs(&marks, &mut freed)?;
        }
        partial::sweep_old(&self.path(PARTIAL));
        self.empty_tombs_for_a_moment()?;
        Ok(freed)
    }

    /// Removes all names and images, whether they can be read or not, and what nothing refers to then. What containers and live leases
    /// refer to stays.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Document`] for a container that does not say what it refers to.
    pub fn clear(&self) -> Result<Freed, Error> {
        {
            let _lock = self.exclude()?;
            // A name without its image would be damage, an image without a name is none.
            for part in ["refs", "images"] {
                let dir = self.path(part);
                for name in disk::names(&dir)? {
                    self.entomb(&dir, &name, "tomb-")?;
                }
                disk::sync_dir(&dir, self.durability())?;
            }
            let partial = self.path(PARTIAL);
            let names = if partial.exists() { disk::names(&partial)? } else { Vec::new() };
            for name in names {
                // Who adds to one has it locked.
                if fs::File::open(partial.join(&name)).is_ok_and(|file| file.try_lock().is_ok()) {
                    self.entomb(&partial, &name, "tomb-")?;
                }
            }
        }
        self.gc()
    }

    /// Takes away what dead owners left in the staging area; does nothing when that would mean waiting.
    pub(crate) fn sweep_stale(&self) -> Result<(), Error> {
        if disk::names(&self.staging())?.is_empty() && disk::names(&self.path("tombs"))?.is_empty() {
            return Ok(());
        }
        let Some(lock) = self.try_exclude()? else { return Ok(()) };
        self.entomb_stale()?;
        drop(lock);
        self.empty_tombs_for_a_moment()
    }

    /// Staged things whose lease is gone or unlocked. Under the exclusive lock nobody is making one.
    fn entomb_stale(&self) -> Result<(), Error> {
        let leases = self.path("leases");
        for name in disk::names(&leases)? {
            let path = leases.join(&name);
            let Some(file) = open_existing(&path)? else { continue };
            match file.try_lock() {
                Ok(()) => {
                    self.entomb(&self.staging(), &name, "tomb-")?;
                    remove_existing(&path)?;
                }
                Err(fs::TryLockError::WouldBlock) => {}
                Err(fs::TryLockError::Error(error)) => return Err(error).during("lock", &path),
            }
        }
        for name in disk::names(&self.staging())? {
            if !leases.join(&name).exists() {
                self.entomb(&self.staging(), &name, "tomb-")?;
            }
        }
        Ok(())
    }

    /// Everything that is referred to, under the exclusive lock: a lease that nobody has locked then is a dead one's, and means nothing.
    pub(crate) fn mark(&self) -> Result<Marks, Error> {
        let mut marks = Marks::default();
        for id in self.image_ids()? {
            let Some(image) = self.image(&id)? else { continue };
            marks.layers.extend(image.layers.iter().map(|layer| layer.hex().to_owned()));
            marks.blobs.insert(id.to_string());
            marks.blobs.extend(image.manifests.iter().map(|digest| digest.to_string()));
        }
        for name in self.index_names()? {
            self.reach(&name.index, &mut marks)?;
        }
        let containers = self.path("containers");
        for name in disk::names(&containers)? {
            if let Some(document) =
                disk::read_json::<RootfsDocument>(&containers.join(name).join("rootfs.json"))?
            {
                marks.layers.extend(document.layers.iter().map(|layer| layer.hex().to_owned()));
                let key = |owners| shifted::key(&document.layers, &Owners::from(owners));
                marks.shifted.extend(document.owners.map(key));
            }
        }
        let leases = self.path("leases");
        for name in disk::names(&leases)? {
            let path = leases.join(name);
            let Some(mut file) = open_existing(&path)? else { continue }; // ended meanwhile
            match file.try_lock() {
                Ok(()) => continue,
                Err(fs::TryLockError::WouldBlock) => {}
                Err(fs::TryLockError::Error(error)) => return Err(error).during("lock", &path),
            }
            let mut text = String::new();
            file.read_to_string(&mut text).during("read", &path)?;
            for line in text.lines() {
                match line.split_once(' ') {
                    Some(("layer", hex)) => drop(marks.layers.insert(hex.to_owned())),
                    Some(("blob", digest)) => drop(marks.blobs.insert(digest.to_owned())),
                    _ => {}
                }
            }
        }
        Ok(marks)
    }

    /// Marks a document and, of what it names, all that is here: manifests of an index, the configuration and layers of an image.
    fn reach(&self, top: &Digest, marks: &mut Marks) -> Result<(), Error> {
        let (mut left, mut seen) = (vec![top.clone()], HashSet::new());
        while let Some(digest) = left.pop() {
            if !seen.insert(digest.to_string()) {
                continue;
            }
            let bytes = match self.blob(&digest) {
                // An index may list what is elsewhere.
                Err(Error::BlobMissing { .. } | Error::Algorithm { .. }) => continue,
                result => result?,
            };
            marks.blobs.insert(digest.to_string());
            let listed = match serde_json::from_slice::<Listed>(&bytes) {
                // That one was made here.
                Err(source) if digest == *top => {
                    return Err(Error::Document { path: self.blob_path(&digest), source });
                }
                listed => listed.unwrap_or_default(),
            };
            let configured: Configured = serde_json::from_slice(&bytes).unwrap_or_default();
            let named = listed.manifests.into_iter().flatten().chain(configured.config);
            left.extend(named.filter_map(|named| named.digest?.parse::<Digest>().ok()));
            let layered: Layered = serde_json::from_slice(&bytes).unwrap_or_default();
            let layers = layered.rootfs.and_then(|rootfs| rootfs.diff_ids).unwrap_or_default();
            marks.layers.extend(layers.iter().map(|layer| layer.hex().to_owned()));
        }
        Ok(())
    }

    fn entomb_layers(&self, marks: &Marks, freed: &mut Freed) -> Result<(), Error> {
        let layers = self.path("layers");
        for hex in disk::names(&layers)? {
            if marks.layers.contains(&hex) {
                continue;
            }
            let document =
                disk::read_json::<LayerDocument>(&layers.join(&hex).join("layer.json")).ok().flatten();
            let form = document.as_ref().map(|document| document.form);
            if let Some(document) = document {
                freed.layer_bytes += document.size;
                for blob in &document.blobs {
                    remove_existing(&self.by_blob_path(&blob.digest))?;
                }
            }
            self.entomb(&layers, &hex, if form == Some(Form::Dir) { "tomb-" } else { MOUNTED })?;
            freed.layers += 1;
        }
        // A half emptied layer must not come back under its name after a power cut.
        if freed.layers > 0 { disk::sync_dir(&layers, self.durability()) } else { Ok(()) }
    }

    fn entomb_trees(&self, marks: &Marks) -> Result<(), Error> {
        let trees = self.path(SHIFTED);
        for name in self.unused_trees(marks)? {
            self.entomb(&trees, &name, "tomb-")?;
        }
        Ok(())
    }

    fn unlink_dangling(&self) -> Result<(), Error> {
        let links = self.path("by-blob");
        for name in disk::names(&links)? {
            let path = links.join(&name);
            if !path.join("layer.json").exists() {
                remove_existing(&path)?;
            }
        }
        Ok(())
    }

    fn remove_blobs(&self, marks: &Marks, freed: &mut Freed) -> Result<(), Error> {
        let blobs = self.path("blobs");
        for algorithm in disk::names(&blobs)? {
            for shard in disk::names(&blobs.join(&algorithm))? {
                let shard = blobs.join(&algorithm).join(shard);
                for hex in disk::names(&shard)? {
                    if !marks.blobs.contains(&format!("{algorithm}:{hex}")) {
                        remove_existing(&shard.join(hex))?;
                        freed.blobs += 1;
                    }
                }
            }
        }
        Ok(())
    }
}

fn open_existing(path: &Path) -> Result<Option<File>, Error> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.during("open", path).map(Some),
    }
}

fn remove_existing(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.during("remove", path),
    }
}
