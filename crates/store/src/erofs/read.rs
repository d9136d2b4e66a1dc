//! The reader: attributes of directories, and whether an image is whole.
//!
//! Images are our own, but disks lose and change bytes. Every place and every length is checked against the
//! size of the file before it is used, and all work is bounded by it.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::format::{
    BLOCK, BLOCK_SIZE, Data, FileKind, INODE_SIZE, Inode, NO_BLOCK, ROOT_OFFSET, SLOT, SuperBlock, dirents,
};
use super::xattr;
use crate::xattrs::Xattrs;

/// Why an image could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    Io(io::Error),
    /// It is not as it was written.
    Damaged(&'static str),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged("its image is too short"),
            _ => Self::Io(error),
        }
    }
}

/// Bytes at any place.
pub(crate) trait Source {
    /// Fills `buffer` from `offset` on.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Bytes there are.
    fn size(&self) -> io::Result<u64>;
}

impl Source for File {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.metadata().map(|meta| meta.len())
    }
}

impl Source for &[u8] {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)?.get(..buffer.len()));
        buffer.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// An inode and where it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    nid: u64,
    inode: Inode,
}

impl Node {
    pub(crate) fn is_dir(&self) -> bool {
        self.inode.kind == FileKind::Directory
    }

    pub(crate) fn kind(&self) -> FileKind {
        self.inode.kind
    }

    /// Hard links share it.
    pub(crate) fn number(&self) -> u64 {
        self.nid
    }

    /// Bytes of content, or of a link's target.
    pub(crate) fn size(&self) -> u64 {
        self.inode.size
    }

    /// As in `st_rdev` of a device, after `new_encode_dev` of the kernel; 0 for what is none.
    pub(crate) fn device(&self) -> u32 {
        match self.inode.data {
            Data::Device(number) => number,
            _ => 0,
        }
    }

    /// Permission bits with set-id and sticky.
    pub(crate) fn mode(&self) -> u32 {
        self.inode.mode
    }

    pub(crate) fn owner(&self) -> (u32, u32) {
        (self.inode.uid, self.inode.gid)
    }

    /// Seconds and nanoseconds since the epoch.
    pub(crate) fn mtime(&self) -> (i64, u32) {
        self.inode.mtime
    }

    /// Whether it has several names.
    pub(crate) fn has_links(&self) -> bool {
        self.inode.links > 1 && !self.is_dir()
    }

    /// Where its extended attributes end and inline content begins.
    fn after(&self) -> u64 {
        self.nid * SLOT + (INODE_SIZE + self.inode.xattr_bytes) as u64
    }
}

/// Bytes of a file that are together in its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// In the file.
    pub(crate) offset: u64,
    /// In the image.
    pub(crate) at: u64,
    pub(crate) length: u64,
}

/// An open image.
pub(crate) struct Image<S> {
    source: S,
    size: u64,
    inodes: u64,
    chunked: bool,
}

impl<S: Source> Image<S> {
    /// Checks the superblock.
    pub(crate) fn open(source: S) -> Result<Self, ReadError> {
        let mut block = [0; BLOCK];
        source.read(0, &mut block)?;
        let found =
            SuperBlock::decode(&block).ok_or(ReadError::Damaged("the superblock of its image is damaged"))?;
        let size = u64::from(found.blocks) * BLOCK_SIZE;
        if source.size()? != size {
            return Err(ReadError::Damaged("its image has another size"));
        }
        Ok(Self { source, size, inodes: found.inodes, chunked: found.chunked })
    }

    pub(crate) fn root(&self) -> Result<Node, ReadError> {
        self.node(ROOT_OFFSET as u64 / SLOT)
    }

