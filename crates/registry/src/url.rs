//! Request targets: where a request goes, and what a `Location` or `realm` makes of it.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use hyper::Uri;

/// How a host is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Scheme, host and port: what credentials are bound to, and what a connection can be reused for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) scheme: Scheme,
    /// Lower case; an IPv6 address without brackets. Or the path of a unix socket: it begins with a slash, as
    /// nothing does that is parsed from a URL.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Origin {
    /// `localhost`, 127.0.0.0/8, `::1`, or a socket: this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        self.socket().is_some()
            || self.host == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl Origin {
    /// The unix socket it is, if it is one.
    pub(crate) fn socket(&self) -> Option<&Path> {
        self.host.starts_with('/').then(|| Path::new(&self.host))
    }

    /// For a `Host` header. A socket has no name, but servers want one.
    pub(crate) fn header(&self) -> String {
        if self.socket().is_some() { "localhost".to_owned() } else { self.to_string() }
    }
}

/// As in a `Host` header, but for sockets.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.socket().is_some() {
            return f.write_str(&self.host);
        }
        if self.host.contains(':') { write!(f, "[{}]", self.host) } else { f.write_str(&self.host) }?;
        if self.port == self.scheme.default_port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// An origin, and path and query on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) origin: Origin,
    /// Begins with `/`.
    pub(crate) path: String,
}

impl Target {
    /// An absolute http or https URL without user information.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let scheme = match uri.scheme_str()? {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let authority = uri.authority()?;
        let host = authority.host();
        if host.is_empty() || authority.as_str().contains('@') {
            return None;
        }
        let port = match authority.as_str().strip_prefix(host)? {
            "" => scheme.default_port(),
            rest => rest.strip_prefix(':')?.parse().ok().filter(|port| *port != 0)?,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let slash = if path.starts_with('/') { "" } else { "/" };
        Some(Self { origin: Origin { scheme, host, port }, path: format!("{slash}{path}") })
    }

    /// What a `Location` header sent by this target means (RFC 9110 section 10.2.2).
    pub(crate) fn join(&self, location: &str) -> Option<Self> {
        let scheme = match self.origin.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        if location.contains("://") && !location.starts_with('/') && !location.starts_with('?') {
            return Self::parse(location);
        }
        if location.starts_with("//") {
            return Self::parse(&format!("{scheme}:{location}"));
        }
        let path = self.path.split('?').next().unwrap_or("/");
        let path = match location.chars().next()? {
            '/' => location.to_owned(),
            '?' => format!("{path}{location}"),
            _ => format!("{}/{location}", path.rsplit_once('/').map_or("", |(parent, _)| parent)),
        };
        Self::parse(&format!("{scheme}://{}{path}", self.origin))
    }

    /// The same with more query parameters.
    pub(crate) fn with_query(&self, pairs: &[(&str, &str)]) -> Self {
        let joint = if self.path.contains('?') { '&' } else { '?' };
        Self { origin: self.origin.clone(), path: format!("{}{joint}{}", self.path, form(pairs)) }
    }
}

/// `a=b&c=d` with everything but unreserved characters escaped: fit for a query and for a form body.
pub(crate) fn form(pairs: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        escape(name, &mut out);
        out.push('=');
        escape(value, &mut out);
    }
    out
}

fn escape(text: &str, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte.into());
        } else {
            out.push('%');
            out.push(DIGITS[usize::from(byte >> 4)].into());
            out.push(DIGITS[usize::from(byte & 15)].into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(location: &str) -> Option<String> {
        let base = Target::parse("https://reg.example:5000/v2/a/blobs/x?y=1").unwrap();
        base.join(location).map(|t| format!("{:?} {} {}", t.origin.scheme, t.origin, t.path))
    }

    #[test]
    fn locations_are_resolved() {
        for (location, expected) in [
            ("https://cdn.example/x?sig=1", "Https cdn.example /x?sig=1"),
            ("http://cdn.example", "Http cdn.example /"),
            ("//cdn.example/x", "Https cdn.example /x"),
            ("/other?u=http://x/", "Https reg.example:5000 /other?u=http://x/"),
            ("sibling", "Https reg.example:5000 /v2/a/blobs/sibling"),
            ("?z=2", "Https reg.example:5000 /v2/a/blobs/x?z=2"),
            ("https://[::1]:5000/x", "Https [::1]:5000 /x"),
            ("HTTPS://Cdn.Example:443/x#f", "Https cdn.example /x"),
        ] {
            assert_eq!(joined(location).as_deref(), Some(expected), "{location}");
        }
    }

    #[test]
    fn hostile_locations_are_refused() {
        for location in [
            "",
            "ftp://x/",
            "file:///etc/passwd",
            "https://user:pw@x/",
            "https://x:0/",
            "https://x:99999/",
            "https:///x",
            "/a b",
            "/a\r\nX: y",
            "https://x:/",
        ] {
            assert_eq!(joined(location), None, "{location:?}");
        }
    }

    #[test]
    fn query_values_are_escaped() {
        let realm = Target::parse("https://auth.example/token?x=1").unwrap();
        let target = realm.with_query(&[("scope", "repository:a/b:pull"), ("service", "a b&c=d")]);
        assert_eq!(target.path, "/token?x=1&scope=repository%3Aa%2Fb%3Apull&service=a%20b%26c%3Dd");
    }

    #[test]
    fn loopback_is_recognised() {
        for (url, expected) in [
            ("http://127.3.2.1/", true),
            ("http://[::1]:5000/", true),
            ("http://localhost:5000/", true),
            ("http://10.0.0.1/", false),
            ("http://localhost.example/", false),
            ("http://127.0.0.1.example/", false),
        ] {
            assert_eq!(Target::parse(url).unwrap().origin.is_loopback(), expected, "{url}");
        }
    }
}
