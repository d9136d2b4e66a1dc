//! Reading one file forwards, line by line.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use memchr::memchr;

use crate::LONGEST;

/// How much is read at once, in bytes.
const BLOCK: usize = 64 * 1024;

/// A place in a file, from which lines are read.
#[derive(Debug)]
pub(crate) struct Cursor {
    file: File,
    /// Where in the file the buffer begins.
    offset: u64,
    buffer: Vec<u8>,
    /// What of the buffer was read from the file and not yet given away.
    unread: Range<usize>,
    /// In the middle of a line that is too long to be a record.
    skipping: bool,
    /// Lines that begin here or later are not wanted.
    limit: u64,
}

impl Cursor {
    /// Reads lines from `offset`, where one begins, to `limit`.
    pub(crate) fn new(file: File, offset: u64, limit: Option<u64>) -> Self {
        let limit = limit.unwrap_or(u64::MAX);
        Self { file, offset, buffer: Vec::new(), unread: 0..0, skipping: false, limit }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Goes to another place, where a line begins.
    pub(crate) fn seek(&mut self, offset: u64) {
        (self.offset, self.unread, self.skipping) = (offset, 0..0, false);
    }

    /// The next line that has an end: where it begins in the file, and where in the buffer it is.
    ///
    /// `None` when there is none now. What has no end yet is read anew the next time, as a writer may cut it off.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<(u64, Range<usize>)>> {
        loop {
            let start = self.unread.start;
            if let Some(len) = memchr(b'\n', &self.buffer[self.unread.clone()]) {
                self.unread.start = start + len + 1;
                let at = self.offset + start as u64;
                if at >= self.limit {
                    self.unread.start = start;
                    return Ok(None);
                }
                if !std::mem::take(&mut self.skipping) {
                    return Ok(Some((at, start..start + len)));
                }
            } else if !self.refill()? {
                return Ok(None);
            }
        }
    }

    pub(crate) fn line(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// Reads on from the first line that is not complete. `false` when there is no further end of a line.
    fn refill(&mut self) -> io::Result<bool> {
        let (left, whole) = (self.unread.len(), self.buffer.len());
        if left == whole && whole >= LONGEST {
            self.skipping = true;
            self.offset += left as u64;
        } else {
            self.offset += self.unread.start as u64;
            if left == whole {
                self.buffer.resize((whole * 2).max(BLOCK), 0);
            }
        }
        let read = read_at(&self.file, &mut self.buffer, self.offset)?;
        self.unread = 0..read;
        if read < self.buffer.len() && memchr(b'\n', &self.buffer[..read]).is_none() {
            self.unread = 0..0;
            if read == 0 && self.file.metadata()?.len() < self.offset {
                // Somebody has emptied the file. What is written now is at its beginning.
                self.seek(0);
            }
            return Ok(false);
        }
        Ok(true)
    }
}

/// Fills the buffer, up to the end of the file.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(read)
}
