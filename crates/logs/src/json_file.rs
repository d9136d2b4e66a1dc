//! The json-file format, which is Docker's: an object per line, `{"log":"TEXT\n","stream":"stdout","attrs":{…},"time":"…"}`. A text
//! without an end of line is the beginning of one.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use crate::record::{Record, Stream};

#[derive(Deserialize)]
struct Line<'a> {
    // What is empty is left out.
    #[serde(borrow, default)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: &'a str,
}

pub(crate) fn parse(line: &[u8]) -> Option<Record<'_>> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    let stream = Stream::from_name(line.stream.as_bytes())?;
    let (partial, text) = match line.log {
        Cow::Borrowed(text) => (true, Cow::Borrowed(text.as_bytes())),
        Cow::Owned(mut text) => {
            let partial = !text.ends_with('\n');
            text.truncate(text.len() - usize::from(!partial));
            (partial, Cow::Owned(text.into_bytes()))
        }
    };
    Some(Record { time: line.time, stream, partial, text })
}

/// Attributes as they stand in each record.
pub(crate) fn attributes(attributes: &BTreeMap<String, String>) -> Vec<u8> {
    if attributes.is_empty() {
        return Vec::new();
    }
    let mut out = b"\"attrs\":{".to_vec();
    for (i, (name, value)) in attributes.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.push(b'"');
        escape(&mut out, name.as_bytes());
        out.extend(b"\":\"");
        escape(&mut out, value.as_bytes());
        out.push(b'"');
    }
    out.extend(b"},");
    out
}

pub(crate) fn encode(out: &mut Vec<u8>, record: &Record<'_>, attributes: &[u8]) {
    out.extend(b"{\"log\":\"");
    escape(out, &record.text);
    out.extend(if record.partial { &b"\","[..] } else { b"\\n\"," });
    out.extend(b"\"stream\":\"");
    out.extend(record.stream.name().as_bytes());
    out.extend(b"\",");
    out.extend(attributes);
    out.extend(b"\"time\":\"");
    out.extend(record.time.as_bytes());
    out.extend(b"\"}\n");
}

/// The inside of a string. What Docker escapes is escaped here, too: some that need not be, for the sake of HTML and JavaScript.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find(needs_escape) {
            out.extend(&rest.as_bytes()[..at]);
            let c = rest[at..].chars().next().unwrap_or_default();
            match c {
                '"' => out.extend(b"\\\""),
                '\\' => out.extend(b"\\\\"),
                '\n' => out.extend(b"\\n"),
                '\r' => out.extend(b"\\r"),
                _ => out.extend(format!("\\u{:04x}", c as u32).as_bytes()),
            }
            rest = &rest[at + c.len_utf8()..];
        }
        out.extend(rest.as_bytes());
        for _ in chunk.invalid() {
            out.extend(b"\\ufffd");
        }
    }
}

fn needs_escape(c: char) -> bool {
    c < ' ' || matches!(c, '"' | '\\' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}')
}

/// How many of the last bytes are the beginning of a character that may go on.
pub(crate) fn unfinished(text: &[u8]) -> usize {
    let last = text.utf8_chunks().last();
    let tail = last.map_or(&[][..], |chunk| chunk.invalid());
    // Bytes of which none can follow are wrong, not unfinished.
    let expected = match tail.first() {
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf4) => 4,
        _ => 0,
    };
    if tail.len() < expected { tail.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIME: &str = "2026-01-01T00:00:00.000000000Z";

    fn line(text: &[u8], partial: bool, named: &[u8]) -> String {
        let mut out = Vec::new();
        encode(&mut out, &Record { time: TIME, stream: Stream::Stderr, partial, text: text.into() }, named);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn records_are_dockers() {
        assert_eq!(
            line(b"a \"q\" \\ \t\x01 <b>\r \xff\xc3\xa4", false, b""),
            "{\"log\":\"a \\\"q\\\" \\\\ \\u0009\\u0001 \\u003cb\\u003e\\r \\ufffd\u{e4}\\n\",\"stream\":\"stderr\",\"time\":\"2026-01-01T00:00:00.000000000Z\"}\n"
        );
        let named = attributes(&[("a".to_owned(), "1".to_owned()), ("b".to_owned(), "\"".to_owned())].into());
        assert_eq!(
            line(b"", true, &named),
            "{\"log\":\"\",\"stream\":\"stderr\",\"attrs\":{\"a\":\"1\",\"b\":\"\\\"\"},\"time\":\"2026-01-01T00:00:00.000000000Z\"}\n"
        );
    }

    #[test]
    fn records_of_docker_are_read() {
        let record = parse(
            br#"{"log":"hello\n","stream":"stdout","attrs":{"x":"y"},"time":"2026-01-01T00:00:00.5Z"}"#,
        )
        .unwrap();
        assert_eq!((record.stream, record.partial, &*record.text), (Stream::Stdout, false, &b"hello"[..]));
        let record = parse(br#"{"stream":"stdout","time":"2026-01-01T00:00:00Z"}"#).unwrap();
        assert_eq!((record.partial, &*record.text), (true, &b""[..]));
        assert!(parse(b"garbage").is_none() && parse(br#"{"log":"x"}"#).is_none());
    }

    #[test]
    fn characters_that_are_cut_in_two_are_known() {
        for (text, len) in [("", 0), ("a", 0), ("ä", 0), ("aä", 0), ("€", 0)] {
            assert_eq!(unfinished(text.as_bytes()), len, "{text}");
        }
        assert_eq!(unfinished(&"a€".as_bytes()[..2]), 1);
        assert_eq!(unfinished(&"a€".as_bytes()[..3]), 2);
        assert_eq!(unfinished(&"😀".as_bytes()[..3]), 3);
        assert_eq!(unfinished(b"a\xff"), 0);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(text in "\\PC*[\\x00-\\x1f\"\\\\<\u{2028}]*", partial: bool) {
            let text = text.replace('\n', "");
            let line = line(text.as_bytes(), partial, b"");
            let record = parse(line.trim_end_matches('\n').as_bytes()).unwrap();
            prop_assert_eq!((&*record.text, record.partial), (text.as_bytes(), partial));
        }
    }
}
