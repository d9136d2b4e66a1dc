//! Storing blobs: whole, as a stream, in chunks, or from another repository.

mod again;

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue, LOCATION, RANGE};
use hyper::{HeaderMap, Method};
use oci_spec::image::Digest;

use crate::body::{Source, fill};
use crate::cancel::Cancel;
use crate::client::{Call, Client, Kind, Place};
use crate::error::{Error, Problem};
use crate::lane::{Exchange, Lane};
use crate::manifest::announced_digest;
use crate::scope::Scopes;
use crate::url::Target;
use crate::{Registry, digest, names};

/// Size of a chunk, which is kept until the registry has it.
const CHUNK: u64 = 8 << 20;
/// Largest chunk a registry can insist on. Above that everything goes in one.
const MAX_CHUNK: u64 = 32 << 20;

/// What became of the wish to mount a blob.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is taken apart at once")]
pub enum Mount {
    /// The repository has it.
    Done,
    /// The registry does not do that, or lacks the blob: it waits for the bytes.
    Upload(Upload),
}

impl Registry {
    /// Stores a small blob in two requests (distribution-spec 1.1, "POST then PUT"). What breaks off is begun anew, as often as
    /// [`Retry::tries`](crate::Retry::tries): nobody knows what came of it.
    ///
    /// # Errors
    /// All of [`Error`]; [`Error::DigestMismatch`] before anything is sent.
    pub fn put_blob(&self, repository: &str, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        names::digest(digest)?;
        if let Some(actual) = digest::of(digest.algorithm(), bytes).filter(|actual| actual != digest) {
            let object = self.call(repository, Kind::Blob, digest.as_ref()).object;
            return Err(Error::DigestMismatch {
                object,
                expected: Box::new(digest.clone()),
                actual: actual.into(),
            });
        }
        let bytes = Bytes::copy_from_slice(bytes);
        let mut attempt = 1;
        loop {
            let mut upload = self.upload(repository)?;
            let Err(error) = upload.complete(digest, bytes.clone(), Client::headers_once) else {
                return Ok(());
            };
            let passes = match &error {
                // The upload has got lost.
                Error::Missing { .. } => true,
                // It was waited for long enough.
                Error::Timeout { .. } => false,
                error => self.client.passes(&upload.call(Method::PUT), error),
            };
            // The first error is the one to tell.
            drop(upload.cancel());
            if !passes || attempt >= self.client.options.retry.tries {
                return Err(error);
            }
            self.client.wait(attempt, error.wait(), &self.cancel)?;
            attempt += 1;
        }
    }

    /// Begins to store a blob.
    ///
    /// # Errors
    /// All of [`Error`].
    pub fn upload(&self, repository: &str) -> Result<Upload, Error> {
        names::repository(repository)?;
        match self.begin(repository, Scopes::push(repository), &[])? {
            Begun::Upload(upload) => Ok(upload),
            Begun::Mounted(call, _) => Err(self.client.problem(&call, Problem::Location)),
        }
    }

    /// Asks the registry to take a blob from its repository `from`, or from wherever it has it
    /// (distribution-spec 1.1, "Mounting a blob from another repository").
    ///
    /// # Errors
    /// All of [`Error`], but for refusals that concern `from` only.
    pub fn mount(&self, repository: &str, digest: &Digest, from: Option<&str>) -> Result<Mount, Error> {
        names::repository(repository)?;
        names::digest(digest)?;
        let mut scopes = Scopes::push(repository);
        let mut query = vec![("mount", digest.as_ref())];
        if let Some(from) = from {
            names::repository(from)?;
            scopes = scopes.and(&Scopes::pull(from));
            query.push(("from", from));
        }
        match self.begin(repository, scopes, &query) {
            Ok(Begun::Upload(upload)) => Ok(Mount::Upload(upload)),
            Ok(Begun::Mounted(call, headers)) => {
                check_digest(&self.client, &call, &headers, digest).map(|()| Mount::Done)
            }
            Err(
                Error::Unauthorized { .. }
                | Error::Denied { .. }
                | Error::Missing { .. }
                | Error::TooMany { .. }
                | Error::TooManyTokens { .. }
                | Error::Status { status: 400..500, .. },
            ) => self.upload(repository).map(Mount::Upload),
            Err(error) => Err(error),
        }
    }

