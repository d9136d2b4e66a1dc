//! Lines of a file that grows.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

use crate::event::MAX_LINE;

/// Read at once, in bytes.
const CHUNK: usize = 32 * 1024;

/// A file, and how far it was read.
#[derive(Debug)]
pub(crate) struct Tail {
    file: File,
    pub(crate) inode: u64,
    /// What was read and not yet taken.
    buffer: Vec<u8>,
    /// Where the next line begins in it.
    start: usize,
    /// How much of it has no end of a line.
    searched: usize,
    /// In a line that is too long to be one.
    skipping: bool,
}

impl Tail {
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let inode = file.metadata()?.ino();
        Ok(Self { file, inode, buffer: Vec::new(), start: 0, searched: 0, skipping: false })
    }

    /// Whether nothing has its name any more.
    pub(crate) fn is_deleted(&self) -> bool {
        self.file.metadata().is_ok_and(|now| now.nlink() == 0)
    }

    /// The next line, without its end; `None` when there is no whole one.
    pub(crate) fn line(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            if let Some(length) = self.buffer[self.searched..].iter().position(|&b| b == b'\n') {
                let (from, end) = (self.start, self.searched + length);
                (self.start, self.searched) = (end + 1, end + 1);
                if std::mem::take(&mut self.skipping) {
                    continue;
                }
                return Ok(Some(&self.buffer[from..end]));
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            if self.buffer.len() > MAX_LINE {
                self.skipping = true;
            }
            if self.skipping {
                self.buffer.clear();
            }
            self.searched = self.buffer.len();
            let read = (&self.file).take(CHUNK as u64).read_to_end(&mut self.buffer)?;
            if read == 0 {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn lines_come_when_they_are_whole() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut tail = Tail::new(File::open(file.path()).unwrap()).unwrap();
        assert_eq!(tail.line().unwrap(), None);
        file.write_all(b"one\n\ntw").unwrap();
        assert_eq!(tail.line().unwrap(), Some(&b"one"[..]));
        assert_eq!(tail.line().unwrap(), Some(&b""[..]));
        assert_eq!(tail.line().unwrap(), None);
        file.write_all(b"o\n").unwrap();
        assert_eq!(tail.line().unwrap(), Some(&b"two"[..]));
        assert_eq!(tail.line().unwrap(), None);
    }

    #[test]
    fn a_line_without_limit_is_skipped_in_little_memory() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for _ in 0..100 {
            file.write_all(&[b'x'; MAX_LINE / 10]).unwrap();
        }
        file.write_all(b"\nnext\n").unwrap();
        let mut tail = Tail::new(File::open(file.path()).unwrap()).unwrap();
        assert_eq!(tail.line().unwrap(), Some(&b"next"[..]));
        assert!(tail.buffer.capacity() < 4 * MAX_LINE, "{}", tail.buffer.capacity());
    }
}
