//! Fetching and checking a manifest, and storing one.

use bytes::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method};
use oci_spec::image::Digest;

use crate::client::{Call, Client, Kind};
use crate::error::{Error, Problem};
use crate::lane::Lane;
use crate::schema1::signed_part;
use crate::scope::Scopes;
use crate::{Registry, digest, names};

/// Largest manifest, as in containers/image (`iolimits.MaxManifestBodySize`).
pub(crate) const MAX_MANIFEST: usize = 4 << 20;

/// Docker's first format, signed. Its digest is that of the part that is signed.
const SIGNED_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// Everything a registry may have under a name. Without schema 1 in the list an old image would be reported
/// as missing.
pub(crate) const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.artifact.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v1+prettyjws, \
    application/vnd.docker.distribution.manifest.v1+json";

/// A manifest or index as delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// `Content-Type` without parameters; empty when there is none.
    pub media_type: String,
    /// The digest asked for, or else the one announced; the bytes have been checked against it, those of a signed schema 1 manifest
    /// as far as [they are signed](crate::signed_part). `None` when there is neither, and for such a manifest that was asked for by
    /// a tag.
    pub digest: Option<Digest>,
    /// The document.
    pub bytes: Vec<u8>,
}

impl Manifest {
    /// Fetches one; `wanted` is the reference, when it is a digest.
    pub(crate) fn fetch(
        client: &Client,
        lane: &mut Lane,
        mut call: Call,
        wanted: Option<Digest>,
    ) -> Result<Self, Error> {
        call.headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        let (headers, bytes) = client.read(lane, &call, MAX_MANIFEST)?;
        let media_type = media_type(&headers);
        let announced = announced_digest(&headers).map_err(|problem| client.problem(&call, problem))?;
        if media_type == SIGNED_SCHEMA1 {
            let Some(expected) = wanted else { return Ok(Self { media_type, digest: None, bytes }) };
            let of = |bytes: &[u8]| digest::of(expected.algorithm(), bytes);
            let signed = signed_part(&bytes).and_then(|signed| of(&signed));
            // Some registries keep what they know by the digest of all of it.
            return match (signed, of(&bytes)) {
                (Some(found), _) | (_, Some(found)) if found == expected => {
                    Ok(Self { media_type, digest: Some(expected), bytes })
                }
                (signed, whole) => match signed.or(whole) {
                    Some(actual) => {
                        let (expected, actual) = (expected.into(), actual.into());
                        Err(Error::DigestMismatch { object: call.object, expected, actual })
                    }
                    None => Ok(Self { media_type, digest: None, bytes }),
                },
            };
        }
        let mut verified = None;
        // The one asked for last: it is the one to report.
        for expected in announced.into_iter().chain(wanted) {
            let Some(actual) = digest::of(expected.algorithm(), &bytes) else { continue };
            if actual != expected {
                let (expected, actual) = (expected.into(), actual.into());
                return Err(Error::DigestMismatch { object: call.object, expected, actual });
            }
            verified = Some(expected);
        }
        Ok(Self { media_type, digest: verified, bytes })
    }
}

/// What became of a manifest that was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The one to fetch it by: of the bytes, except for signed schema 1 manifests, where only the registry knows.
    pub digest: Digest,
    /// What it refers to, when the registry keeps the list of referrers (`OCI-Subject`).
    pub subject: Option<Digest>,
}

impl Registry {
    /// Stores a manifest or index under a tag or its digest (distribution-spec 1.1, "Pushing Manifests"). What it
    /// names must be there already. When it refers to a subject and the registry does not keep that list, it is
    /// added to the one that clients maintain; an error then comes although the manifest is there.
    ///
    /// # Errors
    /// All of [`Error`]; [`Error::DigestMismatch`] also before anything is sent.
    pub fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Put, Error> {
        names::repository(repository)?;
        let wanted = names::reference(reference)?;
        let call = self.put_call(repository, reference, media_type, bytes)?;
        // The digest of a signed schema 1 manifest is not that of its bytes.
        let checked = media_type != SIGNED_SCHEMA1;
        let digest = |like: &Digest| digest::of(like.algorithm(), bytes).filter(|_| checked);
        let mismatch = |expected: &Digest, actual: Digest| Error::DigestMismatch {
            object: call.object.clone(),
            expected: Box::new(expected.clone()),
            actual: Box::new(actual),
        };
        if let Some((wanted, actual)) = wanted.as_ref().and_then(|wanted| Some((wanted, digest(wanted)?)))
            && actual != *wanted
        {
            return Err(mismatch(wanted, actual));
        }
        let headers = self.client.headers(&call, &[200, 201, 202])?;
        let announced = announced_digest(&headers).map_err(|problem| self.client.problem(&call, problem))?;
        if let Some((announced, actual)) = announced.as_ref().and_then(|it| Some((it, digest(it)?)))
            && actual != *announced
        {
            return Err(mismatch(&actual, announced.clone()));
        }
        let verified = announced.filter(|it| !checked || digest(it).is_some());
        let digest = wanted.or(verified).unwrap_or_else(|| digest::sha256(bytes));
        let subject = self.list_referrer(repository, media_type, bytes, &digest, &headers)?;
        Ok(Put { digest, subject })
    }

    /// To store a manifest.
    pub(crate) fn put_call(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Call, Error> {
        let mut call = self.call(repository, Kind::Manifest, reference);
        call.method = Method::PUT;
        call.scopes = Scopes::push(repository);
        call.body = Bytes::copy_from_slice(bytes);
        call.patient = true;
        let kind = HeaderValue::from_str(media_type).ok().filter(|kind| !kind.is_empty());
        let kind = kind.ok_or_else(|| Error::MediaType { media_type: media_type.to_owned() })?;
        call.headers.insert(CONTENT_TYPE, kind);
        Ok(call)
    }
}

pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// `Docker-Content-Digest`: what the registry believes to send.
pub(crate) fn announced_digest(headers: &HeaderMap) -> Result<Option<Digest>, Problem> {
    let Some(header) = headers.get("docker-content-digest") else { return Ok(None) };
    let text = header.to_str().map_err(|_| Problem::DigestHeader)?;
    Digest::try_from(text).map(Some).map_err(|_| Problem::DigestHeader)
}
