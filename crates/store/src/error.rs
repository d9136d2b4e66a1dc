//! Errors of the store.

use std::io;
use std::path::{Path, PathBuf};

use oci_spec::image::Digest;

use crate::digest::{DiffId, ImageId};
use crate::unpack::UnpackError;

/// Why the store could not do something. Whatever it was, nothing half made is visible.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name does not point at what it was seen to point at, or at an image instead of an index.
    #[error("{name:?} is in use by something else meanwhile: try again, or use another name")]
    NameChanged {
        /// The name.
        name: String,
    },
    /// The kernel refused an operation on one of the store's own files.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// One of the store's own documents cannot be read.
    #[error("{} is corrupt: `loment system check --repair` mends it", path.display())]
    Document {
        /// Which one.
        path: PathBuf,
        /// Where.
        #[source]
        source: serde_json::Error,
    },
    /// The record of an image says something else than the image.
    #[error("its record does not say the {part} that its configuration and layers do")]
    Record {
        /// The image.
        image: ImageId,
        /// What differs.
        part: &'static str,
    },
    /// The record of an image does not have one of its names.
    #[error("its record does not have its name {name}")]
    Forgotten {
        /// The image.
        image: ImageId,
        /// The name.
        name: String,
    },
    /// A document says it is about something else than what its name says.
    #[error("{} is about something else", path.display())]
    Misplaced {
        /// Which one.
        path: PathBuf,
    },
    /// The store was written by a loment that knows more than this one.
    #[error("store {} uses features this loment does not know ({}), use a newer loment", root.display(), features.join(", "))]
    Format {
        /// The store.
        root: PathBuf,
        /// What is not known.
        features: Vec<String>,
    },
    /// Another program's images are there.
    #[error(
        "{} is where {owner} keeps images ({sign} is in it): nothing is written there, choose another directory", root.display()
    )]
    Foreign {
        /// The directory.
        root: PathBuf,
        /// Whose it is.
        owner: &'static str,
        /// What says so.
        sign: &'static str,
    },
    /// The files of an image could not be copied for a container.
    #[error("cannot copy the files of the image to {}", to.display())]
    Copy {
        /// Where they were to be.
        to: PathBuf,
        /// At which file, and why.
        #[source]
        source: UnpackError,
    },
    /// The file system does not keep limits.
    #[error("{} is on {filesystem}, which does not limit the size of containers as it is: {advice}", root.display())]
    NoLimits {
        /// The store.
        root: PathBuf,
        /// What it is called.
        filesystem: String,
        /// What to do.
        advice: &'static str,
    },
    /// Whatever number a limited container tried, somebody on this file system has it.
    #[error("no number is left for the size limit of another container in {}: remove some", root.display())]
    NoProject {
        /// The store.
        root: PathBuf,
    },
    /// What is to come is more than there is room for.
    #[error(
        "{} has {free} bytes left, and at least {needed} are needed: `loment image prune` removes what nothing uses", root.display()
    )]
    NoRoom {
        /// The store.
        root: PathBuf,
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
        /// `ENOSPC`.
        #[source]
        source: io::Error,
    },
    /// No image has this name or id.
    #[error("{name}: image not known")]
    ImageNotKnown {
        /// What was asked for.
        name: String,
    },
    /// More than one image id starts like this.
    #[error("{prefix}: more than one image id starts with this, use more digits")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
    },
    /// Removing by id would take several names away.
    #[error("unable to delete image \"{}\" by ID with more than one tag ({}): please force removal", id.hex(), names.join(", "))]
    SeveralNames {
        /// The image.
        id: ImageId,
        /// Its names.
        names: Vec<String>,
    },
    /// A layer an image names is not there.
    #[error("layer {layer} of image {image} is missing, pull the image again")]
    LayerMissing {
        /// The layer.
        layer: DiffId,
        /// The image.
        image: ImageId,
    },
    /// Bytes do not have the digest they were announced with.
    #[error("{what} has digest {found}, expected {expected}")]
    Digest {
        /// Blob or document.
        what: &'static str,
        /// As announced.
        expected: Digest,
        /// As computed here.
        found: Digest,
    },
    /// A digest uses an algorithm that cannot be verified here.
    #[error("digest {digest} uses an unsupported algorithm")]
    Algorithm {
        /// The digest.
        digest: Digest,
    },
    /// A blob is not in the store.
    #[error("blob {digest} is not in the store")]
    BlobMissing {
        /// The blob.
        digest: Digest,
    },
    /// The tar of a layer is not what the image's configuration says.
    #[error("layer unpacks to {found}, but the image's configuration says {expected}")]
    DiffId {
        /// From the configuration.
        expected: DiffId,
        /// As computed here.
        found: DiffId,
    },
    /// A stored layer no longer regenerates its own tar.
    #[error("layer {layer} is corrupt: {problem}")]
    CorruptLayer {
        /// The layer.
        layer: DiffId,
        /// What is wrong.
        problem: &'static str,
    },
    /// A layer is kept as a file system image where only directories are understood.
    #[error("layer {layer} is kept as a file system image, which cannot be used here")]
    NotADirectory {
        /// The layer.
        layer: DiffId,
    },
    /// A tree with the owners of a container is not what it was made as.
    #[error("{} is not what the layers show: `loment system check --repair` has it made again", path.display())]
    CorruptTree {
        /// Which one.
        path: PathBuf,
    },
    /// A container whose users and groups are some others does not have the owner of a file of its image.
    #[error(
        "{} belongs to user {uid} and group {gid}, which the user namespace does not have: give it more (--userns …:size=NUMBER, --uidmap, --gidmap)",
        path.display()
    )]
    NoOwner {
        /// The file.
        path: PathBuf,
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// A layer could not be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// A name cannot be used as a container id.
    #[error("{name:?} is not a valid container id")]
    ContainerId {
        /// The name.
        name: String,
    },
}

/// Adds operation and path to an I/O error.
pub(crate) trait Context<T> {
    fn during(self, operation: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn during(self, operation: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io { operation, path: path.to_path_buf(), source: source.into() })
    }
}
