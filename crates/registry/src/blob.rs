//! Reading a blob, across broken connections.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{ACCEPT, CONTENT_RANGE, ETAG, HeaderValue, IF_RANGE, RANGE};
use oci_spec::image::Digest;

use crate::client::{Call, Client};
use crate::error::{Error, Problem};
use crate::lane::{Exchange, Lane};
use crate::manifest::announced_digest;
use crate::pace::retry_after;

/// Bytes delivered after which earlier failures are forgotten.
const PROGRESS: u64 = 1 << 20;
/// A connection that delivered so much, or lasted so long, is one as slow or busy links have them.
const GOOD: u64 = 16 << 20;
const LASTING: Duration = Duration::from_secs(10);
/// Others that broke with progress are put up with so often, and once more for each [`GOOD`] bytes of the blob: each costs a
/// pause and a new connection. Then they count as failures without progress.
const SHORT: u64 = 64;

/// A blob, or a file of a [`FileUrl`](crate::FileUrl), being delivered.
///
/// Reading waits on the network in the calling thread. A connection that breaks or falls silent is replaced
/// and the rest asked for, also when nobody is there for a moment, as often as [`Retry::tries`](crate::Retry::tries) without 1 MiB of progress. So is one
/// that delivers less than [`Options::min_rate`](crate::Options::min_rate). A server that breaks off again and again
/// after some MiB and less than 10 s is left after a while, too: 64 times, and once more for each 16 MiB of the blob. What
/// fails for good comes as an [`io::Error`] that holds an [`Error`].
///
/// The digest is not verified: whoever unpacks the bytes hashes them anyway.
pub struct Blob {
    /// Bytes to come, when announced.
    pub len: Option<u64>,
    client: Arc<Client>,
    call: Call,
    /// `None` when nobody knows what it must be.
    digest: Option<Digest>,
    stream: Option<(Lane, Exchange)>,
    piece: Bytes,
    /// Place in the blob of the next byte handed out.
    position: u64,
    /// Bytes to pass over until then: the server ignored the range.
    skip: u64,
    /// Size of the whole blob.
    total: Option<u64>,
    /// Where the part ends that is wanted, if not with the blob.
    until: Option<u64>,
    etag: Option<HeaderValue>,
    /// Failures since the last progress, and the position at the latest.
    failures: u32,
    failed_at: u64,
    /// When the connection began to deliver.
    since: Instant,
    pace: Pace,
    finished: bool,
}

/// How much came in how much time of waiting for it: what the reader does meanwhile is not the server's fault.
#[derive(Default)]
struct Pace {
    bytes: u64,
    waited: Duration,
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { digest, position, total, .. } = self;
        f.debug_struct("Blob")
            .field("digest", digest)
            .field("position", position)
            .field("total", total)
            .finish_non_exhaustive()
    }
}

impl Blob {
    pub(crate) fn open(
        client: Arc<Client>,
        call: Call,
        digest: Option<Digest>,
        offset: u64,
        until: Option<u64>,
    ) -> Result<Self, Error> {
        let mut blob = Self {
            len: None,
            client,
            call,
            digest,
            stream: None,
            piece: Bytes::new(),
            position: offset,
            skip: 0,
            total: None,
            until,
            etag: None,
            failures: 0,
            failed_at: offset,
            since: Instant::now(),
            pace: Pace::default(),
            finished: false,
        };
        let mut lane = blob.client.lane()?;
        let exchange = blob.client.call(&mut lane, &blob.request())?;
        blob.begin(lane, exchange)?;
        blob.len = blob.end_place().map(|end| end.saturating_sub(offset));
        Ok(blob)
    }

    /// The call for what is still missing.
    fn request(&self) -> Call {
        let mut call = self.call.clone();
        call.headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        if self.position > 0 || self.until.is_some() {
            let last = self.until.map(|until| (until - 1).to_string()).unwrap_or_default();
            let range = HeaderValue::from_str(&format!("bytes={}-{last}", self.position));
            call.headers.insert(RANGE, range.expect("digits are fit for a header"));
            if let Some(etag) = &self.etag {
                call.headers.insert(IF_RANGE, etag.clone());
            }
        }
        call
    }

