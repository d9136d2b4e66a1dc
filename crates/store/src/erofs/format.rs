//! The structures of an EROFS image that layers use, to bytes and back. All numbers are little-endian.
//!
//! Layers need few of the format's features: blocks of 4 KiB, long inodes (short ones have no time of their
//! own), plain, inline and chunked content, no compression, no shared attributes.

use std::io;

/// Bytes of a block.
pub(super) const BLOCK: usize = 4096;
/// The same as a file offset.
pub(super) const BLOCK_SIZE: u64 = BLOCK as u64;
/// Where the superblock stands.
pub(super) const SUPER_OFFSET: usize = 1024;
/// Bytes of a superblock without extensions.
pub(super) const SUPER_SIZE: usize = 128;
/// Where the root's inode stands: directly after the superblock.
pub(super) const ROOT_OFFSET: usize = SUPER_OFFSET + SUPER_SIZE;
/// Inodes start at multiples of this; their number is the offset divided by it.
pub(super) const SLOT: u64 = 32;
/// Bytes of a long inode.
pub(super) const INODE_SIZE: usize = 64;
/// Bytes of a directory entry without its name.
pub(super) const DIRENT_SIZE: usize = 12;
/// Longest name in a directory.
pub(super) const MAX_NAME: usize = 255;
/// Block number of a chunk that is not there and reads as zeros.
pub(super) const NO_BLOCK: u32 = u32::MAX;
/// Blocks are numbered with 32 bits, the last of which means none.
pub(super) const MAX_IMAGE: u64 = (NO_BLOCK as u64) * BLOCK_SIZE;

const MAGIC: u32 = 0xe0f5_e1e2;
/// The superblock has a checksum; times are modification times.
const COMPAT: u32 = 0x1 | 0x2;
const INCOMPAT_CHUNKED: u32 = 0x4;
const NAME: &[u8; 16] = b"loment layer\0\0\0\0";

/// `st_mode` and entry types of what a layer can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileKind {
    File = 1,
    Directory = 2,
    CharDevice = 3,
    BlockDevice = 4,
    Fifo = 5,
    Symlink = 7,
}

impl FileKind {
    /// The type bits of `st_mode`.
    pub(super) fn mode(self) -> u32 {
        match self {
            Self::File => 0o100_000,
            Self::Directory => 0o040_000,
            Self::CharDevice => 0o020_000,
            Self::BlockDevice => 0o060_000,
            Self::Fifo => 0o010_000,
            Self::Symlink => 0o120_000,
        }
    }

    pub(super) fn from_mode(mode: u32) -> Option<Self> {
        let all =
            [Self::File, Self::Directory, Self::CharDevice, Self::BlockDevice, Self::Fifo, Self::Symlink];
        all.into_iter().find(|kind| kind.mode() == mode & 0o170_000)
    }
}

/// The parts of the superblock that differ between layers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SuperBlock {
    pub(super) inodes: u64,
    pub(super) blocks: u32,
    pub(super) uuid: [u8; 16],
    /// Some file has [`Data::Chunks`].
    pub(super) chunked: bool,
}

impl SuperBlock {
    /// Writes the superblock into the first block, whose rest must be final: the checksum covers it.
    pub(super) fn encode(&self, block: &mut [u8; BLOCK]) {
        let sb = &mut block[SUPER_OFFSET..SUPER_OFFSET + SUPER_SIZE];
        sb.fill(0);
        put32(sb, 0, MAGIC);
        put32(sb, 8, COMPAT);
        sb[12] = BLOCK.trailing_zeros() as u8;
        put16(sb, 14, (ROOT_OFFSET as u64 / SLOT) as u16);
        put64(sb, 16, self.inodes);
        put32(sb, 36, self.blocks);
        sb[48..64].copy_from_slice(&self.uuid);
        sb[64..80].copy_from_slice(NAME);
        put32(sb, 80, if self.chunked { INCOMPAT_CHUNKED } else { 0 });
        let checksum = crc32c(&block[SUPER_OFFSET..]);
        put32(block, SUPER_OFFSET + 4, checksum);
    }

