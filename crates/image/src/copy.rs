//! Copying an image from anywhere to anywhere but the store: as it is, or in another form.

use std::collections::{HashMap, HashSet};

use oci_spec::image::{Descriptor, Digest, MediaType};

use crate::archive::Scratch;
use crate::budget::Memory;
use crate::compress::Compression;
use crate::convert::{Goal, Transfer};
use crate::crew;
use crate::destination::{Destination, Wants};
use crate::error::Error;
use crate::format::{self, Format, Sent};
use crate::manifest::{self, Document};
use crate::platform::Platform;
use crate::pull::Progress;
use crate::resolve::{MAX_NESTING, Verified, member, top};
use crate::schema1::Converted;
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
    /// The index only, for who has the rest.
    Index,
}

/// What becomes of layers on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layers {
    /// They stay as they are, unless the destination takes no such ones.
    #[default]
    Keep,
    /// Plain ones are compressed, the others stay.
    Compress(Compression),
    /// All get this form.
    As(Compression),
}

/// How to copy.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    /// Which images of an index.
    pub images: Images,
    /// Blobs copied at the same time.
    pub parallel: usize,
    /// Of manifests; `None` keeps the one they have, unless it has no word for the layers.
    pub format: Option<Format>,
    /// What becomes of layers.
    pub layers: Layers,
    /// See [`Compression::levels`].
    pub level: Option<i32>,
    /// Fail rather than change what a digest is known of.
    pub preserve_digests: bool,
    /// Leave plain layers so where nobody could know how they are to be.
    pub accept_plain: bool,
    /// Find out what a layer becomes before it is sent, at the price of making it twice: it may be there.
    pub precompute: bool,
    /// Room for layers of images in Docker's first format, which are refused without it.
    pub scratch: Option<Scratch>,
    /// Of what a manifest refers to, these blobs only, for who wants to look at them: as they are.
    pub only: Option<Vec<Digest>>,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            images: Images::One(Platform::host()),
            parallel: 4,
            format: None,
            layers: Layers::Keep,
            level: None,
            preserve_digests: false,
            accept_plain: false,
            precompute: false,
            scratch: None,
            only: None,
        }
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
/// Configurations keep their bytes and so images their ids. A manifest is written anew only when something in it has changed.
///
/// # Errors
/// Everything that does not match what was announced. The destination shows what it showed before then.
pub fn copy(
    source: &dyn Source,
    destination: &dyn Destination,
    options: &CopyOptions,
    progress: &mut dyn Progress,
) -> Result<Copied, Error> {
    match copy_as_it_is(source, destination, options, progress) {
        Err(Error::Schema1 { digest }) => {
            let scratch = options.scratch.as_ref().ok_or(Error::Schema1 { digest })?;
            let converted = Converted::open(source, scratch, |_| Ok(()))?;
            copy_as_it_is(&converted, destination, options, progress)
        }
        result => result,
    }
}

/// Copies what is no image of Docker's first format.
fn copy_as_it_is(
    source: &dyn Source,
    destination: &dyn Destination,
    options: &CopyOptions,
    progress: &mut dyn Progress,
) -> Result<Copied, Error> {
    let mut documents = Vec::new();
    match &options.images {
        Images::All => gather(source, top(source)?, 0, &mut documents)?,
        Images::One(platform) => documents.push(choose(source, platform)?),
        Images::Index => documents.push(top(source)?),
    }
    let lists = documents.iter().any(|document| matches!(document.document, Document::Index(_)));
    if lists && destination.wants() == Wants::Plain {
        return Err(Error::SingleOnly { destination: destination.name().to_owned() });
    }
    let transfer = Transfer {
        source,
        destination,
        goal: goal(source, destination, options),
        options,
        memory: Memory::new(destination.wants().parallel(options.parallel), 1),
    };
    let mut seen = HashSet::new();
    let mut blobs: Vec<(Descriptor, Goal)> =
        documents.iter().flat_map(|document| parts(document, transfer.goal)).collect();
    blobs.retain(|(blob, _)| seen.insert(blob.digest().clone()));
    if let Some(only) = &options.only {
        if let Some(unknown) = only.iter().find(|one| !seen.contains(*one)) {
            return Err(Error::not_there(source.name(), format!("blob {unknown}")));
        }
        blobs.retain(|(blob, _)| only.contains(blob.digest()));
    }
    let descriptors: Vec<_> = blobs.iter().map(|(blob, _)| blob.clone()).collect();
    progress.layers(&descriptors);
    let cancel = || {
        source.cancel();
        destination.cancel();
    };
    let parallel = transfer.memory.parallel;
    let (sent, count) = crew::run(&descriptors, parallel, progress, &cancel, &|index, hand| {
        transfer.send(&blobs[index].0, blobs[index].1, hand)
    })?;
    let sent: HashMap<Digest, Sent> =
        descriptors.iter().map(|blob| blob.digest().clone()).zip(sent).collect();
    let format = options.format.or(destination.format());
    let mut changed = HashMap::new();
    let last = documents.len() - 1;
    let mut digest = documents[last].digest.clone();
    progress.manifest();
    for (position, document) in documents.iter().enumerate() {
        let written = rewritten(document, &sent, &changed, format)?;
        let (described, bytes) = match &written {
            None => (described(document), &document.bytes),
            Some((descriptor, bytes)) => (descriptor.clone(), bytes),
        };
        if written.is_some() && options.preserve_digests && !source.made() {
            return Err(preserve(format!("manifest {}", document.digest), destination));
        }
        destination.put_document(&described, bytes, position == last)?;
        digest = described.digest().clone();
        changed.insert(document.digest.clone(), described);
    }
    Ok(Copied { digest, sent: count })
}

