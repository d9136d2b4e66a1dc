//! Pulling: resolve, verify, fetch what is missing, make it visible at once.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;

use loment_registry::Registry;
use loment_store::{DiffId, ImageId, ImageRecord, Layer, Origin, Store};
use oci_spec::image::{Descriptor, Digest};

use crate::archive::Scratch;
use crate::budget::Memory;
use crate::crew::{self, Outcome};
use crate::error::Error;
use crate::kept::Kept;
use crate::layer::{PIPES, Wanted};
use crate::parts::Parts;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registry_source::RegistrySource;
use crate::resolve::{Resolved, resolve, resolve_id};
use crate::schema1::Converted;
use crate::source::Source;

/// How to pull.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which image of an index, and which images to refuse.
    pub platform: Platform,
    /// Take a single image whatever it is for; of an index, the one for the platform.
    pub any_platform: bool,
    /// Take the image with this id only, whatever it is for; of an index, those for the platform are looked at first.
    pub image: Option<ImageId>,
    /// Whether the name that it gets is that under which the source, a registry, has it.
    pub origin: Origin,
    /// Before a manifest that the store has by the same name is fetched, it is asked whether it is still the same one.
    pub ask_first: bool,
    /// Layers fetched at the same time.
    pub parallel: usize,
    /// How large ones are.
    pub parts: Parts,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            platform: Platform::host(),
            any_platform: false,
            image: None,
            origin: Origin::Elsewhere,
            ask_first: true,
            parallel: 4,
            parts: Parts::default(),
        }
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
    /// It is at an address, as its manifest says, and stays there.
    Elsewhere,
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
    /// All layers are where they are to be, and so is the configuration, if it is not one of them.
    fn config(&mut self, _config: &Descriptor) {}
    /// All that is left is to say what the image is.
    fn manifest(&mut self) {}
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
    let options = Options { origin: Origin::Registry, ..options.clone() };
    pull(&source, store, Some(&reference.store_name()), &options, progress)
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
    let converted;
    let kept = Kept::of(source, store, name.filter(|_| options.ask_first))?;
    let (source, found) = match resolved(&kept, options) {
        Err(Error::Schema1 { .. }) => {
            // They are kept as they come, and unpack to hardly ever less.
            let room = |bytes: u64| Ok(store.expect_room(bytes.saturating_mul(2))?);
            converted = Converted::open(source, &Scratch::of(store), room)?;
            let found = resolved(&converted, options)?;
            (&converted as &dyn Source, found)
        }
        found => (source, found?),
    };
    let (layers, diff_ids) = (found.manifest.layers(), &found.config.diff_ids);
    store.expect_room(to_come(store, layers, diff_ids))?;
    for document in &found.documents {
        lease.put_blob(&document.digest, &document.bytes)?;
    }
    lease.put_blob(found.id.digest(), &found.config_bytes)?;
    if layers.len() != diff_ids.len() {
        let (layers, diff_ids) = (layers.len(), diff_ids.len());
        return Err(Error::LayerCount { digest: found.manifest_digest().clone(), layers, diff_ids });
    }
    progress.layers(layers);
    let (memory, keep) = (Memory::new(options.parallel.min(layers.len()), PIPES), AtomicBool::new(true));
    let cancel = || source.cancel();
    let (outcomes, fetched) = crew::run(layers, memory.parallel, progress, &cancel, &|index, hand| {
        let (blob, diff_id) = (&layers[index], &diff_ids[index]);
        let (lease, memory, keep, parts) = (&lease, &memory, &keep, options.parts);
        Wanted { source, lease, blob, diff_id, parts, memory, hand, keep }
            .pull()
            .map(|(layer, new)| (layer, Outcome::of(new)))
    })?;
    progress.config(found.manifest.config());
    progress.manifest();
    let record = ImageRecord {
        id: found.id.clone(),
        manifests: found.documents.iter().map(|document| document.digest.clone()).collect(),
        layers: found.config.diff_ids.clone(),
        platform: (&found.config.platform).into(),
        created: found.config.created.clone(),
        size: outcomes.iter().map(Layer::size).sum(),
        pulled: now(),
        names_history: name.into_iter().map(str::to_owned).collect(),
    };
    let (digest, manifest) = (found.digest().clone(), found.manifest_digest().clone());
    match name {
        Some(name) => drop(lease.commit_image_as(&record, options.origin, name, Some(&digest))?),
        None => lease.commit_image(&record)?,
    }
    Ok(Pulled { image: found.id, digest, manifest, name: name.map(str::to_owned), fetched })
}

fn resolved(source: &dyn Source, options: &Options) -> Result<Resolved, Error> {
    match &options.image {
        Some(id) => resolve_id(source, id, &options.platform),
        None => resolve(source, &options.platform, options.any_platform),
    }
}

/// Bytes of the blobs that must be fetched. What they unpack to is hardly ever less, and nobody says how much more.
fn to_come(store: &Store, layers: &[Descriptor], diff_ids: &[DiffId]) -> u64 {
    let mut seen = HashSet::new();
    let missing = layers.iter().zip(diff_ids).filter(|(_, id)| seen.insert(*id) && !store.has_layer(id));
    missing.fold(0, |sum: u64, (blob, _)| sum.saturating_add(blob.size()))
}

pub(crate) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
