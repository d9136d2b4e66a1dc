//! Pulling again what is here: manifests and configurations that the store has are not fetched. What it gives back is held against its
//! digest, as what comes from elsewhere is.

use std::io::{Cursor, Read};
use std::ops::Range;

use loment_store::Store;
use oci_spec::image::{Descriptor, Digest};

use crate::error::Error;
use crate::source::{Fetched, Source};

/// A source whose documents are taken from the store, as far as that has them, if an image was pulled by the same name before.
pub(crate) struct Kept<'s> {
    source: &'s dyn Source,
    store: &'s Store,
    /// What the name stood for then.
    known: Option<Digest>,
}

impl<'s> Kept<'s> {
    /// What `source` has, which is to be `name` in the store.
    pub(crate) fn of(source: &'s dyn Source, store: &'s Store, name: Option<&str>) -> Result<Self, Error> {
        let named = match name.filter(|_| source.is_distant()) {
            Some(name) => store.name(name)?,
            None => None,
        };
        Ok(Self { source, store, known: named.and_then(|named| named.manifest) })
    }

    /// A document of the store, whole and right. One that is damaged is fetched.
    fn kept(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.known.as_ref().and_then(|_| self.store.blob(digest).ok())
    }
}

impl Source for Kept<'_> {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<Fetched, Error> {
        let kept = match digest {
            Some(digest) => self.kept(digest).map(|bytes| (bytes, digest.clone(), String::new())),
            None => self.known.as_ref().and_then(|known| {
                // Asked only where the answer can spare something.
                let bytes = self.kept(known)?;
                let (digest, media_type) = self.source.announced()?;
                (digest == *known).then_some((bytes, digest, media_type))
            }),
        };
        match kept {
            Some((bytes, digest, media_type)) => Ok(Fetched { media_type, digest: Some(digest), bytes }),
            None => self.source.manifest(digest),
        }
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        match self.kept(blob.digest()) {
            Some(bytes) => Ok(Box::new(Cursor::new(bytes))),
            None => self.source.blob(blob),
        }
    }

    fn size_of(&self, blob: &Digest) -> Option<u64> {
        self.source.size_of(blob)
    }

    fn is_distant(&self) -> bool {
        self.source.is_distant()
    }

    fn part(&self, blob: &Descriptor, range: Range<u64>) -> Result<Option<Box<dyn Read + Send + '_>>, Error> {
        self.source.part(blob, range)
    }

    fn other_way(&self, blob: &Descriptor, wrong: bool) -> bool {
        self.source.other_way(blob, wrong)
    }

    fn cancel(&self) {
        self.source.cancel();
    }

    fn made(&self) -> bool {
        self.source.made()
    }
}
