//! Images in registries: the `docker:` transport.

use std::io::Read;

use loment_registry::{Mount, Registry};
use oci_spec::image::{Descriptor, Digest};

use crate::destination::{Destination, Incoming};
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

/// Where a reference is to point in a registry.
#[derive(Debug)]
pub struct RegistryDestination<'r> {
    registry: &'r Registry,
    repository: String,
    manifest: String,
    /// A repository of the same registry that may have the blobs.
    near: Option<String>,
    name: String,
}

impl<'r> RegistryDestination<'r> {
    /// What `reference` names; its domain must be the one `registry` was made for.
    pub fn new(registry: &'r Registry, reference: &Reference) -> Self {
        Self {
            registry,
            repository: reference.path().to_owned(),
            manifest: reference.manifest().to_owned(),
            near: None,
            name: reference.store_name(),
        }
    }

    /// The same, where blobs may be taken from another repository of the registry without their bytes.
    pub fn near(self, repository: &str) -> Self {
        let near = Some(repository.to_owned()).filter(|near| *near != self.repository);
        Self { near, ..self }
    }
}

impl Destination for RegistryDestination<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn has(&self, blob: &Descriptor) -> Result<bool, Error> {
        match self.registry.head_blob(&self.repository, blob.digest()) {
            Ok(_) => return Ok(true),
            // A repository that does not exist yet may look like one that is somebody else's.
            Err(
                loment_registry::Error::NotFound { .. }
                | loment_registry::Error::Missing { .. }
                | loment_registry::Error::Denied { .. },
            ) => {}
            Err(error) => return Err(error.into()),
        }
        let Some(near) = &self.near else { return Ok(false) };
        match self.registry.mount(&self.repository, blob.digest(), Some(near))? {
            Mount::Done => Ok(true),
            Mount::Upload(upload) => {
                // Nothing is in it: whether the registry hears that it is not wanted is its own affair.
                let _ = upload.cancel();
                Ok(false)
            }
        }
    }

    fn put_blob(&self, blob: &mut Incoming<'_>) -> Result<(), Error> {
        let mut upload = self.registry.upload(&self.repository)?;
        let length = blob.descriptor().map(Descriptor::size);
        let sent = upload.send(blob, length).map_err(Error::from).and_then(|()| blob.end(&self.name));
        match sent {
            Ok((digest, _)) => Ok(upload.finish(&digest)?),
            Err(error) => {
                // The first error is the one to tell.
                let _ = upload.cancel();
                Err(error)
            }
        }
    }

    fn put_document(&self, descriptor: &Descriptor, bytes: &[u8], top: bool) -> Result<(), Error> {
        let reference = if top { self.manifest.as_str() } else { descriptor.digest().as_ref() };
        let media_type = descriptor.media_type().to_string();
        self.registry.put_manifest(&self.repository, reference, &media_type, bytes)?;
        Ok(())
    }
}
