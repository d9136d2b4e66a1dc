//! Writing archives of images: Docker's, which everybody reads, and OCI layouts.

use std::sync::{Mutex, MutexGuard};

use oci_spec::image::{Descriptor, Digest, MediaType};
use serde_json::{Value, json};

use super::docker::MANIFEST;
use super::output::Output;
use crate::destination::{Destination, Incoming, Wants};
use crate::error::Error;
use crate::format::Format;
use crate::manifest::{self, Document};
use crate::oci::{LAYOUT, REF_NAME};

/// An archive as `docker save` writes: layers as plain tars, any number of images with any number of names.
#[derive(Debug)]
pub struct DockerArchiveWriter {
    out: Output,
    images: Mutex<Vec<Image>>,
}

#[derive(Debug)]
struct Image {
    config: String,
    tags: Vec<String>,
    layers: Vec<String>,
}

impl DockerArchiveWriter {
    /// An archive without images.
    pub fn new(out: Output) -> Self {
        Self { out, images: Mutex::default() }
    }

    /// A place for one image, which gets these names.
    pub fn image(&self, tags: Vec<String>) -> DockerArchiveEntry<'_> {
        DockerArchiveEntry { writer: self, tags }
    }

    fn images(&self) -> MutexGuard<'_, Vec<Image>> {
        self.images.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Ends the archive. Without this it does not appear.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn finish(self) -> Result<(), Error> {
        let item = |image: &Image| {
            // As Docker and Podman have it.
            let tags = Some(&image.tags).filter(|tags| !tags.is_empty());
            json!({ "Config": image.config, "RepoTags": tags, "Layers": image.layers })
        };
        let items: Vec<_> = self.images().iter().map(item).collect();
        self.out.document(MANIFEST, Value::from(items).to_string().as_bytes())?;
        self.out.finish()
    }
}

/// One image of an archive.
#[derive(Debug)]
pub struct DockerArchiveEntry<'w> {
    writer: &'w DockerArchiveWriter,
    tags: Vec<String>,
}

/// Other algorithms than SHA-256 are in the name.
fn digits(digest: &Digest) -> String {
    digest.as_ref().strip_prefix("sha256:").map_or_else(|| digest.as_ref().replace(':', "-"), str::to_owned)
}

fn config_name(digest: &Digest) -> String {
    digits(digest) + ".json"
}

fn layer_name(digest: &Digest) -> String {
    digits(digest) + ".tar"
}

fn is_config(blob: &Descriptor) -> bool {
    *blob.media_type() == MediaType::ImageConfig || blob.media_type().as_ref() == Format::Docker.config()
}

impl Destination for DockerArchiveEntry<'_> {
    fn name(&self) -> &str {
        self.writer.out.name()
    }

    fn wants(&self) -> Wants {
        Wants::Plain
    }

    fn has(&self, blob: &Descriptor) -> Result<bool, Error> {
        let name = if is_config(blob) { config_name(blob.digest()) } else { layer_name(blob.digest()) };
        Ok(self.writer.out.has(&name))
    }

    fn put_blob(&self, blob: &mut Incoming<'_>) -> Result<(), Error> {
        let config = blob.descriptor().is_some_and(is_config);
        self.writer.out.put(blob, if config { config_name } else { layer_name })
    }

    fn put_document(&self, descriptor: &Descriptor, bytes: &[u8], _: bool) -> Result<(), Error> {
        let media_type = descriptor.media_type().to_string();
        let (document, _) = manifest::parse(bytes, &media_type, descriptor.digest())?;
        let Document::Image(manifest) = document else {
            return Err(Error::SingleOnly { destination: self.name().to_owned() });
        };
        let config = config_name(manifest.config().digest());
        let layers: Vec<_> = manifest.layers().iter().map(|layer| layer_name(layer.digest())).collect();
        for part in layers.iter().chain([&config]) {
            if !self.writer.out.has(part) {
                return Err(Error::NotInArchive { archive: self.name().to_owned(), what: part.clone() });
            }
        }
        let mut images = self.writer.images();
        match images.iter_mut().find(|known| known.config == config) {
            Some(known) => {
                let new =
                    self.tags.iter().filter(|tag| !known.tags.contains(tag)).cloned().collect::<Vec<_>>();
                known.tags.extend(new);
            }
            None => images.push(Image { config, tags: self.tags.clone(), layers }),
        }
        Ok(())
    }
}

/// An OCI layout in an archive.
#[derive(Debug)]
pub struct OciArchiveWriter {
    out: Output,
    entries: Mutex<Vec<Value>>,
}

/// One entry of it.
#[derive(Debug)]
pub struct OciArchiveEntry<'w> {
    writer: &'w OciArchiveWriter,
    entry: Option<String>,
}

impl OciArchiveWriter {
    /// A layout without images.
    pub fn new(out: Output) -> Self {
        Self { out, entries: Mutex::default() }
    }

    /// A place for one image or index under a name.
    pub fn image(&self, entry: Option<&str>) -> OciArchiveEntry<'_> {
        OciArchiveEntry { writer: self, entry: entry.map(str::to_owned) }
    }

    /// Ends the archive. Without this it does not appear.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn finish(self) -> Result<(), Error> {
        let entries = self.entries.into_inner().unwrap_or_else(|e| e.into_inner());
        let index = json!({ "schemaVersion": 2, "manifests": entries });
        self.out.document("index.json", index.to_string().as_bytes())?;
        self.out.document("oci-layout", LAYOUT)?;
        self.out.finish()
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().as_ref(), digest.digest())
}

impl Destination for OciArchiveEntry<'_> {
    fn name(&self) -> &str {
        self.writer.out.name()
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
        Ok(self.writer.out.has(&blob_name(blob.digest())))
    }

    fn put_blob(&self, blob: &mut Incoming<'_>) -> Result<(), Error> {
        self.writer.out.put(blob, blob_name)
    }

    fn put_document(&self, descriptor: &Descriptor, bytes: &[u8], top: bool) -> Result<(), Error> {
        self.writer.out.document(&blob_name(descriptor.digest()), bytes)?;
        if top {
            let mut entry =
                serde_json::to_value(descriptor).expect("invariant: a descriptor has string keys only");
            if let Some(name) = &self.entry {
                entry["annotations"] = json!({ REF_NAME: name });
            }
            self.writer.entries.lock().unwrap_or_else(|e| e.into_inner()).push(entry);
        }
        Ok(())
    }
}