    /// What is at `path`, without following links. Something in the way that is no directory is the answer.
    pub(crate) fn find(&self, path: &[u8]) -> Result<Option<Node>, ReadError> {
        let mut node = self.root()?;
        for name in path.split(|&b| b == b'/').filter(|name| !name.is_empty()) {
            if !node.is_dir() {
                break;
            }
            let mut found = None;
            self.list(&node, |known, nid| {
                if known == name {
                    found = Some(nid);
                }
                Ok(())
            })?;
            match found {
                Some(nid) => node = self.node(nid)?,
                None => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    /// The extended attributes of a node, in order.
    pub(crate) fn xattrs(&self, node: &Node) -> Result<Xattrs, ReadError> {
        let mut bytes = vec![0; node.inode.xattr_bytes];
        self.source.read(node.nid * SLOT + INODE_SIZE as u64, &mut bytes)?;
        xattr::decode(&bytes).ok_or(ReadError::Damaged("extended attributes in its image are damaged"))
    }

    /// What is in a directory, in order.
    pub(crate) fn entries(&self, dir: &Node) -> Result<Vec<(Vec<u8>, Node)>, ReadError> {
        let mut entries = Vec::new();
        self.list(dir, |name, nid| {
            if name != b"." && name != b".." {
                entries.push((name.to_vec(), self.node(nid)?));
            }
            Ok(())
        })?;
        Ok(entries)
    }

    /// The target of a symbolic link.
    pub(crate) fn target(&self, link: &Node) -> Result<Vec<u8>, ReadError> {
        let size = link.inode.size;
        let start = match link.inode.data {
            Data::Plain(block) => u64::from(block) * BLOCK_SIZE,
            Data::Inline(_) if size < BLOCK_SIZE => link.after(),
            _ => return Err(INODE),
        };
        if size > BLOCK_SIZE {
            return Err(INODE);
        }
        let mut target = vec![0; size as usize];
        self.source.read(start, &mut target)?;
        Ok(target)
    }

    /// Where the content of a file is, in its order, without holes.
    pub(crate) fn extents(&self, file: &Node) -> Result<Vec<Extent>, ReadError> {
        let size = file.inode.size;
        let inline = |block: u32| {
            let whole = size - size % BLOCK_SIZE;
            let start = u64::from(block) * BLOCK_SIZE;
            vec![
                Extent { offset: 0, at: start, length: whole },
                Extent { offset: whole, at: file.after(), length: size - whole },
            ]
        };
        let mut extents = match file.inode.data {
            Data::Plain(block) => vec![Extent { offset: 0, at: u64::from(block) * BLOCK_SIZE, length: size }],
            Data::Inline(block) => inline(block),
            Data::Chunks { bits } => self.chunks(file, 1 << bits)?,
            Data::Device(_) => Vec::new(),
        };
        extents.retain(|extent| extent.length > 0);
        let fits = |extent: &Extent| extent.at.checked_add(extent.length).is_some_and(|end| end <= self.size);
        if extents.iter().all(fits) { Ok(extents) } else { Err(CONTENT) }
    }

    fn chunks(&self, file: &Node, chunk: u64) -> Result<Vec<Extent>, ReadError> {
        let size = file.inode.size;
        let count = size.div_ceil(chunk);
        if !self.chunked || count > self.size / 4 {
            return Err(CONTENT);
        }
        let mut extents: Vec<Extent> = Vec::new();
        let mut entry = [0; 4];
        for index in 0..count {
            self.source.read(file.after() + 4 * index, &mut entry)?;
            let block = u32::from_le_bytes(entry);
            if block == NO_BLOCK {
                continue;
            }
            let (offset, at) = (index * chunk, u64::from(block) * BLOCK_SIZE);
            let length = chunk.min(size - offset);
            match extents.last_mut() {
                Some(last) if last.offset + last.length == offset && last.at + last.length == at => {
                    last.length += length;
                }
                _ => extents.push(Extent { offset, at, length }),
            }
        }
        Ok(extents)
    }

    /// What the image is read from.
    pub(crate) fn source(&self) -> &S {
        &self.source
    }

    /// Reads every inode that can be reached, and checks that all fits together.
    pub(crate) fn check(&self) -> Result<(), ReadError> {
        let root = self.root()?;
        let (mut pending, mut seen) = (vec![(root, root.nid)], HashSet::from([root.nid]));
        let (mut names, mut bytes): (HashMap<u64, (u32, u32)>, u64) = (HashMap::new(), 0);
        while let Some((dir, parent)) = pending.pop() {
            self.check_node(&dir)?;
            // Directories do not overlap, so all of them are smaller than the image.
            bytes = bytes.saturating_add(dir.inode.size);
            if !dir.is_dir() || bytes > self.size {
                return Err(DIRECTORY);
            }
            let (mut last, mut dots, mut below): (Vec<u8>, u32, u32) = (Vec::new(), 0, 2);
            self.list(&dir, |name, nid| {
                if name <= last.as_slice() {
                    return Err(DIRECTORY);
                }
                last = name.to_vec();
                match name {
                    b"." | b".." => {
                        dots += 1;
                        let expected = if name == b"." { dir.nid } else { parent };
                        return if nid == expected { Ok(()) } else { Err(DIRECTORY) };
                    }
                    _ => {}
                }
                let node = self.node(nid)?;
                if node.is_dir() {
                    below += 1;
                    pending.push((node, dir.nid));
                    return if seen.insert(nid) { Ok(()) } else { Err(DIRECTORY) };
                }
                let (count, _) = names.entry(nid).or_insert((0, node.inode.links));
                *count += 1;
                if *count == 1 { self.check_node(&node) } else { Ok(()) }
            })?;
            if dots != 2 || dir.inode.links != below {
                return Err(DIRECTORY);
            }
        }
        let reached = (seen.len() + names.len()) as u64;
        if reached > self.inodes || names.values().any(|(count, links)| count != links) {
            return Err(ReadError::Damaged("an inode of its image has a wrong number of names"));
        }
        Ok(())
    }

    /// Attributes can be read, and content is inside the image.
    fn check_node(&self, node: &Node) -> Result<(), ReadError> {
        self.xattrs(node)?;
        let size = node.inode.size;
        let fits = |start: u64, count: u64| start.checked_add(count).is_some_and(|end| end <= self.size);
        let fits = match node.inode.data {
            Data::Device(_) => size == 0,
            Data::Plain(block) => fits(u64::from(block) * BLOCK_SIZE, size),
            Data::Inline(block) => {
                let tail = size % BLOCK_SIZE;
                let in_block = node.after() % BLOCK_SIZE + tail <= BLOCK_SIZE;
                in_block && fits(u64::from(block) * BLOCK_SIZE, size - tail) && fits(node.after(), tail)
            }
            Data::Chunks { bits } => self.chunked && self.check_chunks(node, 1 << bits)?,
        };
        if fits { Ok(()) } else { Err(CONTENT) }
    }

    fn check_chunks(&self, node: &Node, chunk: u64) -> Result<bool, ReadError> {
        let count = node.inode.size.div_ceil(chunk);
        if count > self.size / 4 {
            return Ok(false);
        }
        let mut entry = [0; 4];
        for index in 0..count {
            self.source.read(node.after() + 4 * index, &mut entry)?;
            let block = u32::from_le_bytes(entry);
            let length = chunk.min(node.inode.size - index * chunk);
            if block != NO_BLOCK && u64::from(block) * BLOCK_SIZE + length > self.size {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn node(&self, nid: u64) -> Result<Node, ReadError> {
        let mut bytes = [0; INODE_SIZE];
        let at = nid.checked_mul(SLOT).filter(|&at| at < self.size).ok_or(INODE)?;
        self.source.read(at, &mut bytes)?;
        Ok(Node { nid, inode: Inode::decode(&bytes).ok_or(INODE)? })
    }

    /// Hands every entry of a directory to `each`, in order.
    fn list(
        &self,
        dir: &Node,
        mut each: impl FnMut(&[u8], u64) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let size = dir.inode.size;
        let (start, whole) = match dir.inode.data {
            Data::Plain(block) => (u64::from(block) * BLOCK_SIZE, size),
            Data::Inline(block) => (u64::from(block) * BLOCK_SIZE, size - size % BLOCK_SIZE),
            _ => return Err(DIRECTORY),
        };
        if size > self.size {
            return Err(DIRECTORY);
        }
        let mut block = [0; BLOCK];
        for at in (0..size).step_by(BLOCK) {
            let bytes = &mut block[..(size - at).min(BLOCK_SIZE) as usize];
            self.source.read(if at < whole { start + at } else { dir.after() }, bytes)?;
            for (name, nid) in dirents(bytes).ok_or(DIRECTORY)? {
                each(name, nid)?;
            }
        }
        Ok(())
    }
}

const DIRECTORY: ReadError = ReadError::Damaged("a directory of its image is damaged");
const CONTENT: ReadError = ReadError::Damaged("content of a file is outside of its image");
const INODE: ReadError = ReadError::Damaged("an inode of its image is damaged");

/// Reads any bytes as an image; for finding ones that are not refused but break the reader.
pub(crate) fn read_anything(bytes: &[u8]) {
    let _ = Image::open(bytes);
    // As if the superblock were right, whose checksum would keep most bytes out.
    let image = Image { source: bytes, size: bytes.len() as u64, inodes: u64::MAX, chunked: true };
    let _ = image.check();
    let _ = image.find(b"d/name").and_then(|node| node.map(|node| image.xattrs(&node)).transpose());
}
