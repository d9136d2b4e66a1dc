//! Names of a layer on its way into an image, as small as they can be: some 45 bytes for each, its own included.
//!
//! Names are never taken away. What a later entry replaced is no longer reached: its place in the parent says
//! something else, and a directory counts only while its place still names it.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use rustix::io::Errno;

use super::format::FileKind;
use crate::unpack::rules::{DIRECTORY, DirMeta, MAX_LINKS, MAX_PATH};
use crate::unpack::{EntryProblem, WalkError};

/// The root directory.
pub(super) const ROOT: u32 = 0;

/// Bytes of a name with its slots and its place among the sorted ones, but for its text.
const NAME: usize = 40;

/// A name in a directory; an index into the table of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NameId(u32);

/// What stands at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thing {
    /// Nothing, or only a whiteout.
    Nothing,
    /// An inode of the image.
    Inode(u64, FileKind),
    /// A symbolic link by its index, see [`Names::link`].
    Link(u32),
    /// A directory by its index.
    Directory(u32),
}

/// 24 bytes.
struct Name {
    /// Inode, link or directory.
    node: u64,
    parent: u32,
    /// Start in the text of all names.
    at: u32,
    hash: u32,
    length: u8,
    /// A [`FileKind`], 0 for nothing.
    kind: u8,
    /// Something below it in lower layers is hidden.
    hidden: bool,
}

struct Link {
    nid: u64,
    at: u32,
    length: u16,
}

/// A directory of the layer.
pub(super) struct Dir {
    pub(super) parent: u32,
    /// Its place in the parent; the root has none.
    pub(super) name: NameId,
    path_length: u16,
    pub(super) meta: DirMeta,
}

/// The last answer to a search for a directory: entries of a tar come depth first, so it is mostly the next too.
#[derive(Default)]
struct Way {
    path: Vec<u8>,
    found: Option<u32>,
}

/// Which of two answers is remembered: those about entries and those about targets of hard links.
#[derive(Clone, Copy)]
pub(super) enum For {
    Entry,
    Link,
}

/// All names.
pub(super) struct Names {
    names: Vec<Name>,
    text: Vec<u8>,
    links: Vec<Link>,
    pub(super) dirs: Vec<Dir>,
    /// Open addressing; indices of names plus one.
    slots: Vec<u32>,
    hasher: RandomState,
    ways: [Way; 2],
}

impl Names {
    pub(super) fn new() -> Self {
        let root = Dir { parent: ROOT, name: NameId(0), path_length: 0, meta: DirMeta::default() };
        Self {
            names: Vec::new(),
            text: Vec::new(),
            links: Vec::new(),
            dirs: vec![root],
            slots: vec![0; 1024],
            hasher: RandomState::new(),
            ways: Default::default(),
        }
    }

    /// Bytes of it all, which only grow, but for extended attributes.
    pub(super) fn bytes(&self) -> u64 {
        let (names, links, dirs) = (self.names.len() * NAME, self.links.len() * 16, self.dirs.len() as u64);
        (names + self.text.len() + links) as u64 + dirs * DIRECTORY
    }

    pub(super) fn dir(&mut self, dir: u32) -> &mut Dir {
        &mut self.dirs[dir as usize]
    }

    pub(super) fn text(&self, id: NameId) -> &[u8] {
        let name = &self.names[id.0 as usize];
        &self.text[name.at as usize..][..usize::from(name.length)]
    }

    pub(super) fn parent(&self, id: NameId) -> u32 {
        self.names[id.0 as usize].parent
    }

    pub(super) fn get(&self, id: NameId) -> Thing {
        let name = &self.names[id.0 as usize];
        match name.kind {
            0 => Thing::Nothing,
            2 => Thing::Directory(name.node as u32),
            7 => Thing::Link(name.node as u32),
            1 => Thing::Inode(name.node, FileKind::File),
            3 => Thing::Inode(name.node, FileKind::CharDevice),
            4 => Thing::Inode(name.node, FileKind::BlockDevice),
            _ => Thing::Inode(name.node, FileKind::Fifo),
        }
    }

