//! The journal's export format (systemd.io/JOURNAL_EXPORT_FORMATS), as `journalctl --output=export` writes it: a field per line, or
//! its name, its length and then its value; an empty line ends an entry.

use std::io::{self, BufRead, Read};

use crate::LONGEST;
use crate::record::{Record, Stream};
use crate::time::Moment;

/// Entries of the journal, as records of a log.
#[derive(Debug)]
pub struct Entries<R> {
    input: R,
    entry: Entry,
}

/// What of an entry is looked at.
#[derive(Debug, Default)]
struct Entry {
    message: Vec<u8>,
    time: String,
    /// The journal's own, if nobody said another: microseconds.
    received: Option<i64>,
    is_error: bool,
    partial: bool,
    cursor: String,
    is_empty: bool,
}

impl<R: BufRead> Entries<R> {
    /// Reads entries from what journalctl writes.
    pub fn new(input: R) -> Self {
        Self { input, entry: Entry::default() }
    }

    /// The next one; `None` at the end.
    ///
    /// # Errors
    /// That of reading; [`io::ErrorKind::InvalidData`] for what is not that format.
    pub fn next_record(&mut self) -> io::Result<Option<Record<'_>>> {
        self.entry = Entry { is_empty: true, ..Entry::default() };
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut self.input).take(LONGEST as u64).read_until(b'\n', &mut line)?;
            if line.pop_if(|b| *b == b'\n').is_none() {
                match read {
                    0 => return Ok(None),
                    _ => return Err(broken("a field has no end")),
                }
            }
            match line.iter().position(|&b| b == b'=') {
                _ if line.is_empty() && self.entry.is_empty => {}
                _ if line.is_empty() => break,
                Some(at) => {
                    let (name, value) = line.split_at(at);
                    self.entry.set(name, value[1..].to_vec());
                }
                None => {
                    let value = self.value()?;
                    self.entry.set(&line, value);
                }
            }
        }
        let entry = &mut self.entry;
        if entry.time.is_empty() {
            let received = entry.received.ok_or_else(|| broken("an entry has no time"))?;
            let nanoseconds = received.rem_euclid(1_000_000) as u32 * 1000;
            entry.time = Moment::new(received.div_euclid(1_000_000), nanoseconds).to_string();
        }
        Ok(Some(Record {
            time: &entry.time,
            stream: if entry.is_error { Stream::Stderr } else { Stream::Stdout },
            partial: entry.partial,
            text: entry.message.as_slice().into(),
        }))
    }

    /// What it reads from.
    pub fn input(&self) -> &R {
        &self.input
    }

    /// What names the place of the last record in the journal.
    pub fn cursor(&self) -> &str {
        &self.entry.cursor
    }

    /// A value that is preceded by its length.
    fn value(&mut self) -> io::Result<Vec<u8>> {
        let mut len = [0; 8];
        self.input.read_exact(&mut len)?;
        let len = u64::from_le_bytes(len);
        let mut value = Vec::new();
        (&mut self.input).take(len.min(LONGEST as u64)).read_to_end(&mut value)?;
        let rest = len.saturating_sub(LONGEST as u64);
        io::copy(&mut (&mut self.input).take(rest), &mut io::sink())?;
        let mut end = [0];
        self.input.read_exact(&mut end)?;
        if end == *b"\n" { Ok(value) } else { Err(broken("a field is longer than it says")) }
    }
}

impl Entry {
    fn set(&mut self, name: &[u8], value: Vec<u8>) {
        self.is_empty = false;
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        match name {
            b"MESSAGE" => self.message = value,
            b"SYSLOG_TIMESTAMP" if Moment::parse(&value).is_some() => self.time = text(&value),
            b"__REALTIME_TIMESTAMP" => self.received = text(&value).parse().ok(),
            b"PRIORITY" => self.is_error = value == b"3",
            b"CONTAINER_PARTIAL_MESSAGE" => self.partial = value == b"true",
            b"__CURSOR" => self.cursor = text(&value),
            _ => {}
        }
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("this is not what journalctl exports: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_records() {
        let text = b"__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=1795000000000005\nMESSAGE=hello = you\nPRIORITY=6\n_PID=1\n\n\
            __CURSOR=c\n__REALTIME_TIMESTAMP=1\nMESSAGE\n\x04\0\0\0\0\0\0\0a\n\nb\nPRIORITY=3\nCONTAINER_PARTIAL_MESSAGE=true\n\
            SYSLOG_TIMESTAMP=2026-01-01T00:00:00.5Z\n\n\n";
        let mut entries = Entries::new(&text[..]);
        let record = entries.next_record().unwrap().unwrap();
        assert_eq!((record.time, &*record.text), ("2026-11-18T11:06:40.000005000Z", &b"hello = you"[..]));
        assert_eq!((record.stream, record.partial), (Stream::Stdout, false));
        assert_eq!(entries.cursor(), "s=1;i=2");
        let record = entries.next_record().unwrap().unwrap();
        assert_eq!((record.time, &*record.text), ("2026-01-01T00:00:00.5Z", &b"a\n\nb"[..]));
        assert_eq!((record.stream, record.partial), (Stream::Stderr, true));
        assert!(entries.next_record().unwrap().is_none());
    }

    #[test]
    fn what_is_not_that_format_is_refused() {
        for text in
            [&b"MESSAGE=x"[..], b"MESSAGE\n\x01\0\0\0\0\0\0\0ab\n\n", b"MESSAGE\n\x01", b"MESSAGE=x\n\n"]
        {
            assert!(Entries::new(text).next_record().is_err(), "{text:?}");
        }
    }
}