    /// Reads the superblock of an image written by [`SuperBlock::encode`].
    pub(super) fn decode(block: &[u8; BLOCK]) -> Option<Self> {
        let mut copy = *block;
        put32(&mut copy, SUPER_OFFSET + 4, 0);
        let sb = &block[SUPER_OFFSET..SUPER_OFFSET + SUPER_SIZE];
        let uuid = sb[48..64].try_into().ok()?;
        let chunked = get32(sb, 80) == INCOMPAT_CHUNKED;
        let read = Self { inodes: get64(sb, 16), blocks: get32(sb, 36), uuid, chunked };
        // What is read is exactly what would have been written, or it is not ours.
        let mut again = copy;
        read.encode(&mut again);
        (again == *block).then_some(read)
    }
}

/// CRC-32C without the final inversion, as the kernel computes it for the superblock.
fn crc32c(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |mut crc, &byte| {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(crc & 1));
        }
        crc
    })
}

/// Where the content of an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Data {
    /// In consecutive blocks from this one.
    Plain(u32),
    /// The same, but the last part, less than a block, follows the inode.
    Inline(u32),
    /// In chunks of `1 << bits` bytes, listed after the inode by block, [`NO_BLOCK`] for a hole.
    Chunks { bits: u32 },
    /// There is none: the number of a device, or 0.
    Device(u32),
}

/// An inode, without its extended attributes and what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inode {
    pub(super) kind: FileKind,
    /// Permission bits with set-id and sticky.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: (i64, u32),
    pub(super) size: u64,
    pub(super) data: Data,
    pub(super) links: u32,
    /// Bytes of extended attributes after the inode; 0 or 12 and more, a multiple of 4.
    pub(super) xattr_bytes: usize,
    /// For people; the kernel uses the position.
    pub(super) number: u32,
}

impl Inode {
    /// Where the number of links stands in the inode.
    pub(super) const LINKS_AT: u64 = 44;

    pub(super) fn encode(&self) -> [u8; INODE_SIZE] {
        let (layout, data) = match self.data {
            Data::Plain(block) => (0, block),
            Data::Inline(block) => (2, block),
            Data::Chunks { bits } => (4, bits - BLOCK.trailing_zeros()),
            Data::Device(number) => (0, number),
        };
        let mut bytes = [0; INODE_SIZE];
        put16(&mut bytes, 0, 1 | layout << 1);
        put16(&mut bytes, 2, xattr_count(self.xattr_bytes));
        put16(&mut bytes, 4, (self.kind.mode() | self.mode) as u16);
        put64(&mut bytes, 8, self.size);
        put32(&mut bytes, 16, data);
        put32(&mut bytes, 20, self.number);
        put32(&mut bytes, 24, self.uid);
        put32(&mut bytes, 28, self.gid);
        put64(&mut bytes, 32, self.mtime.0.cast_unsigned());
        put32(&mut bytes, 40, self.mtime.1);
        put32(&mut bytes, Self::LINKS_AT as usize, self.links);
        bytes
    }

    /// Reads an inode; `None` for what [`Inode::encode`] does not write.
    pub(super) fn decode(bytes: &[u8; INODE_SIZE]) -> Option<Self> {
        let mode = u32::from(get16(bytes, 4));
        let kind = FileKind::from_mode(mode)?;
        let (format, raw) = (get16(bytes, 0), get32(bytes, 16));
        let has_content = matches!(kind, FileKind::File | FileKind::Directory | FileKind::Symlink);
        let data = match (format & 1, format >> 1) {
            (1, 0) if has_content => Data::Plain(raw),
            (1, 0) => Data::Device(raw),
            (1, 2) if has_content => Data::Inline(raw),
            (1, 4) if kind == FileKind::File && raw < 32 => {
                Data::Chunks { bits: raw + BLOCK.trailing_zeros() }
            }
            _ => return None,
        };
        let xattr_bytes = match usize::from(get16(bytes, 2)) {
            0 => 0,
            count => XATTR_HEADER + 4 * (count - 1),
        };
        let inode = Self {
            kind,
            mode: mode & 0o7777,
            uid: get32(bytes, 24),
            gid: get32(bytes, 28),
            mtime: (get64(bytes, 32).cast_signed(), get32(bytes, 40)),
            size: get64(bytes, 8),
            data,
            links: get32(bytes, Self::LINKS_AT as usize),
            xattr_bytes,
            number: get32(bytes, 20),
        };
        (inode.encode() == *bytes).then_some(inode)
    }
}

