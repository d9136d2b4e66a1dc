//! Images in the storage of Podman, Buildah, CRI-O and skopeo (containers/storage): read, and never written.
//!
//! ```text
//! overlay-images/images.json            ids, names, topmost layers
//! overlay-images/<id>/                  configuration and manifests, each a file with the name of its key
//! overlay-layers/layers.json            parents, digests and sizes of layers
//! overlay-layers/<id>.tar-split.gz      the layer's tar but for the content of its files
//! overlay/<id>/diff/                    those files
//! ```
//!
//! An image whose layers were fetched in parts, by the tables of contents that zstd:chunked ones have, has another id than the digest of
//! its configuration, which its manifest says then (containers/image, `computeID`). Such a layer may have no tar-split, and nobody can
//! make its tar again.
//!
//! All of it may be somebody else's work: below the root no link is followed, and nothing but regular files is opened. No lock is
//! taken: an image that is removed meanwhile is an image that cannot be read. Layers are delivered as plain tars, which
//! are verified like those of anybody else.

mod root;
mod split;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::bufread::GzDecoder;
use oci_spec::image::{Descriptor, Digest};
use serde::Deserialize;
use serde_json::json;

use self::root::Root;
use self::split::Rebuilt;
use crate::config::ImageConfig;
use crate::error::Error;
use crate::format::Format;
use crate::manifest::MAX_DOCUMENT;
use crate::reference::Reference;
use crate::source::{Fetched, Source, made_manifest};

/// Layers above each other.
const MAX_LAYERS: usize = 4096;

/// An entry of `images.json`.
#[derive(Debug, Deserialize)]
struct Image {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    layer: String,
}

/// An entry of `layers.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Layer {
    id: String,
    #[serde(default)]
    parent: String,
    #[serde(default)]
    diff_digest: Option<Digest>,
    #[serde(default)]
    diff_size: Option<i64>,
}

/// An image of another tool.
#[derive(Debug)]
pub struct StorageImage {
    root: Root,
    driver: String,
    name: String,
    names: Vec<String>,
    manifest: Vec<u8>,
    format: Format,
    config: (Digest, Vec<u8>),
    /// Ids of layers by the digests of their tars.
    layers: HashMap<Digest, String>,
}

impl StorageImage {
    /// The driver of the storage at `root` that has images; the first of several.
    pub fn driver(root: &Path) -> Option<&'static str> {
        let has = |driver: &&str| root.join(format!("{driver}-images/images.json")).exists();
        ["overlay", "vfs", "btrfs", "zfs"].into_iter().find(has)
    }

    /// Finds an image by name or id in the storage at `root`. Without a driver it is the one that has images there.
    ///
    /// # Errors
    /// [`Error::Storage`] when there is none, or it cannot be read.
    pub fn open(root: &Path, driver: Option<&str>, image: &str) -> Result<Self, Error> {
        let failed = |problem: String| Error::Storage { root: root.display().to_string(), problem };
        let driver = match driver {
            Some(driver) => driver.to_owned(),
            None => Self::driver(root).ok_or_else(|| failed("there are no images".to_owned()))?.to_owned(),
        };
        if !["overlay", "vfs"].contains(&driver.as_str()) {
            return Err(failed(format!("the driver {driver} is not supported: use overlay or vfs")));
        }
        let root = &Root::open(root)?;
        let images: Vec<Image> = root.list(&format!("{driver}-images/images.json"))?;
        let found = find(images, image).ok_or_else(|| failed(format!("{image}: image not known")))?;
        let digest = Digest::try_from(format!("sha256:{}", found.id));
        let digest = digest.map_err(|_| failed(format!("image {:?} has an id that is none", found.id)))?;
        let big = |key: &str| format!("{driver}-images/{}/{}", found.id, big_name(key));
        let (digest, bytes) = match root.read(&big(digest.as_ref()), MAX_DOCUMENT) {
            Err(error) if error.is_missing_file() => {
                let digest = configured(&root.read(&big("manifest"), MAX_DOCUMENT)?)
                    .ok_or_else(|| failed(format!("image {} has no configuration", found.id)))?;
                let bytes = root.read(&big(digest.as_ref()), MAX_DOCUMENT)?;
                (digest, bytes)
            }
            bytes => (digest, bytes?),
        };
        let what = || format!("configuration {digest}");
        crate::manifest::verify(&what(), &bytes, &digest)?;
        let config =
            ImageConfig::parse(&bytes).map_err(|source| Error::Malformed { what: what(), source })?;
        let docker = root
            .read(&big("manifest"), MAX_DOCUMENT)
            .is_ok_and(|manifest| String::from_utf8_lossy(&manifest).contains("vnd.docker.container.image"));
        let format = if docker { Format::Docker } else { Format::Oci };
        let chain = chain(root, &driver, &found.layer)?;
        if chain.len() != config.diff_ids.len() {
            let (layers, diff_ids) = (chain.len(), config.diff_ids.len());
            return Err(Error::LayerCount { digest, layers, diff_ids });
        }
        let mut this = Self {
            root: root.try_clone()?,
            name: format!("containers-storage:[{}]{image}", root.path.display()),
            driver: driver.clone(),
            names: found.names.unwrap_or_default(),
            manifest: Vec::new(),
            format,
            config: (digest, bytes),
            layers: HashMap::new(),
        };
        let mut described = Vec::new();
        for (layer, diff_id) in chain.into_iter().zip(&config.diff_ids) {
            let diff_id = diff_id.digest();
            // Where Podman 4 has fetched a layer in parts it notes another digest, and none of the tar.
            this.split(&layer.id)?;
            if layer.diff_digest.as_ref().is_some_and(|digest| digest != diff_id) {
                return Err(failed(format!("layer {} is not {diff_id}", layer.id)));
            }
            let size =
                match layer.diff_size.and_then(|size| u64::try_from(size).ok()).filter(|size| *size > 0) {
                    Some(size) => size,
                    None => this.measure(&layer.id, diff_id)?,
                };
            let media_type = format.layer(crate::Compression::None);
            described.push(json!({ "mediaType": media_type, "size": size, "digest": diff_id }));
            this.layers.insert(diff_id.clone(), layer.id);
        }
        let config =
            json!({ "mediaType": format.config(), "size": this.config.1.len(), "digest": this.config.0 });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": format.manifest(), "config": config, "layers": described,
        });
        this.manifest = manifest.to_string().into_bytes();
        Ok(this)
    }

    /// The names it has there.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    fn measure(&self, layer: &str, digest: &Digest) -> Result<u64, Error> {
        let failed = |source| Error::Blob { operation: "read", digest: digest.clone(), source };
        std::io::copy(&mut self.tar(layer)?, &mut std::io::sink()).map_err(failed)
    }

    /// What the tar of a layer was, but for the content of its files.
    fn split(&self, layer: &str) -> Result<File, Error> {
        match self.root.file(&format!("{}-layers/{layer}.tar-split.gz", self.driver)) {
            Err(error) if error.is_missing_file() => {
                let problem = format!(
                    "layer {layer} was fetched in parts, and its tar cannot be made again: take the image from its registry"
                );
                Err(Error::Storage { root: self.root.path.display().to_string(), problem })
            }
            split => split,
        }
    }

    /// The tar of a layer, made of what is stored.
    fn tar(&self, layer: &str) -> Result<Rebuilt<GzDecoder<BufReader<File>>>, Error> {
        let split = self.split(layer)?;
        let files = match self.driver.as_str() {
            "vfs" => format!("vfs/dir/{layer}"),
            driver => format!("{driver}/{layer}/diff"),
        };
        Ok(Rebuilt::new(GzDecoder::new(BufReader::new(split)), self.root.dir(&files)?))
    }
}

