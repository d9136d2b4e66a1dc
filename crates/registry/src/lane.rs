//! A lane: one thread's way to the network.
//!
//! The public interface blocks, and several threads use one [`Registry`](crate::Registry) at once. Each call,
//! and each blob while it is read, owns a lane: a runtime of its own with the connections opened on it. The
//! runtime only turns while its owner waits in it, on the owner's thread. So there is no thread in the
//! background, no channel on the way of the bytes, TLS runs on as many cores as there are readers, and an
//! unread blob holds its server back through TCP. Lanes are kept for the next call, with their connections.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LENGTH, HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::http::response::Parts;
use hyper::{HeaderMap, Method, Request};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::body::{Feed, Payload, Source};
use crate::cancel::Cancel;
use crate::dial::{Connection, Dialer, http_error, within};
use crate::error::{Error, Problem};
use crate::proxy::Hop;
use crate::url::{Origin, Target};

/// Connections kept per lane: registry, token server, two storage hosts.
const MAX_CONNECTIONS: usize = 4;
/// Servers commonly close idle connections after 60 s or more; asking on a closed one costs a round trip.
const MAX_IDLE: Duration = Duration::from_secs(50);
/// Bytes of an unwanted body read to save its connection.
const MAX_DRAIN: usize = 64 << 10;
/// For that: a server may not make it last.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);
/// How much longer a server may take to answer an upload: it may have to copy what it got, and a proxy before
/// it may have taken everything before it passes on anything.
const PATIENCE: u32 = 10;

/// A request without the parts the origin decides.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The server may take longer than usual to answer.
    pub(crate) patient: bool,
}

/// A response whose body is still on the wire.
pub(crate) struct Exchange {
    pub(crate) head: Parts,
    pub(crate) origin: Origin,
    body: Incoming,
    connection: Connection,
    /// Of a request that was answered before all of it was sent: the connection is of no further use.
    unsent: Option<Feed>,
}

impl Exchange {
    /// Announced length of the body.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }
}

struct Idle {
    origin: Origin,
    connection: Connection,
    since: Instant,
}

pub(crate) struct Lane {
    runtime: Runtime,
    idle: Vec<Idle>,
    cancel: Cancel,
}

impl Lane {
    pub(crate) fn new() -> Result<Self, Error> {
        let runtime =
            Builder::new_current_thread().enable_io().enable_time().build().map_err(Error::Setup)?;
        Ok(Self { runtime, idle: Vec::new(), cancel: Cancel::never() })
    }

    /// All that is waited for from now on ends when `cancel` is set.
    pub(crate) fn end_by(&mut self, cancel: &Cancel) {
        self.cancel = cancel.clone();
    }

    fn run<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.runtime.block_on(self.cancel.unless(work)).unwrap_or(Err(Error::Cancelled))
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
        let mut body = Source::bytes(outgoing.body.clone());
        self.send(dialer, target, own, outgoing, &mut body, limit)
    }

    /// The same with another body. `limit` is for each piece of it to leave, and then for the answer.
    pub(crate) fn send(
        &mut self,
        dialer: &Dialer,
        target: &Target,
        own: bool,
        outgoing: &Outgoing,
        body: &mut Source<'_>,
        limit: Duration,
    ) -> Result<Exchange, Error> {
        if !body.is_repeatable() && self.idle.iter().any(|idle| idle.origin == target.origin) {
            self.settle();
        }
        if let Some(connection) = self.take(&target.origin) {
            match self.run(send(connection, target, outgoing, body, limit)) {
                // Closed by the server while it was idle: says nothing about the server now. What is added to an
                // upload may have been added all the same (RFC 9110 section 9.2.2).
                Err(Error::Lost { .. }) if outgoing.method != Method::PATCH && body.rewind() => {}
                outcome => return outcome,
            }
        }
        self.run(async {
            let connection = dialer.dial(&target.origin, own).await?;
            send(connection, target, outgoing, body, limit).await
        })
    }

    /// Sends what was not sent yet when the answer came, for a server that reads on.
    pub(crate) fn send_rest(
        &self,
        exchange: &mut Exchange,
        body: &mut Source<'_>,
        limit: Duration,
    ) -> Result<(), Error> {
        let Some(feed) = exchange.unsent.take() else { return Ok(()) };
        let host = exchange.origin.to_string();
        self.run(async {
            loop {
                let room = within(&host, limit, async { Ok(feed.reserve().await) }).await?;
                // It does not read on.
                let Ok(room) = room else { return Ok(()) };
                let piece = body.next()?;
                let ended = piece.is_none();
                room.send(piece);
                if ended {
                    return Ok(());
                }
            }
        })
    }

    /// The next piece of a body; `None` at its end.
    pub(crate) fn next(&self, exchange: &mut Exchange, limit: Duration) -> Result<Option<Bytes>, Error> {
        self.run(next(exchange, limit))
    }

    /// A whole body of at most `max` bytes. `what` is for messages; `limit` is for the next bytes, `over` for all of them.
    pub(crate) fn collect(
        &mut self,
        mut exchange: Exchange,
        what: &str,
        max: usize,
        (limit, over): (Duration, Duration),
    ) -> Result<Vec<u8>, Error> {
        let host = exchange.origin.to_string();
        let too_large = || Error::TooLarge { object: what.to_owned(), host: host.clone(), limit: max as u64 };
        if exchange.announced().is_some_and(|length| length > max as u64) {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        self.run(async {
            let reading = timeout(over, async {
                while let Some(piece) = next(&mut exchange, limit).await? {
                    if bytes.len() + piece.len() > max {
                        return Err(too_large());
                    }
                    bytes.extend_from_slice(&piece);
                }
                Ok(())
            });
            let outcome = reading.await;
            let slow = |_| Error::Slow { host: host.clone(), bytes: bytes.len() as u64, over };
            outcome.map_err(slow)?
        })?;
        self.keep(exchange);
        Ok(bytes)
    }

    /// Passes over a body nobody wants, when that is cheaper than a new connection.
    pub(crate) fn drain(&mut self, exchange: Exchange) {
        if exchange.announced().is_none_or(|length| length <= MAX_DRAIN as u64) {
            // A failure costs the connection, nothing else.
            drop(self.collect(exchange, "body", MAX_DRAIN, (DRAIN_LIMIT, DRAIN_LIMIT)));
        }
    }

    /// Keeps the connection of a response that was read to its end.
    pub(crate) fn keep(&mut self, exchange: Exchange) {
        if exchange.unsent.is_some() {
            return;
        }
        if self.idle.len() == MAX_CONNECTIONS {
            self.idle.remove(0);
        }
        let Exchange { origin, connection, .. } = exchange;
        self.idle.push(Idle { origin, connection, since: Instant::now() });
    }

    pub(crate) fn sleep(&self, duration: Duration) -> Result<(), Error> {
        // The timer must be made inside the runtime.
        self.run(async {
            tokio::time::sleep(duration).await;
            Ok(())
        })
    }

    /// Lets connections notice that their servers have hung up since the runtime last turned.
    fn settle(&self) {
        self.runtime.block_on(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            tokio::task::yield_now().await;
        });
    }

    fn take(&mut self, origin: &Origin) -> Option<Connection> {
        self.idle.retain(|idle| idle.since.elapsed() < MAX_IDLE && !idle.connection.sender.is_closed());
        let index = self.idle.iter().position(|idle| idle.origin == *origin)?;
        Some(self.idle.swap_remove(index).connection)
    }
}

