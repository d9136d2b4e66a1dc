//! Directories a layer's tar needs but does not describe, such as `tmp` where the only entry is `tmp/x`.
//!
//! They are made with fixed attributes, since a layer is unpacked without knowing what it will stand on, and
//! are remembered here so that a container can be given the attributes of a lower layer instead
//! ([`crate::inherit`]).

use serde::{Deserialize, Serialize};

/// Bytes of paths kept for one layer; the document is read whenever a container is made. A layer with more
/// loses the deepest first, which lower layers are least likely to have too; those keep the fixed attributes.
const MAX_BYTES: usize = 1 << 20;
/// The kernel takes no longer path, with its NUL (`PATH_MAX`).
const PATH_MAX: usize = 4096;

/// Paths inside a layer, sorted by bytes, without leading slash.
///
/// In JSON a list of text in which every byte but printable ASCII, and `%` itself, is percent-escaped: names
/// need not be UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub(crate) struct Implied(Vec<Vec<u8>>);

/// A path in a document that [`Implied`] did not write.
#[derive(Debug, thiserror::Error)]
#[error("implied directory {path:?} is not percent-escaped")]
pub(crate) struct NotEscaped {
    path: String,
}

impl Implied {
    pub(crate) fn new(paths: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut paths: Vec<_> = paths.into_iter().filter(|path| path.len() < PATH_MAX).collect();
        if paths.iter().map(Vec::len).sum::<usize>() > MAX_BYTES {
            paths.sort_by_cached_key(|path| path.iter().filter(|&&b| b == b'/').count());
            let mut bytes = 0;
            let fitting = paths.iter().take_while(|path| {
                bytes += path.len();
                bytes <= MAX_BYTES
            });
            let fitting = fitting.count();
            paths.truncate(fitting);
        }
        paths.sort_unstable();
        Self(paths)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }

    pub(crate) fn contains(&self, path: &[u8]) -> bool {
        self.0.binary_search_by(|known| known.as_slice().cmp(path)).is_ok()
    }
}

impl From<Implied> for Vec<String> {
    fn from(implied: Implied) -> Self {
        implied.iter().map(escape).collect()
    }
}

impl TryFrom<Vec<String>> for Implied {
    type Error = NotEscaped;

    fn try_from(escaped: Vec<String>) -> Result<Self, NotEscaped> {
        let paths = escaped.into_iter().map(|path| unescape(&path).ok_or(NotEscaped { path }));
        let mut paths = paths.collect::<Result<Vec<_>, _>>()?;
        paths.sort_unstable();
        Ok(Self(paths))
    }
}

fn escape(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for &byte in path {
        match byte {
            b'!'..=b'~' if byte != b'%' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut path = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    let digit = |b: Option<u8>| char::from(b?).to_digit(16).and_then(|d| u8::try_from(d).ok());
    while let Some(byte) = rest.next() {
        path.push(match byte {
            b'%' => digit(rest.next())? << 4 | digit(rest.next())?,
            _ => byte,
        });
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_path_comes_back_from_json(paths: Vec<Vec<u8>>) {
            let implied = Implied::new(paths);
            let json = serde_json::to_string(&implied).unwrap();
            prop_assert!(json.is_ascii());
            prop_assert_eq!(serde_json::from_str::<Implied>(&json).unwrap(), implied);
        }
    }

    #[test]
    fn what_was_not_escaped_is_refused() {
        for text in ["%", "%4", "a%zz", "%+1"] {
            let error = serde_json::from_str::<Implied>(&format!("[{text:?}]")).unwrap_err().to_string();
            assert!(error.starts_with(&format!("implied directory {text:?} is not")), "{error}");
        }
    }

    #[test]
    fn too_many_lose_the_deepest() {
        let deep = |n: usize| format!("deep/{n:0250}").into_bytes();
        let implied = Implied::new((0..8000).map(deep).chain([b"tmp".to_vec(), b"deep".to_vec()]));
        assert!(implied.contains(b"tmp") && implied.contains(b"deep"));
        let bytes: usize = implied.iter().map(<[u8]>::len).sum();
        assert!((MAX_BYTES - 256..=MAX_BYTES).contains(&bytes), "{bytes}");
        assert!(implied.0.is_sorted());
        assert!(Implied::new([vec![b'a'; PATH_MAX]]).is_empty());
    }
}
