//! Content of regular files.

use std::os::fd::BorrowedFd;

use rustix::io::{Errno, pwrite, retry_on_intr, write};

/// Files from this size on are searched for zeros; smaller ones gain nothing from holes.
const HOLES_FROM: u64 = 128 * 1024;
/// Zeros are looked for in pieces of this size, at multiples of it in the file.
const PIECE: u64 = 32 * 1024;
/// A shorter run of zeros is written out.
const SHORTEST_HOLE: usize = 4096;

/// Writes one new, empty file from front to back.
pub(super) struct FileWriter<'f> {
    fd: BorrowedFd<'f>,
    offset: u64,
    holes: bool,
    /// End of the last byte written, for telling whether the size must be set at the end.
    written: u64,
}

impl<'f> FileWriter<'f> {
    pub(super) fn new(fd: BorrowedFd<'f>, size: u64, sparse: bool) -> Self {
        Self { fd, offset: 0, holes: sparse || size >= HOLES_FROM, written: 0 }
    }

    /// Continues at `offset`.
    pub(super) fn seek(&mut self, offset: u64) {
        self.offset = offset;
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        if self.holes { self.write_around_zeros(bytes) } else { self.write_plain(bytes) }
    }

    fn write_plain(&mut self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            let count = retry_on_intr(|| write(self.fd, bytes))?;
            bytes = &bytes[count..];
            self.offset += count as u64;
        }
        self.written = self.offset;
        Ok(())
    }

    /// Writes runs of data in one call each and leaves out pieces of zeros.
    fn write_around_zeros(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let (mut data, mut at) = (0, 0);
        while at < bytes.len() {
            let to_boundary = PIECE - (self.offset + at as u64) % PIECE;
            let end = bytes.len().min(at + to_boundary as usize);
            if end - at >= SHORTEST_HOLE && is_zero(&bytes[at..end]) {
                self.write_at(data, &bytes[data..at])?;
                data = end;
            }
            at = end;
        }
        self.write_at(data, &bytes[data..])?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn write_at(&mut self, skip: usize, mut bytes: &[u8]) -> Result<(), Errno> {
        let mut offset = self.offset + skip as u64;
        while !bytes.is_empty() {
            let count = retry_on_intr(|| pwrite(self.fd, bytes, offset))?;
            bytes = &bytes[count..];
            offset += count as u64;
            self.written = offset;
        }
        Ok(())
    }

    /// Gives the file its size when it ends in a hole.
    pub(super) fn finish(self, size: u64) -> Result<(), Errno> {
        if self.written == size { Ok(()) } else { rustix::fs::ftruncate(self.fd, size) }
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    // Groups let the compiler use wide registers; data almost always ends the search in the first one.
    bytes.chunks(64).all(|group| group.iter().fold(0, |all, byte| all | byte) == 0)
}
