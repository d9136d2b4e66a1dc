//! Directories of the layer being unpacked, as descriptors.
//!
//! Entries of a tar come depth first, so the way from the root to the current parent is kept open and most
//! entries need no resolution at all. Every step is one component opened without following; symbolic links
//! on the way are read and followed by us, inside the layer's root, as chroot-based unpackers do.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::ops::Bound;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, mkdirat, openat, readlinkat, statat};
use rustix::io::Errno;

use super::rights::Rights;
use super::rules::{DirMeta, DirMetas, MAX_LINKS, MAX_PATH};
use super::{EntryProblem, Fault};

/// Open directories kept; deeper ancestors are reopened when the walk comes back to them.
const MAX_OPEN: usize = 64;

/// Forgets everything below `path`.
pub(crate) fn forget_below<V>(map: &mut BTreeMap<Vec<u8>, V>, path: &[u8]) {
    let mut from = path.to_vec();
    from.push(b'/');
    let below = map.range::<[u8], _>((Bound::Included(from.as_slice()), Bound::Unbounded));
    let doomed: Vec<_> =
        below.map(|(key, _)| key).take_while(|key| key.starts_with(&from)).cloned().collect();
    for key in doomed {
        map.remove(&key);
    }
}

/// Why a directory could not be reached.
#[derive(Debug)]
pub(crate) enum WalkError {
    Problem(EntryProblem),
    /// A component does not exist (only when not creating).
    Missing,
    Io(&'static str, Errno),
}

struct Level {
    /// End of this level's name in `path`.
    end: usize,
    fd: Option<OwnedFd>,
}

/// The open way from the layer's root to one directory.
pub(crate) struct DirStack<'r> {
    root: BorrowedFd<'r>,
    levels: Vec<Level>,
    /// Canonical path of the last level, without leading slash.
    path: Vec<u8>,
    /// The path last asked for; equal requests are answered without looking.
    requested: Vec<u8>,
    valid: bool,
}

impl<'r> DirStack<'r> {
    pub(crate) fn new(root: BorrowedFd<'r>) -> Self {
        Self { root, levels: Vec::new(), path: Vec::new(), requested: Vec::new(), valid: true }
    }

