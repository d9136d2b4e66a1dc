//! Pulling: resolve, verify, fetch what is missing, make it visible at once.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use loment_registry::Registry;
use loment_store::{DiffId, ImageId, ImageRecord, Lease, Store};
use oci_spec::image::{Descriptor, Digest};

use crate::error::Error;
use crate::layer::{self, Outcome};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registry::RegistrySource;
use crate::resolve::resolve;
use crate::source::Source;

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
    let source = RegistrySource::new(registry, reference);
    pull(&source, store, Some(&reference.store_name()), options, progress)
}

/// Pulls an image and gives it a name, a full reference. Starts threads, so never before a clone.
///
/// # Errors
/// Everything that does not match what was asked for or announced. Nothing of the image is visible then;
/// layers that were complete and verified stay for the next attempt until they are swept.
pub fn pull(
    source: &dyn Source,
    store: &Store,
    name: Option<&str>,
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<Pulled, Error> {
    let lease = store.lease()?;
    let found = resolve(source, &options.platform)?;
    for document in &found.documents {
        lease.put_blob(&document.digest, &document.bytes)?;
    }
    lease.put_blob(found.id.digest(), &found.config_bytes)?;
    let layers = found.manifest.layers();
    if layers.len() != found.config.diff_ids.len() {
        let (layers, diff_ids) = (layers.len(), found.config.diff_ids.len());
        return Err(Error::LayerCount { digest: found.manifest_digest().clone(), layers, diff_ids });
    }
    progress.layers(layers);
    let (size, fetched) = pull_layers(source, &lease, layers, &found.config.diff_ids, options, progress)?;
    let record = ImageRecord {
        id: found.id.clone(),
        manifests: found.documents.iter().map(|document| document.digest.clone()).collect(),
        layers: found.config.diff_ids.clone(),
        platform: (&found.config.platform).into(),
        created: found.config.created.clone(),
        size,
        pulled: now(),
    };
    lease.commit_image(&record)?;
    let (digest, manifest) = (found.digest().clone(), found.manifest_digest().clone());
    if let Some(name) = name {
        store.tag(name, &found.id, Some(&digest))?;
    }
    Ok(Pulled { image: found.id, digest, manifest, name: name.map(str::to_owned), fetched })
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
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
