//! Layers as one file: an EROFS image, written in one pass and read back with every bound checked.
//!
//! One file instead of tens of thousands of inodes is what makes a pull as fast as the disk and a removal one
//! unlink. The kernel mounts the image read-only (Linux 5.4 through a loop device, 6.12 directly); see
//! Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h for the format.
//!
//! Nothing is held back while the tar streams in. Content goes straight to the end of the file; inodes, with
//! the last part of their content where it fits, gather in one open block of 4 KiB, whose place was taken when
//! it was opened; directories follow when all names are known, and the superblock is written last. The first
//! block holds the superblock and the root's inode, whose number has 16 bits only.
//!
//! What is known of names is in tables that go to files without names when they are large (`table.rs`), so that the memory for a layer
//! does not depend on how many files it has; directories are in memory.
//!
//! The same tar gives the same bytes, on every machine.

mod content;
mod format;
mod names;
mod out;
mod read;
mod table;
mod tree;
mod write;
mod xattr;

pub(crate) use format::FileKind;
pub(crate) use read::{Extent, Image, Node, ReadError, read_anything};
pub(crate) use tree::unpack;
#[cfg(test)]
pub(crate) use tree::unpack_within;

#[cfg(test)]
mod tests;
