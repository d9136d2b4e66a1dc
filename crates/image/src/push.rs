//! From the store to a destination: an image that is unpacked becomes layers again.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use loment_store::{ImageId, Layer, LayerBlob, Lease, Store};
use oci_spec::image::{Descriptor, Digest, ImageManifest, MediaType};

use crate::budget::Memory;
use crate::compress::{Compression, Compressor};
use crate::copy::Copied;
use crate::crew::{self, Hand, Outcome};
use crate::destination::{Destination, Incoming, Take, Wants, Watched};
use crate::error::Error;
use crate::format::{Format, Sent, compression_of, rewrite};
use crate::manifest::{self, Document, is_elsewhere};
use crate::pipe::{PipeSink, pipe};
use crate::pull::Progress;

/// How an image of the store is sent.
#[derive(Clone, Debug)]
pub struct PushOptions {
    /// Of the manifest; `None` keeps the one it has, unless it has no word for the layers.
    pub format: Option<Format>,
    /// Of layers that the destination lacks.
    pub compression: Compression,
    /// See [`Compression::levels`].
    pub level: Option<i32>,
    /// Send layers in that compression, whatever the destination has.
    pub force_compression: bool,
    /// Layers sent at the same time.
    pub parallel: usize,
    /// Find out what a layer becomes before it is sent, at the price of making it twice: it may be there.
    pub precompute: bool,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self {
            format: None,
            compression: Compression::Gzip,
            level: None,
            force_compression: false,
            parallel: 4,
            precompute: false,
        }
    }
}

/// Sends an image. `preferred` is the one of its manifests that a name came with. Starts threads, so never before a clone.
///
/// A layer that the destination has is not sent. Others are compressed anew, since the store keeps them unpacked: the manifest then
/// has other digests than the one the image was pulled by, the image has the same id.
///
/// # Errors
/// [`Error::Store`], [`Error::Registry`] and others. The destination shows what it showed before then.
pub fn push(
    store: &Store,
    image: &ImageId,
    preferred: Option<&Digest>,
    destination: &dyn Destination,
    options: &PushOptions,
    progress: &mut dyn Progress,
) -> Result<Copied, Error> {
    let lease = store.lease()?;
    let unknown = || loment_store::Error::ImageNotKnown { name: image.hex().to_owned() };
    let record = store.image(image)?.ok_or_else(unknown)?;
    let candidates = preferred.into_iter().chain(&record.manifests);
    let known = own_manifest(store, &lease, image, candidates)?;
    let layers = protected(&lease, &record.layers)?;
    if known.manifest.layers().len() != layers.len() {
        let (layers, diff_ids) = (known.manifest.layers().len(), layers.len());
        return Err(Error::LayerCount { digest: known.digest, layers, diff_ids });
    }
    progress.layers(known.manifest.layers());
    let memory = Memory::new(destination.wants().parallel(options.parallel), 1);
    let job = Job { layers: &layers, descriptors: known.manifest.layers(), destination, options, memory };
    let (parallel, cancel) = (job.memory.parallel, || destination.cancel());
    let (sent, count) =
        crew::run(job.descriptors, parallel, progress, &cancel, &|index, hand| job.send(index, hand))?;
    for ((layer, (sent, made)), described) in layers.iter().zip(&sent).zip(job.descriptors) {
        // So that the next push finds it there, or takes it from there.
        let media_type = Format::Oci.layer(sent.compression).unwrap_or_default().to_owned();
        let is_there = !(is_elsewhere(described) && destination.takes_addresses());
        let sent_to = destination.repository().filter(|_| is_there).map(str::to_owned).into_iter().collect();
        let blob = LayerBlob { digest: sent.digest.clone(), size: sent.size, media_type, sent_to };
        // What a manifest says unpacks to it, and nobody has looked at, counts for that manifest only.
        if *made || layer.blobs().iter().any(|known| known.digest == blob.digest) {
            store.add_blob(layer.diff_id(), blob)?;
        }
    }
    let config = known.manifest.config();
    let config_bytes = store.blob(config.digest())?;
    progress.config(config);
    if !destination.has(config)? {
        destination.put(&mut |_, take| take(&mut Incoming::expected(config, &mut &config_bytes[..])?))?;
    }
    let from = Format::of(&known.media_type);
    let zstd = sent.iter().any(|(sent, _)| sent.compression == Compression::Zstd);
    let to = options.format.or(destination.format()).unwrap_or(if zstd { Format::Oci } else { from });
    let pairs: Vec<_> = known.manifest.layers().iter().zip(sent.into_iter().map(|(sent, _)| sent)).collect();
    let (bytes, digest, media_type) = match rewrite(&known.bytes, &known.digest, from, to, &pairs)? {
        None => (known.bytes, known.digest, known.media_type),
        Some(bytes) => {
            let digest = loment_store::sha256(&bytes);
            (bytes, digest, to.manifest().to_owned())
        }
    };
    let media_type = MediaType::from(media_type.as_str());
    let descriptor = Descriptor::new(media_type, bytes.len() as u64, digest.clone());
    progress.manifest();
    destination.put_document(&descriptor, &bytes, true)?;
    Ok(Copied { digest, sent: count })
}

