//! Reading what `docker save` and `podman save` write: `manifest.json` lists images, and says in which files their parts are.
//!
//! There is no manifest of the image in it, so one is made here: layers are uncompressed, and known by the digests of their tars. What
//! the archive says of itself is verified like anything else on the way.

use std::collections::HashMap;
use std::io::{self, BufReader, Read};

use loment_store::Member;
use oci_spec::image::{Descriptor, Digest};
use serde::Deserialize;
use serde_json::json;

use super::{Archive, Part};
use crate::config::ImageConfig;
use crate::error::Error;
use crate::format::Format;
use crate::inflate::{self, Compression};
use crate::reference::Reference;
use crate::source::{Fetched, Source, made_manifest};

/// Says what is in the archive.
pub(crate) const MANIFEST: &str = "manifest.json";
/// Layers of one image; overlayfs takes 500.
const MAX_LAYERS: usize = 4096;

/// An item of `manifest.json` (moby, `image/tarexport/tarexport.go`).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// An archive of images.
#[derive(Debug)]
pub struct DockerArchive {
    archive: Archive,
    items: Vec<Item>,
}

/// One of them.
#[derive(Debug)]
pub struct DockerImage<'a> {
    archive: &'a Archive,
    name: String,
    tags: Vec<String>,
    manifest: Vec<u8>,
    config: (Digest, Vec<u8>),
    layers: HashMap<Digest, (Member, Compression)>,
}

impl DockerArchive {
    /// Whether an archive is of this kind.
    ///
    /// # Errors
    /// [`Error::Archive`].
    pub fn is(archive: &Archive) -> Result<bool, Error> {
        Ok(archive.find(MANIFEST)?.is_some())
    }

    /// Reads what is in an archive.
    ///
    /// # Errors
    /// [`Error::NotInArchive`], [`Error::Malformed`].
    pub fn open(archive: Archive) -> Result<Self, Error> {
        if archive.find(MANIFEST)?.is_none() && archive.find("repositories")?.is_some() {
            return Err(Error::OldArchive { archive: archive.name().to_owned() });
        }
        let bytes = archive.document(MANIFEST)?;
        let what = || format!("{MANIFEST} of {}", archive.name());
        let items =
            serde_json::from_slice(&bytes).map_err(|source| Error::Malformed { what: what(), source })?;
        Ok(Self { archive, items })
    }

    /// How many images there are.
    pub fn count(&self) -> usize {
        self.items.len()
    }

    /// What the images are called, as it is written; one without a name is `@` and its position.
    pub fn names(&self) -> Vec<String> {
        let of_item = |(position, item): (usize, &Item)| match item.repo_tags.as_deref() {
            None | Some([]) => vec![format!("@{position}")],
            Some(names) => names.to_vec(),
        };
        self.items.iter().enumerate().flat_map(of_item).collect()
    }

    /// The image `which` means: a name, `@` and a position, or empty for the only one.
    ///
    /// # Errors
    /// [`Error::NotInLayout`], [`Error::Several`], and what is wrong with the image.
    pub fn image(&self, which: &str) -> Result<DockerImage<'_>, Error> {
        let missing = || {
            let (layout, reference) = (self.archive.name().to_owned(), which.to_owned());
            Error::NotInLayout { layout, reference }
        };
        let position = if which.is_empty() {
            match self.items.len() {
                1 => 0,
                count => return Err(Error::Several { archive: self.archive.name().to_owned(), count }),
            }
        } else if let Some(position) = which.strip_prefix('@') {
            position.parse().map_err(|_| missing())?
        } else {
            let wanted = tagged(which).ok_or_else(missing)?;
            let has =
                |item: &Item| item.repo_tags.iter().flatten().any(|tag| tagged(tag) == Some(wanted.clone()));
            self.items.iter().position(has).ok_or_else(missing)?
        };
        self.at(position).ok_or_else(missing)?
    }

    /// The image at a position; `None` behind the last.
    pub fn at(&self, position: usize) -> Option<Result<DockerImage<'_>, Error>> {
        let item = self.items.get(position)?;
        Some(DockerImage::open(
            &self.archive,
            item,
            format!("docker-archive:{}:@{position}", self.archive.name()),
        ))
    }
}

