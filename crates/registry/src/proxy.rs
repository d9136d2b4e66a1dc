//! Which hosts are asked through a proxy, and how a proxy is told to connect.

use std::fmt;
use std::io;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::Error;
use crate::socks::Socks;
use crate::url::{Origin, Scheme, Target};

/// Largest answer to CONNECT.
const MAX_HEAD: usize = 16 << 10;

/// Proxies as the environment names them; this crate does not read it. The rules are those of Go's `httpproxy`,
/// which other engines use: the machine itself is never asked through a proxy.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxy {
    /// `HTTP_PROXY`: `http://[USER:PASSWORD@]HOST[:PORT]`, for hosts that are spoken to in plain http. The scheme may
    /// be left out, or be `https`, for a proxy that is itself spoken to over TLS, or `socks5` or `socks5h`, which are the
    /// same: the proxy looks up names. Empty is none. One that cannot be used is an error where it would be used.
    pub http: Option<String>,
    /// `HTTPS_PROXY`: likewise, for hosts that are spoken to over TLS, which goes through it unseen.
    pub https: Option<String>,
    /// `NO_PROXY`: names (`a.test` also means everything below it, `.a.test` and `*.a.test` only that), addresses and
    /// networks (`10.0.0.0/8`), separated by commas, perhaps each with a port; `*` for all.
    pub no_proxy: Option<String>,
}

/// Without passwords.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("no_proxy", &self.no_proxy).finish_non_exhaustive()
    }
}

/// The same, parsed.
#[derive(Default)]
pub(crate) struct Proxies {
    http: Option<Result<Hop, Unusable>>,
    https: Option<Result<Hop, Unusable>>,
    exceptions: Vec<Exception>,
}

/// What is no proxy: where it was said, and what, without its login.
struct Unusable {
    variable: &'static str,
    value: String,
}

/// A proxy.
#[derive(Clone)]
pub(crate) struct Hop {
    /// Where it is, and whether it is spoken to over TLS.
    pub(crate) origin: Origin,
    /// `Proxy-Authorization`.
    pub(crate) authorization: Option<HeaderValue>,
    /// It speaks SOCKS rather than HTTP.
    pub(crate) socks: Option<Socks>,
}

/// Something asked for directly.
struct Exception {
    host: Pattern,
    port: Option<u16>,
}

enum Pattern {
    All,
    Network(IpAddr, u32),
    /// Everything that ends so, and whether the name itself is meant too; without a dot in front.
    Name(String, bool),
}

impl Proxies {
    pub(crate) fn parse(proxy: &Proxy) -> Self {
        let hop = |url: &Option<String>, variable| {
            let url = url.as_deref().map(str::trim).filter(|url| !url.is_empty())?;
            Some(Hop::parse(url).ok_or_else(|| Unusable { variable, value: without_login(url) }))
        };
        let exceptions =
            proxy.no_proxy.as_deref().unwrap_or_default().split(',').filter_map(Exception::parse);
        Self {
            http: hop(&proxy.http, "HTTP_PROXY"),
            https: hop(&proxy.https, "HTTPS_PROXY"),
            exceptions: exceptions.collect(),
        }
    }

    /// The proxy to ask an origin through.
    ///
    /// # Errors
    /// [`Error::Proxy`].
    pub(crate) fn hop(&self, origin: &Origin) -> Result<Option<&Hop>, Error> {
        let hop = match origin.scheme {
            Scheme::Http => &self.http,
            Scheme::Https => &self.https,
        };
        let direct = origin.is_loopback() || self.exceptions.iter().any(|exception| exception.means(origin));
        match hop.as_ref().filter(|_| !direct) {
            None => Ok(None),
            Some(Ok(hop)) => Ok(Some(hop)),
            Some(Err(Unusable { variable, value })) => Err(Error::Proxy { variable, value: value.clone() }),
        }
    }
}

/// The usual port of SOCKS (RFC 1928 section 3).
const SOCKS_PORT: u16 = 1080;

