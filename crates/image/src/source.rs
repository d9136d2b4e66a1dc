//! Where images come from.

use std::io::Read;

use loment_registry::Registry;
use oci_spec::image::Digest;

use crate::error::Error;
use crate::reference::Reference;

/// A manifest as delivered, not verified.
#[derive(Debug)]
pub struct Fetched {
    /// As announced; may be empty.
    pub media_type: String,
    /// As announced.
    pub digest: Option<Digest>,
    /// The document.
    pub bytes: Vec<u8>,
}

/// One repository of images: in a registry, in a directory. Nothing it delivers is trusted.
pub trait Source: Sync {
    /// A manifest or index by tag or digest.
    fn manifest(&self, reference: &str) -> Result<Fetched, Error>;
    /// A blob from its start.
    fn blob(&self, digest: &Digest) -> Result<Box<dyn Read + Send + '_>, Error>;
}

/// A repository of a registry.
#[derive(Debug)]
pub struct RegistrySource<'r> {
    registry: &'r Registry,
    repository: String,
}

impl<'r> RegistrySource<'r> {
    /// The repository `reference` names; its domain must be the one `registry` was made for.
    pub fn new(registry: &'r Registry, reference: &Reference) -> Self {
        Self { registry, repository: reference.path().to_owned() }
    }
}

impl Source for RegistrySource<'_> {
    fn manifest(&self, reference: &str) -> Result<Fetched, Error> {
        let manifest = self.registry.manifest(&self.repository, reference)?;
        Ok(Fetched { media_type: manifest.media_type, digest: manifest.digest, bytes: manifest.bytes })
    }

    fn blob(&self, digest: &Digest) -> Result<Box<dyn Read + Send + '_>, Error> {
        Ok(Box::new(self.registry.blob(&self.repository, digest, 0)?))
    }
}
