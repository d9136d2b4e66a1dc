//! What a layer may ask for, whatever form it is kept in.
//!
//! The input is hostile: names that climb, owners that wrap around, attributes that are the overlay's. All of
//! it is decided here, from the bytes of an entry alone, so that both forms refuse and understand the same.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{EntryProblem, UnpackError};
use crate::tar::{Entry, Kind};

/// Linux follows at most 40 links in one resolution (path_resolution(7)).
pub(crate) const MAX_LINKS: u32 = 40;
/// Bytes of a path; bounds the depth of what can be created, links included.
pub(crate) const MAX_PATH: usize = 4096;

/// Bytes that are kept of the names, directories and whiteouts of a layer until its end. One path makes two thousand directories, so that
/// the number of entries does not bound them. A million directories take two thirds of it, the four million files that a layer may have
/// half.
const MOST: u64 = 512 << 20;
/// Of all layers that a program unpacks at the same time.
const MOST_OF_ALL: u64 = 2 * MOST;

/// What they keep.
static ALL: AtomicU64 = AtomicU64::new(0);
/// Of a directory, besides its names and its extended attributes: no less than it takes.
pub(crate) const DIRECTORY: u64 = 256;

/// How much is kept of a layer until its end.
#[derive(Debug)]
pub(crate) struct Kept {
    bytes: u64,
    most: u64,
    all: &'static AtomicU64,
    most_of_all: u64,
}

impl Default for Kept {
    fn default() -> Self {
        Self { bytes: 0, most: MOST, all: &ALL, most_of_all: MOST_OF_ALL }
    }
}

impl Kept {
    /// The same with another limit.
    #[cfg(test)]
    pub(crate) fn at_most(most: u64) -> Self {
        Self { most, ..Self::default() }
    }

    /// Adds what is kept because of an entry, besides its extended attributes if those are kept, too.
    pub(crate) fn add(&mut self, bytes: u64, entry: &Entry) -> Result<(), UnpackError> {
        let attributes = entry.xattrs.iter().map(|(name, value)| (name.len() + value.len()) as u64);
        let attributes = if entry.kind == Kind::Directory { attributes.sum() } else { 0 };
        self.take(bytes.saturating_add(attributes))
    }

    fn take(&mut self, more: u64) -> Result<(), UnpackError> {
        let too_much = |what, limit| Err(UnpackError::TooMuch { what, limit });
        if self.most - self.bytes < more {
            return too_much("bytes of names and attributes of directories", self.most);
        }
        self.bytes += more;
        // As much as this is never too large to be added: it is within `most`.
        if self.all.fetch_add(more, Ordering::Relaxed) + more > self.most_of_all {
            return too_much(
                "bytes of names and attributes of directories in layers that come together",
                self.most_of_all,
            );
        }
        Ok(())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Where an entry goes, from its normalised path. Parents are still to be resolved.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place<'p> {
    /// The root of the layer.
    Root,
    /// `name` in the directory `parent`.
    At { parent: &'p [u8], name: &'p [u8] },
    /// A whiteout: what lower layers have at `name` is gone.
    Hidden { parent: &'p [u8], name: &'p [u8] },
    /// The directory hides everything that lower layers have in it.
    Opaque { directory: &'p [u8] },
    /// Bookkeeping of aufs, which means nothing.
    Nowhere,
}

impl<'p> Place<'p> {
    /// Reads `path`, which is normalised.
    pub(crate) fn of(path: &'p [u8]) -> Result<Self, EntryProblem> {
        let (parent, name) = split(path);
        if name.is_empty() {
            return Ok(Self::Root);
        }
        if !has_prefix(path, b".wh.") {
            return Ok(Self::At { parent, name });
        }
        if has_prefix(parent, b".wh..wh.") {
            return Ok(Self::Nowhere);
        }
        match name.strip_prefix(b".wh.") {
            None | Some(b"" | b"." | b"..") => Err(EntryProblem::Whiteout),
            Some(_) if has_prefix(parent, b".wh.") => Err(EntryProblem::Whiteout),
            Some(b".wh..opq") => Ok(Self::Opaque { directory: parent }),
            // Other `.wh..wh.` names are aufs's own.
            Some(bookkeeping) if bookkeeping.starts_with(b".wh.") => Ok(Self::Nowhere),
            Some(name) => Ok(Self::Hidden { parent, name }),
        }
    }
}

/// A path of the archive as components joined by single slashes, relative to the layer's root.
pub(crate) fn normalise(raw: &[u8]) -> Result<Vec<u8>, EntryProblem> {
    match raw {
        [] => return Err(EntryProblem::Empty),
        raw if raw.len() > MAX_PATH => return Err(EntryProblem::PathTooLong),
        raw if raw.contains(&0) => return Err(EntryProblem::Nul),
        _ => {}
    }
    let mut path = Vec::with_capacity(raw.len());
    for component in raw.split(|&b| b == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return Err(EntryProblem::DotDot),
            long if long.len() > 255 => return Err(EntryProblem::ComponentTooLong),
            _ => {}
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(component);
    }
    Ok(path)
}

/// The target of a hard link, normalised.
pub(crate) fn link_target(entry: &Entry) -> Result<Vec<u8>, EntryProblem> {
    normalise(&entry.link).map_err(|problem| match problem {
        EntryProblem::DotDot => EntryProblem::LinkEscapes(shown_link(entry)),
        EntryProblem::Empty => EntryProblem::LinkMissing(shown_link(entry)),
        other => other,
    })
}

/// The target of a link as messages show it.
pub(crate) fn shown_link(entry: &Entry) -> String {
    String::from_utf8_lossy(&entry.link).into_owned()
}

/// Parent and last component.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn has_prefix(path: &[u8], prefix: &[u8]) -> bool {
    path.split(|&b| b == b'/').any(|component| component.starts_with(prefix))
}

/// The kernel's device numbers have 12 and 20 bits; larger ones would be cut to something else.
pub(crate) fn device(major: u64, minor: u64) -> Result<(u32, u32), EntryProblem> {
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(large), Ok(small)) if large < 1 << 12 && small < 1 << 20 => Ok((large, small)),
        _ => Err(EntryProblem::Device(major, minor)),
    }
}