impl Hop {
    fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let scheme = scheme.to_ascii_lowercase();
        let (tls, socks) = match scheme.as_str() {
            "http" => ("http", false),
            "https" => ("https", false),
            "socks5" | "socks5h" => ("http", true),
            _ => return None,
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        // A name and an address in brackets have no colon behind them but for a port.
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let port = if socks && !has_port { format!(":{SOCKS_PORT}") } else { String::new() };
        let origin =
            Target::parse(&format!("{tls}://{host}{port}/")).filter(|target| target.path == "/")?.origin;
        let login = match user {
            None => None,
            Some(user) => {
                let (name, password) = user.split_once(':').unwrap_or((user, ""));
                Some((unescape(name)?, unescape(password)?))
            }
        };
        if socks {
            return Some(Self { origin, authorization: None, socks: Some(Socks::new(login)?) });
        }
        let authorization = match login {
            None => None,
            Some((name, password)) => {
                let pair = [name, b":".to_vec(), password].concat();
                let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).ok()?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Some(Self { origin, authorization, socks: None })
    }

    /// For messages.
    pub(crate) fn name(&self) -> String {
        let scheme = match (&self.socks, self.origin.scheme) {
            (Some(_), _) => "socks5://",
            (None, Scheme::Https) => "https://",
            (None, Scheme::Http) => "",
        };
        format!("proxy {scheme}{}", self.origin)
    }

    /// Has the proxy connect to a host (RFC 9110 section 9.3.6).
    pub(crate) async fn tunnel(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        origin: &Origin,
    ) -> Result<(), Error> {
        let host = origin.to_string();
        let failed = |source: io::Error| Error::Lost { host: self.name(), source: source.into() };
        let refused = |status| Error::ProxyRefused { proxy: self.name(), host: host.clone(), status };
        // With a port always, unlike a Host header.
        let bracketed = origin.host.contains(':');
        let name = if bracketed { format!("[{}]", origin.host) } else { origin.host.clone() };
        let target = format!("{name}:{}", origin.port);
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(authorization.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        stream.write_all(&request).await.map_err(failed)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            // Byte by byte: what comes behind the head is the host's, and the host waits for us to speak first.
            if head.len() == MAX_HEAD {
                return Err(refused(0));
            }
            head.push(stream.read_u8().await.map_err(failed)?);
        }
        match status(&head) {
            Some(200..300) => Ok(()),
            other => Err(refused(other.unwrap_or(0))),
        }
    }
}

/// What can be shown of what is no proxy: nothing before the last `@` but the scheme.
fn without_login(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let separator = if scheme.is_empty() { "" } else { "://" };
    match rest.rsplit_once('@') {
        // A login may be all that looks like a scheme.
        Some((_, host)) if scheme.contains('@') || scheme.contains(':') => host.to_owned(),
        Some((_, host)) => format!("{scheme}{separator}{host}"),
        None => url.to_owned(),
    }
}

/// The status of an answer.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let words = std::str::from_utf8(line).ok()?.strip_prefix("HTTP/1.")?;
    words.split(' ').nth(1)?.parse().ok()
}

impl Exception {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if text.is_empty() {
            return None;
        }
        if text == "*" {
            return Some(Self { host: Pattern::All, port: None });
        }
        if let Some((address, bits)) = text.split_once('/')
            && let Ok(address) = address.parse::<IpAddr>()
        {
            let bits = bits.parse().ok().filter(|bits| *bits <= width(address))?;
            return Some(Self { host: Pattern::Network(address, bits), port: None });
        }
        if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Some(Self { host: Pattern::Network(address, width(address)), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (text.as_str(), None),
        };
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Some(Self { host: Pattern::Network(address, width(address)), port });
        }
        let below = host.strip_prefix("*.").or(host.strip_prefix('.'));
        let name = below.unwrap_or(host).trim_end_matches('.');
        Some(Self { host: Pattern::Name(name.to_owned(), below.is_none()), port })
            .filter(|_| !name.is_empty())
    }

    fn means(&self, origin: &Origin) -> bool {
        if self.port.is_some_and(|port| port != origin.port) {
            return false;
        }
        let host = origin.host.trim_end_matches('.');
        match &self.host {
            Pattern::All => true,
            Pattern::Network(network, bits) => {
                host.parse::<IpAddr>().is_ok_and(|address| is_within(address, *network, *bits))
            }
            Pattern::Name(name, itself) => match host.strip_suffix(name.as_str()) {
                Some("") => *itself,
                Some(rest) => rest.ends_with('.'),
                None => false,
            },
        }
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let number = |address| match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    };
    let ignored = width(network) - bits;
    width(address) == width(network)
        && number(address).checked_shr(ignored) == number(network).checked_shr(ignored)
}