/// The configuration that a manifest names.
fn configured(manifest: &[u8]) -> Option<Digest> {
    #[derive(Deserialize)]
    struct Manifest {
        config: Named,
    }
    #[derive(Deserialize)]
    struct Named {
        digest: Digest,
    }
    serde_json::from_slice::<Manifest>(manifest).ok().map(|manifest| manifest.config.digest)
}

/// By a name in full or as it is typed, or by the beginning of an id if it is one image's only.
fn find(images: Vec<Image>, image: &str) -> Option<Image> {
    // `NAME@ID` is the image of that id.
    let is_id = |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit());
    let image = image.rsplit_once('@').map(|(_, id)| id).filter(|id| is_id(id)).unwrap_or(image);
    let mut wanted: Vec<String> = Vec::new();
    for prefix in ["", "localhost/"] {
        wanted.extend(format!("{prefix}{image}").parse::<Reference>().ok().map(|name| name.store_name()));
    }
    let named = |known: &Image| known.names.iter().flatten().any(|name| wanted.contains(name));
    let hex = image.strip_prefix("sha256:").unwrap_or(image);
    let by_id = |known: &&Image| hex.len() >= 3 && known.id.starts_with(hex);
    let position = images.iter().position(named).or_else(|| {
        let one = images.iter().filter(by_id).count() == 1;
        images.iter().position(|known| one && by_id(&known))
    })?;
    images.into_iter().nth(position)
}

/// The layers from the lowest to `top`.
fn chain(root: &Root, driver: &str, top: &str) -> Result<Vec<Layer>, Error> {
    let failed = |problem: String| Error::Storage { root: root.path.display().to_string(), problem };
    let mut known: HashMap<String, Layer> = HashMap::new();
    for layer in root.list::<Layer>(&format!("{driver}-layers/layers.json"))? {
        known.insert(layer.id.clone(), layer);
    }
    let (mut chain, mut next) = (Vec::new(), top.to_owned());
    while !next.is_empty() {
        let layer = known.remove(&next);
        let layer = layer.ok_or_else(|| failed(format!("layer {next} is missing, or below itself")))?;
        // Part of paths from here on.
        if layer.id.len() > 128 || !layer.id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(failed(format!("layer {:?} has an id that is none", layer.id)));
        }
        next = layer.parent.clone();
        chain.push(layer);
        if chain.len() > MAX_LAYERS {
            return Err(failed("an image has too many layers".to_owned()));
        }
    }
    chain.reverse();
    Ok(chain)
}

/// The file of a key (containers/storage, `makeBigDataBaseName`).
fn big_name(key: &str) -> String {
    if key.bytes().all(|b| matches!(b, b'.' | b'0'..=b'9' | b'a'..=b'z')) {
        return key.to_owned();
    }
    format!("={}", BASE64_STANDARD.encode(key))
}

impl Source for StorageImage {
    fn name(&self) -> &str {
        &self.name
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<Fetched, Error> {
        made_manifest(&self.name, digest, self.format, &self.manifest)
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        if *blob.digest() == self.config.0 {
            return Ok(Box::new(&self.config.1[..]));
        }
        match self.layers.get(blob.digest()) {
            Some(layer) => Ok(Box::new(self.tar(layer)?)),
            None => Err(Error::not_there(&self.name, format!("blob {}", blob.digest()))),
        }
    }

    fn made(&self) -> bool {
        true
    }
}
