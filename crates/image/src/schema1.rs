//! Docker's first manifest format: read by making an image of today's kind of it.
//!
//! It names compressed layers, the topmost first, and says of each, as a string of JSON, what the image of that layer was. There are
//! neither sizes nor digests of tars, so all layers are fetched before anything is known but what a registry says of their sizes; what
//! comes out has a manifest and a configuration that are made here. (distribution, `docs/content/spec/manifest-v2-1.md`; moby, `image/v1`.)

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, Read};

use loment_store::{Algorithm, Hasher, Member};
use oci_spec::image::{Descriptor, Digest, MediaType};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::archive::{Part, Scratch};
use crate::beginning::{broke_off, ran_out};
use crate::error::Error;
use crate::format::Format;
use crate::inflate::{self, Compression};
use crate::layer;
use crate::manifest;
use crate::source::{Fetched, Source, made_manifest};

/// Layers of one image, those that change nothing included.
const MAX_LAYERS: usize = 4096;
/// Bytes of a layer of which nobody says how many it has.
const MAX_LAYER: u64 = layer::SMALL;
/// What a layer's description says of the layer, and the configuration must not.
const OF_LAYERS: [&str; 6] = ["id", "parent", "Size", "parent_id", "layer_id", "throwaway"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    fs_layers: Vec<FsLayer>,
    history: Vec<History>,
    #[serde(default)]
    architecture: Option<String>,
}

#[derive(Deserialize)]
struct FsLayer {
    #[serde(rename = "blobSum")]
    blob_sum: Digest,
}

#[derive(Deserialize)]
struct History {
    #[serde(rename = "v1Compatibility")]
    v1_compatibility: String,
}

/// What the history needs of a layer's description.
#[derive(Deserialize)]
struct Step {
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    author: Option<String>,
    #[serde(default)]
    comment: Option<String>,
    #[serde(default)]
    container_config: Option<Command>,
    #[serde(default)]
    throwaway: bool,
}

#[derive(Default, Deserialize)]
struct Command {
    #[serde(rename = "Cmd", default)]
    cmd: Option<Vec<String>>,
}

/// The part of a signed manifest that is signed; all of one that is not signed.
fn payload(bytes: &[u8], what: &str) -> Result<Vec<u8>, Error> {
    let odd = || Error::Ambiguous { what: what.to_owned(), problem: "its signature is none".to_owned() };
    loment_registry::signed_part(bytes).ok_or_else(odd)
}

/// Whether a digest is that of what is signed of a manifest in this format.
pub(crate) fn is_of_signed_part(bytes: &[u8], digest: &Digest) -> bool {
    let signed = loment_registry::signed_part(bytes).filter(|signed| signed.len() < bytes.len());
    signed.is_some_and(|signed| {
        manifest::verify("", &signed, digest).is_ok() && serde_json::from_slice::<Manifest>(&signed).is_ok()
    })
}

/// Reads any bytes as such a manifest, for the fuzzer.
pub(crate) fn read_anything(bytes: &[u8]) {
    let Ok(manifest) = payload(bytes, "manifest").map(|signed| serde_json::from_slice::<Manifest>(&signed))
    else {
        return;
    };
    for step in manifest.iter().flat_map(|manifest| &manifest.history) {
        let _ = serde_json::from_str::<Step>(&step.v1_compatibility).map(entry);
    }
}

/// A layer that was fetched.
struct Fetch {
    file: File,
    size: u64,
    compression: Compression,
    diff_id: Digest,
}

/// An image of today's kind.
pub(crate) struct Converted {
    name: String,
    manifest: Vec<u8>,
    config: (Digest, Vec<u8>),
    layers: HashMap<Digest, Fetch>,
}

