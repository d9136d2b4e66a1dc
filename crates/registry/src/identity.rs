//! Which client certificate is shown, of several.

use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;

/// Client certificates with their keys, in the order of their files' names.
#[derive(Debug)]
pub(crate) struct Identities(Vec<Identity>);

#[derive(Debug)]
struct Identity {
    certified: Arc<CertifiedKey>,
    /// Who vouches for each certificate of the chain, as DER.
    issuers: Vec<Vec<u8>>,
}

impl Identities {
    pub(crate) fn new(keys: Vec<CertifiedKey>) -> Self {
        let identity = |key: CertifiedKey| {
            let issuers = key.cert.iter().filter_map(|one| issuer(one).map(<[u8]>::to_vec)).collect();
            Identity { certified: Arc::new(key), issuers }
        };
        Self(keys.into_iter().map(identity).collect())
    }
}

impl ResolvesClientCert for Identities {
    /// The first that the server can verify and whose authority it names, as Go's and other clients choose; where it names none of
    /// ours, the first that it can verify: some servers do not name all they trust.
    fn resolve(&self, authorities: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let able = || self.0.iter().filter(|one| one.certified.key.choose_scheme(schemes).is_some());
        let named =
            able().find(|one| one.issuers.iter().any(|issuer| authorities.contains(&issuer.as_slice())));
        named.or_else(|| able().next()).map(|one| Arc::clone(&one.certified))
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}

/// The issuer of a certificate, as it is there (RFC 5280 section 4.1); `None` for what is no certificate.
fn issuer(certificate: &[u8]) -> Option<&[u8]> {
    /// The tag of a version, which need not be there.
    const VERSION: u8 = 0xa0;
    let signed = Element::first(certificate)?.content;
    let mut rest = Element::first(signed)?.content;
    if rest.first() == Some(&VERSION) {
        rest = Element::first(rest)?.rest;
    }
    let after_serial = Element::first(rest)?.rest;
    let after_algorithm = Element::first(after_serial)?.rest;
    Some(Element::first(after_algorithm)?.whole)
}

/// An element of DER (X.690 section 8.1).
struct Element<'d> {
    whole: &'d [u8],
    content: &'d [u8],
    /// What comes behind it.
    rest: &'d [u8],
}

impl<'d> Element<'d> {
    fn first(der: &'d [u8]) -> Option<Self> {
        let (start, length) = match *der.get(1)? {
            short @ ..0x80 => (2, usize::from(short)),
            long => {
                let count = usize::from(long & 0x7f);
                let bytes = der.get(2..2 + count).filter(|bytes| (1..=4).contains(&bytes.len()))?;
                (2 + count, bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
            }
        };
        let end = start.checked_add(length)?;
        Some(Self { whole: der.get(..end)?, content: der.get(start..end)?, rest: der.get(end..)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An element with that tag.
    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = match content.len() {
            short @ ..0x80 => vec![short as u8],
            long => vec![0x82, (long >> 8) as u8, long as u8],
        };
        [&[tag], &length[..], content].concat()
    }

    #[test]
    fn issuers_are_found() {
        let issued = element(0x30, &[element(0x31, b"somebody"), vec![7; 300]].concat());
        for version in [Vec::new(), element(0xa0, &element(2, &[2]))] {
            let (serial, algorithm) = (element(2, &[1; 20]), element(0x30, b"x"));
            let fields = [version, serial, algorithm, issued.clone(), element(0x30, b"validity")].concat();
            let certificate = element(0x30, &[element(0x30, &fields), element(3, b"signature")].concat());
            assert_eq!(issuer(&certificate), Some(&issued[..]));
            for end in 0..issued.len() {
                assert_eq!(issuer(&certificate[..end]), None);
            }
        }
        for bad in
            [&b""[..], b"0", b"0\x80", b"0\x84\xff\xff\xff\xff", b"0\x85\0\0\0\0\x01x", b"0\x04\xa0\x01x0"]
        {
            assert_eq!(issuer(bad), None, "{bad:x?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_the_parser_fail(der: Vec<u8>) {
            let _ = issuer(&der);
            let _ = issuer(&element(0x30, &element(0x30, &der)));
        }
    }
}
