//! Decompression by what the bytes are, not by what the manifest calls them: labels are often wrong, and
//! every other engine looks at the bytes too.

use std::io::{self, BufRead, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use crate::layer::{MAX_RATIO, SMALL};
use crate::zstd_frames::Frames;

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
    /// Known to others, not to us.
    Unsupported(&'static str),
}

/// Tells the compression from the first bytes.
pub(crate) fn detect(start: &[u8]) -> Compression {
    match start {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        // A skippable frame, as zstd:chunked may begin with.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Unsupported("xz"),
        [b'B', b'Z', b'h', ..] => Compression::Unsupported("bzip2"),
        _ => Compression::None,
    }
}

/// Enough to tell.
const LOOK: u64 = 16;

/// Tells the compression of a stream, which begins again with what has been looked at.
pub(crate) fn peek<R: Read>(mut input: R) -> io::Result<(Compression, impl Read + use<R>)> {
    let mut start = Vec::new();
    input.by_ref().take(LOOK).read_to_end(&mut start)?;
    Ok((detect(&start), Cursor::new(start).chain(input)))
}

/// A reader of what an archive is without its compression, if it has one; however many bytes that are.
///
/// # Errors
/// That of reading its beginning; `Unsupported` for a compression that is known to others only.
pub fn decompressed<'i>(mut input: impl BufRead + Send + 'i) -> io::Result<Box<dyn Read + Send + 'i>> {
    // At least a few bytes, unless it ends.
    let compression = detect(input.fill_buf()?);
    if let Compression::Unsupported(name) = compression {
        let text = format!("it is compressed with {name}, which is not supported: decompress it first");
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    Ok(unlimited(input, compression, |_| Ok(())))
}

/// A reader of the uncompressed bytes of `input`, whatever that takes. It fails when they become more than those of a layer may.
pub(crate) fn reader<'i>(
    input: impl BufRead + Send + 'i,
    compression: Compression,
) -> Box<dyn Read + Send + 'i> {
    within(input, compression, |_| Ok(()))
}

/// The same for who has to do with others' memory: `grow` is asked before so many bytes are kept, instead of what was kept before.
pub(crate) fn within<'i>(
    input: impl BufRead + Send + 'i,
    compression: Compression,
    grow: impl FnMut(u64) -> io::Result<()> + Send + 'i,
) -> Box<dyn Read + Send + 'i> {
    guarded(input, compression, grow, (SMALL, MAX_RATIO))
}

/// The same with limits: so many bytes, or so many for each compressed one.
fn guarded<'i>(
    input: impl BufRead + Send + 'i,
    compression: Compression,
    grow: impl FnMut(u64) -> io::Result<()> + Send + 'i,
    (small, ratio): (u64, u64),
) -> Box<dyn Read + Send + 'i> {
    if compression == Compression::None {
        return Box::new(input);
    }
    let taken = Arc::new(AtomicU64::new(0));
    let counted = Counted { input, taken: Arc::clone(&taken) };
    let plain = unlimited(counted, compression, grow);
    Box::new(Guarded { plain, taken, given: 0, small, ratio })
}

/// Compressed bytes that are counted.
struct Counted<R> {
    input: R,
    taken: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(out)?;
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        self.input.consume(count);
    }
}

/// Uncompressed bytes that must not become too many.
struct Guarded<'i> {
    plain: Box<dyn Read + Send + 'i>,
    taken: Arc<AtomicU64>,
    given: u64,
    small: u64,
    ratio: u64,
}

impl Read for Guarded<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.plain.read(out)?;
        self.given += count as u64;
        let most = self.taken.load(Ordering::Relaxed).saturating_mul(self.ratio).max(self.small);
        if self.given > most {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "decompressed it is larger than anything is made",
            ));
        }
        Ok(count)
    }
}

/// A reader of the uncompressed bytes of `input`, however many they are; `grow` as for [`within`].
pub(crate) fn unlimited<'i>(
    input: impl BufRead + Send + 'i,
    compression: Compression,
    grow: impl FnMut(u64) -> io::Result<()> + Send + 'i,
) -> Box<dyn Read + Send + 'i> {
    match compression {
        Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
        Compression::Zstd => Box::new(Frames::new(input, grow)),
        Compression::None | Compression::Unsupported(_) => Box::new(input),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell() {
        for (bytes, compression) in [
            (&b"\x1f\x8b\x08"[..], Compression::Gzip),
            (b"\x28\xb5\x2f\xfd\0", Compression::Zstd),
            (b"\x50\x2a\x4d\x18\0", Compression::Zstd),
            (b"\xfd7zXZ\0", Compression::Unsupported("xz")),
            (b"BZh9", Compression::Unsupported("bzip2")),
            (b"etc/", Compression::None),
            (b"", Compression::None),
        ] {
            assert_eq!(detect(bytes), compression);
        }
    }

    #[test]
    fn what_becomes_too_large_is_stopped() {
        let zeros = vec![0; 1 << 20];
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        io::Write::write_all(&mut gzip, &zeros).unwrap();
        for (bytes, compression) in [
            (gzip.finish().unwrap(), Compression::Gzip),
            (zstd::encode_all(&zeros[..], 1).unwrap(), Compression::Zstd),
        ] {
            let read = |limits| {
                let plain = guarded(&bytes[..], compression, |_| Ok(()), limits);
                io::copy(&mut { plain }, &mut io::sink()).map_err(|error| error.kind())
            };
            assert_eq!(read((1 << 20, 1)), Ok(1 << 20));
            assert_eq!(read((0, 1 << 20)), Ok(1 << 20));
            assert_eq!(read(((1 << 20) - 1, 1)), Err(io::ErrorKind::FileTooLarge));
            assert_eq!(read((1000, 100)), Err(io::ErrorKind::FileTooLarge));
        }
    }
}
