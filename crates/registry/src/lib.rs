//! OCI distribution client behind a blocking API.
//!
//! It fetches, stores, lists and deletes manifests and blobs of one registry: finds the host, speaks TLS or, where
//! that is allowed, plain HTTP, goes through proxies, logs in, follows redirects, retries, and resumes what broke. A
//! [`Registry`] is shared by threads; each blocks on its own request (see `lane.rs` for how). [`Daemon`] moves images
//! to and from Docker's daemon, and [`FileUrl`] fetches a file of a web server, with the same means.
//!
//! Credentials go to the registry and the token server it names, to nobody else; nothing leads from https to plain
//! http. Whatever the other side controls is bounded: documents, lists, redirects, pauses, and how slow it may be.
//!
//! It does not know short names, mirrors, auth.json, registries.conf or the environment: its caller resolves those into a
//! host and [`Options`]. It does not interpret manifests, but for the subject of one that is stored or deleted, and it
//! does not verify blobs that are fetched: whoever unpacks them hashes them anyway.
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
mod cancel;
mod challenge;
mod client;
mod daemon;
mod delete;
mod dial;
mod digest;
mod dns;
mod error;
mod file_url;
mod head;
mod identity;
mod lane;
mod link;
mod listing;
mod manifest;
mod names;
mod options;
mod pace;
mod patience;
mod proxy;
mod referrers;
mod schema1;
mod scope;
mod search;
mod socks;
mod tls;
mod upload;
mod url;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use oci_spec::image::Digest;

pub use auth::Credentials;
pub use blob::Blob;
pub use cancel::Cancel;
pub use daemon::{Archive, Daemon};
pub use dns::ResolveError;
pub use error::{CertificateError, Error, Problem};
pub use file_url::FileUrl;
pub use head::Head;
pub use listing::Names;
pub use manifest::{Manifest, Put};
pub use options::{MinRate, Options, Retry, Timeouts};
pub use pace::RateLimit;
pub use proxy::Proxy;
pub use referrers::Referrers;
pub use schema1::signed_part;
pub use search::Found;
pub use upload::{Mount, Upload};

use client::{Call, Client, Kind, Place};
use names::Host;
use scope::Scopes;

/// One registry. Connections, tokens and what was learnt about it are kept as long as it lives.
///
/// Not to be used from asynchronous code: it waits in the calling thread.
#[derive(Clone)]
pub struct Registry {
    client: Arc<Client>,
    cancel: Cancel,
    /// Somebody else has the same.
    elsewhere: bool,
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
    /// [`Error::Host`], [`Error::Bearer`].
    pub fn new(host: &str, options: Options) -> Result<Self, Error> {
        if options.bearer.as_deref().is_some_and(|token| auth::bearer(token).is_none()) {
            return Err(Error::Bearer { host: host.to_owned() });
        }
        let client = Arc::new(Client::new(Host::parse(host)?, options)?);
        Ok(Self { client, cancel: Cancel::never(), elsewhere: false })
    }

    /// The same, with its connections and logins, whose transfers of blobs and manifests end when `cancel` is set.
    pub fn ended_by(&self, cancel: &Cancel) -> Self {
        Self { cancel: cancel.clone(), ..self.clone() }
    }

    /// The same for what somebody else has, too: that nobody is there any more is not waited out, because the other can be asked.
    #[must_use]
    pub fn with_others(&self) -> Self {
        Self { elsewhere: true, ..self.clone() }
    }

    /// How much the registry still allows us; `None` until it says so.
    pub fn rate_limit(&self) -> Option<RateLimit> {
        self.client.rate_limit()
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
        Blob::open(Arc::clone(&self.client), call, Some(digest.clone()), offset, None)
    }

    /// The bytes of a blob from `range.start` up to and without `range.end` (RFC 9110 section 14.2). Nothing of it is verified.
    ///
    /// # Errors
    /// [`Problem::Range`] from a registry that sends no parts; all of [`Error`].
    pub fn blob_part(&self, repository: &str, digest: &Digest, range: Range<u64>) -> Result<Blob, Error> {
        names::repository(repository)?;
        names::digest(digest)?;
        let call = self.call(repository, Kind::Blob, digest.as_ref());
        let until = range.end.max(range.start + 1);
        Blob::open(Arc::clone(&self.client), call, Some(digest.clone()), range.start, Some(until))
    }

    /// A blob from an address that its manifest names, for what registries may not pass on. Nobody there sees a login or a
    /// certificate of this registry's. Nothing of it is verified.
    ///
    /// # Errors
    /// All of [`Error`].
    pub fn fetch(&self, url: &FileUrl) -> Result<Blob, Error> {
        url.fetch_unless(Options { cert_dir: None, ..self.client.options.clone() }, &self.cancel)
    }

    /// To read a manifest or blob.
    fn call(&self, repository: &str, kind: Kind, reference: &str) -> Call {
        let word = if kind == Kind::Blob { "blob" } else { "manifest" };
        let object = format!("{word} {reference} of {}", self.full_name(repository));
        let path = format!("/v2/{repository}/{word}s/{reference}");
        let call = Call::get(Place::Registry(path), Scopes::pull(repository), object, kind);
        Call { cancel: self.cancel.clone(), elsewhere: self.elsewhere, ..call }
    }

    /// A repository, for messages.
    fn full_name(&self, repository: &str) -> String {
        format!("{}/{repository}", self.client.host.name)
    }
}
