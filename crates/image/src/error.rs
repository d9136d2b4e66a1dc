//! Errors of pulling.

use std::io;

use oci_spec::image::Digest;

use crate::platform::Platform;

/// Why an image could not be pulled. Nothing of it is visible afterwards, except layers that were complete.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry refused, or did not answer.
    #[error(transparent)]
    Registry(#[from] loment_registry::Error),
    /// Neither mirrors nor the registry itself. The words are Podman's.
    #[error("(mirrors also failed: {}): {name}", list_attempts(mirrors))]
    Mirrors {
        /// What was asked for.
        name: String,
        /// What was tried before the last place.
        mirrors: Vec<Attempt>,
        /// The last place's answer.
        #[source]
        source: Box<loment_registry::Error>,
    },
    /// A layer that need not be with its image is not where its manifest says, either.
    #[error("layer {digest} is not with its image, and cannot be had from where its manifest says it is")]
    Elsewhere {
        /// Of the blob.
        digest: Digest,
        /// About the last of its addresses.
        #[source]
        source: Box<loment_registry::Error>,
    },
    /// A source was given no place to ask.
    #[error("{name}: no registry to ask")]
    Nowhere {
        /// What was asked for.
        name: String,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] loment_store::Error),
    /// A file of an image cannot be read, or written.
    #[error("cannot {operation} {path}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A directory that is to become an image holds something else.
    #[error("{dir} is not empty, and holds no image: choose another directory")]
    NotEmpty {
        /// The directory.
        dir: String,
    },
    /// A destination has taken a part of a blob for all of it.
    #[error("{destination} has not read all of a blob")]
    Unread {
        /// The destination.
        destination: String,
    },
    /// What comes as a stream cannot be kept.
    #[error("cannot keep {what}")]
    Spool {
        /// What it is.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A root file system cannot be read.
    #[error("cannot read what is to be imported")]
    Import {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another tool's storage does not have what is asked for.
    #[error("storage at {root}: {problem}")]
    Storage {
        /// The directory.
        root: String,
        /// What is wrong.
        problem: String,
    },
    /// An archive cannot be read.
    #[error("cannot read archive {archive}")]
    Archive {
        /// As it was opened.
        archive: String,
        /// Why.
        #[source]
        source: loment_store::ArchiveError,
    },
    /// A part of an image is not in its archive.
    #[error("archive {archive} has no {what}")]
    NotInArchive {
        /// As it was opened.
        archive: String,
        /// What is missing.
        what: String,
    },
    /// An archive of Docker before 1.10.
    #[error(
        "archive {archive} has no manifest.json, only the repositories file of Docker before 1.10: save the image again with a newer tool"
    )]
    OldArchive {
        /// As it was opened.
        archive: String,
    },
    /// An archive is compressed in a way that is not supported.
    #[error(
        "archive {archive} is compressed with {compression}, which is not supported: decompress it first"
    )]
    ArchiveCompression {
        /// As it was opened.
        archive: String,
        /// `xz`, `bzip2`.
        compression: &'static str,
    },
    /// Nothing says which image of several is meant.
    #[error("{archive} holds {count} images: choose one by its name, or by @ and its position")]
    Several {
        /// As it was opened.
        archive: String,
        /// How many.
        count: usize,
    },
    /// An archive would have to be changed.
    #[error(
        "{path} exists, and docker-archive doesn't support modifying existing images: choose another file"
    )]
    Exists {
        /// The file.
        path: String,
    },
    /// An index cannot be kept.
    #[error("{destination} takes single images only, no index: choose one platform")]
    SingleOnly {
        /// The destination.
        destination: String,
    },
    /// A copy would have other digests than what is copied.
    #[error("{what} would have to be changed for {destination}: leave out --preserve-digests")]
    Preserve {
        /// Kind and digest.
        what: String,
        /// The destination.
        destination: String,
    },
    /// A format has no media type for a layer.
    #[error(
        "layer {digest} is compressed with zstd, which Docker's format does not know: use --format oci, or --compression-format gzip"
    )]
    NoWord {
        /// The layer's blob.
        digest: Digest,
    },
    /// The bytes of a blob do not come.
    #[error("cannot copy blob {blob}")]
    Copy {
        /// Its digest, where that is known.
        blob: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An OCI layout has no such image.
    #[error("{layout}: no image {reference:?} in the index")]
    NotInLayout {
        /// The directory.
        layout: String,
        /// Name, digest, or empty for "the only one".
        reference: String,
    },
    /// A manifest, index or configuration is not what the specifications say.
    #[error("{what} is malformed")]
    Malformed {
        /// Kind and digest.
        what: String,
        /// Where.
        #[source]
        source: serde_json::Error,
    },
    /// A document can be read as two different kinds (CVE-2021-41190).
    #[error("{what} is ambiguous: {problem}")]
    Ambiguous {
        /// Kind and digest.
        what: String,
        /// What contradicts what.
        problem: String,
    },
    /// A document larger than any engine accepts.
    #[error("{what} is {size} bytes long, more than {limit} are not accepted")]
    TooLarge {
        /// Kind and digest.
        what: String,
        /// Announced or found.
        size: u64,
        /// Allowed.
        limit: u64,
    },
    /// Docker's first manifest format.
    #[error(
        "manifest {digest} has schema version 1, which cannot be read here: push the image again with a newer tool"
    )]
    Schema1 {
        /// The manifest.
        digest: Digest,
    },
    /// A media type that means no image, or no layer, loment can use.
    #[error("{what} has unsupported media type {media_type:?}")]
    MediaType {
        /// Kind and digest.
        what: String,
        /// As written.
        media_type: String,
    },
    /// A layer is compressed in a way that is not supported.
    #[error("layer {digest} is compressed with {compression}, which is not supported")]
    Compression {
        /// The layer's blob.
        digest: Digest,
        /// `xz`, `bzip2`.
        compression: &'static str,
    },
    /// A layer becomes so large that it can only be meant to fill the disk.
    #[error(
        "layer {digest} is more than {most} bytes when it is decompressed, out of proportion to its size"
    )]
    Bomb {
        /// The layer's blob.
        digest: Digest,
        /// Bytes that it may have.
        most: u64,
    },
    /// Bytes do not have the digest asked for.
    #[error("{what} has digest {found}, expected {expected}")]
    Digest {
        /// What was asked for.
        what: String,
        /// As asked for or announced.
        expected: Digest,
        /// As computed here.
        found: Box<Digest>,
    },
    /// A digest that cannot be verified.
    #[error("{what}: digest {digest} uses an unsupported algorithm")]
    Algorithm {
        /// What it was given for.
        what: String,
        /// The digest.
        digest: Digest,
    },
    /// Bytes do not have the length announced.
    #[error("{what} is {found} bytes long, expected {expected}")]
    Size {
        /// Kind and digest.
        what: String,
        /// As announced.
        expected: u64,
        /// As counted here.
        found: u64,
    },
    /// No image for this platform.
    #[error("no image for platform {wanted} in {reference}, available: {}", list(available))]
    Platform {
        /// What was asked for.
        reference: String,
        /// The platform.
        wanted: Box<Platform>,
        /// What there is.
        available: Vec<Platform>,
    },
    /// None of the manifests has the configuration of an image that was asked for by its id.
    #[error("no image with id {} in {reference}", image.hex())]
    NoMember {
        /// Where it was looked for.
        reference: String,
        /// The id.
        image: loment_store::ImageId,
    },
    /// An index lists so much that not all of it is looked at.
    #[error("{reference} lists more than {limit} manifests, and the image is not among those")]
    TooMany {
        /// Where an image was looked for.
        reference: String,
        /// How many were looked at.
        limit: usize,
    },
    /// An index points to indexes that point to indexes.
    #[error("index {digest} is nested too deep")]
    Nested {
        /// The innermost one looked at.
        digest: Digest,
    },
    /// Manifest and configuration disagree.
    #[error("manifest {digest} has {layers} layers, its configuration has {diff_ids}")]
    LayerCount {
        /// The manifest.
        digest: Digest,
        /// In the manifest.
        layers: usize,
        /// In the configuration.
        diff_ids: usize,
    },
    /// Reading or inflating a blob failed.
    #[error("cannot {operation} layer {digest}")]
    Blob {
        /// What was tried.
        operation: &'static str,
        /// The blob.
        digest: Digest,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A layer failed in the store; the store knows it by its tar only.
    #[error("layer {digest}")]
    Layer {
        /// The blob.
        digest: Digest,
        /// Why.
        #[source]
        source: Box<loment_store::Error>,
    },
    /// Another layer of the same pull failed first.
    #[error("pull of layer {digest} was cancelled")]
    Cancelled {
        /// The blob.
        digest: Digest,
    },
}

