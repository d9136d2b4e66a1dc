//! Digests of delivered content.

use oci_spec::image::{Digest, DigestAlgorithm};
use ring::digest::{SHA256, SHA384, SHA512};

/// The digest of `bytes` under `algorithm`; `None` when the algorithm is not one of the three SHA-2 ones.
pub(crate) fn of(algorithm: &DigestAlgorithm, bytes: &[u8]) -> Option<Digest> {
    let ring_algorithm = match algorithm {
        DigestAlgorithm::Sha256 => &SHA256,
        DigestAlgorithm::Sha384 => &SHA384,
        DigestAlgorithm::Sha512 => &SHA512,
        _ => return None,
    };
    let mut text = format!("{algorithm}:");
    for byte in ring::digest::digest(ring_algorithm, bytes).as_ref() {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(nibble.into(), 16).expect("a nibble is below 16"));
        }
    }
    Digest::try_from(text).ok()
}

/// The usual one.
pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    of(&DigestAlgorithm::Sha256, bytes).expect("SHA-256 is one of the three")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // FIPS 180-4 examples for "abc".
        assert_eq!(
            of(&DigestAlgorithm::Sha256, b"abc").unwrap().as_ref(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(
            of(&DigestAlgorithm::Sha512, b"abc").unwrap().as_ref().starts_with("sha512:ddaf35a193617aba")
        );
        assert_eq!(of(&DigestAlgorithm::Other("md5".into()), b"abc"), None);
    }
}