/// Attributes of one entry, checked.
pub(crate) struct Attrs {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Permission bits with set-id and sticky.
    pub(crate) mode: u32,
    /// Seconds and nanoseconds since the epoch.
    pub(crate) mtime: (i64, u32),
    /// The same; an EROFS image has no place for it.
    pub(crate) atime: (i64, u32),
    pub(crate) xattrs: Vec<(CString, Vec<u8>)>,
}

impl Attrs {
    /// Checks the attributes `entry` asks for.
    pub(crate) fn of(entry: &Entry) -> Result<Self, EntryProblem> {
        Ok(Self {
            uid: owner(entry.uid)?,
            gid: owner(entry.gid)?,
            mode: entry.mode,
            mtime: entry.mtime,
            atime: entry.atime,
            xattrs: xattrs(&entry.xattrs)?,
        })
    }

    pub(crate) fn into_dir(self, opaque: bool) -> DirMeta {
        DirMeta { attrs: self, opaque, implied: false }
    }
}

/// What a directory of the layer looks like in the end.
pub(crate) struct DirMeta {
    pub(crate) attrs: Attrs,
    /// Hides what lower layers have here.
    pub(crate) opaque: bool,
    /// No entry says what it looks like.
    pub(crate) implied: bool,
}

impl Default for DirMeta {
    /// A directory the tar does not mention: the spec leaves its attributes open; fixed ones keep layers
    /// identical on every machine, and containers inherit those of lower layers.
    fn default() -> Self {
        let attrs = Attrs { mode: 0o755, uid: 0, gid: 0, mtime: (0, 0), atime: (0, 0), xattrs: Vec::new() };
        Self { attrs, opaque: false, implied: true }
    }
}

/// Attributes of every directory of the layer, by canonical path (`""` is the root).
pub(super) type DirMetas = BTreeMap<Vec<u8>, DirMeta>;

/// A 32-bit id; the last one means "leave unchanged" to chown(2) and would keep root as the owner.
fn owner(id: u64) -> Result<u32, EntryProblem> {
    u32::try_from(id).ok().filter(|&id| id != u32::MAX).ok_or(EntryProblem::Owner(id))
}

/// Which attributes of the archive reach the disk.
///
/// The overlay's own would let a layer redirect lookups or hide files (CVE-2021-3493 and relatives), so they
/// are refused under either prefix. Labels of the host's security modules mean nothing outside the machine
/// that set them and are left out; file capabilities are kept.
fn xattrs(pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<(CString, Vec<u8>)>, EntryProblem> {
    let mut kept = Vec::new();
    for (name, value) in pairs {
        let shown = || String::from_utf8_lossy(name).into_owned();
        if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
            return Err(EntryProblem::ReservedXattr(shown()));
        }
        if name.starts_with(b"security.") && name != b"security.capability" {
            continue;
        }
        if name.len() > 255 || !name.contains(&b'.') {
            return Err(EntryProblem::XattrName(shown()));
        }
        let name = CString::new(name.as_slice()).map_err(|_| EntryProblem::XattrName(shown()))?;
        kept.push((name, value.clone()));
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_that_come_together_keep_no_more_than_their_limit() {
        let all: &'static AtomicU64 = Box::leak(Box::default());
        let layer = || Kept { bytes: 0, most: 10, all, most_of_all: 15 };
        let (mut first, mut second) = (layer(), layer());
        assert!(first.take(11).is_err() && first.take(u64::MAX).is_err());
        first.take(10).unwrap();
        second.take(5).unwrap();
        let error = second.take(1).unwrap_err().to_string();
        assert!(error.contains("more than 15 bytes") && error.contains("together"), "{error}");
        drop(first);
        second.take(4).unwrap();
        drop(second);
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }
}
