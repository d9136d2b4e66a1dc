//! The k8s-file format, which is Kubernetes' CRI logging format: `TIME STREAM TAG TEXT`, where the tag is F for a line and P for
//! the beginning of one.

use std::borrow::Cow;

use crate::record::{Record, Stream};

pub(crate) fn parse(line: &[u8]) -> Option<Record<'_>> {
    let mut fields = line.splitn(4, |&b| b == b' ');
    let time = std::str::from_utf8(fields.next()?).ok()?;
    let stream = Stream::from_name(fields.next()?)?;
    // Tags may follow, after colons.
    let partial = match fields.next()?.split(|&b| b == b':').next() {
        Some(b"P") => true,
        Some(b"F") => false,
        _ => return None,
    };
    Some(Record { time, stream, partial, text: Cow::Borrowed(fields.next().unwrap_or_default()) })
}

pub(crate) fn encode(out: &mut Vec<u8>, record: &Record<'_>) {
    out.extend(record.time.as_bytes());
    out.push(b' ');
    out.extend(record.stream.name().as_bytes());
    out.extend(if record.partial { b" P " } else { b" F " });
    out.extend(&*record.text);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_parsed_and_garbage_is_not() {
        let line = b"2026-01-01T00:00:00.000000000Z stderr P two words ";
        let record = parse(line).unwrap();
        assert_eq!(
            (record.stream, record.partial, &*record.text),
            (Stream::Stderr, true, &b"two words "[..])
        );
        let mut again = Vec::new();
        encode(&mut again, &record);
        assert_eq!(again, [&line[..], b"\n"].concat());
        assert_eq!(&*parse(b"t stdout F ").unwrap().text, b"");
        assert_eq!(&*parse(b"t stdout F:x a").unwrap().text, b"a");
        assert!(
            parse(b"garbage").is_none()
                && parse(b"t other F x").is_none()
                && parse(b"t stdout X x").is_none()
        );
    }
}