    fn begin(&self, repository: &str, scopes: Scopes, query: &[(&str, &str)]) -> Result<Begun, Error> {
        let client = &self.client;
        let path = format!("/v2/{repository}/blobs/uploads/");
        let path = if query.is_empty() { path } else { format!("{path}?{}", crate::url::form(query)) };
        let object = format!("upload to {}", self.full_name(repository));
        let mut call = Call::get(Place::Registry(path.clone()), scopes, object, Kind::Other);
        call.method = Method::POST;
        call.cancel = self.cancel.clone();
        let mut lane = client.lane()?;
        let exchange = client.expect(&mut lane, &call, &[201, 202])?;
        let (status, headers) = (exchange.head.status, exchange.head.headers.clone());
        let here = Target { origin: exchange.origin.clone(), path };
        lane.drain(exchange);
        client.put_back(lane);
        if status == 201 {
            return Ok(Begun::Mounted(call, headers));
        }
        let location = client.location(&call, &here, &headers)?;
        let min_chunk =
            headers.get("oci-chunk-min-length").and_then(|length| length.to_str().ok()?.parse().ok());
        Ok(Begun::Upload(Upload {
            registry: self.clone(),
            repository: repository.to_owned(),
            scopes: call.scopes,
            object: call.object,
            location,
            offset: 0,
            min_chunk,
            interrupted: false,
            finishing: false,
            resumed: false,
            sent: 0,
            begun: 0,
            failures: 0,
            losses: 0,
            lost: false,
            chunk: None,
        }))
    }
}

/// What a registry answers to the wish to store a blob.
enum Begun {
    /// With what it said about the blob.
    Mounted(Call, HeaderMap),
    Upload(Upload),
}

/// A blob that is being stored.
///
/// The bytes go in one request with [`send`](Self::send), which is what every registry can do. Where the registry
/// asks for chunks, and after an interruption, they go in chunks; a chunk that is lost is sent again from where the
/// registry says it was lost. Chunks become smaller, and have connections of their own, where that loses everything with
/// a chunk: so does distribution, which cannot go on behind a part of a request (its state holds the offset behind the
/// last whole one, `ResumeBlobUpload` in registry/handlers/blobupload.go). An interrupted stream is gone on with by its
/// owner, who alone has the bytes;
/// [`recover`](Self::recover) waits and says where:
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let registry = loment_registry::Registry::new("localhost:5000", Default::default())?;
/// # let digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".try_into()?;
/// use std::io::{Seek, SeekFrom};
/// let mut file = std::fs::File::open("layer.tar.gz")?;
/// let mut upload = registry.upload("team/app")?;
/// while let Err(error) = upload.send(&mut file, None) {
///     file.seek(SeekFrom::Start(upload.recover(error)?))?;
/// }
/// upload.finish(&digest)?;
/// # Ok(())
/// # }
/// ```
///
/// Where the registry wants the bytes at another host, that host sees no credentials. An upload that is dropped
/// stays with the registry until it tidies up; [`cancel`](Self::cancel) tells it.
pub struct Upload {
    registry: Registry,
    repository: String,
    scopes: Scopes,
    /// For messages.
    object: String,
    location: Target,
    offset: u64,
    min_chunk: Option<u64>,
    /// What the registry has is not known.
    interrupted: bool,
    /// The end has been asked for.
    finishing: bool,
    /// It was interrupted once.
    resumed: bool,
    /// Where what was sent of it ends: the registry cannot have more.
    sent: u64,
    /// What the registry had when this attempt began.
    begun: u64,
    /// Failures since there was progress.
    failures: u32,
    /// How often the registry lost what it had said to have.
    losses: u32,
    /// The registry has said after the latest failure that it cannot go on.
    lost: bool,
    /// Bytes of a chunk, and each goes over a connection of its own: the registry lost what was interrupted.
    chunk: Option<u64>,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, offset, .. } = self;
        f.debug_struct("Upload").field("object", object).field("offset", offset).finish_non_exhaustive()
    }
}