/// The layers that a manifest of the store lists, lowest first; none for an index.
///
/// # Errors
/// [`Error::Store`], [`Error::Malformed`].
pub fn layer_blobs(store: &Store, manifest: &Digest) -> Result<Vec<Digest>, Error> {
    let bytes = store.blob(manifest)?;
    Ok(match manifest::parse(&bytes, "", manifest)?.0 {
        Document::Image(manifest) => manifest.layers().iter().map(|layer| layer.digest().clone()).collect(),
        Document::Index(_) => Vec::new(),
    })
}

/// A manifest of the store.
struct Known {
    digest: Digest,
    media_type: String,
    bytes: Vec<u8>,
    manifest: ImageManifest,
}

/// The first of some documents that is the image's own manifest.
fn own_manifest<'d>(
    store: &Store,
    lease: &Lease,
    image: &ImageId,
    candidates: impl Iterator<Item = &'d Digest>,
) -> Result<Known, Error> {
    for digest in candidates {
        let bytes = store.blob(digest)?;
        let (document, media_type) = manifest::parse(&bytes, "", digest)?;
        if let Document::Image(manifest) = document
            && manifest.config().digest() == image.digest()
        {
            // It stays while it is sent.
            lease.put_blob(digest, &bytes)?;
            return Ok(Known { digest: digest.clone(), media_type, bytes, manifest: *manifest });
        }
    }
    Err(loment_store::Error::BlobMissing { digest: image.digest().clone() }.into())
}

/// Layers that stay while they are sent.
fn protected(lease: &Lease, ids: &[loment_store::DiffId]) -> Result<Vec<Layer>, Error> {
    let find = |id: &loment_store::DiffId| {
        let problem = "it is not there";
        let missing = || loment_store::Error::CorruptLayer { layer: id.clone(), problem };
        Ok(lease.layer(id)?.ok_or_else(missing)?)
    };
    ids.iter().map(find).collect()
}

/// Who is told how a layer gets on.
#[derive(Clone, Copy)]
struct Watching<'h> {
    hand: &'h Hand<'h>,
    /// See [`Watched::new`].
    told: &'h AtomicU64,
}

/// All layers of an image on their way.
struct Job<'j> {
    layers: &'j [Layer],
    /// In the image's manifest.
    descriptors: &'j [Descriptor],
    destination: &'j dyn Destination,
    options: &'j PushOptions,
    memory: Memory,
}

