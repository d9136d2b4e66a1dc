//! Digests computed by us, and the ids made of them.

use std::fmt;
use std::io::{self, BufRead, Read, Write};

use oci_spec::image::{Digest, DigestAlgorithm};
use ring::digest::{Context, SHA256, SHA512};
use serde::{Deserialize, Serialize};

/// A digest algorithm loment can compute (image-spec, descriptor.md "Registered algorithms").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256, the one everybody uses.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The algorithm of `digest`, or `None` for one we cannot compute and so never trust.
    pub fn of(digest: &Digest) -> Option<Self> {
        match digest.algorithm() {
            DigestAlgorithm::Sha256 => Some(Self::Sha256),
            DigestAlgorithm::Sha512 => Some(Self::Sha512),
            _ => None,
        }
    }
}

/// Streaming digest.
#[derive(Clone)]
pub struct Hasher {
    algorithm: Algorithm,
    context: Context,
}

impl Hasher {
    /// Starts a digest of nothing.
    pub fn new(algorithm: Algorithm) -> Self {
        let context = Context::new(match algorithm {
            Algorithm::Sha256 => &SHA256,
            Algorithm::Sha512 => &SHA512,
        });
        Self { algorithm, context }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// The digest of all bytes added.
    pub fn finish(self) -> Digest {
        let prefix = match self.algorithm {
            Algorithm::Sha256 => "sha256:",
            Algorithm::Sha512 => "sha512:",
        };
        let mut text = String::with_capacity(7 + 128);
        text.push_str(prefix);
        for byte in self.context.finish().as_ref() {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
            }
        }
        Digest::try_from(text).expect("invariant: hexadecimal text of the algorithm's length")
    }
}

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> Digest {
    digest_of(Algorithm::Sha256, bytes)
}

/// Digest of `bytes` under `algorithm`.
pub fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// A digest given as an id was of an algorithm that such ids do not have.
#[derive(Debug, thiserror::Error)]
#[error("{digest:?} cannot be an id: it is not of {known}")]
pub struct NoId {
    digest: String,
    known: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $known:literal, $($algorithm:ident $digits:literal $prefix:literal),+) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "Digest", into = "Digest")]
        pub struct $name(Digest);

        impl $name {
            /// Its hexadecimal digits.
            pub fn hex(&self) -> &str {
                self.0.digest()
            }

            /// As a digest, `<algorithm>:<hex>`.
            pub fn digest(&self) -> &Digest {
                &self.0
            }

            /// The one with these digits, whose number tells the algorithm; `None` for what is none.
            pub fn from_hex(hex: &str) -> Option<Self> {
                match hex.len() {
                    $($digits => Digest::try_from(format!(concat!($prefix, ":{}"), hex)).ok().map(Self),)+
                    _ => None,
                }
            }
        }

        impl TryFrom<Digest> for $name {
            type Error = NoId;
            fn try_from(digest: Digest) -> Result<Self, NoId> {
                match digest.algorithm() {
                    $(DigestAlgorithm::$algorithm => Ok(Self(digest)),)+
                    _ => Err(NoId { digest: digest.to_string(), known: $known }),
                }
            }
        }

        impl From<$name> for Digest {
            fn from(id: $name) -> Digest {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0.as_ref())
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.hex().cmp(other.hex())
            }
        }
    };
}

id! {
    /// Identity of a layer: SHA-256 of its uncompressed tar (image-spec, config.md "Layer DiffID").
    DiffId, "sha256", Sha256 64 "sha256"
}
id! {
    /// Identity of an image: digest of its configuration (image-spec, config.md "ImageID").
    ImageId, "sha256 or sha512", Sha256 64 "sha256", Sha512 128 "sha512"
}

/// An uncompressed tar stream that knows the digest of everything it has delivered.
///
/// The contract the store relies on: `finish` returns the SHA-256 of exactly the bytes handed out through
/// `fill_buf`/`consume`, computed in this process. Sources that hash on another thread implement it
/// themselves; [`HashingSource`] hashes in place.
pub trait TarSource: BufRead {
    /// The digest of the whole stream; called once, after its end was reached.
    fn finish(self) -> io::Result<Digest>;
}

/// A reader that hashes what passes through it.
pub struct HashingSource<R> {
    inner: R,
    hasher: Hasher,
    buffer: Box<[u8]>,
    filled: usize,
    taken: usize,
}

impl<R: Read> HashingSource<R> {
    /// Wraps `inner`, which needs no buffer of its own.
    pub fn new(inner: R) -> Self {
        let buffer = vec![0; 256 * 1024].into_boxed_slice();
        Self { inner, hasher: Hasher::new(Algorithm::Sha256), buffer, filled: 0, taken: 0 }
    }
}

impl<R: Read> Read for HashingSource<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(out.len());
        out[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for HashingSource<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.taken == self.filled {
            match self.inner.read(&mut self.buffer) {
                Ok(count) => {
                    self.hasher.update(&self.buffer[..count]);
                    (self.taken, self.filled) = (0, count);
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&self.buffer[self.taken..self.filled])
    }

    fn consume(&mut self, count: usize) {
        self.taken += count;
    }
}

impl<R: Read> TarSource for HashingSource<R> {
    fn finish(self) -> io::Result<Digest> {
        Ok(self.hasher.finish())
    }
}

/// A writer that hashes what passes through it.
pub(crate) struct HashingWriter<W> {
    inner: W,
    hasher: Hasher,
}

impl<W: Write> HashingWriter<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, hasher: Hasher::new(Algorithm::Sha256) }
    }

    pub(crate) fn finish(self) -> Digest {
        self.hasher.finish()
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
