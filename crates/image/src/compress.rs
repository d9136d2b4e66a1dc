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
pub(crate) enum Compressor<W: Write> {
    None(W),
    Gzip(GzEncoder<W>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Compressor<W> {
    /// `level` as in [`Compression::levels`].
    pub(crate) fn new(compression: Compression, level: Option<i32>, out: W) -> io::Result<Self> {
        let level = level.unwrap_or(compression.levels().1);
        Ok(match compression {
            Compression::None => Self::None(out),
            Compression::Gzip => {
                Self::Gzip(GzEncoder::new(out, flate2::Compression::new(level.unsigned_abs())))
            }
            Compression::Zstd => Self::Zstd(zstd::Encoder::new(out, level)?),
        })
    }

    /// Ends the stream.
    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Self::None(out) => Ok(out),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(out) => out.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