/// What was asked, and its answer.
#[derive(Debug)]
pub struct Attempt {
    /// By which name.
    pub name: String,
    /// What went wrong.
    pub error: loment_registry::Error,
}

impl Error {
    pub(crate) fn not_there(archive: &str, what: String) -> Self {
        Self::NotInArchive { archive: archive.to_owned(), what }
    }

    /// Whether everybody who was asked says that there is no such thing. A refusal, other content than was asked for, or no answer do
    /// not say that: it may be there for others, or tomorrow.
    pub fn is_absent(&self) -> bool {
        let mut answers = self.answers().peekable();
        match self {
            Self::NoMember { .. } => true,
            _ => answers.peek().is_some() && answers.all(loment_registry::Error::is_absent),
        }
    }

    /// Whether another attempt may succeed some time later, without anybody doing anything about it: a way was lost, or one of those
    /// that were asked was not there or busy ([`may_pass`](loment_registry::Error::may_pass)). A disk that is full does not become
    /// larger by that, nor bytes that are wrong right.
    pub fn may_pass(&self) -> bool {
        self.passes(loment_registry::Error::may_pass)
    }

    /// The same, when nobody asks for another attempt: whether it may succeed soon
    /// ([`may_pass_soon`](loment_registry::Error::may_pass_soon)).
    pub fn may_pass_soon(&self) -> bool {
        self.passes(loment_registry::Error::may_pass_soon)
    }

