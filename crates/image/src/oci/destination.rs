//! Writing OCI image layouts.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use oci_spec::image::{Descriptor, Digest};
use serde_json::{Map, Value, json};

use super::lock::{lock, share};
use super::{LAYOUT, REF_NAME};
use crate::destination::{Destination, Incoming, Wants};
use crate::error::Error;
use crate::files;
use crate::format::Format;

/// A new entry of an OCI image layout, which is made when there is none.
#[derive(Debug)]
pub struct OciLayoutWriter {
    dir: PathBuf,
    /// With a directory for each algorithm.
    blobs: PathBuf,
    entry: Option<String>,
    name: String,
    /// As long as blobs that are there are counted on.
    _in_use: File,
}

impl OciLayoutWriter {
    /// Opens or makes the layout in `dir`. The new entry gets the name `entry`, which an older one loses. `blobs` is where blobs
    /// are kept, if not in the layout: other layouts may keep theirs there, too. Nothing is deleted there before this is dropped.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn open(dir: &Path, blobs: Option<&Path>, entry: Option<&str>) -> Result<Self, Error> {
        // Every layout has this, if only to be one (image-layout.md).
        let own = dir.join("blobs");
        files::failed(fs::create_dir_all(&own), "create", &own)?;
        let marker = dir.join("oci-layout");
        if !marker.exists() {
            files::write(&marker, LAYOUT)?;
        }
        let name = entry.map_or_else(String::new, |entry| format!(":{entry}"));
        let name = format!("oci:{}{name}", dir.display());
        let blobs = blobs.map_or(own, Path::to_path_buf);
        files::failed(fs::create_dir_all(&blobs), "create", &blobs)?;
        let _in_use = share(&blobs)?;
        Ok(Self { dir: dir.to_path_buf(), blobs, entry: entry.map(str::to_owned), name, _in_use })
    }

    fn blobs(&self, digest: &Digest) -> PathBuf {
        self.blobs.join(digest.algorithm().as_ref())
    }

    /// Makes the index show it.
    fn list(&self, descriptor: &Descriptor) -> Result<(), Error> {
        let _lock = lock(&self.dir)?;
        let path = self.dir.join("index.json");
        let mut index: Map<String, Value> = match path.exists() {
            true => serde_json::from_slice(&files::read_document(&path)?)
                .map_err(|source| Error::Malformed { what: path.display().to_string(), source })?,
            false => Map::from_iter([("schemaVersion".to_owned(), json!(2))]),
        };
        let mut entries = match index.remove("manifests") {
            Some(Value::Array(entries)) => entries,
            _ => Vec::new(),
        };
        let mut entry =
            serde_json::to_value(descriptor).expect("invariant: a descriptor has string keys only");
        if let Some(name) = &self.entry {
            entry["annotations"] = json!({ REF_NAME: name });
            entries.iter_mut().for_each(|known| take_name(known, name));
        }
        let same = |known: &Value| known.get("digest") == entry.get("digest");
        if self.entry.is_some() {
            entries.retain(|known| !same(known) || known.get("annotations").is_some());
        }
        if self.entry.is_some() || !entries.iter().any(same) {
            entries.push(entry);
        }
        index.insert("manifests".to_owned(), Value::Array(entries));
        files::flush(&self.dir)?;
        if !self.blobs.starts_with(&self.dir) {
            files::flush(&self.blobs)?;
        }
        files::write(&path, Value::Object(index).to_string().as_bytes())
    }
}

/// An older image of that name stays without it, as with other tools.
fn take_name(entry: &mut Value, name: &str) {
    let Some(annotations) = entry.get_mut("annotations").and_then(Value::as_object_mut) else { return };
    if annotations.get(REF_NAME).is_some_and(|known| known == name) {
        annotations.remove(REF_NAME);
    }
    if annotations.is_empty()
        && let Some(entry) = entry.as_object_mut()
    {
        entry.remove("annotations");
    }
}

impl Destination for OciLayoutWriter {
    fn name(&self) -> &str {
        &self.name
    }

    fn wants(&self) -> Wants {
        Wants::Compressed
    }

    fn format(&self) -> Option<Format> {
        // Others find only entries of OCI's media types.
        Some(Format::Oci)
    }

    fn takes_addresses(&self) -> bool {
        true
    }

    fn has(&self, blob: &Descriptor) -> Result<bool, Error> {
        let path = self.blobs(blob.digest()).join(blob.digest().digest());
        Ok(fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == blob.size()))
    }

    fn put_blob(&self, blob: &mut Incoming<'_>) -> Result<(), Error> {
        // Of the algorithm that it is computed with.
        let algorithm = blob.descriptor().map_or("sha256".to_owned(), |d| d.digest().algorithm().to_string());
        let dir = self.blobs.join(algorithm);
        files::failed(fs::create_dir_all(&dir), "create", &dir)?;
        files::write_blob(&dir, |digest| digest.digest().to_owned(), blob)
    }

    fn put_document(&self, descriptor: &Descriptor, bytes: &[u8], top: bool) -> Result<(), Error> {
        let dir = self.blobs(descriptor.digest());
        files::failed(fs::create_dir_all(&dir), "create", &dir)?;
        files::write(&dir.join(descriptor.digest().digest()), bytes)?;
        if top { self.list(descriptor) } else { Ok(()) }
    }
}
