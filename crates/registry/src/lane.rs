//! A lane: one thread's way to the network.
//!
//! The public interface blocks, and several threads use one [`Registry`](crate::Registry) at once. Each call,
//! and each blob while it is read, owns a lane: a runtime of its own with the connections opened on it. The
//! runtime only turns while its owner waits in it, on the owner's thread. So there is no thread in the
//! background, no channel on the way of the bytes, TLS runs on as many cores as there are readers, and an
//! unread blob holds its server back through TCP. Lanes are kept for the next call, with their connections.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::http::response::Parts;
use hyper::{HeaderMap, Method, Request};
use tokio::runtime::{Builder, Runtime};

use crate::dial::{Dialer, http_error, within};
use crate::error::{Error, Problem};
use crate::url::{Origin, Target};

/// Connections kept per lane: registry, token server, two storage hosts.
const MAX_CONNECTIONS: usize = 4;
/// Servers commonly close idle connections after 60 s or more; asking on a closed one costs a round trip.
const MAX_IDLE: Duration = Duration::from_secs(50);
/// Bytes of an unwanted body read to save its connection.
const MAX_DRAIN: usize = 64 << 10;
/// For that, and for documents, which are small: a server may not make them last.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);
const DOCUMENT_LIMIT: Duration = Duration::from_secs(120);

/// A request without the parts the origin decides.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A response whose body is still on the wire.
pub(crate) struct Exchange {
    pub(crate) head: Parts,
    pub(crate) origin: Origin,
    body: Incoming,
    connection: SendRequest<Full<Bytes>>,
}

impl Exchange {
    /// Announced length of the body.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }
}

struct Idle {
    origin: Origin,
    connection: SendRequest<Full<Bytes>>,
    since: Instant,
}

pub(crate) struct Lane {
    runtime: Runtime,
    idle: Vec<Idle>,
}

impl Lane {
    pub(crate) fn new() -> Result<Self, Error> {
        let runtime =
            Builder::new_current_thread().enable_io().enable_time().build().map_err(Error::Setup)?;
        Ok(Self { runtime, idle: Vec::new() })
    }

    /// Sends a request and waits for the head of the response.
    pub(crate) fn exchange(
        &mut self,
        dialer: &Dialer,
        target: &Target,
        own: bool,
        outgoing: &Outgoing,
        limit: Duration,
    ) -> Result<Exchange, Error> {
        let host = target.origin.to_string();
        if let Some(mut connection) = self.take(&target.origin) {
            match self.runtime.block_on(within(&host, limit, send(&mut connection, target, outgoing))) {
                // Closed by the server while it was idle: says nothing about the server now.
                Err(Error::Lost { .. }) => {}
                sent => {
                    let (head, body) = sent?;
                    return Ok(Exchange { head, origin: target.origin.clone(), body, connection });
                }
            }
        }
        self.runtime.block_on(async {
            let mut connection = dialer.dial(&target.origin, own).await?;
            let (head, body) = within(&host, limit, send(&mut connection, target, outgoing)).await?;
            Ok(Exchange { head, origin: target.origin.clone(), body, connection })
        })
    }

    /// The next piece of a body; `None` at its end.
    pub(crate) fn next(&self, exchange: &mut Exchange, limit: Duration) -> Result<Option<Bytes>, Error> {
        self.runtime.block_on(next(exchange, limit))
    }

    /// A whole body of at most `max` bytes. `what` is for messages.
    pub(crate) fn collect(
        &mut self,
        mut exchange: Exchange,
        what: &str,
        max: usize,
        limit: Duration,
    ) -> Result<Vec<u8>, Error> {
        let host = exchange.origin.to_string();
        let too_large = || Error::TooLarge { object: what.to_owned(), host: host.clone(), limit: max as u64 };
        if exchange.announced().is_some_and(|length| length > max as u64) {
            return Err(too_large());
        }
        let bytes = self.runtime.block_on(within(&host, DOCUMENT_LIMIT, async {
            let mut bytes = Vec::new();
            while let Some(piece) = next(&mut exchange, limit).await? {
                if bytes.len() + piece.len() > max {
                    return Err(too_large());
                }
                bytes.extend_from_slice(&piece);
            }
            Ok(bytes)
        }))?;
        self.keep(exchange);
        Ok(bytes)
    }

    /// Passes over a body nobody wants, when that is cheaper than a new connection.
    pub(crate) fn drain(&mut self, exchange: Exchange) {
        if exchange.announced().is_none_or(|length| length <= MAX_DRAIN as u64) {
            // A failure costs the connection, nothing else.
            drop(self.collect(exchange, "body", MAX_DRAIN, DRAIN_LIMIT));
        }
    }

    /// Keeps the connection of a response that was read to its end.
    pub(crate) fn keep(&mut self, exchange: Exchange) {
        if self.idle.len() == MAX_CONNECTIONS {
            self.idle.remove(0);
        }
        let Exchange { origin, connection, .. } = exchange;
        self.idle.push(Idle { origin, connection, since: Instant::now() });
    }

    pub(crate) fn sleep(&self, duration: Duration) {
        // The timer must be made inside the runtime.
        self.runtime.block_on(async { tokio::time::sleep(duration).await });
    }

    fn take(&mut self, origin: &Origin) -> Option<SendRequest<Full<Bytes>>> {
        self.idle.retain(|idle| idle.since.elapsed() < MAX_IDLE && !idle.connection.is_closed());
        let index = self.idle.iter().position(|idle| idle.origin == *origin)?;
        Some(self.idle.swap_remove(index).connection)
    }
}

async fn send(
    connection: &mut SendRequest<Full<Bytes>>,
    target: &Target,
    outgoing: &Outgoing,
) -> Result<(Parts, Incoming), Error> {
    let host = target.origin.to_string();
    let mut request = Request::new(Full::new(outgoing.body.clone()));
    *request.method_mut() = outgoing.method.clone();
    *request.headers_mut() = outgoing.headers.clone();
    let malformed =
        || Error::Protocol { object: target.path.clone(), host: host.clone(), problem: Problem::Location };
    *request.uri_mut() = target.path.parse().map_err(|_| malformed())?;
    request.headers_mut().insert(hyper::header::HOST, host.parse().map_err(|_| malformed())?);
    connection.ready().await.map_err(|error| http_error(&host, error))?;
    let response = connection.send_request(request).await.map_err(|error| http_error(&host, error))?;
    Ok(response.into_parts())
}

async fn next(exchange: &mut Exchange, limit: Duration) -> Result<Option<Bytes>, Error> {
    let host = exchange.origin.to_string();
    loop {
        let frame = within(&host, limit, async {
            exchange.body.frame().await.transpose().map_err(|error| http_error(&host, error))
        });
        match frame.await?.map(hyper::body::Frame::into_data) {
            None => return Ok(None),
            Some(Ok(data)) if !data.is_empty() => return Ok(Some(data)),
            // Trailers.
            Some(_) => {}
        }
    }
}
