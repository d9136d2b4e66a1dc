//! Layers: looked up without locks, immutable once visible, able to write their exact tar again.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use oci_spec::image::Digest;
use rustix::fs::{CWD, Mode, OFlags, openat};
use serde::{Deserialize, Serialize};

use crate::digest::{DiffId, HashingWriter};
use crate::disk;
use crate::error::{Context, Error};
use crate::implied::Implied;
use crate::regenerate::Regenerated;
use crate::store::Store;
use crate::view::{self, Tree};

/// The file of a layer in [`Form::Erofs`].
const IMAGE: &str = "layer.erofs";
/// A file in the directory of a layer that is known to be damaged.
pub(crate) const SUSPECT: &str = "suspect";

/// How the files of a layer are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Form {
    /// An unpacked tree in `fs/`, whiteouts in overlay form.
    Dir,
    /// The same tree in one file, `layer.erofs`, for the kernel to mount.
    Erofs,
}

/// One lower layer of a container's root file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lower {
    /// A directory, which overlayfs takes as it is.
    Dir(PathBuf),
    /// A file system image, to be mounted first.
    Erofs {
        /// The image.
        file: PathBuf,
        /// Whose it is; one mount of a layer serves all containers.
        layer: DiffId,
    },
}

impl Lower {
    /// The directory of a layer that needs no mounting.
    ///
    /// # Errors
    /// [`Error::NotADirectory`].
    pub fn directory(self) -> Result<PathBuf, Error> {
        match self {
            Self::Dir(path) => Ok(path),
            Self::Erofs { layer, .. } => Err(Error::NotADirectory { layer }),
        }
    }
}

/// A compressed (or plain) form of a layer that a registry may hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerBlob {
    /// Digest of the blob, computed here.
    pub digest: Digest,
    /// Bytes of the blob.
    pub size: u64,
    /// Media type it was pulled with.
    pub media_type: String,
    /// Repositories, as `registry.example:5000/team/app`, that it was sent to: the latest first, a few of them. Whether they still
    /// have it they must be asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent_to: Vec<String>,
}

/// Repositories that are remembered of a blob.
const MOST_REPOSITORIES: usize = 8;

impl LayerBlob {
    /// Adds what is known of the same blob now; whether that says more.
    fn learn(&mut self, now: &Self) -> bool {
        if self.sent_to.starts_with(&now.sent_to) {
            return false;
        }
        self.sent_to.retain(|known| !now.sent_to.contains(known));
        self.sent_to.splice(0..0, now.sent_to.iter().cloned());
        self.sent_to.truncate(MOST_REPOSITORIES);
        true
    }
}

/// `layer.json`, version 1.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LayerDocument {
    pub(crate) version: u32,
    pub(crate) diff_id: DiffId,
    pub(crate) form: Form,
    /// Bytes of tar.
    pub(crate) size: u64,
    pub(crate) entries: u64,
    /// Lower layers are not to be mounted below this one.
    #[serde(default)]
    pub(crate) opaque_root: bool,
    /// The tar says what the root directory looks like.
    #[serde(default)]
    pub(crate) explicit_root: bool,
    /// Directories whose attributes are for a lower layer to say. Absent in documents written before there was
    /// this field, whose layers show the fixed attributes.
    #[serde(default, skip_serializing_if = "Implied::is_empty")]
    pub(crate) implied: Implied,
    #[serde(default)]
    pub(crate) blobs: Vec<LayerBlob>,
}

/// One layer in the store.
#[derive(Clone, Debug)]
pub struct Layer {
    dir: PathBuf,
    document: LayerDocument,
}

impl Layer {
    /// The layer's identity.
    pub fn diff_id(&self) -> &DiffId {
        &self.document.diff_id
    }

    /// How its files are kept.
    pub fn form(&self) -> Form {
        self.document.form
    }

    /// Bytes of its uncompressed tar; what engines show as its size.
    pub fn size(&self) -> u64 {
        self.document.size
    }

    /// Entries in its tar.
    pub fn entries(&self) -> u64 {
        self.document.entries
    }