/// Bytes before the first extended attribute of an inode.
pub(super) const XATTR_HEADER: usize = 12;
/// Most bytes of extended attributes an inode can count.
pub(super) const MAX_XATTRS: usize = XATTR_HEADER + 4 * (u16::MAX as usize - 1);

fn xattr_count(bytes: usize) -> u16 {
    match bytes.checked_sub(XATTR_HEADER) {
        Some(rest) => (rest / 4 + 1) as u16,
        None => 0,
    }
}

/// One entry of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dirent<'n> {
    pub(super) name: &'n [u8],
    /// Number of its inode.
    pub(super) nid: u64,
    pub(super) kind: FileKind,
}

/// Fills blocks of a directory with entries, which come sorted.
pub(super) struct DirBlocks<'n> {
    held: Vec<Dirent<'n>>,
    used: usize,
}

impl<'n> DirBlocks<'n> {
    pub(super) fn new() -> Self {
        Self { held: Vec::new(), used: 0 }
    }

    /// Takes one more entry; `done` gets a block that is full.
    pub(super) fn push(
        &mut self,
        entry: Dirent<'n>,
        done: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let need = DIRENT_SIZE + entry.name.len();
        if self.used + need > BLOCK {
            let mut block = self.take();
            block.resize(BLOCK, 0);
            done(&block)?;
        }
        self.used += need;
        self.held.push(entry);
        Ok(())
    }

    /// The last block, as long as it is used.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut block = vec![0; DIRENT_SIZE * self.held.len()];
        for (index, entry) in self.held.drain(..).enumerate() {
            let (at, name_at) = (index * DIRENT_SIZE, block.len());
            put64(&mut block, at, entry.nid);
            put16(&mut block, at + 8, name_at as u16);
            block[at + 10] = entry.kind as u8;
            block.extend_from_slice(entry.name);
        }
        self.used = 0;
        block
    }

    /// Bytes of a directory with these names.
    pub(super) fn size(names: impl Iterator<Item = usize>) -> u64 {
        let (mut full, mut used) = (0u64, 0);
        for length in names {
            let need = DIRENT_SIZE + length;
            if used + need > BLOCK {
                (full, used) = (full + 1, 0);
            }
            used += need;
        }
        full * BLOCK_SIZE + used as u64
    }
}

/// Reads one block of a directory, without zeros at its end for the last one; `None` for what
/// [`DirBlocks`] does not write.
pub(super) fn dirents(block: &[u8]) -> Option<Vec<(&[u8], u64)>> {
    let first = usize::from(get16(block.get(..DIRENT_SIZE)?, 8));
    if first == 0 || first % DIRENT_SIZE != 0 || first > block.len() {
        return None;
    }
    let count = first / DIRENT_SIZE;
    let name_at = |index: usize| usize::from(get16(block, index * DIRENT_SIZE + 8));
    let mut entries = Vec::with_capacity(count);
    for index in 0..count {
        let (start, last) = (name_at(index), index + 1 == count);
        let end = if last { block.len() } else { name_at(index + 1) };
        let mut name = block.get(start..end)?;
        if last {
            name = &name[..name.iter().position(|&b| b == 0).unwrap_or(name.len())];
        }
        if name.is_empty() || name.len() > MAX_NAME || name.contains(&0) || name.contains(&b'/') {
            return None;
        }
        entries.push((name, get64(block, index * DIRENT_SIZE)));
    }
    Some(entries)
}

pub(super) fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

pub(super) fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Numbers at fixed offsets of structures whose length was checked.
pub(super) fn get16(bytes: &[u8], at: usize) -> u16 {
    u16::from(bytes[at]) | u16::from(bytes[at + 1]) << 8
}

pub(super) fn get32(bytes: &[u8], at: usize) -> u32 {
    u32::from(get16(bytes, at)) | u32::from(get16(bytes, at + 2)) << 16
}

fn get64(bytes: &[u8], at: usize) -> u64 {
    u64::from(get32(bytes, at)) | u64::from(get32(bytes, at + 4)) << 32
}
