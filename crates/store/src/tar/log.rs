//! `tarhdr.zst`: everything of a layer's tar that is not file content, in order.
//!
//! A zstd stream of records, each a tag byte followed by little-endian base-128 numbers and bytes:
//!
//! ```text
//! 'R' length bytes              bytes that stand in the tar as they are (headers, padding, trailer)
//! 'F' length path offset count  `count` bytes of the regular file `path`, starting at `offset`
//! 'S' length path number        what was at `path` until here is now `shadow/<number>`
//! 'E' offset count              `count` bytes of the layer's image, starting at `offset`
//! 'Z' count                     `count` zeros
//! ```
//!
//! Layers kept as a tree have the second and third kind, layers kept as an image the last two. The third appears when a later entry replaced an earlier one: the earlier content is not part of
//! the layer, but it is part of the tar.

use std::io::{self, BufRead, BufReader, Read, Write};

/// Raw bytes are gathered up to this many before they become a record.
const RAW_LIMIT: usize = 64 * 1024;
/// Longest path a record may carry; the unpacker accepts no longer one.
const PATH_LIMIT: u64 = 4096;

/// One record of the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Raw(Vec<u8>),
    Content { path: Vec<u8>, offset: u64, count: u64 },
    Shadow { path: Vec<u8>, number: u64 },
    Extent { offset: u64, count: u64 },
    Zeros { count: u64 },
}

/// Writes the log while a tar is read.
pub(crate) struct TarLog<W: Write> {
    out: zstd::Encoder<'static, W>,
    raw: Vec<u8>,
    scratch: Vec<u8>,
}

impl<W: Write> TarLog<W> {
    pub(crate) fn new(out: W) -> io::Result<Self> {
        Ok(Self { out: zstd::Encoder::new(out, 1)?, raw: Vec::with_capacity(RAW_LIMIT), scratch: Vec::new() })
    }

    pub(crate) fn raw(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(RAW_LIMIT - self.raw.len()));
            self.raw.extend_from_slice(now);
            bytes = later;
            if self.raw.len() == RAW_LIMIT {
                self.flush_raw()?;
            }
        }
        Ok(())
    }

    pub(crate) fn content(&mut self, path: &[u8], offset: u64, count: u64) -> io::Result<()> {
        if count == 0 {
            return Ok(());
        }
        self.record(b'F', Some(path), &[offset, count])
    }

    pub(crate) fn extent(&mut self, offset: u64, count: u64) -> io::Result<()> {
        if count == 0 {
            return Ok(());
        }
        self.record(b'E', None, &[offset, count])
    }

    pub(crate) fn zeros(&mut self, count: u64) -> io::Result<()> {
        if count == 0 {
            return Ok(());
        }
        self.record(b'Z', None, &[count])
    }

    pub(crate) fn shadow(&mut self, path: &[u8], number: u64) -> io::Result<()> {
        self.record(b'S', Some(path), &[number])
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.flush_raw()?;
        self.out.finish()
    }

    fn flush_raw(&mut self) -> io::Result<()> {
        if !self.raw.is_empty() {
            self.scratch.clear();
            self.scratch.push(b'R');
            put(&mut self.scratch, self.raw.len() as u64);
            self.out.write_all(&self.scratch)?;
            self.out.write_all(&self.raw)?;
            self.raw.clear();
        }
        Ok(())
    }

    fn record(&mut self, tag: u8, path: Option<&[u8]>, numbers: &[u64]) -> io::Result<()> {
        self.flush_raw()?;
        self.scratch.clear();
        self.scratch.push(tag);
        if let Some(path) = path {
            put(&mut self.scratch, path.len() as u64);
            self.scratch.extend_from_slice(path);
        }
        for &number in numbers {
            put(&mut self.scratch, number);
        }
        self.out.write_all(&self.scratch)
    }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads a log back.
pub(crate) struct LogReader<R: Read> {
    input: BufReader<zstd::Decoder<'static, BufReader<R>>>,
}

impl<R: Read> LogReader<R> {
    pub(crate) fn new(input: R) -> io::Result<Self> {
        Ok(Self { input: BufReader::with_capacity(128 * 1024, zstd::Decoder::new(input)?) })
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<Record>> {
        let tag = match self.input.fill_buf()? {
            [] => return Ok(None),
            [tag, ..] => *tag,
        };
        self.input.consume(1);
        Ok(Some(match tag {
            b'R' => Record::Raw(self.bytes(RAW_LIMIT as u64)?),
            b'F' => Record::Content {
                path: self.bytes(PATH_LIMIT)?,
                offset: self.number()?,
                count: self.number()?,
            },
            b'S' => Record::Shadow { path: self.bytes(PATH_LIMIT)?, number: self.number()? },
            b'E' => Record::Extent { offset: self.number()?, count: self.number()? },
            b'Z' => Record::Zeros { count: self.number()? },
            _ => return Err(corrupt()),
        }))
    }

    fn bytes(&mut self, limit: u64) -> io::Result<Vec<u8>> {
        let length = self.number()?;
        if length > limit {
            return Err(corrupt());
        }
        let mut bytes = vec![0; length as usize];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn number(&mut self) -> io::Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.input.read_exact(&mut byte)?;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(corrupt())
    }
}

fn corrupt() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the record of the layer's tar is corrupt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_the_round_trip() {
        let mut log = TarLog::new(Vec::new()).unwrap();
        log.raw(&[1; 70_000]).unwrap();
        log.content(b"a/b", 0, 300).unwrap();
        log.content(b"empty", 0, 0).unwrap();
        log.shadow(b"a", 7).unwrap();
        log.extent(1 << 40, 4096).unwrap();
        log.zeros(5000).unwrap();
        log.raw(b"end").unwrap();
        let bytes = log.finish().unwrap();
        let mut reader = LogReader::new(&bytes[..]).unwrap();
        let mut records = Vec::new();
        while let Some(record) = reader.next().unwrap() {
            records.push(record);
        }
        assert_eq!(
            records,
            [
                Record::Raw(vec![1; RAW_LIMIT]),
                Record::Raw(vec![1; 70_000 - RAW_LIMIT]),
                Record::Content { path: b"a/b".to_vec(), offset: 0, count: 300 },
                Record::Shadow { path: b"a".to_vec(), number: 7 },
                Record::Extent { offset: 1 << 40, count: 4096 },
                Record::Zeros { count: 5000 },
                Record::Raw(b"end".to_vec()),
            ]
        );
    }
}