/// A name in full.
fn tagged(name: &str) -> Option<String> {
    name.parse::<Reference>().ok().map(|reference| reference.store_name())
}

impl<'a> DockerImage<'a> {
    fn open(archive: &'a Archive, item: &Item, name: String) -> Result<Self, Error> {
        let bytes = archive.document(&item.config)?;
        let digest = loment_store::sha256(&bytes);
        let what = || format!("configuration {digest} of {name}");
        let config =
            ImageConfig::parse(&bytes).map_err(|source| Error::Malformed { what: what(), source })?;
        let files: &[String] = item.layers.as_deref().unwrap_or_default();
        if files.len() != config.diff_ids.len() || files.len() > MAX_LAYERS {
            let (layers, diff_ids) = (files.len(), config.diff_ids.len());
            return Err(Error::LayerCount { digest, layers, diff_ids });
        }
        let (mut layers, mut sizes) = (HashMap::new(), HashMap::new());
        let mut list = Vec::new();
        for (file, diff_id) in files.iter().zip(&config.diff_ids) {
            let diff_id = diff_id.digest();
            if !layers.contains_key(diff_id) {
                let (layer, size) = measure(archive, file, diff_id)?;
                layers.insert(diff_id.clone(), layer);
                sizes.insert(diff_id.clone(), size);
            }
            let media_type = Format::Docker.layer(crate::Compression::None);
            list.push(json!({ "mediaType": media_type, "size": sizes[diff_id], "digest": diff_id }));
        }
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": Format::Docker.manifest(),
            "config": { "mediaType": Format::Docker.config(), "size": bytes.len(), "digest": digest },
            "layers": list,
        });
        let manifest = manifest.to_string().into_bytes();
        let tags = item.repo_tags.clone().unwrap_or_default();
        Ok(Self { archive, name, tags, manifest, config: (digest, bytes), layers })
    }

    /// The names it was saved with, as written.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }
}

/// Where a layer is, and the length of its tar: some tools put compressed layers into archives.
fn measure(archive: &Archive, file: &str, diff_id: &Digest) -> Result<((Member, Compression), u64), Error> {
    let member = archive.must_find(file)?;
    let failed = |source| Error::Blob { operation: "read", digest: diff_id.clone(), source };
    let mut start = Vec::new();
    archive.part(member).take(6).read_to_end(&mut start).map_err(failed)?;
    let compression = inflate::detect(&start);
    let size = match compression {
        Compression::None => member.size,
        Compression::Unsupported(compression) => {
            return Err(Error::Compression { digest: diff_id.clone(), compression });
        }
        _ => {
            let mut plain = open(archive.part(member), compression);
            io::copy(&mut plain, &mut io::sink()).map_err(failed)?
        }
    };
    Ok(((member, compression), size))
}

fn open(part: Part<'_>, compression: Compression) -> Box<dyn Read + Send + '_> {
    if compression == Compression::None {
        return Box::new(part);
    }
    inflate::reader(BufReader::with_capacity(256 * 1024, part), compression)
}

impl Source for DockerImage<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<Fetched, Error> {
        made_manifest(self.archive.name(), digest, Format::Docker, &self.manifest)
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        let digest = blob.digest();
        if *digest == self.config.0 {
            return Ok(Box::new(&self.config.1[..]));
        }
        let Some((member, compression)) = self.layers.get(digest) else {
            return Err(Error::not_there(self.archive.name(), format!("blob {}", blob.digest())));
        };
        Ok(open(self.archive.part(*member), *compression))
    }

    fn made(&self) -> bool {
        true
    }
}
