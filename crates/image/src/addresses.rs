//! Layers that are not where their image is, but at addresses that its manifest names.

use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use loment_registry::{Blob, FileUrl, Options};
use oci_spec::image::{Descriptor, Digest};

use crate::ends::Ends;
use crate::error::Error;
use crate::manifest::is_elsewhere;
use crate::source::{Fetched, Source};

/// Addresses of a layer that are tried.
const MAX_ADDRESSES: usize = 8;

/// Which addresses have been tried.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    /// The one that has delivered last, or is the next to be asked.
    at: Mutex<HashMap<Digest, usize>>,
}

impl Addresses {
    fn at(&self) -> MutexGuard<'_, HashMap<Digest, usize>> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A blob from the first of its addresses that answers, but for those that were passed over.
    pub(crate) fn open(
        &self,
        blob: &Descriptor,
        name: &str,
        fetch: impl Fn(&FileUrl) -> Result<Blob, loment_registry::Error>,
    ) -> Result<Blob, Error> {
        let mut failed = None;
        let first = self.at().get(blob.digest()).copied().unwrap_or_default();
        for (position, url) in addresses(blob).enumerate().skip(first) {
            match url.parse::<FileUrl>().and_then(|url| fetch(&url)) {
                Ok(bytes) => {
                    self.at().insert(blob.digest().clone(), position);
                    return Ok(bytes);
                }
                Err(error) => failed = Some(error),
            }
        }
        let source = failed.ok_or_else(|| Error::Nowhere { name: name.to_owned() })?;
        Err(Error::Elsewhere { digest: blob.digest().clone(), source: Box::new(source) })
    }

    /// Passes over the address that has delivered a blob; whether there is another. `None` when none has.
    pub(crate) fn pass_over(&self, blob: &Descriptor) -> Option<bool> {
        let mut at = self.at();
        let position = at.get_mut(blob.digest())?;
        *position += 1;
        Some(*position < addresses(blob).count())
    }
}

/// Where its manifest says that a blob is.
fn addresses(blob: &Descriptor) -> impl Iterator<Item = &String> {
    blob.urls().iter().flatten().take(MAX_ADDRESSES)
}

/// A source that may lack layers which are elsewhere: an OCI layout. containers/image fetches those of layouts, too, and does not
/// those of its plain directories.
pub struct WithAddresses<'s> {
    inner: &'s dyn Source,
    options: &'s (dyn Fn(&FileUrl) -> Options + Sync),
    addresses: Addresses,
    ends: Ends,
}

impl fmt::Debug for WithAddresses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithAddresses").field("of", &self.inner.name()).finish_non_exhaustive()
    }
}

impl<'s> WithAddresses<'s> {
    /// `inner`, and how what is at an address is fetched.
    pub fn new(inner: &'s dyn Source, options: &'s (dyn Fn(&FileUrl) -> Options + Sync)) -> Self {
        Self { inner, options, addresses: Addresses::default(), ends: Ends::new() }
    }
}

impl Source for WithAddresses<'_> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<Fetched, Error> {
        self.inner.manifest(digest)
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        match self.inner.blob(blob) {
            Err(error) if error.is_missing_file() && is_elsewhere(blob) => {
                let cancel = self.ends.of(blob.digest());
                let fetch = |url: &FileUrl| url.fetch_unless((self.options)(url), &cancel);
                Ok(Box::new(self.addresses.open(blob, self.name(), fetch)?))
            }
            result => result,
        }
    }

    fn size_of(&self, blob: &Digest) -> Option<u64> {
        self.inner.size_of(blob)
    }

    fn part(&self, blob: &Descriptor, range: Range<u64>) -> Result<Option<Box<dyn Read + Send + '_>>, Error> {
        self.inner.part(blob, range)
    }

    fn other_way(&self, blob: &Descriptor, wrong: bool) -> bool {
        self.addresses.pass_over(blob).unwrap_or_else(|| self.inner.other_way(blob, wrong))
    }

    fn cancel(&self) {
        self.ends.end_all();
        self.inner.cancel();
    }

    fn cancel_blob(&self, blob: &Descriptor) {
        self.ends.end(blob.digest());
        self.inner.cancel_blob(blob);
    }

    fn begin_blob(&self, blob: &Descriptor) {
        self.ends.begin(blob.digest());
        self.inner.begin_blob(blob);
    }

    fn made(&self) -> bool {
        self.inner.made()
    }
}