impl Upload {
    /// Sends what `from` holds: `length` bytes, or all of it.
    ///
    /// # Errors
    /// All of [`Error`], [`Error::Source`] when `from` fails. After any, [`status`](Self::status) says where to go on.
    pub fn send(&mut self, from: &mut dyn Read, length: Option<u64>) -> Result<(), Error> {
        if self.interrupted {
            return Err(Error::Interrupted { object: self.object.clone() });
        }
        if length == Some(0) {
            return Ok(());
        }
        // A stream cannot be sent again after a login.
        if self.client().logins.has_expired(&self.scopes) && !self.is_unchanged() {
            return Err(self.problem(Problem::UploadRange));
        }
        let in_chunks = self.offset > 0 || self.min_chunk.is_some() || self.chunk.is_some();
        let outcome = if in_chunks && self.min_chunk.unwrap_or(0) <= MAX_CHUNK {
            self.send_chunks(from, length)
        } else {
            self.stream(from, length)
        };
        self.interrupted = outcome.is_err();
        outcome
    }

    /// Asks the registry how many bytes it has, which is where to go on.
    ///
    /// # Errors
    /// All of [`Error`]; [`Error::Missing`] when the registry gave the upload up.
    pub fn status(&mut self) -> Result<u64, Error> {
        let call = self.call(Method::GET);
        let headers = self.client().headers(&call, &[200, 202, 204])?;
        self.moved(&call, &headers)?;
        self.offset = received(&headers).ok_or_else(|| self.problem(Problem::UploadRange))?;
        self.interrupted = false;
        Ok(self.offset)
    }

    /// Bytes the registry has, as far as known.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Ends the upload: the registry verifies the digest, and the blob is there.
    ///
    /// # Errors
    /// All of [`Error`].
    pub fn finish(&mut self, digest: &Digest) -> Result<(), Error> {
        names::digest(digest)?;
        self.complete(digest, Bytes::new(), Client::headers)
    }

    /// Tells the registry to forget about it, once, and also when everything else is cancelled.
    ///
    /// # Errors
    /// All of [`Error`].
    pub fn cancel(self) -> Result<(), Error> {
        let call = Call { cancel: Cancel::never(), ..self.call(Method::DELETE) };
        let client = self.client();
        let mut lane = client.lane()?;
        let exchange = client.call_once(&mut lane, &call)?;
        match exchange.head.status.as_u16() {
            200 | 202 | 204 | 404 => lane.drain(exchange),
            _ => return Err(client.refusal(&mut lane, &call, exchange)),
        }
        client.put_back(lane);
        Ok(())
    }

    fn client(&self) -> &Arc<Client> {
        &self.registry.client
    }

    fn call(&self, method: Method) -> Call {
        let place = Place::Location(self.location.clone());
        let mut call = Call::get(place, self.scopes.clone(), self.object.clone(), Kind::Other);
        call.method = method;
        call.cancel = self.registry.cancel.clone();
        call
    }

    fn problem(&self, problem: Problem) -> Error {
        self.client().problem(&self.call(Method::GET), problem)
    }

