//! Fetching and checking a manifest.

use hyper::HeaderMap;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use oci_spec::image::Digest;

use crate::client::{Call, Client};
use crate::digest;
use crate::error::{Error, Problem};
use crate::lane::Lane;

/// Largest manifest, as in containers/image (`iolimits.MaxManifestBodySize`).
const MAX_MANIFEST: usize = 4 << 20;

/// Docker's first format, signed. Its digest is that of the part that is signed.
const SIGNED_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// Everything a registry may have under a name. Without schema 1 in the list an old image would be reported
/// as missing.
const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v1+prettyjws, \
    application/vnd.docker.distribution.manifest.v1+json";

/// A manifest or index as delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// `Content-Type` without parameters; empty when there is none.
    pub media_type: String,
    /// The digest asked for, or else the one announced; the bytes have been checked against it. `None` when
    /// there is neither, and for signed schema 1 manifests, whose digest covers only a part.
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
        let exchange = client.call(lane, &call)?;
        if exchange.head.status.as_u16() != 200 {
            return Err(client.refusal(lane, &call, exchange));
        }
        let headers = exchange.head.headers.clone();
        let bytes = lane.collect(exchange, &call.object, MAX_MANIFEST, client.options.timeouts.idle)?;
        let media_type = media_type(&headers);
        let announced = announced_digest(&headers).map_err(|problem| client.problem(&call, problem))?;
        if media_type == SIGNED_SCHEMA1 {
            return match wanted {
                Some(_) => Err(client.problem(&call, Problem::Schema1)),
                None => Ok(Self { media_type, digest: None, bytes }),
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

fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// `Docker-Content-Digest`: what the registry believes to send.
pub(crate) fn announced_digest(headers: &HeaderMap) -> Result<Option<Digest>, Problem> {
    let Some(header) = headers.get("docker-content-digest") else { return Ok(None) };
    let text = header.to_str().map_err(|_| Problem::DigestHeader)?;
    Digest::try_from(text).map(Some).map_err(|_| Problem::DigestHeader)
}
