//! Values of flags.

pub(super) mod devices;
mod id_maps;
pub(super) mod limits;
pub(super) mod mount;
pub(super) mod namespace;
pub(super) mod net;
pub(super) mod process;
pub(super) mod secret;
pub(super) mod security;
pub(super) mod supervision;
pub(super) mod users;

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Doing, Error};
use crate::units::{parse_human_size, parse_size};

fn invalid<T>(message: String) -> Result<T, Error> {
    Err(Error::Invalid(message))
}

/// `NAME=VALUE`, or `NAME` alone for one without a value; the last of a name counts.
pub(super) fn pairs(flag: &str, texts: &[String]) -> Result<BTreeMap<String, String>, Error> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        match name {
            "" => invalid(format!("invalid value {text:?} for --{flag}: use NAME=VALUE")),
            name => Ok((name.to_owned(), value.to_owned())),
        }
    };
    texts.iter().map(pair).collect()
}

/// The labels of a file, one in each line; comments and blank lines are left out.
pub(super) fn label_file(path: &Path) -> Result<Vec<(String, String)>, Error> {
    let text = std::fs::read_to_string(path).doing(|| format!("read label file {}", path.display()))?;
    let lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let in_file = |line: &str| match label(line)? {
        (name, _) if name.contains(char::is_whitespace) => {
            invalid(format!("invalid label {line:?} in {}: its name has white spaces", path.display()))
        }
        label => Ok(label),
    };
    lines.map(in_file).collect()
}

/// The words of a flag that may be given several times, and have several words each time: Go's `stringSlice`, where a word in double
/// quotes may hold commas.
pub(super) fn list(texts: &[String]) -> Vec<String> {
    let mut out = Vec::new();
    for text in texts {
        let mut rest = text.as_str();
        loop {
            let (word, tail) = first_word(rest);
            out.push(word);
            match tail {
                Some(tail) => rest = tail,
                None => break,
            }
        }
    }
    out
}

/// A word, and what comes after the comma behind it.
fn first_word(text: &str) -> (String, Option<&str>) {
    if let Some(quoted) = text.strip_prefix('"') {
        // A quote in quotes is doubled.
        let mut quotes = quoted.match_indices('"').map(|(at, _)| at);
        while let Some(at) = quotes.next() {
            match &quoted[at + 1..] {
                "" => return (quoted[..at].replace("\"\"", "\""), None),
                rest if rest.starts_with(',') => {
                    return (quoted[..at].replace("\"\"", "\""), Some(&rest[1..]));
                }
                rest if rest.starts_with('"') => drop(quotes.next()),
                _ => break,
            }
        }
    }
    match text.split_once(',') {
        Some((word, tail)) => (word.to_owned(), Some(tail)),
        None => (text.to_owned(), None),
    }
}

/// A size in bytes.
pub(super) fn size(flag: &str, text: &str) -> Result<i64, Error> {
    parse_size(text).ok_or_else(|| {
        Error::Invalid(format!("invalid value {text:?} for --{flag}: use a size such as 64m or 2g"))
    })
}

/// The size of a log in bytes, with decimal units.
pub(super) fn human_size(flag: &str, text: &str) -> Result<i64, Error> {
    parse_human_size(text).ok_or_else(|| {
        Error::Invalid(format!("invalid value {text:?} for --{flag}: use a size such as 10m or 1g"))
    })
}

/// `NAME=VALUE` or `NAME` for an empty value.
pub(super) fn label(text: &str) -> Result<(String, String), Error> {
    match text.split_once('=') {
        Some(("", _)) => invalid(format!("invalid label {text:?}: use NAME=VALUE")),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None if text.is_empty() => invalid("invalid label \"\": use NAME=VALUE".into()),
        None => Ok((text.to_owned(), String::new())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split_at_commas_outside_of_quotes() {
        let of = |texts: &[&str]| list(&texts.iter().map(|&t| t.to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["a,b", "c"]), ["a", "b", "c"]);
        assert_eq!(of(&[r#""a,b",c"#, r#""x ""y""""#]), ["a,b", "c", r#"x "y""#]);
        // What is no list of Go's is what it is.
        assert_eq!(of(&[r#"a"b,c"#, r#""a"b"#, r#"""#]), [r#"a"b"#, "c", r#""a"b"#, r#"""#]);
        assert_eq!(of(&[""]), [""]);
    }
}
