//! Docker's daemon as a place where images are: the two calls of its Engine API that move them, as archives, over
//! its unix socket.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;

use crate::body::Source;
use crate::client::{Call, Client, Kind, Place, one_line};
use crate::error::Error;
use crate::lane::{Exchange, Lane};
use crate::names::Host;
use crate::options::Options;
use crate::scope::Scopes;
use crate::url::{Scheme, Target, form};

/// Most of what a daemon says about an archive it loads.
const MAX_REPORT: usize = 1 << 20;
/// Characters of a message that are passed on.
const MAX_MESSAGE: usize = 1000;

/// A daemon that speaks Docker's Engine API. Whoever can reach its socket is trusted with everything; credentials,
/// certificates and proxies of the options are not used.
#[derive(Clone)]
pub struct Daemon {
    client: Arc<Client>,
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Daemon").field("socket", &self.client.host.name).finish_non_exhaustive()
    }
}

impl Daemon {
    /// The daemon at a socket, which is an absolute path. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub fn new(socket: &Path, options: Options) -> Result<Self, Error> {
        let options = Options { credentials: None, identity_token: None, bearer: None, ..options };
        let client = Client::new(Host::socket(socket)?, options)?;
        client.speak(Scheme::Http);
        Ok(Self { client: Arc::new(client) })
    }

    /// An image as an archive, in the format of `docker save` (Engine API, `ImageGet`). Nothing of it is verified.
    ///
    /// # Errors
    /// All of [`Error`]; [`Error::Missing`] when there is no such image.
    pub fn save(&self, image: &str) -> Result<Archive, Error> {
        let path = format!("/images/get?{}", form(&[("names", image)]));
        let object = format!("image {image:?}");
        let mut call = Call::get(Place::Registry(path), Scopes::default(), object, Kind::Other);
        // It writes all layers to a directory first.
        call.patient = true;
        let mut lane = self.client.lane()?;
        let exchange = self.client.expect(&mut lane, &call, &[200])?;
        Ok(Archive { client: Arc::clone(&self.client), stream: Some((lane, exchange)), piece: Bytes::new() })
    }

    /// Has the daemon take images from an archive as [`save`](Self::save) gives (Engine API, `ImageLoad`). The archive
    /// says their names.
    ///
    /// # Errors
    /// All of [`Error`]; [`Error::Load`] when the daemon refuses what is in it.
    pub fn load(&self, archive: &mut dyn Read, length: Option<u64>) -> Result<(), Error> {
        let path = "/images/load?quiet=1".to_owned();
        let object = "archive of images".to_owned();
        let place = Place::Registry(path.clone());
        let mut call = Call::get(place, Scopes::default(), object, Kind::Other);
        call.method = Method::POST;
        call.patient = true;
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
        let target = Target { origin: self.client.host.origin(Scheme::Http), path };
        let mut body = Source::reader(archive, length);
        let mut lane = self.client.lane()?;
        let limit = self.client.options.timeouts.idle;
        let mut exchange = self.client.stream(&mut lane, &call, &target, &mut body)?;
        if exchange.head.status != 200 {
            return Err(self.client.refusal(&mut lane, &call, exchange));
        }
        // It may begin to report before it has everything.
        lane.send_rest(&mut exchange, &mut body, limit)?;
        let whole = self.client.options.timeouts.document();
        let report = lane.collect(exchange, &call.object, MAX_REPORT, whole)?;
        self.client.put_back(lane);
        match complaint(&report) {
            Some(message) => Err(Error::Load { host: self.client.host.name.clone(), message }),
            None => Ok(()),
        }
    }
}

/// An archive being delivered. What fails comes as an [`io::Error`] that holds an [`Error`]; nothing is resumed.
pub struct Archive {
    client: Arc<Client>,
    /// Until the end.
    stream: Option<(Lane, Exchange)>,
    piece: Bytes,
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").field("ended", &self.stream.is_none()).finish_non_exhaustive()
    }
}

impl Read for Archive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let Some((lane, exchange)) = &mut self.stream else { return Ok(0) };
            match lane.next(exchange, self.client.options.timeouts.idle).map_err(io::Error::other)? {
                Some(piece) => self.piece = piece,
                None => {
                    if let Some((mut lane, exchange)) = self.stream.take() {
                        lane.keep(exchange);
                        self.client.put_back(lane);
                    }
                }
            }
        }
        let count = buffer.len().min(self.piece.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

/// A line of what the daemon reports.
#[derive(Deserialize)]
struct Line {
    error: Option<String>,
}

/// The first error in a report, which is a JSON document after the other.
fn complaint(report: &[u8]) -> Option<String> {
    let lines = serde_json::Deserializer::from_slice(report).into_iter::<Line>();
    lines.map_while(Result::ok).find_map(|line| line.error).map(|error| one_line(&error, MAX_MESSAGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_in_reports_are_found() {
        let good = b"{\"stream\":\"Loaded image: a\\n\"}\r\n{\"status\":\"x\"}";
        assert_eq!(complaint(good), None);
        let bad = b"{\"stream\":\"x\"}\r\n{\"errorDetail\":{\"message\":\"no\"},\"error\":\"no\\nway\"}\r\n";
        assert_eq!(complaint(bad).as_deref(), Some("no way"));
        assert_eq!(complaint(b"<html>"), None);
    }
}