    /// Blobs known to unpack to this layer.
    pub fn blobs(&self) -> &[LayerBlob] {
        &self.document.blobs
    }

    /// What overlayfs is given for it.
    pub fn lower(&self) -> Lower {
        match self.document.form {
            Form::Dir => Lower::Dir(self.fs()),
            Form::Erofs => Lower::Erofs { file: self.image(), layer: self.diff_id().clone() },
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn fs(&self) -> PathBuf {
        self.dir.join("fs")
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.dir.join(IMAGE)
    }

    pub(crate) fn document(&self) -> &LayerDocument {
        &self.document
    }

    /// Writes the exact tar the layer was made from and checks it against the layer's identity.
    ///
    /// # Errors
    /// [`Error::CorruptLayer`] when the stored files no longer give that tar; some of it has been written then.
    pub fn write_tar(&self, out: impl Write) -> Result<(), Error> {
        let mut tar = Regenerated::of(self)?;
        let mut out = HashingWriter::new(out);
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let count = match tar.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) if tar.is_incomplete() => return Err(self.corrupt("a file is missing or too short")),
                Err(error) => return Err(error).during("read", &self.dir),
            };
            out.write_all(&buffer[..count]).during("write the tar of", &self.dir)?;
        }
        if out.finish() == *self.diff_id().digest() {
            Ok(())
        } else {
            Err(self.corrupt("its tar has another digest"))
        }
    }

    /// Reads all of the layer and checks it against its identity.
    pub fn verify(&self) -> Result<(), Error> {
        self.write_tar(io::sink())?;
        match Tree::of(self)? {
            Tree::Dir(..) => Ok(()),
            Tree::Erofs(_, image) => image.check().map_err(|e| view::failed(self, e)),
        }
    }

    fn corrupt(&self, problem: &'static str) -> Error {
        Error::CorruptLayer { layer: self.diff_id().clone(), problem }
    }
}

pub(crate) fn open_dir(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).during("open", path)
}

impl Store {
    /// The layer with this identity, if it is here.
    pub fn layer(&self, diff_id: &DiffId) -> Result<Option<Layer>, Error> {
        let dir = self.layer_path(diff_id.hex());
        let document = disk::read_json(&dir.join("layer.json"))?;
        Ok(document.map(|document| Layer { dir, document }))
    }

    /// Whether there is a layer of this identity, sound or not.
    pub fn has_layer(&self, diff_id: &DiffId) -> bool {
        self.layer_path(diff_id.hex()).exists()
    }

