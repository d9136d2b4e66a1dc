//! Names of a layer on its way into an image: some 50 bytes for each, its own included, in memory or in files ([`super::table`]).
//!
//! Names are never taken away. What a later entry replaced is no longer reached: its place in the parent says
//! something else, and a directory counts only while its place still names it.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::format::FileKind;
use super::table::Table;
use crate::unpack::rules::{DIRECTORY, DirMeta, MAX_LINKS, MAX_PATH};
use crate::unpack::{EntryProblem, WalkError};

/// The root directory.
pub(super) const ROOT: u32 = 0;

/// Bytes of a name with its slots and its place among the sorted ones, but for its text.
const NAME: usize = 42;
/// Names of one directory that are sorted with all of them in memory. Where there are more, the tables are.
const GATHERED: usize = 1 << 14;
/// Names that are dealt with until the memory of tables in files is given back: of each, its slot is at a page of its own, with which the
/// kernel maps 15 around it.
const MANY: u32 = 64;

/// A name in a directory; an index into the table of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NameId(pub(super) u32);

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

/// What is known of a name. It takes 16 bytes in the table.
struct Name {
    /// Inode, link or directory: 39 bits.
    node: u64,
    parent: u32,
    /// Start in the text of all names.
    at: u32,
    length: u8,
    /// A [`FileKind`], 0 for nothing.
    kind: u8,
    /// Something below it in lower layers is hidden.
    hidden: bool,
}

type Packed = [u32; 4];

impl Name {
    fn pack(&self) -> Packed {
        let above = (self.node >> 32) as u32;
        let rest = above << 16 | u32::from(self.hidden) << 12 | u32::from(self.kind) << 8;
        [self.node as u32, rest | u32::from(self.length), self.parent, self.at]
    }

    fn unpack(packed: &Packed) -> Self {
        let [node, rest, parent, at] = *packed;
        let (length, kind, hidden) = (rest as u8, (rest >> 8) as u8 & 15, rest >> 12 & 1 == 1);
        Self { node: u64::from(rest >> 16) << 32 | u64::from(node), parent, at, length, kind, hidden }
    }
}

/// A symbolic link, as the name's 16 bytes.
struct Link {
    nid: u64,
    at: u32,
    length: u16,
}

impl Link {
    fn pack(&self) -> Packed {
        [self.nid as u32, (self.nid >> 32) as u32, self.at, self.length.into()]
    }

    fn unpack(&[low, high, at, length]: &Packed) -> Self {
        Self { nid: u64::from(high) << 32 | u64::from(low), at, length: length as u16 }
    }
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
    names: Table<Packed>,
    text: Table<u8>,
    links: Table<Packed>,
    pub(super) dirs: Vec<Dir>,
    /// Open addressing; hashes and indices of names plus one.
    slots: Table<u64>,
    hasher: RandomState,
    ways: [Way; 2],
    /// Names dealt with since memory was given back.
    count: Cell<u32>,
}

impl Names {
    /// None yet, with room in files of the directory `dir`.
    pub(super) fn new(dir: BorrowedFd<'_>) -> io::Result<Self> {
        let root = Dir { parent: ROOT, name: NameId(0), path_length: 0, meta: DirMeta::default() };
        let mut slots = Table::new(dir)?;
        slots.fill(1024, 0)?;
        Ok(Self {
            names: Table::new(dir)?,
            text: Table::new(dir)?,
            links: Table::new(dir)?,
            dirs: vec![root],
            slots,
            hasher: RandomState::new(),
            ways: Default::default(),
            count: Cell::new(0),
        })
    }

    /// Says that one more was dealt with, so that tables in files do not come to be in memory bit by bit.
    pub(super) fn tend(&self) {
        self.count.set(self.count.get() + 1);
        if self.count.get() == MANY {
            self.count.set(0);
            self.names.let_go();
            self.text.let_go();
            self.links.let_go();
            self.slots.let_go();
        }
    }

    fn at(&self, id: NameId) -> Name {
        Name::unpack(&self.names[id.0 as usize])
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
        let name = self.at(id);
        &self.text[name.at as usize..][..usize::from(name.length)]
    }

    pub(super) fn parent(&self, id: NameId) -> u32 {
        self.at(id).parent
    }

    pub(super) fn get(&self, id: NameId) -> Thing {
        let name = self.at(id);
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
        let mut name = self.at(id);
        if matches!(name.kind, 2 | 7) {
            self.ways = Default::default(); // may have gone through it
        }
        (name.node, name.kind) = match thing {
            Thing::Nothing => (0, 0),
            Thing::Inode(nid, kind) => (nid, kind as u8),
            Thing::Link(index) => (index.into(), FileKind::Symlink as u8),
            Thing::Directory(index) => (index.into(), FileKind::Directory as u8),
        };
        self.names[id.0 as usize] = name.pack();
    }

    /// What lower layers have at a name is hidden, whatever this layer has there.
    pub(super) fn hide(&mut self, id: NameId) {
        let name = Name { hidden: true, ..self.at(id) };
        self.names[id.0 as usize] = name.pack();
    }

    pub(super) fn is_hidden(&self, id: NameId) -> bool {
        self.at(id).hidden
    }

    /// Remembers the target of a symbolic link, whose length the kernel would take.
    pub(super) fn add_link(&mut self, nid: u64, target: &[u8]) -> Result<u32, Errno> {
        let length = u16::try_from(target.len()).map_err(|_| Errno::NAMETOOLONG)?;
        let (at, index) = (self.add_text(target)?, index(self.links.len())?);
        self.links.push(Link { nid, at, length }.pack()).map_err(|e| errno(&e))?;
        Ok(index)
    }

