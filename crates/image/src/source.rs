//! Where images come from.

use std::io::Read;
use std::ops::Range;

use oci_spec::image::{Descriptor, Digest};

use crate::error::Error;
use crate::format::Format;

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

/// One image or index, wherever it is, with all it refers to. Nothing that is delivered is trusted.
pub trait Source: Sync {
    /// What it is called, for messages.
    fn name(&self) -> &str;
    /// The manifest or index that this source was opened for, or the one of this digest.
    fn manifest(&self, digest: Option<&Digest>) -> Result<Fetched, Error>;
    /// Digest and media type of what this source was opened for, if that can be asked for without fetching it. Not verified.
    fn announced(&self) -> Option<(Digest, String)> {
        None
    }
    /// A blob from its start.
    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error>;
    /// Bytes of a blob, if that can be asked for without fetching it.
    fn size_of(&self, _blob: &Digest) -> Option<u64> {
        None
    }
    /// Whether blobs come from elsewhere, so that what has come of one is worth keeping.
    fn is_distant(&self) -> bool {
        false
    }
    /// Some bytes of a blob, over a way of their own; `None` where there is no other way than the one from the start.
    fn part(
        &self,
        _blob: &Descriptor,
        _range: Range<u64>,
    ) -> Result<Option<Box<dyn Read + Send + '_>>, Error> {
        Ok(None)
    }
    /// Whether a blob that did not come as it should is worth asking for again, because it comes from elsewhere then. `wrong`: its
    /// bytes were not those of the blob, rather than too few.
    fn other_way(&self, _blob: &Descriptor, _wrong: bool) -> bool {
        false
    }
    /// Ends what is waited for, because nobody wants it any more. Nothing more is delivered.
    fn cancel(&self) {}
    /// Ends what is waited for of one blob, because what has come of it was not right. Nothing more of it is delivered until
    /// [`begin_blob`](Self::begin_blob).
    fn cancel_blob(&self, _blob: &Descriptor) {}
    /// Says that a blob is asked for anew, after whatever was asked for of it has ended.
    fn begin_blob(&self, _blob: &Descriptor) {}
    /// Whether its manifests are made while it is read, so that nobody knows them by their digests.
    fn made(&self) -> bool {
        false
    }
}

/// The manifest of a source that makes it, in that format. It has no other, and none that could be asked for by its digest.
pub(crate) fn made_manifest(
    place: &str,
    asked: Option<&Digest>,
    format: Format,
    manifest: &[u8],
) -> Result<Fetched, Error> {
    match asked {
        Some(digest) => Err(Error::not_there(place, format!("manifest {digest}"))),
        None => {
            Ok(Fetched { media_type: format.manifest().to_owned(), digest: None, bytes: manifest.to_vec() })
        }
    }
}