    /// Where that ends which is wanted, if known.
    fn end_place(&self) -> Option<u64> {
        self.until.or(self.total)
    }

    /// Starts to read from an answer.
    fn begin(&mut self, mut lane: Lane, exchange: Exchange) -> Result<(), Error> {
        let headers = &exchange.head.headers;
        let (start, total) = match exchange.head.status.as_u16() {
            // It would send everything for a part.
            200 if self.until.is_some() => {
                return Err(self.client.problem(&self.call, Problem::Range));
            }
            200 => (0, exchange.announced()),
            206 => content_range(headers)
                .filter(|range| range.start <= self.position)
                .map(|range| (range.start, range.total))
                .ok_or_else(|| self.client.problem(&self.call, Problem::Range))?,
            // Nothing is left when the place asked for is the end.
            416 if self.position > 0 && self.until.is_none() => match unsatisfied_range(headers) {
                Some(total) if total == self.position && self.total.is_none_or(|known| known == total) => {
                    lane.drain(exchange);
                    self.client.put_back(lane);
                    self.total = Some(total);
                    self.finished = true;
                    return Ok(());
                }
                _ => return Err(self.client.problem(&self.call, Problem::Range)),
            },
            _ => {
                let refusal = self.client.refusal(&mut lane, &self.call, exchange);
                self.client.put_back(lane);
                return Err(refusal);
            }
        };
        // Weak tags are no good for ranges (RFC 9110 section 13.1.5).
        let etag = headers.get(ETAG).filter(|etag| etag.as_bytes().starts_with(b"\"")).cloned();
        match &self.digest {
            Some(digest) => self.check_digest(digest, headers)?,
            // Some servers send a part of another version all the same, others that from its start.
            None if self.position > 0 && etag != self.etag => {
                return Err(self.client.problem(&self.call, Problem::Changed));
            }
            None => {}
        }
        if total.is_some() && self.total.is_some_and(|known| Some(known) != total) {
            return Err(self.client.problem(&self.call, Problem::Length));
        }
        self.total = self.total.or(total);
        self.skip = self.position - start;
        self.etag = etag;
        self.stream = Some((lane, exchange));
        self.since = Instant::now();
        Ok(())
    }