impl Converted {
    /// Fetches what a source was opened for. Before that, `room` is told of how many bytes it is known that they come.
    ///
    /// # Errors
    /// Those of the source, what is wrong with the manifest, and what `room` says.
    pub(crate) fn open(
        source: &dyn Source,
        scratch: &Scratch,
        room: impl FnOnce(u64) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let what = format!("manifest {}", source.name());
        let malformed = |source| Error::Malformed { what: what.clone(), source };
        let ambiguous = |problem: &str| Error::Ambiguous { what: what.clone(), problem: problem.to_owned() };
        let Fetched { digest, bytes, .. } = source.manifest(None)?;
        let signed = payload(&bytes, &what)?;
        if let Some(digest) = digest {
            // A place that keeps documents by their digests has this one with its signatures.
            manifest::verify(&what, &signed, &digest)
                .or_else(|_| manifest::verify(&what, &bytes, &digest))?;
        }
        // What is signed only: the rest is anybody's.
        let manifest: Manifest = serde_json::from_slice(&signed).map_err(malformed)?;
        let count = manifest.history.len();
        if manifest.fs_layers.len() != count || count > MAX_LAYERS {
            return Err(ambiguous("it has another number of layers than of histories"));
        }
        let top = manifest.history.first().ok_or_else(|| ambiguous("it has no layers"))?;
        let top: Map<String, Value> = serde_json::from_str(&top.v1_compatibility).map_err(malformed)?;
        let blobs: HashSet<&Digest> = manifest.fs_layers.iter().map(|layer| &layer.blob_sum).collect();
        let size_of = |blob: &Digest| Some((blob.clone(), source.size_of(blob)?));
        let sizes: HashMap<Digest, u64> = blobs.into_iter().filter_map(size_of).collect();
        room(sizes.values().copied().fold(0, u64::saturating_add))?;
        let (mut layers, mut order, mut history) = (HashMap::new(), Vec::new(), Vec::new());
        for (layer, step) in manifest.fs_layers.iter().zip(&manifest.history).rev() {
            let step: Step = serde_json::from_str(&step.v1_compatibility).map_err(malformed)?;
            if !step.throwaway {
                if !layers.contains_key(&layer.blob_sum) {
                    let (blob, size) = (&layer.blob_sum, sizes.get(&layer.blob_sum).copied());
                    layers.insert(blob.clone(), fetch(source, blob, size, MAX_LAYER, scratch)?);
                }
                order.push(&layer.blob_sum);
            }
            history.push(entry(step));
        }
        let config = configuration(
            top,
            manifest.architecture,
            history,
            order.iter().map(|blob| &layers[*blob].diff_id),
        );
        let config = config.to_string().into_bytes();
        let config_digest = loment_store::sha256(&config);
        let list: Vec<_> = order.iter().map(|blob| describe(blob, &layers[*blob])).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": Format::Docker.manifest(),
            "config": { "mediaType": Format::Docker.config(), "size": config.len(), "digest": config_digest },
            "layers": list,
        });
        let (name, manifest) = (source.name().to_owned(), manifest.to_string().into_bytes());
        Ok(Self { name, manifest, config: (config_digest, config), layers })
    }
}

fn entry(step: Step) -> Value {
    let command = step.container_config.unwrap_or_default().cmd.unwrap_or_default().join(" ");
    let mut entry = Map::new();
    let texts = [("created", step.created), ("author", step.author), ("comment", step.comment)];
    for (key, value) in texts.into_iter().chain([("created_by", Some(command))]) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            entry.insert(key.to_owned(), json!(value));
        }
    }
    if step.throwaway {
        entry.insert("empty_layer".to_owned(), json!(true));
    }
    Value::Object(entry)
}

/// The topmost layer's description is that of the image, but for what is about the layer.
fn configuration<'d>(
    mut config: Map<String, Value>,
    architecture: Option<String>,
    history: Vec<Value>,
    diff_ids: impl Iterator<Item = &'d Digest>,
) -> Value {
    for key in OF_LAYERS {
        config.remove(key);
    }
    config.entry("os").or_insert_with(|| json!("linux"));
    config.entry("architecture").or_insert_with(|| json!(architecture.unwrap_or_else(|| "amd64".to_owned())));
    config.insert("rootfs".to_owned(), json!({ "type": "layers", "diff_ids": diff_ids.collect::<Vec<_>>() }));
    config.insert("history".to_owned(), Value::Array(history));
    Value::Object(config)
}

fn describe(blob: &Digest, layer: &Fetch) -> Value {
    let compression = match layer.compression {
        Compression::None => crate::Compression::None,
        Compression::Zstd => crate::Compression::Zstd,
        _ => crate::Compression::Gzip,
    };
    // Nobody has put zstd into such an image; OCI's word would be the right one.
    let media_type = Format::Docker.layer(compression).or(Format::Oci.layer(compression));
    json!({ "mediaType": media_type, "size": layer.size, "digest": blob })
}

/// Keeps a layer, and finds out what it is. Without a `size` it has at most so many bytes. What was wrong is asked for once more, at
/// another place, if there is one; else, if another length was announced than came, without that.
fn fetch(
    source: &dyn Source,
    blob: &Digest,
    mut size: Option<u64>,
    mut most: u64,
    scratch: &Scratch,
) -> Result<Fetch, Error> {
    let mut announced = None;
    loop {
        // Of its bytes those are wanted that there are: who does not go on with them is followed by another.
        let descriptor = Descriptor::new(MediaType::ImageLayerGzip, size.unwrap_or(most), blob.clone());
        match fetch_once(source, &descriptor, size, scratch) {
            Err(error) if !ran_out(&error) && source.other_way(&descriptor, !broke_off(&error)) => {
                // The size may be what was wrong.
                size = None;
            }
            Err(error @ Error::Size { .. }) if let Some(said) = size.take() => {
                most = most.max(said);
                announced = Some(error);
            }
            // What was announced is what was wrong first.
            Err(error) => return Err(announced.unwrap_or(error)),
            fetched => return fetched,
        }
    }
}

