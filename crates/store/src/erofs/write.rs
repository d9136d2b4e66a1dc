//! The writer: content and inodes of files as they come, directories and the superblock at the end.

use std::fs::File;
use std::io;

use rustix::io::Errno;

use super::content::{Content, Stored};
use super::format::{
    BLOCK, BLOCK_SIZE, Data, DirBlocks, Dirent, FileKind, INODE_SIZE, Inode, MAX_IMAGE, ROOT_OFFSET, SLOT,
    SuperBlock, put32,
};
use super::out::Out;

/// What an inode says besides its content.
#[derive(Debug, Clone)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: (i64, u32),
    /// Encoded by [`super::xattr`].
    pub(super) xattrs: Vec<u8>,
}

/// A directory to be written.
pub(super) struct Directory {
    pub(super) attributes: Attributes,
    /// Bytes of its entries, [`DirBlocks::size`].
    pub(super) size: u64,
    pub(super) links: u32,
}

/// Where a directory goes.
pub(super) struct Spot {
    /// Its inode.
    at: u64,
    /// Its first block, if it has any.
    block: u64,
    /// Bytes of its last part that follow the inode.
    tail: usize,
}

impl Spot {
    /// Number of its inode.
    pub(super) fn nid(&self) -> u64 {
        self.at / SLOT
    }
}

/// An image being written.
pub(super) struct Writer {
    pub(super) out: Out,
    /// The open block of inodes and its place; filled up to `used`.
    open: Box<[u8; BLOCK]>,
    open_at: u64,
    used: usize,
    inodes: u64,
    chunked: bool,
    scratch: Vec<u8>,
}