    /// Puts something at a name, in place of what is there.
    pub(super) fn set(&mut self, id: NameId, thing: Thing) {
        let name = &mut self.names[id.0 as usize];
        if matches!(name.kind, 2 | 7) {
            self.ways = Default::default(); // may have gone through it
        }
        (name.node, name.kind) = match thing {
            Thing::Nothing => (0, 0),
            Thing::Inode(nid, kind) => (nid, kind as u8),
            Thing::Link(index) => (index.into(), FileKind::Symlink as u8),
            Thing::Directory(index) => (index.into(), FileKind::Directory as u8),
        };
    }

    /// What lower layers have at a name is hidden, whatever this layer has there.
    pub(super) fn hide(&mut self, id: NameId) {
        self.names[id.0 as usize].hidden = true;
    }

    pub(super) fn is_hidden(&self, id: NameId) -> bool {
        self.names[id.0 as usize].hidden
    }

    /// Remembers the target of a symbolic link, whose length the kernel would take.
    pub(super) fn add_link(&mut self, nid: u64, target: &[u8]) -> Result<u32, Errno> {
        let length = u16::try_from(target.len()).map_err(|_| Errno::NAMETOOLONG)?;
        let (at, index) = (self.add_text(target)?, index(self.links.len())?);
        self.links.push(Link { nid, at, length });
        Ok(index)
    }

    /// Number of the inode of a symbolic link.
    pub(super) fn link(&self, index: u32) -> u64 {
        self.links[index as usize].nid
    }

    /// Makes a directory at a name, in place of what is there.
    pub(super) fn add_dir(&mut self, name: NameId, meta: DirMeta) -> Result<u32, WalkError> {
        let parent = self.parent(name);
        let path_length = self.path_length(parent, self.text(name).len())?;
        let dir = index(self.dirs.len()).map_err(no_room)?;
        self.dirs.push(Dir { parent, name, path_length, meta });
        self.set(name, Thing::Directory(dir));
        Ok(dir)
    }

    /// A name in a directory, if it was ever spoken of.
    pub(super) fn find(&self, dir: u32, name: &[u8]) -> Option<NameId> {
        match self.slots[self.slot(self.hash(dir, name), dir, name)] {
            0 => None,
            found => Some(NameId(found - 1)),
        }
    }

    /// A name in a directory, entered if there is none. Its whole path must not be too long.
    pub(super) fn name(&mut self, dir: u32, name: &[u8]) -> Result<NameId, WalkError> {
        self.path_length(dir, name.len())?;
        let hash = self.hash(dir, name);
        let slot = self.slot(hash, dir, name);
        if let Some(found) = self.slots[slot].checked_sub(1) {
            return Ok(NameId(found));
        }
        let length = u8::try_from(name.len()).map_err(|_| no_room(Errno::NAMETOOLONG))?;
        let id = index(self.names.len()).map_err(no_room)?;
        let at = self.add_text(name).map_err(no_room)?;
        self.names.push(Name { node: 0, parent: dir, at, hash, length, kind: 0, hidden: false });
        self.slots[slot] = id + 1;
        if self.names.len() * 4 > self.slots.len() * 3 {
            self.grow();
        }
        Ok(NameId(id))
    }

