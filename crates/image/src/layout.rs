//! OCI image layouts: the `oci:` transport (image-spec, image-layout.md).

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use loment_store::Algorithm;
use oci_spec::image::{Descriptor, Digest, ImageIndex};

use crate::error::Error;
use crate::manifest::MAX_DOCUMENT;
use crate::source::{Fetched, Source};

/// Names an image in a layout's index.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A directory in the OCI image layout.
#[derive(Debug)]
pub struct OciLayout {
    dir: PathBuf,
    index: ImageIndex,
}

impl OciLayout {
    /// Opens the layout in `dir`.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("index.json");
        let bytes = read(&path)?;
        let malformed = |source| Error::Malformed { what: path.display().to_string(), source };
        Ok(Self { dir: dir.to_path_buf(), index: serde_json::from_slice(&bytes).map_err(malformed)? })
    }

    /// The entry `reference` means: a name, `@` and a position, a digest, or empty for the only one.
    fn find(&self, reference: &str) -> Option<&Descriptor> {
        let entries = self.index.manifests();
        if reference.is_empty() {
            return if let [only] = entries.as_slice() { Some(only) } else { None };
        }
        if let Some(position) = reference.strip_prefix('@') {
            return entries.get(position.parse::<usize>().ok()?);
        }
        let named = |entry: &&Descriptor| {
            let annotations = entry.annotations().as_ref();
            annotations.and_then(|all| all.get(REF_NAME)).is_some_and(|name| name == reference)
        };
        entries.iter().find(named)
    }

    fn blob_path(&self, digest: &Digest) -> Result<PathBuf, Error> {
        // A digest of ours is plain hexadecimal, so it cannot leave the directory.
        let layout = || Error::Algorithm { what: self.dir.display().to_string(), digest: digest.clone() };
        Algorithm::of(digest).ok_or_else(layout)?;
        Ok(self.dir.join("blobs").join(digest.algorithm().as_ref()).join(digest.digest()))
    }
}

impl Source for OciLayout {
    fn manifest(&self, reference: &str) -> Result<Fetched, Error> {
        if let Some(entry) = self.find(reference) {
            let bytes = read(&self.blob_path(entry.digest())?)?;
            return Ok(Fetched {
                media_type: entry.media_type().to_string(),
                digest: Some(entry.digest().clone()),
                bytes,
            });
        }
        match Digest::try_from(reference) {
            Ok(digest) => {
                let bytes = read(&self.blob_path(&digest)?)?;
                Ok(Fetched { media_type: String::new(), digest: Some(digest), bytes })
            }
            Err(_) => {
                let layout = self.dir.display().to_string();
                Err(Error::NotInLayout { layout, reference: reference.to_owned() })
            }
        }
    }

    fn blob(&self, digest: &Digest) -> Result<Box<dyn Read + Send + '_>, Error> {
        let path = self.blob_path(digest)?;
        match File::open(&path) {
            Ok(file) => Ok(Box::new(file)),
            Err(source) => Err(Error::Layout { path: path.display().to_string(), source }),
        }
    }
}

/// Reads a document, not more than one may be long.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let result = File::open(path).and_then(|file| file.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes));
    match result {
        Ok(size) if size as u64 > MAX_DOCUMENT => Err(io::Error::from(io::ErrorKind::FileTooLarge)),
        result => result,
    }
    .map_err(|source| Error::Layout { path: path.display().to_string(), source })?;
    Ok(bytes)
}
