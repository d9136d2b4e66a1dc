//! Decompression by what the bytes are, not by what the manifest calls them: labels are often wrong, and
//! every other engine looks at the bytes too.

use std::io::{self, BufRead, Read};

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

/// A reader of the uncompressed bytes of `input`.
pub(crate) fn reader<'i>(
    input: impl BufRead + 'i,
    compression: Compression,
) -> io::Result<Box<dyn Read + 'i>> {
    Ok(match compression {
        Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(input)?;
            // Images made with long-distance matching exist; 128 MiB is what containers/image allows.
            decoder.window_log_max(27)?;
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
}
