//! PAX extended header records (POSIX.1-2024 pax, "Extended Header").

use super::HeaderProblem;

/// `SCHILY.xattr.` records carry extended attributes (star, GNU tar, Go).
const XATTR: &[u8] = b"SCHILY.xattr.";

/// What one extended header says about the entry that follows it.
#[derive(Default, Debug, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) atime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Everything under `GNU.sparse.`, in order: the 0.0 format repeats keys.
    pub(super) sparse: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Parses the payload of an `x` entry.
pub(super) fn parse(mut bytes: &[u8]) -> Result<Pax, HeaderProblem> {
    let mut pax = Pax::default();
    // Writers pad the payload with NULs up to its declared size in the wild; an empty rest ends it.
    while let Some(first) = bytes.first() {
        if *first == 0 && bytes.iter().all(|&b| b == 0) {
            break;
        }
        let (key, value, rest) = record(bytes).ok_or(HeaderProblem::Pax)?;
        pax.apply(key, value)?;
        bytes = rest;
    }
    Ok(pax)
}

/// Splits `"<len> <key>=<value>\n"` off the front.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(8).position(|&b| b == b' ')?;
    let length: usize = decimal(&bytes[..space]).and_then(|n| n.try_into().ok())?;
    let body = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|&b| b == b'=')?;
    if equals == 0 || body[..equals].contains(&0) {
        return None;
    }
    Some((&body[..equals], &body[equals + 1..], &bytes[length..]))
}

impl Pax {
    fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<(), HeaderProblem> {
        let bad = || HeaderProblem::PaxValue(String::from_utf8_lossy(key).into_owned());
        // An empty value deletes the record, so the ustar field holds again.
        let natural = || match value {
            b"" => Ok(None),
            value => decimal(value).map(Some).ok_or_else(bad),
        };
        let text = || match value {
            b"" => Ok(None),
            value if value.contains(&0) => Err(bad()),
            value => Ok(Some(value.to_vec())),
        };
        match key {
            b"path" => self.path = text()?,
            b"linkpath" => self.link = text()?,
            b"size" => self.size = natural()?,
            b"uid" => self.uid = natural()?,
            b"gid" => self.gid = natural()?,
            b"mtime" if value.is_empty() => self.mtime = None,
            b"mtime" => self.mtime = Some(time(value).ok_or_else(bad)?),
            // Nothing depends on it: one that cannot be read is none.
            b"atime" => self.atime = time(value),
            key if key.starts_with(b"GNU.sparse.") => {
                self.sparse.push((key[b"GNU.sparse.".len()..].to_vec(), value.to_vec()));
            }
            key => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    self.xattrs.retain(|(known, _)| known != name);
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// Plain decimal digits, at least one.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, &digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// `[-]seconds[.fraction]` as seconds and non-negative nanoseconds; digits past nanoseconds are cut.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match text.iter().position(|&b| b == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b""[..]),
    };
    let seconds = i64::try_from(decimal(whole)?).ok()?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos = (0..9).fold(0u32, |n, i| n * 10 + fraction.get(i).map_or(0, |d| u32::from(d - b'0')));
    Some(match (negative, nanos) {
        (false, nanos) => (seconds, nanos),
        (true, 0) => (-seconds, 0),
        (true, nanos) => (-seconds - 1, 1_000_000_000 - nanos),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_carry_paths_times_and_attributes() {
        let pax = parse(b"16 path=foo/bar\n22 mtime=-1.250000000\n31 SCHILY.xattr.user.x=\x00\xff=\n...\n")
            .unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"foo/bar"[..]));
        assert_eq!(pax.mtime, Some((-2, 750_000_000)));
        assert_eq!(pax.xattrs, [(b"user.x".to_vec(), b"\x00\xff=\n...".to_vec())]);
    }

    #[test]
    fn malformed_records_are_errors() {
        for bad in
            [&b"5 a=b"[..], b"x", b"99 path=a\n", b"6 a\0=\n", b"2 \n", b"16 path=foo\0bar\n", b"9 size=x\n"]
        {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
