//! Reading OCI image layouts.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use loment_store::Algorithm;
use oci_spec::image::{Descriptor, Digest, ImageIndex};

use super::REF_NAME;
use crate::error::Error;
use crate::files;
use crate::source::{Fetched, Source};

/// An image or index in a directory in the OCI image layout.
#[derive(Debug)]
pub struct OciLayout {
    dir: PathBuf,
    entry: Entry,
    name: String,
}

/// What is delivered first.
#[derive(Debug)]
enum Entry {
    Listed(Box<Descriptor>),
    /// Something that is there without being in the index.
    Digest(Digest),
}

impl OciLayout {
    /// Opens what `reference` means in the layout in `dir`: a name, `@` and a position, a digest, or empty for the only one.
    ///
    /// # Errors
    /// [`Error::NotInLayout`].
    pub fn open(dir: &Path, reference: &str) -> Result<Self, Error> {
        let path = dir.join("index.json");
        let bytes = files::read_document(&path)?;
        let malformed = |source| Error::Malformed { what: path.display().to_string(), source };
        let index: ImageIndex = serde_json::from_slice(&bytes).map_err(malformed)?;
        let entry = match (find(&index, reference), Digest::try_from(reference)) {
            (Some(entry), _) => Entry::Listed(Box::new(entry.clone())),
            (None, Ok(digest)) => Entry::Digest(digest),
            (None, Err(_)) => {
                let layout = dir.display().to_string();
                return Err(Error::NotInLayout { layout, reference: reference.to_owned() });
            }
        };
        let name = format!("oci:{}:{reference}", dir.display()).trim_end_matches(':').to_owned();
        Ok(Self { dir: dir.to_path_buf(), entry, name })
    }

    fn blob_path(&self, digest: &Digest) -> Result<PathBuf, Error> {
        // A digest of ours is plain hexadecimal, so it cannot leave the directory.
        let layout = || Error::Algorithm { what: self.dir.display().to_string(), digest: digest.clone() };
        Algorithm::of(digest).ok_or_else(layout)?;
        Ok(self.dir.join("blobs").join(digest.algorithm().as_ref()).join(digest.digest()))
    }
}

fn find<'i>(index: &'i ImageIndex, reference: &str) -> Option<&'i Descriptor> {
    let entries = index.manifests();
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

impl Source for OciLayout {
    fn name(&self) -> &str {
        &self.name
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<Fetched, Error> {
        let (digest, media_type) = match (digest, &self.entry) {
            (Some(digest), _) | (None, Entry::Digest(digest)) => (digest, String::new()),
            (None, Entry::Listed(entry)) => (entry.digest(), entry.media_type().to_string()),
        };
        let bytes = files::read_document(&self.blob_path(digest)?)?;
        Ok(Fetched { media_type, digest: Some(digest.clone()), bytes })
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        let path = self.blob_path(blob.digest())?;
        Ok(Box::new(files::failed(File::open(&path), "open", &path)?))
    }
}
