//! What may become part of a request: hosts, repositories, tags.

use std::path::Path;

use oci_spec::image::{Digest, DigestAlgorithm};

use crate::error::Error;
use crate::url::{Origin, Scheme, Target};

/// Longest repository name (distribution-spec 1.1, "Pulling manifests").
const MAX_REPOSITORY: usize = 255;
/// Longest tag (same place).
const MAX_TAG: usize = 128;

/// The name Docker's hub is known by, and the host that serves it.
const HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// A registry as named by the user.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// As written: used in messages and for certificate directories.
    pub(crate) name: String,
    address: String,
    port: Option<u16>,
}

impl Host {
    /// Accepts `host`, `host:port`, `1.2.3.4:port`, `[::1]:port`.
    pub(crate) fn parse(name: &str) -> Result<Self, Error> {
        let invalid = || Error::Host { host: name.to_owned() };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(invalid());
        }
        let target = Target::parse(&format!("https://{name}/")).ok_or_else(invalid)?;
        let bracketed = name.starts_with('[');
        if bracketed != target.origin.host.contains(':') {
            return Err(invalid());
        }
        let explicit = name.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
        let address = if name == HUB.0 { HUB.1.to_owned() } else { target.origin.host };
        Ok(Self { name: name.to_owned(), address, port: explicit.then_some(target.origin.port) })
    }

    /// What a URL has.
    pub(crate) fn of(origin: &Origin) -> Self {
        Self { name: origin.to_string(), address: origin.host.clone(), port: Some(origin.port) }
    }

    /// A unix socket.
    pub(crate) fn socket(path: &Path) -> Result<Self, Error> {
        let name = path.to_string_lossy().into_owned();
        match path.to_str() {
            Some(address) if path.is_absolute() => Ok(Self { name, address: address.to_owned(), port: None }),
            _ => Err(Error::Host { host: name }),
        }
    }

    /// Where to connect when `scheme` is spoken.
    pub(crate) fn origin(&self, scheme: Scheme) -> Origin {
        Origin { scheme, host: self.address.clone(), port: self.port.unwrap_or(scheme.default_port()) }
    }
}

/// Checks a repository name: lower-case components separated by `/`.
pub(crate) fn repository(name: &str) -> Result<(), Error> {
    let component = |part: &str| {
        let (Some(first), Some(last)) = (part.bytes().next(), part.bytes().last()) else { return false };
        let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        alphanumeric(first)
            && alphanumeric(last)
            && part.bytes().all(|b| alphanumeric(b) || b"._-".contains(&b))
            && !part.contains("..")
    };
    if name.len() <= MAX_REPOSITORY && name.split('/').all(component) {
        Ok(())
    } else {
        Err(Error::Repository { repository: name.to_owned() })
    }
}

/// Checks a tag or digest; a digest is returned parsed.
pub(crate) fn reference(reference: &str) -> Result<Option<Digest>, Error> {
    let invalid = || Error::Reference { reference: reference.to_owned() };
    if reference.contains(':') {
        let parsed = Digest::try_from(reference).map_err(|_| invalid())?;
        digest(&parsed)?;
        return Ok(Some(parsed));
    }
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = reference.bytes();
    let first = bytes.next().is_some_and(word);
    if first && reference.len() <= MAX_TAG && bytes.all(|b| word(b) || b == b'.' || b == b'-') {
        Ok(None)
    } else {
        Err(invalid())
    }
}

/// Refuses digests nobody here can verify.
pub(crate) fn digest(digest: &Digest) -> Result<(), Error> {
    match digest.algorithm() {
        DigestAlgorithm::Sha256 | DigestAlgorithm::Sha384 | DigestAlgorithm::Sha512 => Ok(()),
        _ => Err(Error::Reference { reference: digest.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_parsed() {
        for (name, address, https, http) in [
            ("docker.io", "registry-1.docker.io", 443, 80),
            ("quay.io", "quay.io", 443, 80),
            ("Reg.example:5000", "reg.example", 5000, 5000),
            ("127.0.0.1:5000", "127.0.0.1", 5000, 5000),
            ("[::1]:5000", "::1", 5000, 5000),
            ("[::1]", "::1", 443, 80),
            ("reg:443", "reg", 443, 443),
        ] {
            let host = Host::parse(name).unwrap();
            let (secure, plain) = (host.origin(Scheme::Https), host.origin(Scheme::Http));
            assert_eq!((secure.host.as_str(), secure.port, plain.port), (address, https, http), "{name}");
        }
    }

    #[test]
    fn hosts_that_are_more_than_a_host_are_refused() {
        for name in [
            "",
            "a b",
            "user@host",
            "host/path",
            "host:",
            "host:0x1",
            "host:99999",
            "::1",
            "[::1",
            "a?b",
            "a#b",
            "a\r\nb",
            ":5000",
        ] {
            assert!(Host::parse(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn repositories_and_references_are_checked() {
        for good in ["a", "library/alpine", "a/b/c-d_e.f", "a--b"] {
            repository(good).unwrap();
        }
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "A",
            "a/../b",
            "..",
            "a?b",
            "a%2fb",
            "a b",
            "a\nb",
            &"a".repeat(256),
        ] {
            assert!(repository(bad).is_err(), "{bad:?}");
        }
        assert!(reference("latest").unwrap().is_none());
        assert!(reference(&format!("sha256:{}", "0".repeat(64))).unwrap().is_some());
        assert!(reference(&format!("sha512:{}", "0".repeat(128))).unwrap().is_some());
        for bad in ["", ".", "-a", "a/b", "a?b", "sha256:", "sha256:00", "md5:00", "x\r\ny", &"a".repeat(129)]
        {
            assert!(reference(bad).is_err(), "{bad:?}");
        }
    }
}
