//! Deleting images from OCI image layouts.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use loment_store::Algorithm;
use oci_spec::image::{Digest, ImageIndex};
use serde_json::{Map, Value};

use super::lock::{exclude, lock};
use super::source::{OciLayout, position};
use crate::error::Error;
use crate::files;
use crate::resolve::MAX_NESTING;

/// Documents of a layout that are looked at, at most. One with more is not changed.
const MAX_DOCUMENTS: usize = 1 << 20;

impl OciLayout {
    /// Takes what `reference` means in the layout in `dir` out of its index, and removes the blobs that nothing else in the index
    /// needs: a name, `@` and a position, or empty for the only one. With `shared`, the blobs are in a directory of several layouts,
    /// of which this one does not know all, and stay. Waits for copies to the layout.
    ///
    /// # Errors
    /// [`Error::NotInLayout`], [`Error::Several`]; [`Error::File`], [`Error::Malformed`] when it cannot be told what others need.
    pub fn delete(dir: &Path, shared: bool, reference: &str) -> Result<(), Error> {
        let blobs = dir.join("blobs");
        // Where there is no such directory nobody is copying either.
        let _unused = if !shared && blobs.exists() { Some(exclude(&blobs)?) } else { None };
        let _lock = lock(dir)?;
        let path = dir.join("index.json");
        let bytes = files::read_document(&path)?;
        let malformed = |source| Error::Malformed { what: path.display().to_string(), source };
        let index: ImageIndex = serde_json::from_slice(&bytes).map_err(malformed)?;
        let mut document: Map<String, Value> = serde_json::from_slice(&bytes).map_err(malformed)?;
        let entries = index.manifests();
        if reference.is_empty() && entries.len() > 1 {
            return Err(Error::Several { archive: dir.display().to_string(), count: entries.len() });
        }
        let missing =
            || Error::NotInLayout { layout: dir.display().to_string(), reference: reference.to_owned() };
        let position = position(&index, reference).ok_or_else(missing)?;
        let mut unused = HashSet::new();
        if !shared {
            let (mut own, mut others) = (Reached::of(dir), Reached::of(dir));
            for (number, entry) in entries.iter().enumerate() {
                let reached = if number == position { &mut own } else { &mut others };
                reached.follow(entry.digest(), 0)?;
            }
            unused = own.blobs;
            unused.retain(|blob| !others.blobs.contains(blob));
        }
        if let Some(entries) = document.get_mut("manifests").and_then(Value::as_array_mut) {
            entries.remove(position);
        }
        // Whoever is killed between the two leaves blobs that nobody needs, and no entry without its blobs.
        files::write(&path, Value::Object(document).to_string().as_bytes())?;
        files::flush(dir)?;
        for blob in unused {
            let path = path_of(dir, &blob)?;
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => files::failed(result, "remove", &path)?,
            }
        }
        Ok(())
    }
}

/// A digest of ours is plain hexadecimal, so it cannot leave the directory.
fn path_of(dir: &Path, blob: &Digest) -> Result<PathBuf, Error> {
    let unknown = || Error::Algorithm { what: dir.display().to_string(), digest: blob.clone() };
    Algorithm::of(blob).ok_or_else(unknown)?;
    Ok(dir.join("blobs").join(blob.algorithm().as_ref()).join(blob.digest()))
}

/// The blobs that entries of an index need.
struct Reached<'d> {
    dir: &'d Path,
    blobs: HashSet<Digest>,
    documents: HashSet<Digest>,
}

impl<'d> Reached<'d> {
    fn of(dir: &'d Path) -> Self {
        Self { dir, blobs: HashSet::new(), documents: HashSet::new() }
    }

    /// Adds a manifest or index with all that it refers to. One that is not there refers to nothing.
    fn follow(&mut self, digest: &Digest, depth: usize) -> Result<(), Error> {
        self.blobs.insert(digest.clone());
        if !self.documents.insert(digest.clone()) {
            return Ok(());
        }
        if depth > MAX_NESTING || self.documents.len() > MAX_DOCUMENTS {
            return Err(Error::Nested { digest: digest.clone() });
        }
        let bytes = match files::read_document(&path_of(self.dir, digest)?) {
            Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
            bytes => bytes?,
        };
        let malformed = |source| Error::Malformed { what: format!("manifest {digest}"), source };
        let document: Value = serde_json::from_slice(&bytes).map_err(malformed)?;
        let digests = |key: &str| -> Vec<Digest> {
            let several = document[key].as_array().into_iter().flatten();
            let all = several.chain([&document[key]]).filter_map(|entry| entry["digest"].as_str());
            all.filter_map(|text| Digest::try_from(text).ok()).collect()
        };
        for manifest in digests("manifests") {
            self.follow(&manifest, depth + 1)?;
        }
        for key in ["config", "layers", "blobs"] {
            self.blobs.extend(digests(key));
        }
        Ok(())
    }
}
