//! Images sent to registries: the `docker:` transport's destination.

use std::io::{self, Read};

use loment_registry::{Cancel, Mount, Registry, Upload};
use oci_spec::image::Descriptor;

use crate::destination::{Destination, Incoming, Make, Wants};
use crate::error::Error;
use crate::near::Near;
use crate::reference::Reference;

/// Blobs of so many bytes are sent as a whole, which spares a request: configurations are, above all.
const SMALL: u64 = 64 << 10;

/// Where a reference is to point in a registry.
#[derive(Debug)]
pub struct RegistryDestination {
    registry: Registry,
    cancel: Cancel,
    repository: String,
    manifest: String,
    near: Near,
    name: String,
    full_repository: String,
}

impl RegistryDestination {
    /// What `reference` names; its domain must be the one `registry` was made for.
    pub fn new(registry: &Registry, reference: &Reference) -> Self {
        let cancel = Cancel::new();
        Self {
            registry: registry.ended_by(&cancel),
            cancel,
            repository: reference.path().to_owned(),
            manifest: reference.manifest().to_owned(),
            near: Near::default(),
            name: reference.store_name(),
            full_repository: reference.name(),
        }
    }

    /// The same, where blobs may be taken from other repositories of the registry without their bytes.
    pub fn near(self, near: Near) -> Self {
        Self { near, ..self }
    }
}

impl RegistryDestination {
    /// Sends all of a small blob.
    fn send_whole(&self, blob: &mut Incoming<'_>) -> Result<(), Error> {
        let mut bytes = Vec::new();
        let read = blob.read_to_end(&mut bytes);
        read.map_err(|source| Error::Copy { blob: format!("for {}", self.name), source })?;
        let (digest, _) = blob.finish(&self.name)?;
        Ok(self.registry.put_blob(&self.repository, &digest, &bytes)?)
    }

    /// Sends what the registry lacks of a blob. The rest of it is read, too, as far as it comes: its digest is that of all of it.
    fn send(&self, blob: &mut Incoming<'_>, upload: &mut Upload) -> Result<(), Error> {
        let there = upload.offset();
        let known = there.saturating_sub(blob.position());
        let passed = io::copy(&mut blob.take(known), &mut io::sink());
        passed.map_err(|source| Error::Copy { blob: format!("for {}", self.name), source })?;
        let length = blob.descriptor().map(|descriptor| descriptor.size().saturating_sub(there));
        upload.send(blob, length)?;
        let (digest, _) = blob.end(&self.name)?;
        Ok(upload.finish(&digest)?)
    }
}

impl Destination for RegistryDestination {
    fn name(&self) -> &str {
        &self.name
    }

    fn wants(&self) -> Wants {
        Wants::Compressed
    }

    fn takes_addresses(&self) -> bool {
        true
    }

    fn repository(&self) -> Option<&str> {
        Some(&self.full_repository)
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
        for near in self.near.of(blob.digest(), &self.repository) {
            match self.registry.mount(&self.repository, blob.digest(), Some(near)) {
                Ok(Mount::Done) => return Ok(true),
                // Nothing is in it: whether the registry hears that it is not wanted is its own affair.
                Ok(Mount::Upload(upload)) => drop(upload.cancel()),
                // A favour that was not done. Whatever is wrong, the upload will hear of it.
                Err(_) => break,
            }
        }
        Ok(false)
    }

    fn put_blob(&self, blob: &mut Incoming<'_>) -> Result<(), Error> {
        match is_small(blob) {
            true => self.send_whole(blob),
            false => self.send(blob, &mut self.registry.upload(&self.repository)?),
        }
    }

    /// What breaks off goes on where the registry stands, or from the start: [`Upload::recover`].
    fn put(&self, make: &mut Make<'_>) -> Result<(), Error> {
        let mut upload: Option<Upload> = None;
        loop {
            let made = make(upload.as_ref().map_or(0, Upload::offset), &mut |blob| match &mut upload {
                Some(upload) => self.send(blob, upload),
                None if is_small(blob) => self.send_whole(blob),
                none => self.send(blob, none.insert(self.registry.upload(&self.repository)?)),
            });
            let error = match (made, &mut upload) {
                (Ok(()), _) => return Ok(()),
                (Err(Error::Registry(error)), Some(upload)) => match upload.recover(error) {
                    Ok(_) => continue,
                    Err(error) => error.into(),
                },
                (Err(error), _) => error,
            };
            if let Some(upload) = upload {
                // The first error is the one to tell.
                let _ = upload.cancel();
            }
            return Err(error);
        }
    }

    fn cancel(&self) {
        self.cancel.cancel();
    }

    fn put_document(&self, descriptor: &Descriptor, bytes: &[u8], top: bool) -> Result<(), Error> {
        let reference = if top { self.manifest.as_str() } else { descriptor.digest().as_ref() };
        let media_type = descriptor.media_type().to_string();
        self.registry.put_manifest(&self.repository, reference, &media_type, bytes)?;
        Ok(())
    }
}

/// Whether all of a blob is to be sent, and that is little.
fn is_small(blob: &Incoming<'_>) -> bool {
    blob.position() == 0 && blob.descriptor().is_some_and(|descriptor| descriptor.size() <= SMALL)
}
