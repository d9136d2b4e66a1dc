//! Pulling: resolve, verify, fetch what is missing, make it visible at once.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use loment_registry::Registry;
use loment_store::{DiffId, ImageId, ImageRecord, Lease, Store};
use oci_spec::image::{Descriptor, Digest, ImageManifest};

use crate::config::ImageConfig;
use crate::error::Error;
use crate::layer::{self, Outcome};
use crate::manifest::{self, Document, MAX_DOCUMENT};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::source::{RegistrySource, Source};

/// Indexes inside indexes followed.
const MAX_NESTING: usize = 3;

/// What to ask a source for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Tag or digest, as the source understands it.
    pub reference: String,
    /// The digest the answer must have.
    pub digest: Option<Digest>,
    /// The name the image gets in the store.
    pub name: Option<String>,
}

impl From<&Reference> for Request {
    fn from(reference: &Reference) -> Self {
        Self {
            reference: reference.manifest().to_owned(),
            digest: reference.digest().cloned(),
            name: Some(reference.store_name()),
        }
    }
}

/// How to pull.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which image of an index, and which images to refuse.
    pub platform: Platform,
    /// Layers fetched at the same time.
    pub parallel: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { platform: Platform::host(), parallel: 4 }
    }
}

/// What was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The image.
    pub image: ImageId,
    /// Digest of what the reference resolved to, manifest or index.
    pub digest: Digest,
    /// Digest of the image's own manifest.
    pub manifest: Digest,
    /// The name it got.
    pub name: Option<String>,
    /// Layers that had to be fetched.
    pub fetched: usize,
}

/// Where a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerState {
    /// It was in the store.
    Exists,
    /// Bytes received so far.
    Downloading {
        /// Of the blob.
        done: u64,
    },
    /// It is in the store now.
    Done,
}

/// Told what happens during a pull, always from the calling thread.
pub trait Progress {
    /// The image's layers are known, lowest first.
    fn layers(&mut self, layers: &[Descriptor]);
    /// Layer `index` of them got somewhere.
    fn layer(&mut self, index: usize, layer: &Descriptor, state: LayerState);
}

/// Nobody is interested.
#[derive(Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn layers(&mut self, _: &[Descriptor]) {}
    fn layer(&mut self, _: usize, _: &Descriptor, _: LayerState) {}
}

