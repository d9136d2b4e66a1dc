//! Decompression by what the bytes are, not by what the manifest calls them: labels are often wrong, and
//! every other engine looks at the bytes too.

use std::io::{self, BufRead, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use crate::layer::{MAX_RATIO, SMALL};

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

/// What zstd's own levels use at the most, but for `--ultra` and `--long` (zstd(1)).
const USUAL_WINDOW: u64 = 8 << 20;
/// Images made with long-distance matching exist; 128 MiB is what containers/image allows.
const MAX_WINDOW_LOG: u32 = 27;

/// Enough for the header of a frame, and a skippable one before it.
const LOOK: u64 = 512;

/// Tells the compression of a stream, which begins again with what has been looked at.
pub(crate) fn peek<R: Read>(input: R) -> io::Result<(Compression, impl Read + use<R>)> {
    peek_window(input).map(|(compression, _, input)| (compression, input))
}

/// The same with the [`window`] that it needs.
pub(crate) fn peek_window<R: Read>(mut input: R) -> io::Result<(Compression, u64, impl Read + use<R>)> {
    let mut start = Vec::new();
    input.by_ref().take(LOOK).read_to_end(&mut start)?;
    let compression = detect(&start);
    Ok((compression, window(&start, compression), Cursor::new(start).chain(input)))
}

/// Bytes that must be kept to decompress what begins like this, at least what is usual: frames differ.
pub(crate) fn window(start: &[u8], compression: Compression) -> u64 {
    match compression {
        Compression::Zstd => zstd_window(start).unwrap_or_default().max(USUAL_WINDOW),
        _ => 0,
    }
}

/// The window of the first frame that is no skippable one (RFC 8878, sections 3.1.1.1 and 3.1.2); `None` when that is further on.
fn zstd_window(mut start: &[u8]) -> Option<u64> {
    while let [0x50..=0x5f, 0x2a, 0x4d, 0x18, a, b, c, d, rest @ ..] = start {
        start = rest.get(usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).ok()?..)?;
    }
    let [0x28, 0xb5, 0x2f, 0xfd, descriptor, rest @ ..] = start else { return None };
    if descriptor & 0x20 == 0 {
        let byte = *rest.first()?;
        let base = 1_u64 << (10 + (byte >> 3));
        return Some(base + base / 8 * u64::from(byte & 7));
    }
    // One segment: the window is the content.
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size = rest.get(dictionary..)?;
    let number = |n: usize| {
        let mut bytes = [0; 8];
        bytes[..n].copy_from_slice(size.get(..n)?);
        Some(u64::from_le_bytes(bytes))
    };
    match descriptor >> 6 {
        0 => number(1),
        1 => number(2).map(|n| n + 256),
        2 => number(4),
        _ => number(8),
    }
}

/// A reader of the uncompressed bytes of `input`, whatever that takes. It fails when they become more than those of a layer may.
pub(crate) fn reader<'i>(
    input: impl BufRead + Send + 'i,
    compression: Compression,
) -> io::Result<Box<dyn Read + Send + 'i>> {
    within(input, compression, 1 << MAX_WINDOW_LOG)
}

/// The same with at most `window` bytes kept for that.
pub(crate) fn within<'i>(
    input: impl BufRead + Send + 'i,
    compression: Compression,
    window: u64,
) -> io::Result<Box<dyn Read + Send + 'i>> {
    guarded(input, compression, window, (SMALL, MAX_RATIO))
}

/// The same for `window` bytes of memory, and with limits: so many bytes, or so many for each compressed one.
fn guarded<'i>(
    input: impl BufRead + Send + 'i,
    compression: Compression,
    window: u64,
    (small, ratio): (u64, u64),
) -> io::Result<Box<dyn Read + Send + 'i>> {
    if compression == Compression::None {
        return Ok(Box::new(input));
    }
    let taken = Arc::new(AtomicU64::new(0));
    let counted = Counted { input, taken: Arc::clone(&taken) };
    let plain = bounded(counted, compression, window)?;
    Ok(Box::new(Guarded { plain, taken, given: 0, small, ratio }))
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

/// A reader of the uncompressed bytes of `input`, which keeps at most `window` bytes for that.
pub(crate) fn bounded<'i>(
    input: impl BufRead + Send + 'i,
    compression: Compression,
    window: u64,
) -> io::Result<Box<dyn Read + Send + 'i>> {
    Ok(match compression {
        Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(input)?;
            decoder.window_log_max(window.next_power_of_two().ilog2().clamp(10, MAX_WINDOW_LOG))?;
            Box::new(decoder)
        }
        Compression::None | Compression::Unsupported(_) => Box::new(input),
    })
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
                let plain = guarded(&bytes[..], compression, 1 << MAX_WINDOW_LOG, limits).unwrap();
                io::copy(&mut { plain }, &mut io::sink()).map_err(|error| error.kind())
            };
            assert_eq!(read((1 << 20, 1)), Ok(1 << 20));
            assert_eq!(read((0, 1 << 20)), Ok(1 << 20));
            assert_eq!(read(((1 << 20) - 1, 1)), Err(io::ErrorKind::FileTooLarge));
            assert_eq!(read((1000, 100)), Err(io::ErrorKind::FileTooLarge));
        }
    }

    #[test]
    fn windows_are_read_from_frames() {
        let mut noise = 1_u32;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        })
        .take(3 << 20)
        .collect();
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(25).unwrap();
        std::io::copy(&mut &bytes[..], &mut encoder).unwrap();
        let long = encoder.finish().unwrap();
        let known = zstd::bulk::compress(&bytes[..300], 3).unwrap();
        let skipped = [b"\x50\x2a\x4d\x18\x03\0\0\0abc", &long[..]].concat();
        assert_eq!(zstd_window(&long), Some(32 << 20));
        assert_eq!(zstd_window(&skipped), Some(32 << 20));
        assert_eq!(zstd_window(&known), Some(300));
        assert_eq!(zstd_window(&skipped[..9]), None);
        assert_eq!(window(&known, Compression::Zstd), USUAL_WINDOW);
        assert_eq!(window(b"\x1f\x8b\x08", Compression::Gzip), 0);
        for (input, window) in [(&long, 32 << 20), (&known, USUAL_WINDOW)] {
            let mut out = Vec::new();
            bounded(&input[..], Compression::Zstd, window).unwrap().read_to_end(&mut out).unwrap();
            assert!(bytes.starts_with(&out) && out.len() >= 300);
        }
        let mut small = bounded(&long[..], Compression::Zstd, USUAL_WINDOW).unwrap();
        assert!(small.read_to_end(&mut Vec::new()).is_err());
    }
}