    /// The request that ends the upload, with what is left of it.
    fn complete(
        &mut self,
        digest: &Digest,
        rest: Bytes,
        ask: impl Fn(&Client, &Call, &[u16]) -> Result<HeaderMap, Error>,
    ) -> Result<(), Error> {
        self.finishing = true;
        let mut call = self.call(Method::PUT);
        call.place = Place::Location(self.location.with_query(&[("digest", digest.as_ref())]));
        call.headers.insert(CONTENT_TYPE, octets());
        call.body = rest;
        call.patient = true;
        match ask(self.client(), &call, &[200, 201, 202, 204]) {
            Ok(headers) => check_digest(self.client(), &call, &headers, digest),
            // An answer may have been lost, and with it the upload, because the blob is there.
            Err(error) if error.is_transient() || matches!(error, Error::Missing { .. }) => {
                self.registry.head_blob(&self.repository, digest).map(drop).map_err(|_| error)
            }
            Err(error) => Err(error),
        }
    }

    /// Everything in one request.
    fn stream(&mut self, from: &mut dyn Read, length: Option<u64>) -> Result<(), Error> {
        let mut call = self.call(Method::PATCH);
        call.patient = true;
        call.headers.insert(CONTENT_TYPE, octets());
        if let Some(length) = length.filter(|_| self.offset > 0 || self.min_chunk.is_some()) {
            call.headers.insert(CONTENT_RANGE, content_range(self.offset, length));
        }
        let client = Arc::clone(self.client());
        let mut lane = client.lane()?;
        let mut body = Source::reader(from, length);
        // On failure the lane is dropped, and with it the connection: the registry sees the end at once.
        let outcome = match client.stream(&mut lane, &call, &self.location, &mut body) {
            // A connection that was kept may be stale. What it swallowed is still here, if the registry lacks it.
            Err(Error::Lost { .. }) if body.rewind() && self.is_unchanged() => {
                client.stream(&mut lane, &call, &self.location, &mut body)
            }
            outcome => outcome,
        };
        self.sent = self.sent.max(self.offset + body.count());
        let exchange = outcome?;
        if exchange.head.status.as_u16() == 401 {
            return Err(Error::Interrupted { object: self.object.clone() });
        }
        let exchange = self.accepted(&call, exchange, &mut lane)?;
        let (expected, headers) = (self.offset + body.count(), exchange.head.headers.clone());
        lane.drain(exchange);
        client.put_back(lane);
        // The digest decides in the end; but what is known to be missing need not wait for it.
        if received(&headers).is_some_and(|received| received < expected && received > 0) {
            return Err(self.problem(Problem::UploadRange));
        }
        self.offset = expected;
        Ok(())
    }

    /// Whether the registry still has what it had, by its own word.
    fn is_unchanged(&mut self) -> bool {
        let expected = self.offset;
        self.status().is_ok_and(|offset| offset == expected)
    }

    fn send_chunks(&mut self, from: &mut dyn Read, length: Option<u64>) -> Result<(), Error> {
        let size = self.min_chunk.unwrap_or(0).max(self.chunk.unwrap_or(CHUNK));
        let mut left = length.unwrap_or(u64::MAX);
        while left > 0 {
            let mut chunk = vec![0; usize::try_from(size.min(left)).unwrap_or(usize::MAX)];
            let filled = fill(from, &mut chunk).map_err(Error::Source)?;
            let ended = filled < chunk.len();
            if ended && length.is_some() {
                return Err(Error::Source(io::ErrorKind::UnexpectedEof.into()));
            }
            chunk.truncate(filled);
            left -= filled as u64;
            self.send_chunk(chunk.into())?;
            if ended {
                break;
            }
        }
        Ok(())
    }

    /// Sends a chunk, and again what the registry lacks of it.
    fn send_chunk(&mut self, chunk: Bytes) -> Result<(), Error> {
        let start = self.offset;
        let end = start + chunk.len() as u64;
        self.sent = self.sent.max(end);
        let mut failures = 0;
        while self.offset < end {
            let rest = chunk.slice(usize::try_from(self.offset - start).unwrap_or(usize::MAX)..);
            let before = self.offset;
            match self.patch(rest) {
                Ok(()) if self.offset > before => failures = 0,
                Ok(()) => self.see_where(&mut failures, self.problem(Problem::UploadRange))?,
                Err(error) if error.is_transient() || is_misplaced(&error) => {
                    self.see_where(&mut failures, error)?;
                }
                Err(error) => return Err(error),
            }
            if self.offset < start || self.offset > end {
                self.lost = true;
                return Err(self.problem(Problem::UploadRange));
            }
        }
        Ok(())
    }

