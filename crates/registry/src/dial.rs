//! From an origin to an open connection.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::body::Payload;
use crate::dns::{ResolveError, Resolver};
use crate::error::{Error, Problem};
use crate::proxy::{Hop, Proxies};
use crate::tls::Tls;
use crate::url::{Origin, Scheme};

/// How long one address may keep the next one waiting (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// Largest response head; Go's client allows 1 MiB, real ones have below 4 KiB.
const MAX_HEAD: usize = 64 << 10;

/// Opens connections.
pub(crate) struct Dialer {
    pub(crate) resolver: Resolver,
    pub(crate) proxies: Proxies,
    pub(crate) tls: Tls,
    /// For the name, and again for the rest.
    pub(crate) limit: Duration,
}

/// What bytes go over: TCP, or TLS with a proxy.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// An open connection.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<Payload>,
    /// The proxy that reads the requests on it.
    pub(crate) proxy: Option<Hop>,
}

impl Dialer {
    /// Connects, perhaps through a proxy. `own` is whether this is the registry itself.
    pub(crate) async fn dial(&self, origin: &Origin, own: bool) -> Result<Connection, Error> {
        if let Some(socket) = origin.socket() {
            let host = origin.to_string();
            let stream = timeout(self.limit, UnixStream::connect(socket)).await;
            let stream = stream
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                .map_err(|source| Error::Unreachable { host: host.clone(), source })?;
            return Ok(Connection { sender: handshake(&host, stream).await?, proxy: None });
        }
        let proxy = self.proxies.hop(origin)?;
        let (first, name) = match proxy {
            Some(proxy) => (&proxy.origin, proxy.name()),
            None => (origin, origin.to_string()),
        };
        let resolving = timeout(self.limit, self.resolver.resolve(&first.host)).await;
        let addresses = resolving
            .unwrap_or(Err(ResolveError::Timeout))
            .map_err(|source| Error::Resolve { host: first.host.clone(), source })?;
        let connecting = async {
            let stream = connect(&addresses, first.port)
                .await
                .map_err(|source| Error::Unreachable { host: name.clone(), source })?;
            let Some(proxy) = proxy else { return self.speak(origin, own, stream, None).await };
            let mut stream: Box<dyn Stream> = match proxy.origin.scheme {
                Scheme::Http => Box::new(stream),
                Scheme::Https => Box::new(self.secure_proxy(proxy, stream).await?),
            };
            match (&proxy.socks, origin.scheme) {
                (Some(socks), _) => socks.connect(&mut stream, origin, &name).await?,
                (None, Scheme::Https) => proxy.tunnel(&mut stream, origin).await?,
                // It reads the requests.
                (None, Scheme::Http) => return self.speak(origin, own, stream, Some(proxy)).await,
            }
            self.speak(origin, own, stream, None).await
        };
        timeout(self.limit, connecting).await.unwrap_or_else(|_| {
            Err(Error::Unreachable { host: name.clone(), source: io::ErrorKind::TimedOut.into() })
        })
    }

    /// HTTP with the host, over TLS if that is its scheme.
    async fn speak<S>(
        &self,
        origin: &Origin,
        own: bool,
        stream: S,
        proxy: Option<&Hop>,
    ) -> Result<Connection, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let host = origin.to_string();
        let sender = match origin.scheme {
            Scheme::Http => handshake(&host, stream).await?,
            Scheme::Https => handshake(&host, self.secure(origin, own, stream).await?).await?,
        };
        Ok(Connection { sender, proxy: proxy.cloned() })
    }

    /// TLS with a proxy, which is shown no certificate.
    async fn secure_proxy(
        &self,
        proxy: &Hop,
        stream: TcpStream,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static, Error> {
        let failed = |source| Error::ProxyTls { proxy: proxy.name(), source };
        self.secure(&proxy.origin, false, stream).await.map_err(|error| match error {
            Error::Tls { source, .. } => failed(source),
            Error::PlainHttp { .. } => failed("it does not speak TLS".into()),
            Error::Lost { source, .. } => Error::Lost { host: proxy.name(), source },
            other => other,
        })
    }

    async fn secure<S>(
        &self,
        origin: &Origin,
        own: bool,
        stream: S,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static + use<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let configs = self.tls.configs()?;
        let config = if own { configs.own } else { configs.other };
        let host = if own { self.tls.host.clone() } else { origin.to_string() };
        let name = ServerName::try_from(origin.host.clone())
            .map_err(|source| Error::Tls { host: host.clone(), source: Box::new(source) })?;
        TlsConnector::from(Arc::clone(&config))
            .connect(name, stream)
            .await
            .map_err(|error| tls_error(host, error))
    }
}

/// Tells a host that speaks no TLS, or hangs up, from one whose TLS is not accepted.
fn tls_error(host: String, error: io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            Error::PlainHttp { host }
        }
        Some(tls) => Error::Tls { host, source: tls.clone().into() },
        None => Error::Lost { host, source: error.into() },
    }
}

/// Tries addresses in order; each starts when the one before failed, or after [`STAGGER`]. First come, first
/// served.
async fn connect(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut waiting = addresses.iter();
    let mut attempts = JoinSet::new();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(address) = waiting.next() {
            attempts.spawn(connect_one(SocketAddr::new(*address, port)));
        }
        let joined = if waiting.as_slice().is_empty() {
            attempts.join_next().await
        } else {
            let Ok(joined) = timeout(STAGGER, attempts.join_next()).await else { continue };
            joined
        };
        match joined {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => last = error,
            Some(Err(error)) => last = io::Error::other(error),
            None => return Err(last),
        }
    }
}

async fn connect_one(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Starts HTTP on a connection. Its task runs whenever the lane's runtime does.
async fn handshake<S>(host: &str, stream: S) -> Result<SendRequest<Payload>, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = Builder::new()
        .max_header_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| http_error(host, error))?;
    // What ends the connection also ends the request on it, with the same error.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// What an error of the HTTP layer means for the caller.
pub(crate) fn http_error(host: &str, error: hyper::Error) -> Error {
    let host = host.to_owned();
    if error.is_parse() {
        return Error::Protocol { object: "response".to_owned(), host, problem: Problem::Http };
    }
    Error::Lost { host, source: error.into() }
}

/// `work`, or [`Error::Timeout`].
pub(crate) async fn within<T>(
    host: &str,
    after: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(after, work).await.unwrap_or_else(|_| Err(Error::Timeout { host: host.to_owned(), after }))
}
