//! Reading k8s-file logs, also while they grow and are rotated.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use loment_monitor::log::{Stream, numbered};

use crate::container::Container;
use crate::error::{Context, invalid};
use crate::{Engine, Error};

/// Older files looked for.
const MAX_FILES: u32 = 1000;

/// What of a log is wanted.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// The last lines only.
    pub tail: Option<usize>,
    /// Not before this moment (RFC 3339, UTC).
    pub since: Option<String>,
    /// Not after this moment.
    pub until: Option<String>,
}

/// A line of a log, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// RFC 3339, UTC.
    pub time: String,
    /// Where it was written.
    pub stream: Stream,
    /// The line goes on in the next record.
    pub partial: bool,
    /// Without the line's end.
    pub text: Vec<u8>,
}

/// Parses `TIME STREAM TAG TEXT`.
fn parse(line: &[u8]) -> Option<LogLine> {
    let mut fields = line.splitn(4, |&b| b == b' ');
    let time = String::from_utf8(fields.next()?.to_vec()).ok()?;
    let stream = match fields.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let partial = match fields.next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    Some(LogLine { time, stream, partial, text: fields.next().unwrap_or_default().to_vec() })
}

/// Reads a container's log from the oldest file to the newest record.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    /// Files still to be read, the oldest last.
    queue: Vec<PathBuf>,
    file: Option<File>,
    rest: Vec<u8>,
    options: LogOptions,
}

impl Engine {
    /// Opens a container's log.
    ///
    /// # Errors
    /// [`Error::NoContainer`]; [`Error::Invalid`] for one that keeps none.
    pub fn logs(&self, name: &str, options: LogOptions) -> Result<(Container, LogReader), Error> {
        let container = self.container(name)?;
        let path = container.log_path().ok_or_else(|| {
            invalid(
                "log driver",
                container.config.log.driver.clone(),
                "this container does not keep its output",
            )
        })?;
        let reader = LogReader::open(path, options)?;
        Ok((container, reader))
    }

    /// Whether a container runs, looked at anew.
    pub fn is_running(&self, id: &str) -> bool {
        self.load(id).is_ok_and(|c| c.is_some_and(|c| c.status.is_active()))
    }
}

impl LogReader {
    fn open(path: PathBuf, options: LogOptions) -> Result<Self, Error> {
        let older = (1..MAX_FILES).map(|n| numbered(&path, n)).take_while(|p| p.exists());
        let queue = std::iter::once(path.clone()).chain(older).collect();
        let mut reader = Self { path, queue, file: None, rest: Vec::new(), options };
        reader.next_file().context("open", reader.path.display())?;
        Ok(reader)
    }

    /// Opens the next newer file; `false` when there is none.
    fn next_file(&mut self) -> io::Result<bool> {
        let Some(path) = self.queue.pop() else { return Ok(false) };
        match File::open(path) {
            Ok(file) => self.file = Some(file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        }
        Ok(true)
    }

    /// Every record that is there, once.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn read_all(&mut self) -> Result<Vec<LogLine>, Error> {
        let mut lines = Vec::new();
        loop {
            lines.extend(self.read_more()?);
            if !self.next_file().context("open", self.path.display())? {
                break;
            }
        }
        if let Some(tail) = self.options.tail {
            // Parts of a line count as the line they make.
            let mut whole = 0;
            let from = lines.iter().rposition(|l| {
                whole += usize::from(!l.partial);
                whole > tail
            });
            lines.drain(..from.map_or(0, |i| i + 1));
            if tail == 0 {
                lines.clear();
            }
        }
        Ok(lines)
    }

    /// Records that were added since. Follows the log into a new file when it was rotated.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn read_new(&mut self) -> Result<Vec<LogLine>, Error> {
        let mut lines = self.read_more()?;
        if self.was_rotated().context("look at", self.path.display())? {
            // What was written to the old file before it was moved.
            lines.extend(self.read_more()?);
            self.queue = vec![self.path.clone()];
            self.next_file().context("open", self.path.display())?;
            lines.extend(self.read_more()?);
        }
        Ok(lines)
    }

    fn was_rotated(&self) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(true) };
        match std::fs::metadata(&self.path) {
            Ok(now) => Ok(now.ino() != file.metadata()?.ino()),
            // Between the renaming and the new file, or removed.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn read_more(&mut self) -> Result<Vec<LogLine>, Error> {
        let Some(file) = &mut self.file else { return Ok(Vec::new()) };
        file.read_to_end(&mut self.rest).context("read", self.path.display())?;
        let mut lines = Vec::new();
        let mut done = 0;
        while let Some(len) = self.rest[done..].iter().position(|&b| b == b'\n') {
            lines.extend(parse(&self.rest[done..done + len]));
            done += len + 1;
        }
        self.rest.drain(..done);
        let wanted = |l: &LogLine| {
            self.options.since.as_ref().is_none_or(|s| l.time >= *s)
                && self.options.until.as_ref().is_none_or(|u| l.time <= *u)
        };
        lines.retain(wanted);
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_parsed_and_garbage_skipped() {
        let line = parse(b"2026-01-01T00:00:00.000000000Z stderr P two words ").unwrap();
        assert_eq!(
            (line.stream, line.partial, line.text.as_slice()),
            (Stream::Stderr, true, &b"two words "[..])
        );
        assert_eq!(parse(b"t stdout F ").unwrap().text, b"");
        assert!(parse(b"garbage").is_none() && parse(b"t other F x").is_none());
    }

    #[test]
    fn tail_counts_whole_lines_across_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ctr.log");
        std::fs::write(numbered(&path, 1), "1 stdout F a\n2 stdout P b\n").unwrap();
        std::fs::write(&path, "3 stdout F b\n4 stdout F c\n").unwrap();
        let read = |tail| {
            let options = LogOptions { tail, ..LogOptions::default() };
            let mut reader = LogReader::open(path.clone(), options).unwrap();
            reader
                .read_all()
                .unwrap()
                .iter()
                .map(|l| String::from_utf8_lossy(&l.text).into_owned())
                .collect::<String>()
        };
        assert_eq!(read(None), "abbc");
        assert_eq!(read(Some(1)), "c");
        assert_eq!(read(Some(2)), "bbc");
        assert_eq!(read(Some(0)), "");
    }
}
