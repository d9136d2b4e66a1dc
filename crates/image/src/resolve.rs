//! From what a source was opened for to one image: every document verified.

use std::io::Read;

use loment_store::ImageId;
use oci_spec::image::{Descriptor, Digest, ImageManifest};

use crate::config::ImageConfig;
use crate::error::Error;
use crate::manifest::{self, Document, MAX_DOCUMENT};
use crate::member::path_to;
use crate::platform::Platform;
use crate::schema1;
use crate::source::{Fetched, Source};

/// Indexes inside indexes followed.
pub(crate) const MAX_NESTING: usize = 3;

/// A manifest or index whose digest has been verified.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) document: Document,
}

/// An image.
pub(crate) struct Resolved {
    /// From what the source was opened for down to the image's own manifest; never empty.
    pub(crate) documents: Vec<Verified>,
    pub(crate) manifest: ImageManifest,
    pub(crate) config: ImageConfig,
    pub(crate) config_bytes: Vec<u8>,
    pub(crate) id: ImageId,
}

impl Resolved {
    /// Of what the source was opened for.
    pub(crate) fn digest(&self) -> &Digest {
        &self.documents[0].digest
    }

    /// Of the image's own manifest.
    pub(crate) fn manifest_digest(&self) -> &Digest {
        &self.documents[self.documents.len() - 1].digest
    }
}

/// What the source was opened for.
pub(crate) fn top(source: &dyn Source) -> Result<Verified, Error> {
    let mut fetched = source.manifest(None)?;
    let required = fetched.digest.take();
    verified(format!("manifest {}", source.name()), fetched, required)
}

/// The manifest or index that an index describes.
pub(crate) fn member(source: &dyn Source, descriptor: &Descriptor) -> Result<Verified, Error> {
    let what = format!("manifest {}", descriptor.digest());
    let mut fetched = source.manifest(Some(descriptor.digest()))?;
    let (expected, found) = (descriptor.size(), fetched.bytes.len() as u64);
    if expected != found {
        return Err(Error::Size { what, expected, found });
    }
    if fetched.media_type.is_empty() {
        fetched.media_type = descriptor.media_type().to_string();
    }
    verified(what, fetched, Some(descriptor.digest().clone()))
}

fn verified(what: String, fetched: Fetched, required: Option<Digest>) -> Result<Verified, Error> {
    let Fetched { media_type, bytes, .. } = fetched;
    let size = bytes.len() as u64;
    if size > MAX_DOCUMENT {
        return Err(Error::TooLarge { what, size, limit: MAX_DOCUMENT });
    }
    let digest = match required {
        // The rest of such a document is not verified, and nothing must be read out of it.
        Some(digest) if schema1::is_of_signed_part(&bytes, &digest) => return Err(Error::Schema1 { digest }),
        Some(digest) => manifest::verify(&what, &bytes, &digest).map(|()| digest)?,
        None => loment_store::sha256(&bytes),
    };
    let (document, media_type) = manifest::parse(&bytes, &media_type, &digest)?;
    Ok(Verified { digest, media_type, bytes, document })
}

/// Follows indexes to the image with that id, whatever it is for, and its configuration. See [`path_to`].
pub(crate) fn resolve_id(source: &dyn Source, id: &ImageId, first: &Platform) -> Result<Resolved, Error> {
    let documents = path_to(source, id, first)?;
    let last = &documents[documents.len() - 1];
    let Document::Image(manifest) = &last.document else {
        return Err(Error::Nested { digest: last.digest.clone() });
    };
    manifest::check(manifest, &last.digest)?;
    let manifest = ImageManifest::clone(manifest);
    let (config, config_bytes, id) = configuration(source, &manifest)?;
    Ok(Resolved { documents, manifest, config, config_bytes, id })
}

/// Follows indexes to the image for a platform, and its configuration.
pub(crate) fn resolve(source: &dyn Source, platform: &Platform, any: bool) -> Result<Resolved, Error> {
    let mut documents = vec![top(source)?];
    loop {
        let last = &documents[documents.len() - 1];
        let next = match &last.document {
            Document::Image(manifest) => {
                manifest::check(manifest, &last.digest)?;
                let manifest = ImageManifest::clone(manifest);
                let (config, config_bytes, id) = configuration(source, &manifest)?;
                let any = any && documents.len() == 1;
                if !any && platform.accepts(&config.platform).is_none() {
                    let (reference, wanted) = (source.name().to_owned(), Box::new(platform.clone()));
                    return Err(Error::Platform { reference, wanted, available: vec![config.platform] });
                }
                return Ok(Resolved { documents, manifest, config, config_bytes, id });
            }
            Document::Index(index) if documents.len() <= MAX_NESTING => {
                member(source, manifest::choose(index, platform, source.name())?)?
            }
            Document::Index(_) => return Err(Error::Nested { digest: last.digest.clone() }),
        };
        documents.push(next);
    }
}

fn configuration(
    source: &dyn Source,
    manifest: &ImageManifest,
) -> Result<(ImageConfig, Vec<u8>, ImageId), Error> {
    let bytes = config_bytes(source, manifest)?;
    let digest = manifest.config().digest();
    let what = format!("configuration {digest}");
    let config = match ImageConfig::parse(&bytes) {
        Ok(config) => config,
        Err(source) => return Err(Error::Malformed { what, source }),
    };
    let unsupported = |_| Error::Algorithm { what, digest: digest.clone() };
    let id = ImageId::try_from(digest.clone()).map_err(unsupported)?;
    Ok((config, bytes, id))
}

/// The configuration a manifest names, verified.
pub(crate) fn config_bytes(source: &dyn Source, manifest: &ImageManifest) -> Result<Vec<u8>, Error> {
    let descriptor = manifest.config();
    let (digest, expected) = (descriptor.digest(), descriptor.size());
    let what = format!("configuration {digest}");
    if expected > MAX_DOCUMENT {
        return Err(Error::TooLarge { what, size: expected, limit: MAX_DOCUMENT });
    }
    let mut bytes = Vec::new();
    let read = source.blob(descriptor)?.take(expected + 1).read_to_end(&mut bytes);
    read.map_err(|source| Error::Blob { operation: "download", digest: digest.clone(), source })?;
    if bytes.len() as u64 != expected {
        return Err(Error::Size { what, expected, found: bytes.len() as u64 });
    }
    manifest::verify(&what, &bytes, digest)?;
    Ok(bytes)
}
