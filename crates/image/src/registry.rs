//! Images in registries: the `docker:` transport.

use std::io::Read;

use loment_registry::Registry;
use oci_spec::image::{Descriptor, Digest};

use crate::error::Error;
use crate::reference::Reference;
use crate::source::{Fetched, Source};

/// What a reference names in a registry.
#[derive(Debug)]
pub struct RegistrySource<'r> {
    registry: &'r Registry,
    repository: String,
    manifest: String,
    digest: Option<Digest>,
    name: String,
}

impl<'r> RegistrySource<'r> {
    /// What `reference` names; its domain must be the one `registry` was made for.
    pub fn new(registry: &'r Registry, reference: &Reference) -> Self {
        Self {
            registry,
            repository: reference.path().to_owned(),
            manifest: reference.manifest().to_owned(),
            digest: reference.digest().cloned(),
            name: reference.store_name(),
        }
    }
}

impl Source for RegistrySource<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<Fetched, Error> {
        let which = digest.map_or(self.manifest.as_str(), |digest| digest.as_ref());
        let manifest = self.registry.manifest(&self.repository, which)?;
        // What was asked for by its digest has that, whatever the registry says.
        let wanted = if digest.is_none() { self.digest.clone() } else { None };
        let digest = wanted.or(manifest.digest);
        Ok(Fetched { media_type: manifest.media_type, digest, bytes: manifest.bytes })
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        Ok(Box::new(self.registry.blob(&self.repository, blob.digest(), 0)?))
    }
}