    /// The layer's root.
    pub(crate) fn root(&self) -> BorrowedFd<'r> {
        self.root
    }

    /// The canonical path of the current directory: no links, no leading slash.
    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Descriptor of the current directory (`O_PATH`).
    pub(crate) fn current(&mut self) -> Result<BorrowedFd<'_>, WalkError> {
        self.fd(self.levels.len())
    }

    /// Drops descriptors at and below `path`, whose directory is about to go away.
    pub(crate) fn invalidate(&mut self, path: &[u8]) {
        let below = self.path.starts_with(path) && matches!(self.path.get(path.len()), None | Some(b'/'));
        if below && !path.is_empty() {
            let depth = self.levels.partition_point(|level| level.end < path.len());
            self.truncate(depth);
        }
        self.valid = false;
    }

    /// Makes `path` (normalised, no `..`) the current directory. With `create`, missing directories are made
    /// and entered in the map.
    pub(crate) fn enter(&mut self, path: &[u8], mut create: Option<&mut DirMetas>) -> Result<(), WalkError> {
        if self.valid && self.requested == path {
            return Ok(());
        }
        self.valid = false;
        let (mut rest, mut depth, mut links) = (path.to_vec(), 0, 0);
        let mut at = 0;
        while at < rest.len() {
            let end = rest[at..].iter().position(|&b| b == b'/').map_or(rest.len(), |n| at + n);
            let name = &rest[at..end];
            at = end + 1;
            match name {
                b"" | b"." => continue,
                b".." => {
                    depth = usize::saturating_sub(depth, 1);
                    continue;
                }
                _ => {}
            }
            if self.name(depth) == Some(name) {
                depth += 1;
                continue;
            }
            self.truncate(depth);
            match self.push(name, create.as_deref_mut())? {
                None => depth += 1,
                Some(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(WalkError::Problem(EntryProblem::SymlinkLoop));
                    }
                    if target.first() == Some(&b'/') {
                        depth = 0;
                    }
                    let tail = rest.get(at..).unwrap_or_default();
                    rest = [target.as_slice(), b"/", tail].concat();
                    at = 0;
                }
            }
        }
        self.truncate(depth);
        self.requested.clear();
        self.requested.extend_from_slice(path);
        self.valid = true;
        Ok(())
    }

    /// Descends into `name`; a symbolic link is returned instead.
    fn push(&mut self, name: &[u8], create: Option<&mut DirMetas>) -> Result<Option<Vec<u8>>, WalkError> {
        let mut path = self.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        if path.len() > MAX_PATH {
            return Err(WalkError::Problem(EntryProblem::PathTooLong));
        }
        let parent = self.fd(self.levels.len())?;
        let fd = match open_dir(parent, name) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => {
                let Some(metas) = create else { return Err(WalkError::Missing) };
                mkdirat(parent, name, Mode::from_raw_mode(0o700))
                    .map_err(|e| WalkError::Io("create parent of", e))?;
                metas.insert(path.clone(), DirMeta::default());
                open_dir(parent, name).map_err(|e| WalkError::Io("open parent of", e))?
            }
            Err(Errno::NOTDIR | Errno::LOOP) => return link_target(parent, name).map(Some),
            Err(errno) => return Err(WalkError::Io("open parent of", errno)),
        };
        self.path = path;
        self.levels.push(Level { end: self.path.len(), fd: Some(fd) });
        if let Some(old) = self.levels.len().checked_sub(MAX_OPEN + 1) {
            self.levels[old].fd = None;
        }
        Ok(None)
    }

    fn name(&self, depth: usize) -> Option<&[u8]> {
        let level = self.levels.get(depth)?;
        Some(&self.path[self.start(depth)..level.end])
    }

    /// Where the name of level `depth` starts in `path`.
    fn start(&self, depth: usize) -> usize {
        depth.checked_sub(1).map_or(0, |above| self.levels[above].end + 1)
    }

    fn truncate(&mut self, depth: usize) {
        self.levels.truncate(depth);
        self.path.truncate(self.levels.last().map_or(0, |level| level.end));
    }

    /// Descriptor of the first `depth` levels, reopened when it was dropped.
    fn fd(&mut self, depth: usize) -> Result<BorrowedFd<'_>, WalkError> {
        let Some(last) = depth.checked_sub(1) else { return Ok(self.root) };
        if self.levels[last].fd.is_none() {
            let nearest = self.levels[..last].iter().rposition(|level| level.fd.is_some());
            for index in nearest.map_or(0, |n| n + 1)..=last {
                let name = &self.path[self.start(index)..self.levels[index].end];
                let above = index.checked_sub(1).and_then(|above| self.levels[above].fd.as_ref());
                let from = above.map_or(self.root, |fd| fd.as_fd());
                let fd = open_dir(from, name).map_err(|e| WalkError::Io("reopen parent of", e))?;
                // On the way back those above it come next.
                self.levels[index].fd = Some(fd);
                if let Some(old) = index.checked_sub(MAX_OPEN) {
                    self.levels[old].fd = None;
                }
            }
        }
        Ok(self.levels[last].fd.as_ref().map_or(self.root, |fd| fd.as_fd()))
    }
}

fn open_dir(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

fn link_target(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<u8>, WalkError> {
    let stat =
        statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| WalkError::Io("look at parent of", e))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        let name = String::from_utf8_lossy(name).into_owned();
        return Err(WalkError::Problem(EntryProblem::ParentNotDirectory(name)));
    }
    let target = readlinkat(parent, name, Vec::new()).map_err(|e| WalkError::Io("read link above", e))?;
    Ok(target.into_bytes())
}

/// Opens `path` of the layer for changing its own attributes.
pub(crate) fn open_for_attributes(dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(dir, c".", flags, Mode::empty())
}

/// What a plain file gets without being asked for: owner, group, and the permission bits the umask takes.
pub(crate) struct Defaults {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) umask: u32,
    pub(crate) rights: Rights,
    /// What the file system has no room for may be left out.
    pub(crate) may_lack_attributes: bool,
}

impl Defaults {
    /// What came of setting an attribute.
    pub(super) fn attribute(&self, name: &CStr, result: Result<(), Errno>) -> Result<(), Fault> {
        match result {
            Err(Errno::OPNOTSUPP) if self.may_lack_attributes => Ok(()),
            result => self.rights.attribute(name, result),
        }
    }
}

/// Finds the defaults by making a file in `dir`: the umask cannot be read without changing it for all threads.
pub(crate) fn defaults(dir: BorrowedFd<'_>) -> Result<Defaults, Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let probe = openat(dir, c"probe", flags, Mode::from_raw_mode(0o777))?;
    let stat = fstat(&probe)?;
    rustix::fs::unlinkat(dir, c"probe", AtFlags::empty())?;
    Ok(Defaults {
        uid: stat.st_uid,
        gid: stat.st_gid,
        umask: 0o777 & !stat.st_mode,
        rights: Rights::own(),
        may_lack_attributes: false,
    })
}
