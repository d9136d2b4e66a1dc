//! Digests of content.

use std::fmt::Write;

/// `sha256:…` of `bytes`.
pub fn digest(bytes: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut text = String::from("sha256:");
    for byte in hash.as_ref() {
        write!(text, "{byte:02x}").expect("a String takes everything");
    }
    text
}
