//! The key sequence that leaves a container's terminal and lets it run.

use crate::containers_conf::{self, ENGINE};
use crate::error::Error;

/// What is used when nothing else is asked for.
const DEFAULT: &str = "ctrl-p,ctrl-q";

/// The keys that a flag says, or containers.conf; none leave what is no terminal.
pub(crate) fn keys(flag: Option<&str>, terminal: bool) -> Result<String, Error> {
    if let Some(keys) = flag {
        return Detach::parse(keys).map(|_| keys.to_owned());
    }
    if !terminal {
        return Ok(String::new());
    }
    let known = |keys: &str| Detach::parse(keys).map(|_| keys.to_owned());
    let said = containers_conf::read()?.any_text(ENGINE, "detach_keys")?;
    let keys = said.map(|said| containers_conf::read_as(said, known)).transpose()?;
    Ok(keys.unwrap_or_else(|| DEFAULT.to_owned()))
}

/// A sequence of keys being looked for.
#[derive(Debug, Default)]
pub(crate) struct Detach {
    keys: Vec<u8>,
    matched: usize,
}

impl Detach {
    /// Parses `ctrl-p,ctrl-q`, `a,b`; empty is never.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let key = |k: &str| -> Option<u8> {
            match (k.strip_prefix("ctrl-"), k.as_bytes()) {
                (Some(c), _) => match c.as_bytes() {
                    [c @ (b'a'..=b'z' | b'A'..=b'Z')] => Some(c.to_ascii_uppercase() - b'@'),
                    [c @ (b'@' | b'[' | b'\\' | b']' | b'^' | b'_')] => Some(c - b'@'),
                    _ => None,
                },
                (None, [c]) if c.is_ascii_graphic() => Some(*c),
                _ => None,
            }
        };
        let keys = if text.is_empty() { Some(Vec::new()) } else { text.split(',').map(key).collect() };
        match keys {
            Some(keys) => Ok(Self { keys, matched: 0 }),
            None => Err(Error::Invalid(format!(
                "invalid detach keys {text:?}: use single characters and ctrl-KEY"
            ))),
        }
    }

    /// What of the input goes on to the container, and whether the sequence was completed.
    pub(crate) fn filter(&mut self, input: &[u8]) -> (Vec<u8>, bool) {
        if self.keys.is_empty() {
            return (input.to_vec(), false);
        }
        let mut out = Vec::with_capacity(input.len());
        for &byte in input {
            let mut seen = [&self.keys[..self.matched], &[byte]].concat();
            // What looked like its beginning was not, but its end may be one.
            while !self.keys.starts_with(&seen) {
                out.push(seen.remove(0));
            }
            self.matched = seen.len();
            if self.matched == self.keys.len() {
                self.matched = 0;
                return (out, true);
            }
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_found_across_reads_and_given_back_otherwise() {
        let mut d = Detach::parse(DEFAULT).unwrap();
        assert_eq!(d.filter(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(d.filter(b"x"), (b"\x10x".to_vec(), false));
        assert_eq!(d.filter(b"y\x10"), (b"y".to_vec(), false));
        assert_eq!(d.filter(b"\x11rest"), (b"".to_vec(), true));
        assert_eq!(Detach::parse("").unwrap().filter(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
        // A beginning that repeats itself.
        let mut d = Detach::parse("a,a,b").unwrap();
        assert_eq!(d.filter(b"aaa"), (b"a".to_vec(), false));
        assert_eq!(d.filter(b"b"), (b"".to_vec(), true));
        assert_eq!(d.filter(b"aaxab"), (b"aaxab".to_vec(), false));
        assert!(Detach::parse("ctrl-").is_err() && Detach::parse("ab").is_err());
    }
}