impl Writer {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let mut out = Out::new(file);
        out.zeros_to(BLOCK_SIZE)?; // the superblock's and the root's
        let open = Box::new([0; BLOCK]);
        Ok(Self { out, open, open_at: 0, used: BLOCK, inodes: 0, chunked: false, scratch: Vec::new() })
    }

    /// Starts the content of a file of `size` bytes, which follows in order; with `sparse` it has gaps.
    pub(super) fn content(&self, size: u64, sparse: bool) -> io::Result<Content> {
        Content::new(size, sparse, self.out.position())
    }

    /// Writes the inode of a file whose content is complete. Answers its number, and where a last part of its
    /// content went that is not in [`Content::pieces`].
    pub(super) fn file(
        &mut self,
        attributes: &Attributes,
        content: Content,
    ) -> io::Result<(u64, Option<u64>)> {
        let size = content.size();
        let stored = content.finish(&mut self.out)?;
        match stored {
            Stored::Blocks(block) => {
                let nid = self.inode(FileKind::File, attributes, size, Data::Plain(block), &[])?;
                Ok((nid, None))
            }
            Stored::Chunks { bits, table } => {
                self.chunked = true;
                let table: Vec<u8> = table.iter().flat_map(|block| block.to_le_bytes()).collect();
                let nid = self.inode(FileKind::File, attributes, size, Data::Chunks { bits }, &table)?;
                Ok((nid, None))
            }
            Stored::Tail { block, tail } => {
                let (nid, at) = self.with_tail(FileKind::File, attributes, size, block, &tail)?;
                Ok((nid, Some(at)))
            }
        }
    }

    pub(super) fn symlink(&mut self, attributes: &Attributes, target: &[u8]) -> io::Result<u64> {
        let block = block_number(self.out.position());
        Ok(self.with_tail(FileKind::Symlink, attributes, target.len() as u64, block, target)?.0)
    }

    /// A device by its number as the kernel encodes it, or a pipe.
    pub(super) fn node(
        &mut self,
        kind: FileKind,
        attributes: &Attributes,
        device: (u32, u32),
    ) -> io::Result<u64> {
        let (major, minor) = device;
        let number = minor & 0xff | major << 8 | (minor & !0xff) << 12;
        self.inode(kind, attributes, 0, Data::Device(number), &[])
    }

    /// Sets the number of names of an inode, which is 1 when nothing is said.
    pub(super) fn set_links(&mut self, nid: u64, links: u32) -> io::Result<()> {
        let at = nid * SLOT + Inode::LINKS_AT;
        match at.checked_sub(self.open_at) {
            Some(inside) if self.open_at > 0 && inside < BLOCK_SIZE => {
                put32(&mut self.open[..], inside as usize, links);
                Ok(())
            }
            _ => self.out.patch(at, &links.to_le_bytes()),
        }
    }

    /// An inode whose content ends in `tail`, less than a block, after blocks from `block` on. The tail goes
    /// where less is wasted: after the inode, or into a block of its own. Answers where.
    fn with_tail(
        &mut self,
        kind: FileKind,
        attributes: &Attributes,
        size: u64,
        block: u32,
        tail: &[u8],
    ) -> io::Result<(u64, u64)> {
        let fixed = INODE_SIZE + attributes.xattrs.len();
        let (need, left) = (fixed + tail.len(), BLOCK - self.used);
        let separate = need > left && (need > BLOCK || (fixed <= left && BLOCK - tail.len() <= left));
        if tail.is_empty() || !separate {
            let data = if tail.is_empty() { Data::Plain(block) } else { Data::Inline(block) };
            let nid = self.inode(kind, attributes, size, data, tail)?;
            return Ok((nid, nid * SLOT + fixed as u64));
        }
        let at = self.out.position();
        self.out.write(tail)?;
        self.out.zeros_to(at + BLOCK_SIZE)?;
        Ok((self.inode(kind, attributes, size, Data::Plain(block), &[])?, at))
    }

    /// Writes one inode with what follows it and answers its number.
    fn inode(
        &mut self,
        kind: FileKind,
        attributes: &Attributes,
        size: u64,
        data: Data,
        after: &[u8],
    ) -> io::Result<u64> {
        let mut record = std::mem::take(&mut self.scratch);
        record.clear();
        record.extend_from_slice(&self.head(kind, attributes, size, data, 1));
        record.extend_from_slice(&attributes.xattrs);
        record.extend_from_slice(after);
        let at = self.append(&record);
        self.scratch = record;
        Ok(at? / SLOT)
    }

    fn head(
        &mut self,
        kind: FileKind,
        attributes: &Attributes,
        size: u64,
        data: Data,
        links: u32,
    ) -> [u8; INODE_SIZE] {
        self.inodes += 1;
        let Attributes { mode, uid, gid, mtime, ref xattrs } = *attributes;
        let (number, xattr_bytes) = (self.inodes as u32, xattrs.len());
        Inode { kind, mode, uid, gid, mtime, size, data, links, xattr_bytes, number }.encode()
    }

    /// Puts a record into the open block, or into new ones. Answers where it is.
    fn append(&mut self, record: &[u8]) -> io::Result<u64> {
        if self.used + record.len() > BLOCK {
            self.close()?;
            let at = self.out.position();
            let whole = record.len() / BLOCK * BLOCK;
            self.out.write(&record[..whole])?;
            let rest = &record[whole..];
            if !rest.is_empty() {
                self.open_at = self.out.position();
                self.out.zeros_to(self.open_at + BLOCK_SIZE)?;
                self.open[..rest.len()].copy_from_slice(rest);
                self.used = rest.len().next_multiple_of(SLOT as usize);
            }
            return Ok(at);
        }
        let at = self.used;
        self.open[at..at + record.len()].copy_from_slice(record);
        self.used = (at + record.len()).next_multiple_of(SLOT as usize);
        Ok(self.open_at + at as u64)
    }

    fn close(&mut self) -> io::Result<()> {
        if self.open_at > 0 {
            self.out.patch(self.open_at, &self.open[..])?;
        }
        self.open.fill(0);
        (self.open_at, self.used) = (0, BLOCK);
        Ok(())
    }

    /// Ends the files, and finds places for directories, the root's first.
    pub(super) fn place(&mut self, directories: &[Directory]) -> io::Result<Vec<Spot>> {
        self.close()?;
        let mut at = self.out.position();
        let mut spots = Vec::with_capacity(directories.len());
        for directory in directories {
            let fixed = INODE_SIZE + directory.attributes.xattrs.len();
            let is_root = spots.is_empty();
            let room = if is_root { BLOCK - ROOT_OFFSET } else { BLOCK };
            if is_root && fixed > room {
                return Err(Errno::NOSPC.into());
            }
            let tail = (directory.size % BLOCK_SIZE) as usize;
            let tail = if fixed + tail <= room { tail } else { 0 };
            if is_root {
                spots.push(Spot { at: ROOT_OFFSET as u64, block: 0, tail });
                continue;
            }
            let length = (fixed + tail) as u64;
            if at % BLOCK_SIZE + length > BLOCK_SIZE {
                at = at.next_multiple_of(BLOCK_SIZE);
            }
            spots.push(Spot { at, block: 0, tail });
            at = (at + length).next_multiple_of(SLOT);
        }
        at = at.next_multiple_of(BLOCK_SIZE);
        for (spot, directory) in spots.iter_mut().zip(directories) {
            spot.block = at;
            at += (directory.size - spot.tail as u64).next_multiple_of(BLOCK_SIZE);
        }
        if at > MAX_IMAGE { Err(Errno::FBIG.into()) } else { Ok(spots) }
    }

    /// Writes the directories at their places, and the superblock. `entries` answers the sorted entries of a
    /// directory; it is asked more than once, since none are kept.
    pub(super) fn finish<'n, I: Iterator<Item = Dirent<'n>>>(
        mut self,
        directories: &[Directory],
        spots: &[Spot],
        entries: impl Fn(usize) -> I,
        uuid: [u8; 16],
    ) -> io::Result<File> {
        let mut first = [0; BLOCK];
        for (index, (directory, spot)) in directories.iter().zip(spots).enumerate() {
            let block = block_number(spot.block);
            let data = if spot.tail > 0 { Data::Inline(block) } else { Data::Plain(block) };
            let Directory { ref attributes, size, links } = *directory;
            let mut record = self.head(FileKind::Directory, attributes, size, data, links).to_vec();
            record.extend_from_slice(&attributes.xattrs);
            if spot.tail > 0 {
                let mut blocks = DirBlocks::new();
                entries(index).try_for_each(|entry| blocks.push(entry, &mut |_| Ok(())))?;
                record.extend_from_slice(&blocks.take());
            }
            if index == 0 {
                first[ROOT_OFFSET..ROOT_OFFSET + record.len()].copy_from_slice(&record);
            } else {
                self.out.zeros_to(spot.at)?;
                self.out.write(&record)?;
            }
        }
        for (index, (directory, spot)) in directories.iter().zip(spots).enumerate() {
            if directory.size == spot.tail as u64 {
                continue;
            }
            self.out.zeros_to(spot.block)?;
            let mut blocks = DirBlocks::new();
            let out = &mut self.out;
            entries(index).try_for_each(|entry| blocks.push(entry, &mut |block| out.write(block)))?;
            if spot.tail == 0 {
                out.write(&blocks.take())?;
            }
        }
        // fsck.erofs 1.5 looks for attributes after every inode, and fails when the file ends there.
        let end = (self.out.position() + 1).next_multiple_of(BLOCK_SIZE);
        self.out.zeros_to(end)?;
        let (inodes, chunked, blocks) = (self.inodes, self.chunked, block_number(end));
        SuperBlock { inodes, blocks, uuid, chunked }.encode(&mut first);
        self.out.patch(0, &first)?;
        self.out.finish()
    }
}

/// The number of the block at `offset`, which is below [`MAX_IMAGE`].
pub(super) fn block_number(offset: u64) -> u32 {
    (offset / BLOCK_SIZE) as u32
}