    /// Number of the inode of a symbolic link.
    pub(super) fn link(&self, index: u32) -> u64 {
        Link::unpack(&self.links[index as usize]).nid
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
        (self.slots[self.slot(self.hash(dir, name), dir, name)] as u32).checked_sub(1).map(NameId)
    }

    /// A name in a directory, entered if there is none. Its whole path must not be too long.
    pub(super) fn name(&mut self, dir: u32, name: &[u8]) -> Result<NameId, WalkError> {
        self.path_length(dir, name.len())?;
        let hash = self.hash(dir, name);
        let slot = self.slot(hash, dir, name);
        self.tend();
        if let Some(found) = (self.slots[slot] as u32).checked_sub(1) {
            return Ok(NameId(found));
        }
        let length = u8::try_from(name.len()).map_err(|_| no_room(Errno::NAMETOOLONG))?;
        let id = index(self.names.len()).map_err(no_room)?;
        let at = self.add_text(name).map_err(no_room)?;
        let new = Name { node: 0, parent: dir, at, length, kind: 0, hidden: false };
        self.names.push(new.pack()).map_err(|e| no_room(errno(&e)))?;
        self.slots[slot] = u64::from(hash) << 32 | u64::from(id + 1);
        if self.names.len() * 4 > self.slots.len() * 3 {
            self.grow().map_err(|e| no_room(errno(&e)))?;
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
                    let link = Link::unpack(&self.links[index as usize]);
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
            self.tend();
            // A parent is always older.
            let stands = || self.get(dir.name) == Thing::Directory(index as u32);
            live.push(index == 0 || (live[dir.parent as usize] && stands()));
        }
        live
    }

    /// The names in these directories at which there is something, by directory and then by bytes; and where those of each end.
    pub(super) fn sorted(&self, live: &[bool]) -> io::Result<(Table<u32>, Vec<u32>)> {
        let shown = |id: NameId| {
            let name = self.at(id);
            let is_shown = live[name.parent as usize] && (name.kind != 0 || name.hidden);
            is_shown.then_some(name.parent as usize)
        };
        let all = || (0..self.names.len() as u32).map(NameId).inspect(|_| self.tend());
        // Where those of each directory begin, and at last where they end.
        let mut places = vec![0_u32; live.len() + 1];
        all().filter_map(shown).for_each(|dir| places[dir + 1] += 1);
        (1..places.len()).for_each(|dir| places[dir] += places[dir - 1]);
        let mut ids = self.names.another()?;
        ids.fill(places[live.len()] as usize, 0)?;
        for id in all() {
            if let Some(dir) = shown(id) {
                ids[places[dir] as usize] = id.0;
                places[dir] += 1;
            }
        }
        let (mut start, mut text, mut keys) = (0, Vec::new(), Vec::new());
        for &end in &places[..live.len()] {
            let of_one = &mut ids[start..end as usize];
            start = end as usize;
            if of_one.len() > GATHERED {
                of_one.sort_unstable_by(|&a, &b| self.text(NameId(a)).cmp(self.text(NameId(b))));
                continue;
            }
            // Directories of a directory are far apart in the tables.
            text.clear();
            keys.clear();
            for &id in &*of_one {
                self.tend();
                let at = text.len();
                text.extend_from_slice(self.text(NameId(id)));
                keys.push((at..text.len(), id));
            }
            keys.sort_unstable_by(|(a, _), (b, _)| text[a.clone()].cmp(&text[b.clone()]));
            of_one.iter_mut().zip(&keys).for_each(|(place, &(_, id))| *place = id);
        }
        Ok((ids, places))
    }

    fn add_text(&mut self, text: &[u8]) -> Result<u32, Errno> {
        let at = index(self.text.len())?;
        index(self.text.len() + text.len())?;
        self.text.extend(text).map_err(|e| errno(&e))?;
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
        while let Some(found) = (self.slots[slot] as u32).checked_sub(1) {
            if (self.slots[slot] >> 32) as u32 == hash {
                let known = self.at(NameId(found));
                if known.parent == dir && self.text(NameId(found)) == name {
                    break;
                }
            }
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn grow(&mut self) -> io::Result<()> {
        let mut slots = self.slots.another()?;
        slots.fill(self.slots.len() * 2, 0)?;
        let mask = slots.len() - 1;
        for (index, &known) in self.slots.iter().enumerate().filter(|&(_, &known)| known != 0) {
            let mut slot = (known >> 32) as usize & mask;
            while slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            slots[slot] = known;
            // Half of the pages that are written lie together, and so does the other half.
            if index % (1 << 17) == 0 {
                slots.let_go();
                self.slots.let_go();
            }
        }
        self.slots = slots;
        Ok(())
    }
}

/// Tables are counted with 32 bits, the last of which is not used.
fn index(length: usize) -> Result<u32, Errno> {
    u32::try_from(length).ok().filter(|&n| n < u32::MAX).ok_or(Errno::NOMEM)
}

fn no_room(errno: Errno) -> WalkError {
    WalkError::Io("remember", errno)
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_packed_with_all_they_have() {
        for (node, kind, length, hidden) in [
            (0, 0, 0, false),
            ((1 << 39) - 1, 7, 255, true),
            (1 << 32, 1, 9, false),
            (u64::from(u32::MAX), 6, 1, true),
        ] {
            let name = Name { node, parent: 3, at: u32::MAX, length, kind, hidden };
            let again = Name::unpack(&name.pack());
            assert_eq!((again.node, again.kind, again.length, again.hidden), (node, kind, length, hidden));
            assert_eq!((again.parent, again.at), (3, u32::MAX));
            let link = Link { nid: node, at: 5, length: 4095 };
            let again = Link::unpack(&link.pack());
            assert_eq!((again.nid, again.at, again.length), (node, 5, 4095));
        }
    }
}
