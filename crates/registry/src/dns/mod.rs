//! A stub resolver: hosts file, then the servers of resolv.conf. The C library's cannot be used: it loads
//! NSS modules, which crash in a static binary.
//!
//! The messages are encoded and decoded here, in some 150 lines, rather than with `hickory-proto`: that
//! crate brings 52 others, for two record types.

mod files;
mod message;

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::time::timeout;

use files::ResolvConf;
use message::{Answer, Kind};

/// For one question to one server.
const SERVER_TIMEOUT: Duration = Duration::from_secs(5);
/// Rounds over all servers.
const TRIES: usize = 2;
/// Where servers listen.
const PORT: u16 = 53;
/// Without EDNS answers have at most 512 bytes (RFC 1035 section 4.2.1); some servers send more.
const UDP_SIZE: usize = 4096;
/// Addresses of one name that are used.
const MAX_ADDRESSES: usize = 16;

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// No server knows it.
    #[error("no such host; check the name")]
    NotFound,
    /// Not a name that can be asked for.
    #[error("not a host name")]
    Invalid,
    /// No server gave a usable answer.
    #[error("no answer from name server {servers}; check resolv.conf")]
    NoAnswer {
        /// Who was asked.
        servers: String,
        /// What went wrong with the last one.
        #[source]
        source: io::Error,
    },
    /// Names could not be looked up in time.
    #[error("name servers are too slow; check resolv.conf")]
    Timeout,
    /// The hosts file or resolv.conf cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

/// Where names are looked up. Both files are read at each use: they change when a network does.
#[derive(Debug, Clone)]
pub(crate) struct Resolver {
    pub(crate) hosts: PathBuf,
    pub(crate) resolv_conf: PathBuf,
}

impl Resolver {
    /// The addresses of a host, in the order to try them: never empty.
    pub(crate) async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let from_file = files::hosts(&read(&self.hosts)?, host);
        if !from_file.is_empty() {
            return Ok(interleave(from_file));
        }
        // RFC 6761 section 6.3: never leaves the machine.
        if host.trim_end_matches('.').eq_ignore_ascii_case("localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let conf = files::resolv_conf(&read(&self.resolv_conf)?);
        let mut failure = ResolveError::NotFound;
        for name in conf.candidates(host) {
            match ask(&conf, &name).await {
                Ok(addresses) if addresses.is_empty() => {}
                Ok(addresses) => return Ok(interleave(addresses)),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

fn read(path: &PathBuf) -> Result<String, ResolveError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(ResolveError::File { path: path.clone(), source }),
    }
}

/// IPv6 and IPv4 by turns, so that one broken family costs one attempt (RFC 8305 section 4).
fn interleave(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (six, four): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let mut out = Vec::new();
    for index in 0..six.len().max(four.len()) {
        out.extend(six.get(index));
        out.extend(four.get(index));
    }
    out.truncate(MAX_ADDRESSES);
    out
}

/// Asks all servers in turn for both kinds of addresses of an absolute name. Empty: the name has none.
async fn ask(conf: &ResolvConf, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
    let queries = [query(name, Kind::Aaaa)?, query(name, Kind::A)?];
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for _ in 0..TRIES {
        for server in &conf.servers {
            match ask_server(SocketAddr::new(*server, PORT), &queries).await {
                Ok(addresses) => return Ok(addresses),
                Err(error) => last = error,
            }
        }
    }
    let servers = conf.servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Err(ResolveError::NoAnswer { servers, source: last })
}

fn query(name: &str, kind: Kind) -> Result<Vec<u8>, ResolveError> {
    let mut id = [0; 2];
    // A predictable id would make answers easy to forge.
    SystemRandom::new().fill(&mut id).map_err(|_| ResolveError::Invalid)?;
    message::query(u16::from_be_bytes(id), name, kind).map_err(|_| ResolveError::Invalid)
}

/// Both questions over one socket, which the kernel gives a random port. An answer to one of them alone is
/// good enough when it has addresses: some servers drop AAAA.
async fn ask_server(server: SocketAddr, queries: &[Vec<u8>; 2]) -> io::Result<Vec<IpAddr>> {
    let mut answers: [Option<Answer>; 2] = [None, None];
    let outcome = within(SERVER_TIMEOUT, exchange_udp(server, queries, &mut answers)).await;
    let mut addresses = Vec::new();
    let mut missing = false;
    for (query, answer) in queries.iter().zip(answers) {
        let answer = match answer {
            Some(Answer::Truncated) => Some(within(SERVER_TIMEOUT, exchange_tcp(server, query)).await?),
            other => other,
        };
        match answer {
            Some(Answer::Addresses(found)) => addresses.extend(found),
            Some(Answer::NoName) => {}
            Some(Answer::Failed | Answer::Truncated) | None => missing = true,
        }
    }
    if !missing || !addresses.is_empty() {
        return Ok(addresses);
    }
    outcome?;
    Err(io::Error::other("the server failed"))
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn exchange_udp(
    server: SocketAddr,
    queries: &[Vec<u8>; 2],
    answers: &mut [Option<Answer>; 2],
) -> io::Result<()> {
    let any: IpAddr =
        if server.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    // Connected: the kernel drops what others send, and reports a closed port.
    socket.connect(server).await?;
    for query in queries {
        socket.send(query).await?;
    }
    let mut buffer = [0; UDP_SIZE];
    while answers.iter().any(Option::is_none) {
        let length = socket.recv(&mut buffer).await?;
        for (query, slot) in queries.iter().zip(answers.iter_mut()) {
            if slot.is_none() {
                *slot = message::answer(query, &buffer[..length]);
            }
        }
    }
    Ok(())
}

async fn exchange_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Answer> {
    let socket = if server.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
    let mut stream = socket.connect(server).await?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], query].concat()).await?;
    let mut response = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut response).await?;
    message::answer(query, &response).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests;