    /// What the registry believes to send must be what was asked for.
    fn check_digest(&self, expected: &Digest, headers: &HeaderMap) -> Result<(), Error> {
        match announced_digest(headers).map_err(|problem| self.client.problem(&self.call, problem))? {
            Some(actual) if actual.algorithm() == expected.algorithm() && actual != *expected => {
                Err(Error::DigestMismatch {
                    object: self.call.object.clone(),
                    expected: expected.clone().into(),
                    actual: actual.into(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Gets the next piece, or notices the end.
    fn advance(&mut self) -> Result<(), Error> {
        let Some((lane, exchange)) = &mut self.stream else {
            return Err(self.client.problem(&self.call, Problem::Length));
        };
        let start = Instant::now();
        let next = lane.next(exchange, self.client.options.timeouts.idle);
        self.pace.waited += start.elapsed();
        match next {
            Ok(Some(piece)) => match self.check_pace(piece.len()) {
                Ok(()) => self.accept(piece),
                // This connection is of no use; another may be.
                Err(slow) => {
                    self.stream = None;
                    self.resume(slow)
                }
            },
            Ok(None) => self.end(),
            Err(error) => {
                self.stream = None;
                self.resume(error)
            }
        }
    }

    /// Whether the server keeps to the least rate, now that so many bytes arrived.
    fn check_pace(&mut self, bytes: usize) -> Result<(), Error> {
        let least = self.client.options.min_rate;
        self.pace.bytes += bytes as u64;
        if self.pace.waited < least.over {
            return Ok(());
        }
        let Pace { bytes, waited } = std::mem::take(&mut self.pace);
        if bytes as f64 >= least.bytes_per_second as f64 * waited.as_secs_f64() {
            return Ok(());
        }
        Err(Error::Slow { host: self.client.host.name.clone(), bytes, over: waited })
    }

    fn accept(&mut self, mut piece: Bytes) -> Result<(), Error> {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(piece.len());
        drop(piece.split_to(skipped));
        self.skip -= skipped as u64;
        if self.end_place().is_some_and(|end| piece.len() as u64 > end.saturating_sub(self.position)) {
            self.stream = None;
            return Err(self.client.problem(&self.call, Problem::Length));
        }
        self.piece = piece;
        Ok(())
    }

    fn end(&mut self) -> Result<(), Error> {
        let stream = self.stream.take();
        if self.skip > 0 || self.end_place().is_some_and(|end| end != self.position) {
            // A range may end early; the rest is asked for.
            let host = self.client.host.name.clone();
            return self
                .resume(Error::Lost { host, source: io::Error::from(io::ErrorKind::UnexpectedEof).into() });
        }
        if let Some((mut lane, exchange)) = stream {
            lane.keep(exchange);
            self.client.put_back(lane);
        }
        self.finished = true;
        Ok(())
    }

    /// How many short connections the whole blob may have, all its parts together.
    fn most_short(&self) -> u64 {
        SHORT + self.total.unwrap_or_default() / GOOD
    }

    /// Asks for the rest after `cause`.
    fn resume(&mut self, mut cause: Error) -> Result<(), Error> {
        let came = self.position - self.failed_at;
        let good = came >= GOOD || self.since.elapsed() >= LASTING;
        if came >= PROGRESS && (good || self.client.puts_up(&self.call.object, self.most_short())) {
            self.failures = 0;
        }
        self.failed_at = self.position;
        if self.digest.is_none() && self.position > 0 && self.etag.is_none() {
            // The rest of what is there now may be the rest of something else.
            return Err(cause);
        }
        let mut wish = None;
        while self.client.passes(&self.call, &cause) && self.failures < self.client.options.retry.tries {
            self.failures += 1;
            let mut lane = self.client.lane()?;
            lane.end_by(&self.call.cancel);
            lane.sleep(self.client.pause(self.failures, wish))?;
            let opened = self.client.call_once(&mut lane, &self.request());
            wish = match &opened {
                Ok(exchange) => retry_after(&exchange.head.headers),
                Err(error) => error.wait(),
            };
            match opened.and_then(|exchange| self.begin(lane, exchange)) {
                Ok(()) => return Ok(()),
                Err(error) => cause = error,
            }
        }
        Err(cause)
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.finished {
            self.advance().map_err(io::Error::other)?;
        }
        let count = buffer.len().min(self.piece.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        self.position += count as u64;
        Ok(count)
    }
}

struct ContentRange {
    start: u64,
    total: Option<u64>,
}

/// `Content-Range: bytes 5-9/10` (RFC 9110 section 14.4); the total may be `*`.
fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    let (range, total) = range_parts(headers)?;
    let (start, end) = range.split_once('-')?;
    let (start, end): (u64, u64) = (start.parse().ok()?, end.parse().ok()?);
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    let sound = start <= end && total.is_none_or(|total: u64| end < total);
    sound.then_some(ContentRange { start, total })
}

/// `Content-Range: bytes */10`, as sent with 416.
fn unsatisfied_range(headers: &HeaderMap) -> Option<u64> {
    let (range, total) = range_parts(headers)?;
    if range == "*" { total.parse().ok() } else { None }
}

fn range_parts(headers: &HeaderMap) -> Option<(&str, &str)> {
    headers.get(CONTENT_RANGE)?.to_str().ok()?.trim().strip_prefix("bytes ")?.split_once('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(value: &str) -> HeaderMap {
        [(CONTENT_RANGE, HeaderValue::from_str(value).unwrap())].into_iter().collect()
    }

    #[test]
    fn content_ranges_are_read() {
        let read = |value| content_range(&header(value)).map(|range| (range.start, range.total));
        assert_eq!(read("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(read("bytes 5-9/*"), Some((5, None)));
        for bad in
            ["bytes 5-10/10", "bytes 9-5/10", "bytes */10", "items 5-9/10", "bytes 5-9", "bytes -1-9/10", ""]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(unsatisfied_range(&header("bytes */10")), Some(10));
        assert_eq!(unsatisfied_range(&header("bytes 5-9/10")), None);
    }
}
