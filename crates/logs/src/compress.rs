//! Files that were compressed after they were complete.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder, bufread::MultiGzDecoder};

use crate::cursor::Cursor;
use crate::settings::Format;
use crate::time::Moment;

/// Our field among the extra ones of the header of a file (RFC 1952, 2.3.1.1): two letters, its length, a version, and then
/// numbers with the lowest byte first.
const FIELD: &[u8; 2] = b"lo";
const VERSION: u8 = 1;
/// Inode, seconds, nanoseconds, length; seconds and nanoseconds of the first record.
const NUMBERS: usize = 6;

/// What a compressed file was, so that a reader that had it open knows it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Was {
    pub(crate) inode: u64,
    /// When it was written to for the last time.
    pub(crate) modified: Moment,
    /// In bytes.
    pub(crate) len: u64,
    /// Its first record's; of none, that of its end.
    pub(crate) first: Moment,
}

impl Was {
    /// What a complete file is. The time of its first record is not known by that.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let modified = Moment::new(metadata.mtime(), metadata.mtime_nsec() as u32);
        Ok(Self { inode: metadata.ino(), modified, len: metadata.len(), first: modified })
    }

    /// Whether both are the same file.
    pub(crate) fn is(&self, other: &Self) -> bool {
        (self.inode, self.modified, self.len) == (other.inode, other.modified, other.len)
    }

    fn encode(&self) -> Vec<u8> {
        let numbers: [u64; NUMBERS] = [
            self.inode,
            self.modified.seconds() as u64,
            self.modified.nanoseconds().into(),
            self.len,
            self.first.seconds() as u64,
            self.first.nanoseconds().into(),
        ];
        let mut out = FIELD.to_vec();
        out.extend((1 + NUMBERS as u16 * 8).to_le_bytes());
        out.push(VERSION);
        out.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
        out
    }

    fn decode(mut extra: &[u8]) -> Option<Self> {
        loop {
            let (head, rest) = extra.split_at_checked(4)?;
            let (field, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([head[2], head[3]])))?;
            if head[..2] == *FIELD && field.len() == 1 + NUMBERS * 8 && field[0] == VERSION {
                let (numbers, _) = field[1..].as_chunks::<8>();
                let number = |i: usize| u64::from_le_bytes(numbers[i]);
                let moment = |i: usize| Moment::new(number(i) as i64, number(i + 1) as u32);
                return Some(Self {
                    inode: number(0),
                    modified: moment(1),
                    len: number(3),
                    first: moment(4),
                });
            }
            extra = rest;
        }
    }

    /// What is said in the header of a compressed file; `None` in one that is not ours.
    pub(crate) fn read(file: &File) -> io::Result<Option<Self>> {
        let decoder = MultiGzDecoder::new(BufReader::with_capacity(512, file));
        let was = decoder.header().and_then(|h| h.extra()).and_then(Self::decode);
        (&*file).rewind()?;
        Ok(was)
    }
}

/// A file to be compressed, which takes long enough to be done in a process of its own.
#[derive(Clone, Debug)]
pub struct Chore {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) format: Format,
}

impl Chore {
    /// Does it. The result is on disk before the writer puts it in place.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn run(&self) -> io::Result<()> {
        let source = File::open(&self.source)?;
        let mut was = Was::of(&source)?;
        let mut cursor = Cursor::new(source.try_clone()?, 0, None);
        if let Some((_, line)) = cursor.next_line()? {
            let first = self.format.parse(cursor.line(line)).and_then(|r| Moment::parse(r.time.as_bytes()));
            was.first = first.unwrap_or(was.first);
        }
        let target =
            File::options().write(true).create(true).truncate(true).mode(0o600).open(&self.target)?;
        let modified = u32::try_from(was.modified.seconds()).unwrap_or(0);
        let mut packed = GzBuilder::new()
            .extra(was.encode())
            .mtime(modified)
            .write(BufWriter::with_capacity(64 * 1024, target), Compression::default());
        io::copy(&mut BufReader::with_capacity(64 * 1024, source), &mut packed)?;
        packed.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}

/// What a compressed file holds, in a file without a name beside it.
pub(crate) fn unpack(file: &File, beside: &Path) -> io::Result<File> {
    let mut plain = nameless(beside)?;
    let mut decoder = MultiGzDecoder::new(BufReader::with_capacity(64 * 1024, file));
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match decoder.read(&mut buffer)? {
            0 => return Ok(plain),
            read => plain.write_all(&buffer[..read])?,
        }
    }
}

fn nameless(beside: &Path) -> io::Result<File> {
    let dir = beside.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let options = |flags| File::options().read(true).write(true).mode(0o600).custom_flags(flags).clone();
    match options(rustix::fs::OFlags::TMPFILE.bits() as i32).open(dir) {
        Ok(file) => Ok(file),
        // Not all file systems have such files.
        Err(_) => {
            let mut name = beside.as_os_str().to_owned();
            name.push(format!(".{}.plain", rustix::process::getpid()));
            let file = options(0).create_new(true).open(&name)?;
            std::fs::remove_file(&name)?;
            Ok(file)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_file_says_what_it_was_and_holds_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (source, target) = (dir.path().join("a"), dir.path().join("a.gz"));
        let text = "2026-01-01T00:00:00.000000005Z stdout F a\n".repeat(9999);
        std::fs::write(&source, &text).unwrap();
        Chore { source: source.clone(), target: target.clone(), format: Format::K8sFile }.run().unwrap();
        let packed = File::open(&target).unwrap();
        let was = Was::read(&packed).unwrap().unwrap();
        assert!(was.is(&Was::of(&File::open(&source).unwrap()).unwrap()));
        assert_eq!(was.first, Moment::parse(b"2026-01-01T00:00:00.000000005Z").unwrap());
        let mut plain = String::new();
        let mut file = unpack(&packed, &target).unwrap();
        file.rewind().unwrap();
        file.read_to_string(&mut plain).unwrap();
        assert_eq!(plain, text);
        // Anybody can unpack it.
        let output = std::fs::read(&target).unwrap();
        assert!(output.len() < text.len() / 10 && output.starts_with(&[0x1f, 0x8b]));
    }

    #[test]
    fn the_fields_of_others_are_passed_over() {
        let was = Was { inode: 5, modified: Moment::new(7, 8), len: 9, first: Moment::new(-1, 2) };
        let ours = was.encode();
        assert_eq!(Was::decode(&[b"xx\x03\x00abc", &ours[..]].concat()), Some(was));
        assert_eq!(Was::decode(&ours[..ours.len() - 1]), None);
        assert_eq!(Was::decode(b"xx\xff\xffabc"), None);
    }
}
