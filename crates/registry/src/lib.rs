//! OCI distribution client behind a blocking API.
//!
//! Skeleton: the interface `loment-image` is written against; nothing is reachable through it yet.

use std::io;
use std::path::PathBuf;

use oci_spec::image::Digest;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry has no such thing.
    #[error("{what}: not found")]
    NotFound {
        /// Manifest or blob.
        what: String,
    },
    /// The registry wants other credentials.
    #[error("{what}: unauthorized")]
    Unauthorized {
        /// Manifest or blob.
        what: String,
    },
    /// No answer.
    #[error("{host} cannot be reached")]
    Unreachable {
        /// Host and port.
        host: String,
    },
}

/// User name and password.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

/// How to talk to a registry.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// HTTP is allowed and certificates are not verified.
    pub insecure: bool,
    /// Sent when asked for.
    pub credentials: Option<Credentials>,
    /// Directories of `<host>/*.crt`.
    pub certs_dir: Vec<PathBuf>,
    /// `User-Agent` header.
    pub user_agent: String,
}

/// One registry.
#[derive(Debug)]
pub struct Registry {
    host: String,
}

/// A manifest as delivered.
#[derive(Debug)]
pub struct Manifest {
    /// `Content-Type`.
    pub media_type: String,
    /// `Docker-Content-Digest`.
    pub digest: Option<Digest>,
    /// The document.
    pub bytes: Vec<u8>,
}

/// A blob being delivered.
#[derive(Debug)]
pub struct Blob {
    /// Bytes to come, when announced.
    pub len: Option<u64>,
}

impl io::Read for Blob {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
}

impl Registry {
    /// A client for `host[:port]`.
    pub fn new(host: &str, _options: Options) -> Result<Self, Error> {
        Ok(Self { host: host.to_owned() })
    }

    /// A manifest by tag or digest.
    pub fn manifest(&self, _repository: &str, _reference: &str) -> Result<Manifest, Error> {
        Err(Error::Unreachable { host: self.host.clone() })
    }

    /// A blob from `offset` on.
    pub fn blob(&self, _repository: &str, _digest: &Digest, _offset: u64) -> Result<Blob, Error> {
        Err(Error::Unreachable { host: self.host.clone() })
    }
}
