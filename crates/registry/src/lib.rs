//! OCI distribution client behind a blocking API.
//!
//! It fetches manifests and blobs from one registry: finds the host, speaks TLS or, where that is allowed,
//! plain HTTP, logs in, follows redirects, retries, and resumes blobs whose connection broke. A [`Registry`]
//! is shared by threads; each blocks on its own request (see `lane.rs` for how).
//!
//! It does not know short names, mirrors, auth.json or registries.conf: its caller resolves those into a host
//! and [`Options`]. It does not interpret manifests, and it does not verify blobs.
//!
//! Names are resolved here, from a hosts file and by DNS, never through the C library; the DNS messages are
//! read and written here too, instead of by `hickory-proto` and its 52 crates (`dns/mod.rs` says why).
//!
//! ```no_run
//! use loment_registry::{Options, Registry};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::new("quay.io", Options::default())?;
//! let manifest = registry.manifest("podman/hello", "latest")?;
//! println!("{} {:?}", manifest.media_type, manifest.digest);
//! # let layer = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".try_into()?;
//! let mut blob = registry.blob("podman/hello", &layer, 0)?;
//! std::io::copy(&mut blob, &mut std::fs::File::create("layer.tar.gz")?)?;
//! # Ok(())
//! # }
//! ```

mod auth;
mod blob;
mod body;
mod challenge;
mod client;
mod dial;
mod digest;
mod dns;
mod error;
mod lane;
mod manifest;
mod names;
mod scope;
mod tls;
mod url;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use oci_spec::image::Digest;

pub use auth::Credentials;
pub use blob::Blob;
pub use dns::ResolveError;
pub use error::{CertificateError, Error, Problem};
pub use manifest::Manifest;

use client::{Call, Client, Kind, Place};
use names::Host;
use scope::Scopes;

/// How to talk to a registry.
#[derive(Clone)]
pub struct Options {
    /// Certificates are not verified, and plain HTTP is used when https does not work. Loopback hosts may
    /// always use plain HTTP.
    pub insecure: bool,
    /// Sent when asked for.
    pub credentials: Option<Credentials>,
    /// An OAuth2 refresh token (`identitytoken` in auth.json); goes before `credentials` at token servers.
    pub identity_token: Option<String>,
    /// Directories of `<host[:port]>/*.crt`, `*.cert` and `*.key` (containers-certs.d(5)); the first that has
    /// one for the registry is used.
    pub certs_dir: Vec<PathBuf>,
    /// `User-Agent` header; empty: `loment/<version>`.
    pub user_agent: String,
    /// Read at each name that is looked up; may be missing.
    pub hosts_file: PathBuf,
    /// Likewise.
    pub resolv_conf: PathBuf,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// How often to try.
    pub retry: Retry,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            insecure: false,
            credentials: None,
            identity_token: None,
            certs_dir: Vec::new(),
            user_agent: String::new(),
            hosts_file: "/etc/hosts".into(),
            resolv_conf: "/etc/resolv.conf".into(),
            timeouts: Timeouts::default(),
            retry: Retry::default(),
        }
    }
}

/// Without secrets.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("insecure", &self.insecure)
            .field("credentials", &self.credentials)
            .field("certs_dir", &self.certs_dir)
            .field("timeouts", &self.timeouts)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

/// How long to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// For an address; and again for connection and TLS. 30 s.
    pub connect: Duration,
    /// For the head of an answer, and for each further byte. 60 s.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(30), idle: Duration::from_secs(60) }
    }
}

/// How often to try, when the registry is busy (429, 500, 502 to 504) or the connection breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Attempts at one request, and attempts to resume a blob without progress. 5.
    pub tries: u32,
    /// Pause after the first attempt; doubled after each. Up to half of it is left to chance. 500 ms.
    pub first_delay: Duration,
    /// Longest such pause; `Retry-After` is heeded up to 60 s. 15 s.
    pub max_delay: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { tries: 5, first_delay: Duration::from_millis(500), max_delay: Duration::from_secs(15) }
    }
}

/// One registry. Connections, tokens and what was learnt about it are kept as long as it lives.
///
/// Not to be used from asynchronous code: it waits in the calling thread.
#[derive(Clone)]
pub struct Registry {
    client: Arc<Client>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("host", &self.client.host.name).finish_non_exhaustive()
    }
}

impl Registry {
    /// A client for `host[:port]`. Nothing is sent yet. `docker.io` means the host that serves it.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub fn new(host: &str, options: Options) -> Result<Self, Error> {
        Ok(Self { client: Arc::new(Client::new(Host::parse(host)?, options)) })
    }

    /// A manifest or index by tag or digest, at most 4 MiB, checked against the digest asked for and the one
    /// the registry announces (distribution-spec 1.1, "Pulling manifests").
    ///
    /// # Errors
    /// All of [`Error`].
    pub fn manifest(&self, repository: &str, reference: &str) -> Result<Manifest, Error> {
        names::repository(repository)?;
        let wanted = names::reference(reference)?;
        let call = self.call(repository, Kind::Manifest, reference);
        let mut lane = self.client.lane()?;
        let outcome = Manifest::fetch(&self.client, &mut lane, call, wanted);
        self.client.put_back(lane);
        outcome
    }

    /// A blob from byte `offset` on (distribution-spec 1.1, "Pulling blobs"). Nothing of it is verified.
    ///
    /// # Errors
    /// All of [`Error`].
    pub fn blob(&self, repository: &str, digest: &Digest, offset: u64) -> Result<Blob, Error> {
        names::repository(repository)?;
        names::digest(digest)?;
        let call = self.call(repository, Kind::Blob, digest.as_ref());
        Blob::open(Arc::clone(&self.client), call, digest.clone(), offset)
    }

    /// To read a manifest or blob.
    fn call(&self, repository: &str, kind: Kind, reference: &str) -> Call {
        let word = if kind == Kind::Blob { "blob" } else { "manifest" };
        let object = format!("{word} {reference} of {}/{repository}", self.client.host.name);
        let path = format!("/v2/{repository}/{word}s/{reference}");
        Call::get(Place::Registry(path), Scopes::pull(repository), object, kind)
    }
}
