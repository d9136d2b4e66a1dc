//! Asking whether something is there, without fetching it.

use hyper::header::{ACCEPT, CONTENT_LENGTH, HeaderValue};
use hyper::{HeaderMap, Method};
use oci_spec::image::Digest;

use crate::client::{Call, Client, Kind, Place};
use crate::error::Error;
use crate::manifest::{ACCEPTED, announced_digest, media_type};
use crate::scope::Scopes;
use crate::{Registry, names};

/// What a registry says of a manifest or blob. Nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// `Content-Type` without parameters; empty when there is none.
    pub media_type: String,
    /// The digest asked for, or else the one announced.
    pub digest: Option<Digest>,
    /// Bytes, when announced.
    pub size: Option<u64>,
}

impl Registry {
    /// Asks whether the host is a registry that lets us in: finds out about TLS, and logs in when it wants that
    /// (distribution-spec 1.1, "Determining Support").
    ///
    /// # Errors
    /// All of [`Error`]; [`Error::Unauthorized`] for wrong or missing credentials.
    pub fn ping(&self) -> Result<(), Error> {
        let object = format!("registry {}", self.client.host.name);
        let call = Call::get(Place::Registry("/v2/".to_owned()), Scopes::default(), object, Kind::Other);
        self.client.headers(&call, &[200]).map(drop)
    }

    /// What the registry says of a manifest or index by tag or digest.
    ///
    /// # Errors
    /// All of [`Error`]; [`Error::NotFound`] when there is none.
    pub fn head_manifest(&self, repository: &str, reference: &str) -> Result<Head, Error> {
        names::repository(repository)?;
        let wanted = names::reference(reference)?;
        let mut call = self.call(repository, Kind::Manifest, reference);
        call.headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        self.head(call, wanted, Client::headers)
    }

    /// The same, asked once: for who fetches it anyway when the registry does not say what it is.
    ///
    /// # Errors
    /// As of [`head_manifest`](Self::head_manifest).
    pub fn glance_at_manifest(&self, repository: &str, reference: &str) -> Result<Head, Error> {
        names::repository(repository)?;
        let wanted = names::reference(reference)?;
        let mut call = self.call(repository, Kind::Manifest, reference);
        call.headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        self.head(call, wanted, Client::headers_once)
    }

    /// What the registry says of a blob.
    ///
    /// # Errors
    /// All of [`Error`]; [`Error::NotFound`] when there is none.
    pub fn head_blob(&self, repository: &str, digest: &Digest) -> Result<Head, Error> {
        names::repository(repository)?;
        names::digest(digest)?;
        let call = self.call(repository, Kind::Blob, digest.as_ref());
        self.head(call, Some(digest.clone()), Client::headers)
    }

    fn head(
        &self,
        mut call: Call,
        wanted: Option<Digest>,
        ask: impl Fn(&Client, &Call, &[u16]) -> Result<HeaderMap, Error>,
    ) -> Result<Head, Error> {
        call.method = Method::HEAD;
        let headers = ask(&self.client, &call, &[200])?;
        let announced = announced_digest(&headers).map_err(|problem| self.client.problem(&call, problem))?;
        let digest = match (wanted, announced) {
            (Some(expected), Some(actual))
                if actual.algorithm() == expected.algorithm() && actual != expected =>
            {
                let (expected, actual) = (expected.into(), actual.into());
                return Err(Error::DigestMismatch { object: call.object, expected, actual });
            }
            (wanted, announced) => wanted.or(announced),
        };
        Ok(Head { media_type: media_type(&headers), digest, size: length(&headers) })
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
