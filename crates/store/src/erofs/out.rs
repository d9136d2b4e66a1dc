//! A file written once from front to back, of which earlier bytes can still be set.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;

use super::format::MAX_IMAGE;

/// Small writes gather up to this many bytes.
const BUFFER: usize = 512 * 1024;
/// Pieces from this size on are written from where they are.
const DIRECT: usize = 128 * 1024;
/// Zeros from this many on become a hole.
const HOLE: u64 = 64 * 1024;

pub(super) struct Out {
    file: File,
    buffer: Vec<u8>,
    /// Where the buffer goes.
    start: u64,
}

impl Out {
    pub(super) fn new(file: File) -> Self {
        Self { file, buffer: Vec::with_capacity(BUFFER), start: 0 }
    }

    /// Where the next byte goes.
    pub(super) fn position(&self) -> u64 {
        self.start + self.buffer.len() as u64
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.check(bytes.len() as u64)?;
        if bytes.len() < DIRECT && self.buffer.len() + bytes.len() <= BUFFER {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        self.flush()?;
        if bytes.len() < DIRECT {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        self.file.write_all_at(bytes, self.start)?;
        self.start += bytes.len() as u64;
        Ok(())
    }

    /// Goes on at `position`, with zeros up to there.
    pub(super) fn zeros_to(&mut self, position: u64) -> io::Result<()> {
        let count = position.saturating_sub(self.position());
        self.check(count)?;
        if count < HOLE && self.buffer.len() as u64 + count <= BUFFER as u64 {
            self.buffer.resize(self.buffer.len() + count as usize, 0);
            return Ok(());
        }
        self.flush()?;
        self.start += count;
        Ok(())
    }

    /// Sets bytes that have been written or left zero before.
    pub(super) fn patch(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        // Both ends of the file may be meant at once.
        let in_file = usize::try_from(self.start.saturating_sub(at)).unwrap_or(usize::MAX).min(bytes.len());
        let (written, buffered) = bytes.split_at(in_file);
        if !written.is_empty() {
            self.file.write_all_at(written, at)?;
        }
        let from = (at + in_file as u64).saturating_sub(self.start) as usize;
        match self.buffer.get_mut(from..from + buffered.len()) {
            Some(place) => place.copy_from_slice(buffered),
            None => debug_assert!(buffered.is_empty(), "patches are behind the position"),
        }
        Ok(())
    }

    /// Writes what is gathered and gives the file its length.
    pub(super) fn finish(mut self) -> io::Result<File> {
        self.flush()?;
        self.file.set_len(self.start)?;
        Ok(self.file)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, self.start)?;
        self.start += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn check(&self, more: u64) -> io::Result<()> {
        match self.position().checked_add(more) {
            Some(end) if end <= MAX_IMAGE => Ok(()),
            _ => Err(Errno::FBIG.into()),
        }
    }
}
