//! Errors of unpacking one layer.

use std::io;

use crate::tar::HeaderProblem;

/// Why a layer could not be unpacked. Nothing of it is visible afterwards.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The stream itself failed: network, decompression.
    #[error("cannot read the layer")]
    Read(#[source] io::Error),
    /// The stream ended inside an entry.
    #[error("the layer's tar is truncated at byte {offset}")]
    Truncated {
        /// Bytes of tar read.
        offset: u64,
    },
    /// A header block is wrong.
    #[error("the layer's tar is malformed near byte {offset}: {problem}")]
    Header {
        /// Bytes of tar read.
        offset: u64,
        /// What is wrong.
        problem: HeaderProblem,
    },
    /// More than any layer needs.
    #[error("the layer's tar has more than {limit} {what}, which no layer needs")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// How much may be.
        limit: u64,
    },
    /// In a user namespace that has not this id.
    #[error(
        "layer entry {entry:?} belongs to user {uid} and group {gid}, which the user who unpacks it does not have: give them more ids in /etc/subuid and /etc/subgid (usermod --add-subuids, --add-subgids)"
    )]
    NoId {
        /// Its path.
        entry: String,
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// An entry asks for something no layer may do.
    #[error("layer entry {entry:?}: {problem}")]
    Entry {
        /// The entry's name as it stands in the tar.
        entry: String,
        /// What is wrong.
        problem: EntryProblem,
    },
    /// The kernel refused an operation on an entry.
    #[error("layer entry {entry:?}: cannot {operation}")]
    Io {
        /// The entry's name as it stands in the tar.
        entry: String,
        /// What was tried.
        operation: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The record of the tar could not be written.
    #[error("cannot write the record of the layer's tar")]
    Log(#[source] io::Error),
    /// The image of the layer could not be written.
    #[error("cannot write the layer's image")]
    Image(#[source] io::Error),
    /// The layer's own directory could not be prepared or finished.
    #[error("cannot {operation} the layer's directory")]
    Directory {
        /// What was tried.
        operation: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

/// What an entry did wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum EntryProblem {
    #[error("path contains a \"..\" component")]
    DotDot,
    #[error("path is empty")]
    Empty,
    #[error("path contains a NUL byte")]
    Nul,
    #[error("a path component is longer than 255 bytes")]
    ComponentTooLong,
    #[error("path is longer than 4096 bytes")]
    PathTooLong,
    #[error("the root of a layer must be a directory")]
    RootNotDirectory,
    #[error("parent {0:?} is not a directory")]
    ParentNotDirectory(String),
    #[error("parent path has too many levels of symbolic links")]
    SymlinkLoop,
    #[error("hard link target {0:?} is not in this layer")]
    LinkMissing(String),
    #[error("hard link target {0:?} leaves the layer")]
    LinkEscapes(String),
    #[error("hard link target {0:?} is a directory")]
    LinkToDirectory(String),
    #[error("not a valid whiteout name")]
    Whiteout,
    #[error("owner {0} is not a valid id")]
    Owner(u64),
    #[error("device number {0}:{1} is out of range")]
    Device(u64, u64),
    #[error("extended attribute {0:?} is reserved for the overlay file system")]
    ReservedXattr(String),
    #[error("extended attribute name {0:?} is malformed")]
    XattrName(String),
}