/// What comes next while a body is sent.
enum Step {
    /// Whether there is room for a piece; none comes again when not.
    Room(bool),
    Answer(hyper::Result<hyper::Response<Incoming>>),
}

async fn send(
    mut connection: Connection,
    target: &Target,
    outgoing: &Outgoing,
    body: &mut Source<'_>,
    limit: Duration,
) -> Result<Exchange, Error> {
    let host = target.origin.to_string();
    let (payload, mut feed) = Payload::new(body.length());
    let request = request(target, &host, outgoing, payload, connection.proxy.as_ref())?;
    let lost = |error| http_error(&host, error);
    within(&host, limit, async { connection.sender.ready().await.map_err(lost) }).await?;
    let mut answer = pin!(connection.sender.send_request(request));
    while let Some(room) = &feed {
        // Room for a piece, unless the answer comes first.
        let step = {
            let mut reserve = pin!(room.reserve());
            let step = poll_fn(|context| match answer.as_mut().poll(context) {
                Poll::Ready(answer) => Poll::Ready(Step::Answer(answer)),
                Poll::Pending => reserve.as_mut().poll(context).map(|room| Step::Room(room.is_ok())),
            });
            within(&host, limit, async { Ok(step.await) }).await?
        };
        match step {
            Step::Room(true) => {
                let piece = body.next()?;
                let ended = piece.is_none() || body.is_complete();
                // Nobody else sends, so there still is room.
                let sent = room.try_send(piece);
                if ended || sent.is_err() {
                    feed = None;
                }
            }
            // The connection has all it wants, or has ended: the answer says which.
            Step::Room(false) => feed = None,
            Step::Answer(answer) => {
                let (head, body) = answer.map_err(lost)?.into_parts();
                let origin = target.origin.clone();
                return Ok(Exchange { head, origin, body, connection, unsent: feed });
            }
        }
    }
    let limit = if outgoing.patient { limit * PATIENCE } else { limit };
    let answer = within(&host, limit, async { answer.await.map_err(lost) }).await?;
    let (head, body) = answer.into_parts();
    Ok(Exchange { head, origin: target.origin.clone(), body, connection, unsent: None })
}

fn request(
    target: &Target,
    host: &str,
    outgoing: &Outgoing,
    payload: Payload,
    proxy: Option<&Hop>,
) -> Result<Request<Payload>, Error> {
    let malformed =
        || Error::Protocol { object: target.path.clone(), host: host.to_owned(), problem: Problem::Location };
    // hyper says nothing of a body that is empty; servers want to be told where one is usual (RFC 9110
    // section 8.6).
    let usual = matches!(outgoing.method, Method::POST | Method::PUT | Method::PATCH);
    let empty = usual && payload.is_end_stream();
    let mut request = Request::new(payload);
    *request.method_mut() = outgoing.method.clone();
    *request.headers_mut() = outgoing.headers.clone();
    // A proxy wants to be told the host, too (RFC 9112 section 3.2.2).
    let place = if proxy.is_some() { format!("http://{host}{}", target.path) } else { target.path.clone() };
    *request.uri_mut() = place.parse().map_err(|_| malformed())?;
    if let Some(authorization) = proxy.and_then(|proxy| proxy.authorization.as_ref()) {
        request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
    }
    request.headers_mut().insert(HOST, target.origin.header().parse().map_err(|_| malformed())?);
    if empty {
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Ok(request)
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
