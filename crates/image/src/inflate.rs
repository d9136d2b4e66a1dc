//! Decompression by what the bytes are, not by what the manifest calls them: labels are often wrong, and
//! every other engine looks at the bytes too.

use std::io::{self, BufRead, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

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

/// A reader of the uncompressed bytes of `input`, whatever that takes.
pub(crate) fn reader<'i>(
    input: impl BufRead + Send + 'i,
    compression: Compression,
) -> io::Result<Box<dyn Read + Send + 'i>> {
    bounded(input, compression, 1 << MAX_WINDOW_LOG)
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