    /// The directory at `path` (normalised, no `..`), by way of symbolic links inside the layer. With `create`,
    /// missing ones are made.
    pub(super) fn enter(&mut self, path: &[u8], create: bool, of: For) -> Result<u32, WalkError> {
        let way = &self.ways[of as usize];
        if let (Some(found), true) = (way.found, way.path == path) {
            return Ok(found);
        }
        let (mut rest, mut at, mut links, mut dir) = (path.to_vec(), 0, 0, ROOT);
        while at < rest.len() {
            let end = rest[at..].iter().position(|&b| b == b'/').map_or(rest.len(), |n| at + n);
            let name = &rest[at..end];
            at = end + 1;
            match name {
                b"" | b"." => continue,
                b".." => {
                    dir = self.dirs[dir as usize].parent;
                    continue;
                }
                _ => {}
            }
            self.path_length(dir, name.len())?;
            match self.find(dir, name).map_or(Thing::Nothing, |id| self.get(id)) {
                Thing::Directory(below) => dir = below,
                Thing::Nothing if !create => return Err(WalkError::Missing),
                Thing::Nothing => {
                    let id = self.name(dir, name)?;
                    dir = self.add_dir(id, DirMeta::default())?;
                }
                Thing::Link(index) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(WalkError::Problem(EntryProblem::SymlinkLoop));
                    }
                    let link = &self.links[index as usize];
                    let target = &self.text[link.at as usize..][..usize::from(link.length)];
                    if target.first() == Some(&b'/') {
                        dir = ROOT;
                    }
                    rest = [target, b"/", rest.get(at..).unwrap_or_default()].concat();
                    at = 0;
                }
                Thing::Inode(..) => {
                    let name = String::from_utf8_lossy(name).into_owned();
                    return Err(WalkError::Problem(EntryProblem::ParentNotDirectory(name)));
                }
            }
        }
        let way = &mut self.ways[of as usize];
        way.path.clear();
        way.path.extend_from_slice(path);
        way.found = Some(dir);
        Ok(dir)
    }

    /// Bytes of the path of a name of `length` bytes in `dir`.
    pub(super) fn path_length(&self, dir: u32, length: usize) -> Result<u16, WalkError> {
        let above = usize::from(self.dirs[dir as usize].path_length);
        match above + usize::from(above > 0) + length {
            sum if sum <= MAX_PATH => Ok(sum as u16),
            _ => Err(WalkError::Problem(EntryProblem::PathTooLong)),
        }
    }

    /// The path of a directory.
    pub(super) fn path(&self, mut dir: u32) -> Vec<u8> {
        let mut names = Vec::new();
        while dir != ROOT {
            names.push(self.text(self.dirs[dir as usize].name));
            dir = self.dirs[dir as usize].parent;
        }
        names.reverse();
        names.join(&b'/')
    }

    /// Which directories are part of the layer: those that still stand where they were made.
    pub(super) fn live(&self) -> Vec<bool> {
        let mut live = Vec::with_capacity(self.dirs.len());
        for (index, dir) in self.dirs.iter().enumerate() {
            // A parent is always older.
            let stands = || self.get(dir.name) == Thing::Directory(index as u32);
            live.push(index == 0 || (live[dir.parent as usize] && stands()));
        }
        live
    }

    /// The names in these directories, by directory and then by bytes.
    pub(super) fn sorted(&self, live: &[bool]) -> Vec<NameId> {
        let all = (0..self.names.len() as u32).map(NameId);
        let mut ids: Vec<_> = all.filter(|&id| live[self.parent(id) as usize]).collect();
        ids.sort_unstable_by(|&a, &b| {
            self.parent(a).cmp(&self.parent(b)).then_with(|| self.text(a).cmp(self.text(b)))
        });
        ids
    }

    fn add_text(&mut self, text: &[u8]) -> Result<u32, Errno> {
        let at = index(self.text.len())?;
        index(self.text.len() + text.len())?;
        self.text.extend_from_slice(text);
        Ok(at)
    }

    /// Keyed differently in every process: a layer cannot choose names that collide.
    fn hash(&self, dir: u32, name: &[u8]) -> u32 {
        self.hasher.hash_one((dir, name)) as u32
    }

    /// The slot that holds a name, or the free one it would go to.
    fn slot(&self, hash: u32, dir: u32, name: &[u8]) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while let Some(found) = self.slots[slot].checked_sub(1) {
            let known = &self.names[found as usize];
            if known.hash == hash && known.parent == dir && self.text(NameId(found)) == name {
                break;
            }
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn grow(&mut self) {
        let mask = self.slots.len() * 2 - 1;
        let mut slots = vec![0; mask + 1];
        for (index, name) in self.names.iter().enumerate() {
            let mut slot = name.hash as usize & mask;
            while slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            slots[slot] = index as u32 + 1;
        }
        self.slots = slots;
    }
}

/// Tables are counted with 32 bits, the last of which is not used.
fn index(length: usize) -> Result<u32, Errno> {
    u32::try_from(length).ok().filter(|&n| n < u32::MAX).ok_or(Errno::NOMEM)
}

fn no_room(errno: Errno) -> WalkError {
    WalkError::Io("remember", errno)
}
