//! How a SOCKS 5 proxy is told to connect (RFC 1928), perhaps with a user name and a password (RFC 1929).

use std::io;
use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::Error;
use crate::url::Origin;

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;

/// A proxy of that kind.
#[derive(Clone)]
pub(crate) struct Socks {
    /// Of at most 255 bytes each.
    login: Option<(Vec<u8>, Vec<u8>)>,
}

impl Socks {
    /// `None` for a login that the protocol has no room for.
    pub(crate) fn new(login: Option<(Vec<u8>, Vec<u8>)>) -> Option<Self> {
        let fits = |text: &[u8]| (1..256).contains(&text.len());
        let fit = login.as_ref().is_none_or(|(name, password)| fits(name) && fits(password));
        fit.then_some(Self { login })
    }

    /// Has it connect to a host, by its name: the proxy looks up the address. `proxy` is for messages.
    pub(crate) async fn connect(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        origin: &Origin,
        proxy: &str,
    ) -> Result<(), Error> {
        let failed = |source: io::Error| Error::Lost { host: proxy.to_owned(), source: source.into() };
        let refused = |problem| Error::Socks { proxy: proxy.to_owned(), host: origin.to_string(), problem };
        let nonsense = || refused("it does not speak SOCKS 5");
        let methods: &[u8] = if self.login.is_some() { &[NO_LOGIN, PASSWORD] } else { &[NO_LOGIN] };
        let greeting = [&[VERSION, methods.len() as u8], methods].concat();
        stream.write_all(&greeting).await.map_err(failed)?;
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).await.map_err(failed)?;
        match (answer, &self.login) {
            ([VERSION, NO_LOGIN], _) => {}
            ([VERSION, PASSWORD], Some((name, password))) => {
                // Of its own version, 1. The lengths were looked at.
                let login = [&[1, name.len() as u8], &name[..], &[password.len() as u8], password].concat();
                stream.write_all(&login).await.map_err(failed)?;
                stream.read_exact(&mut answer).await.map_err(failed)?;
                if answer[1] != 0 {
                    return Err(refused("it refuses this user name and password"));
                }
            }
            ([VERSION, 0xff], None) => {
                return Err(refused("it wants a login; put a user name and a password into its URL"));
            }
            ([VERSION, 0xff], Some(_)) => return Err(refused("it takes no user name and password")),
            _ => return Err(nonsense()),
        }
        let mut request = vec![VERSION, 1, 0];
        match origin.host.parse() {
            Ok(IpAddr::V4(address)) => request.extend([&[1], &address.octets()[..]].concat()),
            Ok(IpAddr::V6(address)) => request.extend([&[4], &address.octets()[..]].concat()),
            Err(_) => {
                let length = u8::try_from(origin.host.len()).map_err(|_| refused("the name is too long"))?;
                request.extend([&[3, length], origin.host.as_bytes()].concat());
            }
        }
        request.extend(origin.port.to_be_bytes());
        stream.write_all(&request).await.map_err(failed)?;
        let mut head = [0; 4];
        stream.read_exact(&mut head).await.map_err(failed)?;
        match head[..2] {
            [VERSION, 0] => {}
            [VERSION, reason] => return Err(refused(reason_of(reason))),
            _ => return Err(nonsense()),
        }
        // Where it connects from, which is nobody's business here, and a port.
        let length = match head[3] {
            1 => 4,
            4 => 16,
            3 => usize::from(stream.read_u8().await.map_err(failed)?),
            _ => return Err(nonsense()),
        };
        stream.read_exact(&mut [0; 257][..length + 2]).await.map_err(failed)?;
        Ok(())
    }
}

/// RFC 1928 section 6.
fn reason_of(reply: u8) -> &'static str {
    match reply {
        2 => "its rules do not allow that",
        3 => "the network cannot be reached",
        4 => "the host is not known or cannot be reached",
        5 => "the connection is refused",
        6 => "the host does not answer in time",
        7 | 8 => "it cannot do that",
        _ => "it failed",
    }
}