/// `%41` for `A`; `None` when it is malformed.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        out.push(match byte {
            b'%' => u8::try_from(digit(bytes.next())? << 4 | digit(bytes.next())?).ok()?,
            byte => byte,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(http: &str, no_proxy: &str) -> Proxies {
        let proxy = Proxy { http: Some(http.into()), https: None, no_proxy: Some(no_proxy.into()) };
        Proxies::parse(&proxy)
    }

    #[test]
    fn proxies_are_urls_or_hosts() {
        for (url, origin, authorization) in [
            ("http://p.test:3128", "p.test:3128", None),
            ("HTTP://p.test/", "p.test", None),
            (" p.test:80 ", "p.test", None),
            ("http://[::1]:3128", "[::1]:3128", None),
            ("http://u:p%40w@p.test:3128", "p.test:3128", Some("Basic dTpwQHc=")),
            ("u@p.test:3128", "p.test:3128", Some("Basic dTo=")),
        ] {
            let Some(Ok(hop)) = proxies(url, "").http else { panic!("{url}") };
            assert_eq!(hop.origin.to_string(), origin, "{url}");
            assert_eq!(hop.authorization.as_ref().map(|it| it.to_str().unwrap()), authorization, "{url}");
        }
        for (url, name) in [
            ("https://p.test", "proxy https://p.test"),
            ("HTTPS://u:p@p.test:3128", "proxy https://p.test:3128"),
            ("socks5://p.test", "proxy socks5://p.test:1080"),
            ("socks5h://u:p@[::1]", "proxy socks5://[::1]:1080"),
            ("socks5://p.test:1/", "proxy socks5://p.test:1"),
        ] {
            let Some(Ok(hop)) = proxies(url, "").http else { panic!("{url}") };
            assert_eq!((hop.name().as_str(), hop.socks.is_some()), (name, url.starts_with("socks")));
        }
        let long = format!("socks5://u:{}@p.test", "p".repeat(256));
        for (bad, shown) in [
            ("socks4://u:secret@p.test:1", "socks4://p.test:1"),
            ("ftp://p.test", "ftp://p.test"),
            ("http://", "http://"),
            ("http://p.test/path", "http://p.test/path"),
            ("p:x", "p:x"),
            ("http://%@p", "http://p"),
            ("u:s://secret@p x", "p x"),
            ("a b", "a b"),
            (&long, "socks5://p.test"),
            // A name without a password.
            ("socks5://u@p.test", "socks5://p.test"),
        ] {
            let proxies = proxies(bad, "");
            let origin = Target::parse("http://a.test").unwrap().origin;
            match proxies.hop(&origin) {
                Err(Error::Proxy { variable: "HTTP_PROXY", value }) => assert_eq!(value, shown),
                _ => panic!("{bad}"),
            }
            // Nobody else is told.
            for direct in ["https://a.test", "http://127.0.0.1:5000"] {
                assert!(matches!(proxies.hop(&Target::parse(direct).unwrap().origin), Ok(None)), "{bad}");
            }
        }
        assert!(proxies("", "").http.is_none());
    }

    #[test]
    fn some_hosts_are_asked_directly() {
        let direct = |no_proxy: &str, url: &str| {
            matches!(proxies("p.test:1", no_proxy).hop(&Target::parse(url).unwrap().origin), Ok(None))
        };
        for url in ["http://localhost:5000", "http://127.3.0.1", "http://[::1]"] {
            assert!(direct("", url), "{url}");
        }
        for (no_proxy, url, expected) in [
            ("", "http://a.test", false),
            ("*", "http://a.test", true),
            ("b.test, A.test", "http://a.test", true),
            ("a.test", "http://x.a.test", true),
            ("a.test", "http://xa.test", false),
            (".a.test", "http://a.test", false),
            (".a.test", "http://x.a.test", true),
            ("*.a.test", "http://x.a.test", true),
            ("*.a.test", "http://a.test", false),
            ("a.test:5000", "http://a.test:5000", true),
            ("a.test:5000", "http://a.test", false),
            ("10.0.0.0/8", "http://10.1.2.3", true),
            ("10.0.0.0/8", "http://11.1.2.3", false),
            ("10.0.0.0/8", "http://name10.test", false),
            ("0.0.0.0/0", "http://11.1.2.3", true),
            ("::/0", "http://[fd00::1]", true),
            ("::/0", "http://10.0.0.1", false),
            ("10.1.2.3", "http://10.1.2.3", true),
            ("10.1.2.3:80", "http://10.1.2.3:81", false),
            ("[fd00::1]", "http://[fd00::1]", true),
            (",,.,10.0.0.0/99,a:b:c", "http://a.test", false),
        ] {
            assert_eq!(direct(no_proxy, url), expected, "{no_proxy} {url}");
        }
        let secure = Target::parse("https://a.test").unwrap().origin;
        assert!(matches!(proxies("p.test:1", "").hop(&secure), Ok(None)));
    }

    #[test]
    fn answers_to_connect_are_read() {
        assert_eq!(status(b"HTTP/1.1 200 Connection established\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 407 \r\nX: y\r\n\r\n"), Some(407));
        for bad in [&b"\r\n\r\n"[..], b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n", b"\xff\r\n\r\n"] {
            assert_eq!(status(bad), None);
        }
    }
}
