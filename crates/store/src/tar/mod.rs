//! Reading tar streams, and the record that lets the exact stream be written again.
//!
//! Only field layouts come from the `tar` crate; the walk over the stream is ours because every byte that is
//! not file content must be kept, and because all engines have to agree on where an entry ends
//! (CVE-2025-62518 is what happens when two readers do not). Where formats leave room we read as Go's
//! `archive/tar` does, since that is what every other engine verifies images with.

mod extract;
mod header;
mod index;
mod log;
mod pax;
mod reader;
mod sparse;
mod tree;
mod write;

pub use extract::{ExtractError, Place, Rules, extract, remove_path};
pub use index::{ArchiveError, ArchiveIndex, Member};
pub(crate) use log::{LogReader, Record, TarLog};
pub(crate) use reader::{Entry, Kind, TarReader};
pub(crate) use sparse::Extent;
pub use tree::{TreeForm, TreeTar};
pub use write::ArchiveWriter;

/// Whether bytes are those that an archive begins with.
pub fn begins_archive(start: &[u8]) -> bool {
    let block = start.first_chunk::<512>();
    // One of zeroes alone is the end of an archive that has nothing in it.
    block.is_some_and(|block| block.iter().all(|&byte| byte == 0) || header::parse(block).is_ok())
}

/// What is wrong with a tar header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum HeaderProblem {
    #[error("checksum does not match")]
    Checksum,
    #[error("field {0} is not a number this platform can hold")]
    Number(&'static str),
    #[error("a single zero block in the middle of the archive")]
    LoneZeroBlock,
    #[error("PAX record is malformed")]
    Pax,
    #[error("PAX value of {0:?} is malformed")]
    PaxValue(String),
    #[error("extended header of {0} bytes is larger than 1 MiB")]
    ExtendedTooLarge(u64),
    #[error("sparse map is malformed")]
    Sparse,
    #[error("entry type {0:?} is not supported")]
    Type(char),
}

/// Walks over any bytes as a layer's tar.
pub(crate) fn read_anything(bytes: &[u8]) {
    let Ok(log) = TarLog::new(std::io::sink()) else { return };
    let mut reader = TarReader::new(bytes, log);
    // Reading ends at the first error, as unpacking does.
    while let Ok(Some(entry)) = reader.next() {
        let stored = match &entry.sparse {
            Some(extents) => extents.iter().map(|extent| extent.length).sum(),
            None => entry.size,
        };
        if reader.content(stored, |_| Ok(())).is_err() {
            break;
        }
    }
    assert!(reader.position() <= bytes.len() as u64);
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|&b| b == 0) {
        bytes.truncate(end);
    }
    bytes
}