    /// Every layer of the store at `root` that is mounted to be used, and the inode of its image.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn mounted_layers(root: &Path) -> Result<HashSet<(String, u64)>, Error> {
        let dir = root.join("layers");
        let mut all = HashSet::new();
        for hex in disk::names(&dir)? {
            if let Ok(found) = std::fs::metadata(dir.join(&hex).join(IMAGE)) {
                all.insert((hex, found.ino()));
            }
        }
        Ok(all)
    }

    /// The layer with this identity, if it is here and nobody found damage in it.
    pub fn sound_layer(&self, diff_id: &DiffId) -> Result<Option<Layer>, Error> {
        if self.layer_path(diff_id.hex()).join(SUSPECT).exists() {
            return Ok(None);
        }
        match self.layer(diff_id) {
            // What cannot be read is no layer to build on; the next one of this identity takes its place.
            Err(Error::Document { .. }) => Ok(None),
            layer => layer,
        }
    }

    /// Marks a layer as damaged: the next pull fetches it again and puts a verified one in its place. Until then those who use
    /// it have it as it is.
    pub fn suspect(&self, diff_id: &DiffId) -> Result<(), Error> {
        let dir = self.layer_path(diff_id.hex());
        if !dir.exists() {
            return Ok(());
        }
        let path = dir.join(SUSPECT);
        OpenOptions::new().write(true).create(true).truncate(false).open(&path).during("create", &path)?;
        disk::sync_dir(&dir, self.durability())
    }

    /// The layer a blob unpacks to, if that was seen here.
    pub fn layer_by_blob(&self, blob: &Digest) -> Result<Option<Layer>, Error> {
        match self.diff_id_of(blob)? {
            Some(diff_id) => self.layer(&diff_id),
            None => Ok(None),
        }
    }

    pub(crate) fn diff_id_of(&self, blob: &Digest) -> Result<Option<DiffId>, Error> {
        Ok(disk::link_name(&self.by_blob_path(blob))?.and_then(|hex| DiffId::from_hex(&hex)))
    }

    pub(crate) fn layer_path(&self, hex: &str) -> PathBuf {
        self.path("layers").join(hex)
    }

    /// SHA-256 blobs stand under their bare digits, others under `<algorithm>:<digits>`.
    pub(crate) fn by_blob_path(&self, blob: &Digest) -> PathBuf {
        let text = blob.as_ref();
        self.path("by-blob").join(disk::escape(text.strip_prefix("sha256:").unwrap_or(text)))
    }

    /// Adds `blob` to what is known about a layer. The caller computed both digests: where it was taken for a form of another layer, it
    /// is that no more.
    pub fn add_blob(&self, diff_id: &DiffId, blob: LayerBlob) -> Result<Layer, Error> {
        let digest = blob.digest.clone();
        // Before it is one of this layer: who is killed in between has it fetched again.
        if let Some(other) = self.diff_id_of(&digest)?.filter(|other| other != diff_id) {
            self.forget_blob(&other, &digest)?;
        }
        let (layer, mistaken) = self.link_blob(diff_id, blob)?;
        if let Some(other) = mistaken {
            self.forget_blob(&other, &digest)?;
        }
        Ok(layer)
    }

    /// Also which other layer it was thought to be.
    fn link_blob(&self, diff_id: &DiffId, blob: LayerBlob) -> Result<(Layer, Option<DiffId>), Error> {
        let _lock = self.lock(&format!("layer-{}", diff_id.hex()))?;
        // What is staged without a lease is swept otherwise.
        let _share = self.share()?;
        let dir = self.layer_path(diff_id.hex());
        let path = dir.join("layer.json");
        let Some(mut document) = disk::read_json::<LayerDocument>(&path)? else {
            return Err(Error::CorruptLayer { layer: diff_id.clone(), problem: "layer.json is missing" });
        };
        let says_more = match document.blobs.iter_mut().find(|known| known.digest == blob.digest) {
            Some(known) => known.learn(&blob),
            None => {
                document.blobs.push(blob.clone());
                true
            }
        };
        if says_more {
            disk::write_file(&self.staging(), &path, &disk::to_json(&document), self.durability())?;
        }
        let link = self.by_blob_path(&blob.digest);
        let before = self.diff_id_of(&blob.digest)?;
        if before.as_ref() != Some(diff_id) {
            // Over what a power cut may have left of one.
            let new = self.staging().join(disk::unique("link-"));
            let target = Path::new("../layers").join(diff_id.hex());
            std::os::unix::fs::symlink(&target, &new).during("create", &new)?;
            std::fs::rename(&new, &link).during("create", &link)?;
        }
        disk::sync_dir(&self.path("by-blob"), self.durability())?;
        Ok((Layer { dir, document }, before.filter(|before| before != diff_id)))
    }

    /// Takes a blob away from what is known about a layer, if that is here.
    fn forget_blob(&self, diff_id: &DiffId, blob: &Digest) -> Result<(), Error> {
        let _lock = self.lock(&format!("layer-{}", diff_id.hex()))?;
        let _share = self.share()?;
        let path = self.layer_path(diff_id.hex()).join("layer.json");
        // One that cannot be read is for those who check.
        let Ok(Some(mut document)) = disk::read_json::<LayerDocument>(&path) else { return Ok(()) };
        let count = document.blobs.len();
        document.blobs.retain(|known| known.digest != *blob);
        if document.blobs.len() == count {
            return Ok(());
        }
        disk::write_file(&self.staging(), &path, &disk::to_json(&document), self.durability())
    }
}

/// Flushes the file system `dir` is on.
pub(crate) fn sync_fs(dir: impl AsFd, path: &Path) -> Result<(), Error> {
    rustix::fs::syncfs(dir).during("flush", path)
}
