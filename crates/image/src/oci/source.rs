//! Reading OCI image layouts, in directories and in archives.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use loment_store::Algorithm;
use oci_spec::image::{Descriptor, Digest, ImageIndex};

use super::REF_NAME;
use crate::archive::Archive;
use crate::error::Error;
use crate::files;
use crate::source::{Fetched, Source};

/// What containerd and BuildKit call an image in full, where the other name is only a tag.
const FULL_NAME: &str = "io.containerd.image.name";

/// An image or index in the OCI image layout.
#[derive(Debug)]
pub struct OciLayout {
    files: Arc<Files>,
    entry: Entry,
    name: String,
}

/// Where the layout is.
#[derive(Debug)]
enum Files {
    Dir {
        dir: PathBuf,
        /// `ALGORITHM/DIGEST` of several layouts, instead of `blobs` in this one.
        blobs: Option<PathBuf>,
    },
    Archive(Archive),
}

/// What is delivered first.
#[derive(Debug)]
enum Entry {
    Listed(Box<Descriptor>),
    /// Something that is there without being in the index.
    Digest(Digest),
}

impl Files {
    fn transport(&self) -> &'static str {
        match self {
            Self::Dir { .. } => "oci",
            Self::Archive(_) => "oci-archive",
        }
    }

    fn place(&self) -> String {
        match self {
            Self::Dir { dir, .. } => dir.display().to_string(),
            Self::Archive(archive) => archive.name().to_owned(),
        }
    }

    fn document(&self, name: &str) -> Result<Vec<u8>, Error> {
        match self {
            Self::Dir { dir, .. } => files::read_document(&dir.join(name)),
            Self::Archive(archive) => archive.document(name),
        }
    }

    fn blob_document(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        match self.shared(digest)? {
            Some(path) => files::read_document(&path),
            None => self.document(&self.blob_name(digest)?),
        }
    }

    fn blob(&self, digest: &Digest) -> Result<Box<dyn Read + Send + '_>, Error> {
        let name = self.blob_name(digest)?;
        Ok(match self {
            Self::Dir { dir, .. } => {
                let path = self.shared(digest)?.unwrap_or_else(|| dir.join(name));
                Box::new(files::open(&path)?)
            }
            Self::Archive(archive) => Box::new(archive.part(archive.must_find(&name)?)),
        })
    }

    fn index(&self) -> Result<ImageIndex, Error> {
        let bytes = self.document("index.json")?;
        let what = || format!("index.json of {}", self.place());
        serde_json::from_slice(&bytes).map_err(|source| Error::Malformed { what: what(), source })
    }

    /// Where a blob is that is not in the layout itself.
    fn shared(&self, digest: &Digest) -> Result<Option<PathBuf>, Error> {
        let Self::Dir { blobs: Some(blobs), .. } = self else { return Ok(None) };
        let name = self.blob_name(digest)?;
        Ok(Some(blobs.join(name.trim_start_matches("blobs/"))))
    }

    fn blob_name(&self, digest: &Digest) -> Result<String, Error> {
        // A digest of ours is plain hexadecimal, so it cannot leave the directory.
        let layout = || Error::Algorithm { what: self.place(), digest: digest.clone() };
        Algorithm::of(digest).ok_or_else(layout)?;
        Ok(format!("blobs/{}/{}", digest.algorithm().as_ref(), digest.digest()))
    }
}

impl OciLayout {
    /// Opens what `reference` means in the layout in `dir`: a name, `@` and a position, a digest, or empty for the only one.
    /// `blobs` is where its blobs are when they are not in it.
    ///
    /// # Errors
    /// [`Error::NotInLayout`].
    pub fn open(dir: &Path, blobs: Option<&Path>, reference: &str) -> Result<Self, Error> {
        let (dir, blobs) = (dir.to_path_buf(), blobs.map(Path::to_path_buf));
        Self::find(Files::Dir { dir, blobs }, reference)
    }

    /// The same in an archive.
    ///
    /// # Errors
    /// [`Error::NotInLayout`], [`Error::Archive`].
    pub fn in_archive(archive: Archive, reference: &str) -> Result<Self, Error> {
        Self::find(Files::Archive(archive), reference)
    }

    fn find(files: Files, reference: &str) -> Result<Self, Error> {
        let index = files.index()?;
        let entry = match (find(&index, reference), Digest::try_from(reference)) {
            (Some(entry), _) => Entry::Listed(Box::new(entry.clone())),
            (None, Ok(digest)) => Entry::Digest(digest),
            (None, Err(_)) if reference.is_empty() && index.manifests().len() > 1 => {
                return Err(Error::Several { archive: files.place(), count: index.manifests().len() });
            }
            (None, Err(_)) => {
                return Err(Error::NotInLayout { layout: files.place(), reference: reference.to_owned() });
            }
        };
        let name = format!("{}:{}:{reference}", files.transport(), files.place());
        let name = name.trim_end_matches(':').to_owned();
        Ok(Self { files: Arc::new(files), entry, name })
    }

    /// Everything that the layout in `dir` lists.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Malformed`].
    pub fn all(dir: &Path) -> Result<Vec<Self>, Error> {
        Self::listed(Files::Dir { dir: dir.to_path_buf(), blobs: None })
    }

    /// The same in an archive.
    ///
    /// # Errors
    /// As of [`OciLayout::all`], and [`Error::NotInArchive`] when there is no layout in it.
    pub fn all_in_archive(archive: Archive) -> Result<Vec<Self>, Error> {
        Self::listed(Files::Archive(archive))
    }

    fn listed(files: Files) -> Result<Vec<Self>, Error> {
        let index = files.index()?;
        let files = Arc::new(files);
        let entry = |(position, entry): (usize, &Descriptor)| Self {
            files: Arc::clone(&files),
            entry: Entry::Listed(Box::new(entry.clone())),
            name: format!("{}:{}:@{position}", files.transport(), files.place()),
        };
        Ok(index.manifests().iter().enumerate().map(entry).collect())
    }

    /// What it is called in the layout.
    pub fn entry_name(&self) -> Option<&str> {
        let Entry::Listed(entry) = &self.entry else { return None };
        let annotations = entry.annotations().as_ref()?;
        let full = annotations.get(FULL_NAME).filter(|name| !name.is_empty());
        full.or_else(|| annotations.get(REF_NAME)).map(String::as_str)
    }
}

fn find<'i>(index: &'i ImageIndex, reference: &str) -> Option<&'i Descriptor> {
    index.manifests().get(position(index, reference)?)
}

/// Which entry of an index is meant.
pub(super) fn position(index: &ImageIndex, reference: &str) -> Option<usize> {
    let entries = index.manifests();
    if reference.is_empty() {
        return (entries.len() == 1).then_some(0);
    }
    if let Some(position) = reference.strip_prefix('@') {
        return position.parse().ok().filter(|position| *position < entries.len());
    }
    let named = |entry: &Descriptor| {
        let annotations = entry.annotations().as_ref();
        annotations.and_then(|all| all.get(REF_NAME)).is_some_and(|name| name == reference)
    };
    entries.iter().position(named)
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
        let bytes = self.files.blob_document(digest)?;
        Ok(Fetched { media_type, digest: Some(digest.clone()), bytes })
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        self.files.blob(blob.digest())
    }
}
