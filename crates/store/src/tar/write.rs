//! Archives of files, written in one pass to anything that takes bytes.

use std::io::{self, Read, Write};

/// Longest name in a header block; longer ones get a block of their own.
const MAX_NAME: usize = 100;

/// Writes an archive that GNU tar, Go and everybody else reads. The same members give the same bytes.
#[derive(Debug)]
pub struct ArchiveWriter<W: Write> {
    out: W,
    buffer: Vec<u8>,
}

impl<W: Write> ArchiveWriter<W> {
    /// An archive with nothing in it yet.
    pub fn new(out: W) -> Self {
        Self { out, buffer: vec![0; 256 * 1024] }
    }

    /// Adds a file of `size` bytes.
    ///
    /// # Errors
    /// Those of reading and writing; `UnexpectedEof` when the content is shorter, `InvalidData` when it is longer. The archive is of
    /// no use then.
    pub fn add(&mut self, name: &str, size: u64, content: &mut (impl Read + ?Sized)) -> io::Result<()> {
        if name.len() > MAX_NAME {
            let mut long = name.as_bytes().to_vec();
            long.push(0);
            self.header("././@LongLink", b'L', long.len() as u64)?;
            self.out.write_all(&long)?;
            self.pad(long.len() as u64)?;
        }
        self.header(name, b'0', size)?;
        let mut left = size;
        loop {
            // One byte more than announced is enough to know.
            let want = usize::try_from(left).unwrap_or(usize::MAX).clamp(1, self.buffer.len());
            match content.read(&mut self.buffer[..want]) {
                Ok(0) if left == 0 => break,
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) if left == 0 => return Err(io::ErrorKind::InvalidData.into()),
                Ok(count) => {
                    self.out.write_all(&self.buffer[..count])?;
                    left -= count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.pad(size)
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// Those of writing.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 1024])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn header(&mut self, name: &str, kind: u8, size: u64) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        let field = &mut header.as_old_mut().name;
        let length = name.len().min(field.len());
        field[..length].copy_from_slice(&name.as_bytes()[..length]);
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(0o444);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        self.out.write_all(header.as_bytes())
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        self.out.write_all(&[0; 512][..(size.wrapping_neg() % 512) as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::super::ArchiveIndex;
    use super::*;

    #[test]
    fn what_is_written_is_found_again() {
        let mut writer = ArchiveWriter::new(Vec::new());
        let long = "n".repeat(180);
        for (name, content) in [("a", &b""[..]), ("b/c", &[1; 512]), (&long, &[2; 700])] {
            writer.add(name, content.len() as u64, &mut &*content).unwrap();
        }
        let bytes = writer.finish().unwrap();
        let index = ArchiveIndex::of(&bytes).unwrap();
        let found = index.find(&long).unwrap().unwrap();
        assert_eq!(&bytes[found.offset as usize..][..found.size as usize], &[2; 700]);
        assert_eq!(index.find("a").unwrap().unwrap().size, 0);
        // Another reader agrees.
        let mut archive = tar::Archive::new(&bytes[..]);
        let names: Vec<_> =
            archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(names, ["a", "b/c", &long]);
    }

    #[test]
    fn a_size_that_is_wrong_is_an_error() {
        for (size, kind) in [(2, io::ErrorKind::InvalidData), (4, io::ErrorKind::UnexpectedEof)] {
            let error = ArchiveWriter::new(io::sink()).add("a", size, &mut &b"abc"[..]).unwrap_err();
            assert_eq!(error.kind(), kind);
        }
    }
}