impl Job<'_> {
    /// Sees to it that the destination has a layer, or need not have it.
    fn send(&self, index: usize, hand: &Hand<'_>) -> Result<((Sent, bool), Outcome), Error> {
        let (layer, descriptor) = (&self.layers[index], &self.descriptors[index]);
        if is_elsewhere(descriptor) && self.destination.takes_addresses() {
            let compression = compression_of(descriptor.media_type().as_ref());
            let (digest, size) = (descriptor.digest().clone(), descriptor.size());
            return Ok(((Sent { digest, size, compression }, false), Outcome::Elsewhere));
        }
        if let Some(there) = self.there(layer, descriptor)? {
            return Ok(((there, false), Outcome::There));
        }
        let (compression, level) = (self.compression(), self.options.level);
        let cancelled = || Error::Cancelled { digest: descriptor.digest().clone() };
        let _share =
            self.memory.windows.take(compression.memory(level), &[hand.cancelled]).ok_or_else(cancelled)?;
        let (told, mut found) = (AtomicU64::new(0), None);
        if self.options.precompute {
            let (watching, name) = (Watching { hand, told: &told }, self.destination.name());
            let made = self.make(layer, compression, watching, &mut |blob| blob.end(name).map(drop))?;
            let sent = made.map(|(digest, size)| Sent { digest, size, compression });
            if let Some(sent) = sent
                && self.destination.has(&sent.descriptor())?
            {
                return Ok(((sent, true), Outcome::There));
            }
        }
        let result = self.destination.put(&mut |_, take| {
            found = self.make(layer, compression, Watching { hand, told: &told }, take)?;
            Ok(())
        });
        match (result, found) {
            _ if hand.cancelled.load(Ordering::Relaxed) => Err(cancelled()),
            (Err(error), _) => Err(error),
            (Ok(()), Some((digest, size))) => {
                Ok(((Sent { digest, size, compression }, true), Outcome::Moved))
            }
            (Ok(()), None) => Err(Error::Unread { destination: self.destination.name().to_owned() }),
        }
    }

    /// Makes the bytes of a layer, and has them taken; what they were.
    fn make(
        &self,
        layer: &Layer,
        compression: Compression,
        watching: Watching<'_>,
        take: &mut Take<'_>,
    ) -> Result<Option<(Digest, u64)>, Error> {
        let level = self.options.level;
        // Of a plain tar everything is known before it is written.
        let media_type = MediaType::from(Format::Oci.layer(Compression::None).unwrap_or_default());
        let plain = Descriptor::new(media_type, layer.size(), layer.diff_id().digest().clone());
        let (sink, [reader]) = pipe(self.memory.waiting);
        let (written, result) = thread::scope(|scope| {
            let writer = scope.spawn(move || compress(layer, compression, level, PipeSink::new(sink)));
            let mut watched = Watched::new(reader, watching.hand, watching.told);
            let blob = match compression {
                Compression::None => Incoming::expected(&plain, &mut watched),
                _ => Ok(Incoming::new(&mut watched)),
            };
            let result = blob.and_then(|mut blob| take(&mut blob).map(|()| blob.read()));
            drop(watched);
            let written = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (written, result)
        });
        match (written, result) {
            // The cause before its consequence: what is not wanted any more cannot be written.
            (Err(loment_store::Error::Io { source, .. }), Err(error))
                if source.kind() == io::ErrorKind::BrokenPipe =>
            {
                Err(error)
            }
            (Err(error), _) => Err(error.into()),
            (Ok(()), result) => result,
        }
    }

    /// Of what is sent.
    fn compression(&self) -> Compression {
        if self.destination.wants() == Wants::Plain { Compression::None } else { self.options.compression }
    }

    /// A form of the layer that the destination has.
    fn there(&self, layer: &Layer, descriptor: &Descriptor) -> Result<Option<Sent>, Error> {
        let as_known = |blob: &LayerBlob| {
            Descriptor::new(MediaType::from(blob.media_type.as_str()), blob.size, blob.digest.clone())
        };
        let known = layer.blobs().iter().map(as_known);
        let plain = self.destination.wants() == Wants::Plain;
        for blob in [descriptor.clone()].into_iter().chain(known) {
            let compression = compression_of(blob.media_type().as_ref());
            if plain && blob.digest() != layer.diff_id().digest() {
                continue;
            }
            if self.options.force_compression && compression != self.compression() {
                continue;
            }
            if self.options.format == Some(Format::Docker) && Format::Docker.layer(compression).is_none() {
                continue;
            }
            if self.destination.has(&blob)? {
                return Ok(Some(Sent { digest: blob.digest().clone(), size: blob.size(), compression }));
            }
        }
        Ok(None)
    }
}

fn compress(
    layer: &Layer,
    compression: Compression,
    level: Option<i32>,
    sink: PipeSink,
) -> Result<(), loment_store::Error> {
    let failed = |source| loment_store::Error::Io {
        operation: "compress",
        path: layer.diff_id().to_string().into(),
        source,
    };
    let mut out = Compressor::new(compression, level, sink).map_err(failed)?;
    layer.write_tar(&mut out)?;
    // Without this end the reader sees a failure.
    out.finish().and_then(PipeSink::end).map_err(failed)
}
