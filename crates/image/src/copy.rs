//! Copying an image from anywhere to anywhere but the store, as it is.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use oci_spec::image::{Descriptor, Digest, MediaType};

use crate::crew::{self, Hand};
use crate::destination::{Destination, Incoming, Watched};
use crate::error::Error;
use crate::manifest::{self, Document};
use crate::platform::Platform;
use crate::pull::Progress;
use crate::resolve::{MAX_NESTING, Verified, member, top};
use crate::source::Source;

/// Largest sum of the documents of an index with all that it lists. Those of the largest known ones are some 100 KiB.
const MAX_DOCUMENTS: u64 = 64 << 20;

/// Which images of an index are copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Images {
    /// The one for a platform. The index is left behind.
    One(Platform),
    /// The index with all that it lists.
    All,
}

/// How to copy.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    /// Which images of an index.
    pub images: Images,
    /// Blobs copied at the same time.
    pub parallel: usize,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self { images: Images::One(Platform::host()), parallel: 4 }
    }
}

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Of what the destination shows now, manifest or index.
    pub digest: Digest,
    /// Blobs that had to be sent.
    pub sent: usize,
}

/// Copies what a source was opened for. Starts threads, so never before a clone.
///
/// # Errors
/// Everything that does not match what was announced. The destination shows what it showed before then.
pub fn copy(
    source: &dyn Source,
    destination: &dyn Destination,
    options: &CopyOptions,
    progress: &mut dyn Progress,
) -> Result<Copied, Error> {
    let mut documents = Vec::new();
    match &options.images {
        Images::All => gather(source, top(source)?, 0, &mut documents)?,
        Images::One(platform) => documents.push(choose(source, platform)?),
    }
    let mut seen = HashSet::new();
    let mut blobs: Vec<Descriptor> = documents.iter().flat_map(blobs).cloned().collect();
    blobs.retain(|blob| seen.insert(blob.digest().clone()));
    progress.layers(&blobs);
    let (_, sent) = crew::run(&blobs, options.parallel, progress, &|index, hand| {
        send(source, destination, &blobs[index], hand).map(|sent| ((), sent))
    })?;
    let last = documents.len() - 1;
    for (position, document) in documents.iter().enumerate() {
        destination.put_document(&described(document), &document.bytes, position == last)?;
    }
    Ok(Copied { digest: documents[last].digest.clone(), sent })
}

fn described(document: &Verified) -> Descriptor {
    let media_type = MediaType::from(document.media_type.as_str());
    Descriptor::new(media_type, document.bytes.len() as u64, document.digest.clone())
}

/// The image for a platform.
fn choose(source: &dyn Source, platform: &Platform) -> Result<Verified, Error> {
    let mut document = top(source)?;
    for _ in 0..=MAX_NESTING {
        let Document::Index(index) = &document.document else { return Ok(document) };
        document = member(source, manifest::choose(index, platform, source.name())?)?;
    }
    Err(Error::Nested { digest: document.digest })
}

/// A document behind all that it lists.
fn gather(
    source: &dyn Source,
    document: Verified,
    depth: usize,
    documents: &mut Vec<Verified>,
) -> Result<(), Error> {
    if documents.iter().any(|known| known.digest == document.digest) {
        return Ok(());
    }
    let size = documents.iter().chain([&document]).map(|known| known.bytes.len() as u64).sum();
    if size > MAX_DOCUMENTS {
        let what = format!("the index {} with all that it lists", source.name());
        return Err(Error::TooLarge { what, size, limit: MAX_DOCUMENTS });
    }
    if let Document::Index(index) = &document.document {
        if depth > MAX_NESTING {
            return Err(Error::Nested { digest: document.digest });
        }
        for entry in index.manifests() {
            gather(source, member(source, entry)?, depth + 1, documents)?;
        }
    }
    documents.push(document);
    Ok(())
}

/// What a manifest refers to, its configuration last: who has that has the rest.
fn blobs(document: &Verified) -> impl Iterator<Item = &Descriptor> {
    let manifest = match &document.document {
        Document::Image(manifest) => Some(manifest),
        Document::Index(_) => None,
    };
    manifest.into_iter().flat_map(|manifest| manifest.layers().iter().chain([manifest.config()]))
}

/// Sends one blob; `false` when it was there.
fn send(
    source: &dyn Source,
    destination: &dyn Destination,
    blob: &Descriptor,
    hand: &Hand<'_>,
) -> Result<bool, Error> {
    if destination.has(blob)? {
        return Ok(false);
    }
    let mut watched = Watched { bytes: source.blob(blob)?, hand };
    let result = Incoming::expected(blob, &mut watched).and_then(|mut b| destination.put_blob(&mut b));
    match result {
        Err(_) if hand.cancelled.load(Ordering::Relaxed) => {
            Err(Error::Cancelled { digest: blob.digest().clone() })
        }
        result => result.map(|()| true),
    }
}