/// Pulls what `reference` names from the registry `registry` was made for.
pub fn pull_from_registry(
    registry: &Registry,
    store: &Store,
    reference: &Reference,
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<Pulled, Error> {
    pull(&RegistrySource::new(registry, reference), store, &Request::from(reference), options, progress)
}

/// Pulls an image and names it. Starts threads, so never before a clone.
///
/// # Errors
/// Everything that does not match what was asked for or announced. Nothing of the image is visible then;
/// layers that were complete and verified stay for the next attempt until they are swept.
pub fn pull(
    source: &dyn Source,
    store: &Store,
    request: &Request,
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<Pulled, Error> {
    let lease = store.lease()?;
    let found = resolve(source, &lease, request, options)?;
    let layers = found.manifest.layers();
    if layers.len() != found.config.diff_ids.len() {
        let (layers, diff_ids) = (layers.len(), found.config.diff_ids.len());
        return Err(Error::LayerCount { digest: found.manifest_digest().clone(), layers, diff_ids });
    }
    progress.layers(layers);
    let (size, fetched) = pull_layers(source, &lease, layers, &found.config.diff_ids, options, progress)?;
    let record = ImageRecord {
        id: found.id.clone(),
        manifests: found.documents.clone(),
        layers: found.config.diff_ids.clone(),
        platform: (&found.config.platform).into(),
        created: found.config.created.clone(),
        size,
        pulled: now(),
    };
    lease.commit_image(&record)?;
    let digest = found.documents[0].clone();
    if let Some(name) = &request.name {
        store.tag(name, &found.id, Some(&digest))?;
    }
    let manifest = found.manifest_digest().clone();
    Ok(Pulled { image: found.id, digest, manifest, name: request.name.clone(), fetched })
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// An image whose documents are verified and in the store.
struct Resolved {
    /// Digests from what the reference named down to the image's own manifest; never empty.
    documents: Vec<Digest>,
    manifest: Box<ImageManifest>,
    config: ImageConfig,
    id: ImageId,
}

impl Resolved {
    fn manifest_digest(&self) -> &Digest {
        self.documents.last().expect("invariant: resolving went through at least one document")
    }
}

/// Follows the request to one image manifest and its configuration.
fn resolve(
    source: &dyn Source,
    lease: &Lease,
    request: &Request,
    options: &Options,
) -> Result<Resolved, Error> {
    let shown = request.name.as_deref().unwrap_or(&request.reference);
    let mut documents = Vec::new();
    let mut fetched = source.manifest(&request.reference)?;
    let mut required = request.digest.clone().or(fetched.digest.take());
    let mut what = format!("manifest {shown}");
    loop {
        let size = fetched.bytes.len() as u64;
        if size > MAX_DOCUMENT {
            return Err(Error::TooLarge { what, size, limit: MAX_DOCUMENT });
        }
        let digest = match required {
            Some(digest) => manifest::verify(&what, &fetched.bytes, &digest).map(|()| digest)?,
            None => loment_store::sha256(&fetched.bytes),
        };
        let document = manifest::parse(&fetched.bytes, &fetched.media_type, &digest)?;
        lease.put_blob(&digest, &fetched.bytes)?;
        documents.push(digest.clone());
        let index = match document {
            Document::Image(manifest) => {
                manifest::check(&manifest, &digest)?;
                let (config, id) = configuration(source, lease, &manifest, options, shown)?;
                return Ok(Resolved { documents, manifest, config, id });
            }
            Document::Index(index) if documents.len() <= MAX_NESTING => index,
            Document::Index(_) => return Err(Error::Nested { digest }),
        };
        let chosen = manifest::choose(&index, &options.platform, shown)?;
        what = format!("manifest {}", chosen.digest());
        fetched = source.manifest(chosen.digest().as_ref())?;
        let (expected, found) = (chosen.size(), fetched.bytes.len() as u64);
        if expected != found {
            return Err(Error::Size { what, expected, found });
        }
        if fetched.media_type.is_empty() {
            fetched.media_type = chosen.media_type().to_string();
        }
        required = Some(chosen.digest().clone());
    }
}

fn configuration(
    source: &dyn Source,
    lease: &Lease,
    manifest: &ImageManifest,
    options: &Options,
    shown: &str,
) -> Result<(ImageConfig, ImageId), Error> {
    let descriptor = manifest.config();
    let (digest, expected) = (descriptor.digest(), descriptor.size());
    let what = format!("configuration {digest}");
    if expected > MAX_DOCUMENT {
        return Err(Error::TooLarge { what, size: expected, limit: MAX_DOCUMENT });
    }
    let mut bytes = Vec::new();
    let read = source.blob(digest)?.take(expected + 1).read_to_end(&mut bytes);
    read.map_err(|source| Error::Blob { operation: "download", digest: digest.clone(), source })?;
    if bytes.len() as u64 != expected {
        return Err(Error::Size { what, expected, found: bytes.len() as u64 });
    }
    manifest::verify(&what, &bytes, digest)?;
    let config = match ImageConfig::parse(&bytes) {
        Ok(config) => config,
        Err(source) => return Err(Error::Malformed { what, source }),
    };
    if options.platform.accepts(&config.platform).is_none() {
        let (reference, wanted) = (shown.to_owned(), Box::new(options.platform.clone()));
        return Err(Error::Platform { reference, wanted, available: vec![config.platform] });
    }
    let unsupported = |_| Error::Algorithm { what, digest: digest.clone() };
    let id = ImageId::try_from(digest.clone()).map_err(unsupported)?;
    lease.put_blob(digest, &bytes)?;
    Ok((config, id))
}

/// Gets all layers in, some at a time; returns the size of all tars and how many were fetched.
fn pull_layers(
    source: &dyn Source,
    lease: &Lease,
    layers: &[Descriptor],
    diff_ids: &[DiffId],
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<(u64, usize), Error> {
    let queue = Mutex::new((0..layers.len()).collect::<VecDeque<_>>());
    let cancelled = AtomicBool::new(false);
    let (events, incoming) = channel();
    let (mut size, mut fetched, mut failure) = (0, 0, None);
    thread::scope(|scope| {
        for _ in 0..options.parallel.clamp(1, layers.len().max(1)) {
            let events = events.clone();
            let (queue, cancelled) = (&queue, &cancelled);
            scope.spawn(move || worker(source, lease, layers, diff_ids, queue, cancelled, &events));
        }
        drop(events);
        let mut done = vec![0; layers.len()];
        for (index, event) in incoming {
            let state = match event {
                Event::Received(count) => {
                    done[index] += count;
                    LayerState::Downloading { done: done[index] }
                }
                Event::Ended(Ok(Outcome::Existed(layer))) => {
                    size += layer.size();
                    LayerState::Exists
                }
                Event::Ended(Ok(Outcome::Pulled(layer))) => {
                    size += layer.size();
                    fetched += 1;
                    LayerState::Done
                }
                Event::Ended(Err(error)) => {
                    cancelled.store(true, Ordering::Relaxed);
                    // The first cause; those cancelled because of it have nothing to add.
                    if matches!(failure, None | Some(Error::Cancelled { .. })) {
                        failure = Some(error);
                    }
                    continue;
                }
            };
            progress.layer(index, &layers[index], state);
        }
    });
    failure.map_or(Ok((size, fetched)), Err)
}

enum Event {
    Received(u64),
    Ended(Result<Outcome, Error>),
}

/// Takes layers off the queue until it is empty or something failed.
fn worker(
    source: &dyn Source,
    lease: &Lease,
    layers: &[Descriptor],
    diff_ids: &[DiffId],
    queue: &Mutex<VecDeque<usize>>,
    cancelled: &AtomicBool,
    events: &Sender<(usize, Event)>,
) {
    // The receiver outlives the workers, so sending cannot fail.
    let send = |index, event| drop(events.send((index, event)));
    while !cancelled.load(Ordering::Relaxed) {
        let Some(index) = queue.lock().ok().and_then(|mut queue| queue.pop_front()) else { return };
        let received = |count| send(index, Event::Received(count));
        let outcome = layer::pull(source, lease, &layers[index], &diff_ids[index], cancelled, &received);
        if outcome.is_err() {
            cancelled.store(true, Ordering::Relaxed);
        }
        send(index, Event::Ended(outcome));
    }
}
