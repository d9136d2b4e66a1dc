//! How layers are compressed, and compressing them: the same bytes for the same layer every time.

use std::io::{self, Write};
use std::str::FromStr;

use flate2::write::GzEncoder;

/// A form of a layer that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As a tar.
    None,
    /// RFC 1952, which everybody reads.
    Gzip,
    /// RFC 8878: smaller and faster, for OCI images.
    Zstd,
}

/// The name of no compression we know.
#[derive(Debug, thiserror::Error)]
#[error("unknown compression {0:?}: use gzip, zstd or none")]
pub struct UnknownCompression(String);

impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(name: &str) -> Result<Self, UnknownCompression> {
        Ok(match name {
            "gzip" => Self::Gzip,
            "zstd" => Self::Zstd,
            "none" => Self::None,
            other => return Err(UnknownCompression(other.to_owned())),
        })
    }
}

impl Compression {
    /// Levels that can be asked for, and the one that is taken otherwise: what containers/image takes.
    pub fn levels(self) -> (std::ops::RangeInclusive<i32>, i32) {
        match self {
            Self::None => (0..=0, 0),
            Self::Gzip => (1..=9, 6),
            Self::Zstd => (1..=20, 3),
        }
    }

    /// Bytes of memory that compressing takes: what `ZSTD_estimateCStreamSize` of zstd 1.5 says, rounded up, and what zlib.h does.
    pub(crate) fn memory(self, level: Option<i32>) -> u64 {
        const MIB: u64 = 1 << 20;
        match (self, level.unwrap_or(self.levels().1)) {
            (Self::None, _) => 0,
            (Self::Gzip, _) => MIB / 2,
            (Self::Zstd, ..=3) => 4 * MIB,
            (Self::Zstd, 4..=7) => 9 * MIB,
            (Self::Zstd, 8..=9) => 17 * MIB,
            (Self::Zstd, 10..=18) => 69 * MIB,
            (Self::Zstd, 19) => 90 * MIB,
            (Self::Zstd, _) => 194 * MIB,
        }
    }
}

/// A writer that compresses.
pub struct Compressor<W: Write>(Stream<W>);

enum Stream<W: Write> {
    None(W),
    Gzip(GzEncoder<W>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Compressor<W> {
    /// `level` as in [`Compression::levels`].
    ///
    /// # Errors
    /// That of making an encoder.
    pub fn new(compression: Compression, level: Option<i32>, out: W) -> io::Result<Self> {
        let level = level.unwrap_or(compression.levels().1);
        Ok(Self(match compression {
            Compression::None => Stream::None(out),
            Compression::Gzip => {
                Stream::Gzip(GzEncoder::new(out, flate2::Compression::new(level.unsigned_abs())))
            }
            Compression::Zstd => Stream::Zstd(zstd::Encoder::new(out, level)?),
        }))
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// Those of writing.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Stream::None(out) => Ok(out),
            Stream::Gzip(encoder) => encoder.finish(),
            Stream::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> std::fmt::Debug for Compressor<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Stream::None(out) => out.write(bytes),
            Stream::Gzip(encoder) => encoder.write(bytes),
            Stream::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