pub(crate) fn preserve(what: String, destination: &dyn Destination) -> Error {
    Error::Preserve { what, destination: destination.name().to_owned() }
}

/// What becomes of layers, given what both sides are.
fn goal(source: &dyn Source, destination: &dyn Destination, options: &CopyOptions) -> Goal {
    match (destination.wants(), options.layers) {
        (Wants::Plain, _) => Goal::As(Compression::None),
        // Whoever made the manifest up could not know how layers are to be.
        (Wants::Compressed, Layers::Keep) if source.made() && !options.accept_plain => {
            Goal::Compress(Compression::Gzip)
        }
        (_, Layers::Keep) => Goal::Keep,
        (_, Layers::Compress(compression)) => Goal::Compress(compression),
        (_, Layers::As(compression)) => Goal::As(compression),
    }
}

fn described(document: &Verified) -> Descriptor {
    let media_type = MediaType::from(document.media_type.as_str());
    Descriptor::new(media_type, document.bytes.len() as u64, document.digest.clone())
}

/// A document as it must be after what it lists has changed; `None` when it stays.
fn rewritten(
    document: &Verified,
    sent: &HashMap<Digest, Sent>,
    changed: &HashMap<Digest, Descriptor>,
    format: Option<Format>,
) -> Result<Option<(Descriptor, Vec<u8>)>, Error> {
    let from = Format::of(&document.media_type);
    let (bytes, media_type) = match &document.document {
        Document::Image(manifest) => {
            let layers: Vec<_> = manifest
                .layers()
                .iter()
                .filter_map(|layer| Some((layer, sent.get(layer.digest())?.clone())))
                .collect();
            let is_image = manifest::check(manifest, &document.digest).is_ok();
            let new_zstd = |(layer, sent): &(&Descriptor, Sent)| {
                sent.compression == Compression::Zstd && *layer.digest() != sent.digest
            };
            let to = match format {
                // Of other things than images there is one format only.
                Some(format) if is_image => format,
                _ if layers.iter().any(new_zstd) => Format::Oci,
                _ => from,
            };
            (format::rewrite(&document.bytes, &document.digest, from, to, &layers)?, to.manifest())
        }
        Document::Index(_) => {
            let to = format.unwrap_or(from);
            (format::rewrite_index(&document.bytes, &document.digest, from, to, changed)?, to.index())
        }
    };
    Ok(bytes.map(|bytes| {
        let digest = loment_store::sha256(&bytes);
        (Descriptor::new(MediaType::from(media_type), bytes.len() as u64, digest), bytes)
    }))
}

/// The image for a platform.
pub(crate) fn choose(source: &dyn Source, platform: &Platform) -> Result<Verified, Error> {
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
fn parts(document: &Verified, goal: Goal) -> Vec<(Descriptor, Goal)> {
    let Document::Image(manifest) = &document.document else { return Vec::new() };
    // What is no image has blobs, but no layers that could be unpacked.
    let goal = if manifest::check(manifest, &document.digest).is_ok() { goal } else { Goal::Keep };
    let layers = manifest.layers().iter().map(|layer| (layer.clone(), goal));
    layers.chain([(manifest.config().clone(), Goal::Keep)]).collect()
}