    /// Whether one of those that were asked said something of which that is true, or a way was lost.
    fn passes(&self, is_passing: fn(&loment_registry::Error) -> bool) -> bool {
        match self {
            Self::Blob { operation: "download", source, .. }
            | Self::Copy { source, .. }
            | Self::Spool { source, .. } => was_lost(source, is_passing),
            Self::Elsewhere { source, .. } => is_passing(source),
            _ => self.answers().any(is_passing),
        }
    }

    /// Whether whoever has it did not give it, or nothing was heard of him: it may be sound.
    pub(crate) fn is_unavailable(&self) -> bool {
        let last = self.answers().next();
        let cancelled = |error: &_| matches!(error, loment_registry::Error::Cancelled);
        last.is_some_and(|error| {
            error.is_absent() || error.is_refusal() || error.may_pass() || cancelled(error)
        })
    }

    /// Whether a file is not there, in a directory or an archive.
    pub(crate) fn is_missing_file(&self) -> bool {
        match self {
            Self::File { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::NotInArchive { .. } => true,
            _ => false,
        }
    }

    /// What was said by those that were asked for the same, the last one first.
    fn answers(&self) -> impl Iterator<Item = &loment_registry::Error> {
        let (last, others) = match self {
            Self::Registry(error) => (Some(error), &[][..]),
            Self::Mirrors { mirrors, source, .. } => (Some(&**source), &mirrors[..]),
            _ => (None, &[][..]),
        };
        last.into_iter().chain(others.iter().map(|attempt| &attempt.error))
    }

    /// What all attempts come to; the last one is the one that matters.
    pub(crate) fn of_attempts(mut attempts: Vec<Attempt>, name: &str) -> Self {
        match attempts.pop() {
            Some(last) if attempts.is_empty() => last.error.into(),
            Some(last) => {
                Self::Mirrors { name: name.to_owned(), mirrors: attempts, source: last.error.into() }
            }
            None => Self::Nowhere { name: name.to_owned() },
        }
    }
}

/// Whether bytes did not come, or did not go, because a way was lost.
fn was_lost(error: &io::Error, is_passing: fn(&loment_registry::Error) -> bool) -> bool {
    use io::ErrorKind as Kind;
    // What registries say, of all of a blob or of one of its parts.
    let inner = error.get_ref();
    let said = inner.and_then(|inner| inner.downcast_ref::<loment_registry::Error>());
    let said = said.map(is_passing);
    let of_part = inner.and_then(|inner| inner.downcast_ref::<Error>()).map(|error| error.passes(is_passing));
    let kind = matches!(
        error.kind(),
        Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::NotConnected
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::TimedOut
    );
    said.or(of_part).unwrap_or(kind)
}

/// Each with its causes.
fn list_attempts(attempts: &[Attempt]) -> String {
    let mut text = String::new();
    for attempt in attempts {
        let mut error: &dyn std::error::Error = &attempt.error;
        text += &format!("{}[{}: {error}", if text.is_empty() { "" } else { " " }, attempt.name);
        while let Some(cause) = error.source() {
            text += &format!(": {cause}");
            error = cause;
        }
        text.push(']');
    }
    text
}

fn list(platforms: &[Platform]) -> String {
    let names: Vec<_> = platforms.iter().map(Platform::to_string).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_lost_on_the_way_is_worth_another_attempt() {
        let digest = loment_store::sha256(b"x");
        let blob = |operation, source| Error::Blob { operation, digest: digest.clone(), source };
        let copy = |source| Error::Copy { blob: digest.to_string(), source };
        let of_errno = io::Error::from_raw_os_error;
        let unreachable = || loment_registry::Error::Unreachable {
            host: "h".to_owned(),
            source: io::ErrorKind::ConnectionRefused.into(),
        };
        let refused = || loment_registry::Error::Denied {
            object: "x".to_owned(),
            host: "h".to_owned(),
            detail: String::new(),
        };
        for error in [
            blob("download", io::Error::other(unreachable())),
            blob("download", io::Error::other(Error::from(unreachable()))),
            blob("download", io::ErrorKind::ConnectionReset.into()),
            Error::Spool { what: "layer".to_owned(), source: io::Error::other(unreachable()) },
            copy(io::Error::other(unreachable())),
            Error::Elsewhere { digest: digest.clone(), source: unreachable().into() },
            unreachable().into(),
        ] {
            assert!(error.may_pass(), "{error:?}");
        }
        let bad = io::Error::new(io::ErrorKind::InvalidData, "corrupt deflate stream");
        for error in [
            blob("decompress", bad),
            blob("decompress", io::ErrorKind::UnexpectedEof.into()),
            blob("download", of_errno(28)),  // ENOSPC
            blob("download", of_errno(122)), // EDQUOT
            blob("download", of_errno(5)),   // EIO
            blob("download", io::Error::other(refused())),
            blob("download", io::Error::other(loment_registry::Error::Cancelled)),
            blob("read", of_errno(5)),
            copy(of_errno(28)),
            copy(of_errno(122)),
            Error::Spool { what: "layer".to_owned(), source: of_errno(28) },
            copy(io::Error::other("the sending side gave up")),
            Error::Elsewhere { digest: digest.clone(), source: refused().into() },
        ] {
            assert!(!error.may_pass() && !error.may_pass_soon(), "{error:?}");
        }
        // What holds soon is looked for in the same places; who was never there is not there soon.
        let lost = || loment_registry::Error::Lost {
            host: "h".to_owned(),
            source: io::Error::from(io::ErrorKind::UnexpectedEof).into(),
        };
        for error in [
            blob("download", io::Error::other(lost())),
            blob("download", io::Error::other(Error::from(lost()))),
            Error::Spool { what: "layer".to_owned(), source: io::Error::other(lost()) },
            Error::Elsewhere { digest: digest.clone(), source: lost().into() },
        ] {
            assert!(error.may_pass_soon(), "{error:?}");
        }
        assert!(!blob("download", io::Error::other(Error::from(unreachable()))).may_pass_soon());
    }
}
