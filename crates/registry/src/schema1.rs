//! Docker's first manifest format, as far as its digest goes: it is that of the part that is signed (distribution,
//! `docs/content/spec/manifest-v2-1.md`; libtrust, `jsonsign.go`).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

#[derive(Deserialize)]
struct Signatures {
    #[serde(default)]
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    protected: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Protected {
    format_length: usize,
    format_tail: String,
}

/// The part of a signed manifest that is signed, all of one that is not signed; `None` when its signature is none. Whoever signed it may
/// be anybody. The rest of the document is anybody's too, and may say something else than this part.
pub fn signed_part(manifest: &[u8]) -> Option<Vec<u8>> {
    let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
    let signatures: Signatures = serde_json::from_slice(manifest).ok()?;
    let Some(signature) = signatures.signatures.first() else { return Some(manifest.to_vec()) };
    let protected: Protected = serde_json::from_slice(&decode(&signature.protected)?).ok()?;
    let mut payload = manifest.get(..protected.format_length)?.to_vec();
    payload.extend(decode(&protected.format_tail)?);
    Some(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_part_is_cut_out() {
        let signed = br#"{"schemaVersion":1,"name":"x"}"#;
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let protected = format!(r#"{{"formatLength":{},"formatTail":"{}"}}"#, signed.len() - 1, encode(b"}"));
        let whole = |protected: &str| {
            let head = &signed[..signed.len() - 1];
            [head, br#","signatures":[{"protected":""#, encode(protected.as_bytes()).as_bytes(), br#""}]}"#]
                .concat()
        };
        assert_eq!(signed_part(&whole(&protected)).unwrap(), signed);
        assert_eq!(signed_part(signed).unwrap(), signed);
        for bad in [
            r#"{"formatLength":9999,"formatTail":"fQ"}"#,
            r#"{"formatLength":1,"formatTail":"!"}"#,
            "{}",
            "x",
        ] {
            assert_eq!(signed_part(&whole(bad)), None);
        }
        assert_eq!(signed_part(br#"{"signatures":[{"protected":"!"}]}"#), None);
        assert_eq!(signed_part(b"x"), None);
    }
}