    /// One chunk, once.
    fn patch(&mut self, chunk: Bytes) -> Result<(), Error> {
        let mut call = self.call(Method::PATCH);
        call.patient = true;
        call.headers.insert(CONTENT_TYPE, octets());
        call.headers.insert(CONTENT_RANGE, content_range(self.offset, chunk.len() as u64));
        let expected = self.offset + chunk.len() as u64;
        call.body = chunk;
        let client = Arc::clone(self.client());
        let mut lane = if self.chunk.is_some() { Lane::new()? } else { client.lane()? };
        let exchange = client.call_once(&mut lane, &call)?;
        let exchange = self.accepted(&call, exchange, &mut lane)?;
        let known = received(&exchange.head.headers).filter(|_| expected > 1).unwrap_or(expected);
        lane.drain(exchange);
        if self.chunk.is_none() {
            client.put_back(lane);
        }
        if known > expected {
            return Err(self.problem(Problem::UploadRange));
        }
        self.offset = known;
        Ok(())
    }

    /// Checks the answer to a PATCH, which says where the next goes.
    fn accepted(&mut self, call: &Call, exchange: Exchange, lane: &mut Lane) -> Result<Exchange, Error> {
        if !matches!(exchange.head.status.as_u16(), 200 | 201 | 202 | 204) {
            return Err(self.client().refusal(lane, call, exchange));
        }
        self.moved(call, &exchange.head.headers)?;
        Ok(exchange)
    }

    /// Takes note of where the next request goes.
    fn moved(&mut self, call: &Call, headers: &HeaderMap) -> Result<(), Error> {
        if headers.contains_key(LOCATION) {
            self.location = self.client().location(call, &self.location, headers)?;
        }
        Ok(())
    }
}

/// Whether the registry expects another part.
fn is_misplaced(error: &Error) -> bool {
    matches!(error, Error::Status { status: 416, .. })
}

fn octets() -> HeaderValue {
    HeaderValue::from_static("application/octet-stream")
}

/// `START-END`, both inclusive, and without the unit other uses of the header have.
fn content_range(start: u64, length: u64) -> HeaderValue {
    let range = HeaderValue::from_str(&format!("{start}-{}", (start + length).saturating_sub(1)));
    range.expect("digits are fit for a header")
}

/// How many bytes a registry has, by its `Range: 0-END`. `0-0` is what is sent for none as well as for one, and is
/// taken for none.
fn received(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RANGE)?.to_str().ok()?.trim();
    let end: u64 = text.strip_prefix("bytes=").unwrap_or(text).strip_prefix("0-")?.parse().ok()?;
    if end == 0 { Some(0) } else { end.checked_add(1) }
}

/// What the registry believes to have stored must be what was sent.
fn check_digest(client: &Client, call: &Call, headers: &HeaderMap, expected: &Digest) -> Result<(), Error> {
    match announced_digest(headers).map_err(|problem| client.problem(call, problem))? {
        Some(actual) if actual.algorithm() == expected.algorithm() && actual != *expected => {
            Err(Error::DigestMismatch {
                object: call.object.clone(),
                expected: Box::new(expected.clone()),
                actual: actual.into(),
            })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_registry_has_is_read() {
        let read = |text: &str| received(&[(RANGE, text.parse().unwrap())].into_iter().collect());
        assert_eq!((read("0-9"), read(" bytes=0-9 "), read("0-0")), (Some(10), Some(10), Some(0)));
        for bad in ["", "1-9", "9", "0-", "0--1", "0-18446744073709551615", "0-99999999999999999999"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(received(&HeaderMap::new()), None);
        assert_eq!(content_range(5, 5), "5-9");
    }
}
