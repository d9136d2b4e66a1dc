//! What nobody needs.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use crate::disk;
use crate::error::Error;
use crate::partial::PARTIAL;
use crate::shifted::SHIFTED;
use crate::store::Store;

/// What kind of thing nobody needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftoverKind {
    /// Something half made, whose maker is gone.
    Staged,
    /// Removed, and still to be deleted.
    Tomb,
    /// A layer of no image and no container.
    Layer,
    /// A tree with the owners of no container.
    Shifted,
    /// A manifest, index or configuration of no image.
    Blob,
    /// The beginning of a layer whose transfer broke off.
    Partial,
    /// What says which layer a blob unpacks to, for a layer that is not here.
    Link,
}

impl LeftoverKind {
    /// In the words of messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Staged => "half made",
            Self::Tomb => "removed",
            Self::Layer => "layer of no image",
            Self::Shifted => "copy of layers for no container",
            Self::Blob => "blob of no image",
            Self::Partial => "beginning of a blob",
            Self::Link => "link to no layer",
        }
    }
}

/// Something nobody needs.
#[derive(Clone, Debug)]
pub struct Leftover {
    /// What it is.
    pub kind: LeftoverKind,
    /// Where it is.
    pub path: PathBuf,
    /// How long nobody has changed it.
    pub age: Duration,
}

/// Everything a sweep would take, with what it took and is still being deleted.
pub(crate) fn find(store: &Store) -> Result<Vec<Leftover>, Error> {
    let _lock = store.exclude()?;
    let mut found = Vec::new();
    let leases = store.path("leases");
    let mut dead = Vec::new();
    for name in disk::names(&leases)? {
        let path = leases.join(&name);
        // One whose owner lives is locked.
        let is_dead = File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
        if is_dead {
            add(&mut found, LeftoverKind::Staged, path);
            dead.push(name);
        }
    }
    for name in disk::names(&store.staging())? {
        if dead.contains(&name) || !leases.join(&name).exists() {
            add(&mut found, LeftoverKind::Staged, store.staging().join(name));
        }
    }
    let tombs = store.path("tombs");
    disk::names(&tombs)?.into_iter().for_each(|name| add(&mut found, LeftoverKind::Tomb, tombs.join(name)));
    let partial = store.path(PARTIAL);
    if partial.exists() {
        // Who adds to one has it locked.
        let unused = |path: &PathBuf| File::open(path).is_ok_and(|file| file.try_lock().is_ok());
        let paths = disk::names(&partial)?.into_iter().map(|name| partial.join(name));
        paths.filter(unused).for_each(|path| add(&mut found, LeftoverKind::Partial, path));
    }
    // Where a record cannot be read, nobody knows what is needed.
    let Ok(marks) = store.mark() else { return Ok(found) };
    let layers = store.path("layers");
    for hex in disk::names(&layers)?.into_iter().filter(|hex| !marks.layers.contains(hex)) {
        add(&mut found, LeftoverKind::Layer, layers.join(hex));
    }
    for name in store.unused_trees(&marks)? {
        add(&mut found, LeftoverKind::Shifted, store.path(SHIFTED).join(name));
    }
    let links = store.path("by-blob");
    for name in disk::names(&links)? {
        if !links.join(&name).join("layer.json").exists() {
            add(&mut found, LeftoverKind::Link, links.join(name));
        }
    }
    let blobs = store.path("blobs");
    for algorithm in disk::names(&blobs)? {
        for shard in disk::names(&blobs.join(&algorithm))? {
            let shard = blobs.join(&algorithm).join(shard);
            for hex in disk::names(&shard)? {
                if !marks.blobs.contains(&format!("{algorithm}:{hex}")) {
                    add(&mut found, LeftoverKind::Blob, shard.join(hex));
                }
            }
        }
    }
    Ok(found)
}

fn add(found: &mut Vec<Leftover>, kind: LeftoverKind, path: PathBuf) {
    let age = fs::symlink_metadata(&path).and_then(|meta| meta.modified()).ok();
    let age = age.and_then(|modified| modified.elapsed().ok()).unwrap_or_default();
    found.push(Leftover { kind, path, age });
}