fn fetch_once(
    source: &dyn Source,
    descriptor: &Descriptor,
    size: Option<u64>,
    scratch: &Scratch,
) -> Result<Fetch, Error> {
    let (blob, most) = (descriptor.digest(), descriptor.size());
    let what = || format!("layer {blob}");
    let algorithm = Algorithm::of(blob);
    let algorithm = algorithm.ok_or_else(|| Error::Algorithm { what: what(), digest: blob.clone() })?;
    // One byte more than there may be is enough to know.
    let bytes = source.blob(descriptor)?.take(most.saturating_add(1));
    let mut hashed = Hashed { bytes, hasher: Hasher::new(algorithm), count: 0 };
    let file = scratch.keep(&mut hashed, &what()).map_err(|error| match error {
        Error::Spool { source, .. } if is_of_registry(&source) => {
            Error::Blob { operation: "download", digest: blob.clone(), source }
        }
        error => error,
    })?;
    let (found, count) = (hashed.hasher.finish(), hashed.count);
    match size {
        Some(expected) if count != expected => {
            return Err(Error::Size { what: what(), expected, found: count });
        }
        None if count > most => return Err(Error::TooLarge { what: what(), size: count, limit: most }),
        _ => {}
    }
    if found != *blob {
        return Err(Error::Digest { what: what(), expected: blob.clone(), found: Box::new(found) });
    }
    let (compression, diff_id) = look(&file, blob)?;
    Ok(Fetch { file, size: count, compression, diff_id })
}

/// Whether bytes did not come, rather than that they could not be kept.
fn is_of_registry(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<loment_registry::Error>())
}

/// How a layer is compressed, and the digest of its tar.
fn look(file: &File, blob: &Digest) -> Result<(Compression, Digest), Error> {
    let failed = |operation| move |source| Error::Blob { operation, digest: blob.clone(), source };
    let (compression, bytes) = inflate::peek(file).map_err(failed("read"))?;
    if let Compression::Unsupported(compression) = compression {
        return Err(Error::Compression { digest: blob.clone(), compression });
    }
    let bytes = BufReader::with_capacity(256 * 1024, bytes);
    let plain = inflate::reader(bytes, compression);
    let mut plain = Hashed { bytes: plain, hasher: Hasher::new(Algorithm::Sha256), count: 0 };
    io::copy(&mut plain, &mut io::sink()).map_err(failed("decompress"))?;
    Ok((compression, plain.hasher.finish()))
}

/// A stream whose digest and length are known at its end.
struct Hashed<R> {
    bytes: R,
    hasher: Hasher,
    count: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(out)?;
        self.hasher.update(&out[..count]);
        self.count += count as u64;
        Ok(count)
    }
}

impl Source for Converted {
    fn name(&self) -> &str {
        &self.name
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<Fetched, Error> {
        made_manifest(&self.name, digest, Format::Docker, &self.manifest)
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        if *blob.digest() == self.config.0 {
            return Ok(Box::new(&self.config.1[..]));
        }
        let Some(layer) = self.layers.get(blob.digest()) else {
            return Err(Error::not_there(&self.name, format!("blob {}", blob.digest())));
        };
        Ok(Box::new(Part::of(&layer.file, Member { offset: 0, size: layer.size })))
    }

    fn made(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source of one blob, with that beginning, which does not end.
    struct Endless;

    impl Source for Endless {
        fn name(&self) -> &str {
            "endless"
        }

        fn manifest(&self, _: Option<&Digest>) -> Result<Fetched, Error> {
            Err(Error::not_there("endless", "manifest".to_owned()))
        }

        fn blob(&self, _: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
            Ok(Box::new(io::repeat(0)))
        }
    }

    #[test]
    fn layers_have_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::dir(dir.path());
        let digest = loment_store::sha256(&[0; 100]);
        let fetch = |size, most| fetch(&Endless, &digest, size, most, &scratch).map(|fetch| fetch.size);
        let message = |size, most| fetch(size, most).unwrap_err().to_string();
        let layer = format!("layer {digest} is");
        assert_eq!(message(Some(99), 1000), format!("{layer} 100 bytes long, expected 99"));
        let limited = format!("{layer} 1001 bytes long, more than 1000 are not accepted");
        assert_eq!(message(None, 1000), limited);
    }
}
