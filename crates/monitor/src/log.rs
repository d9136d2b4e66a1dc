//! The k8s-file log: `TIME STREAM TAG TEXT` per line (Kubernetes' CRI logging format), rotated by size.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::clock::now_rfc3339;
use crate::launch::LogSettings;

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Room kept in a file for the rest of a line, in bytes: a new file never begins in the middle of one that fits.
const RESERVE: u64 = 4096;

/// A log being written.
#[derive(Debug)]
pub struct Log {
    file: Option<File>,
    size: u64,
    /// The last record of standard output, of standard error, was the beginning of a line.
    in_line: [bool; 2],
    settings: LogSettings,
}

impl Log {
    /// Opens the log for appending, or one that keeps nothing.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn open(settings: LogSettings) -> io::Result<Self> {
        let file = settings.path.as_deref().map(append).transpose()?;
        let size = file.as_ref().map_or(Ok(0), |f| f.metadata().map(|m| m.len()))?;
        Ok(Self { file, size, in_line: [false; 2], settings })
    }

    /// Writes a chunk: whole lines are tagged F, a line that goes on in the next chunk P.
    ///
    /// # Errors
    /// The kernel's errno, such as `ENOSPC`.
    pub fn write(&mut self, stream: Stream, data: &[u8]) -> io::Result<()> {
        if self.file.is_none() || data.is_empty() {
            return Ok(());
        }
        let mut out = Vec::with_capacity(data.len() + 64);
        let time = now_rfc3339();
        for line in data.split_inclusive(|&b| b == b'\n') {
            let whole = line.ends_with(b"\n");
            let head = format!("{time} {} {} ", stream.name(), if whole { "F" } else { "P" });
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            let record = (head.len() + text.len() + 1) as u64;
            // Inside a line a new file begins only when that is longer than what was kept for it.
            let room = if whole || self.in_line.contains(&true) { 0 } else { RESERVE };
            if self.is_full(out.len() as u64 + record + room) {
                self.flush(&mut out)?;
                self.rotate()?;
            }
            out.extend(head.as_bytes());
            out.extend(text);
            out.push(b'\n');
            self.in_line[stream as usize] = !whole;
        }
        self.flush(&mut out)
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.write_all(out)?;
            self.size += out.len() as u64;
        }
        out.clear();
        Ok(())
    }

    /// Whether `more` bytes would make the file larger than allowed. One record is written however large it is.
    fn is_full(&self, more: u64) -> bool {
        self.settings.max_size.is_some_and(|max| self.size + more > max)
    }

    /// Starts a new file, unless this one is empty.
    fn rotate(&mut self) -> io::Result<()> {
        let Some(path) = self.settings.path.clone().filter(|_| self.size > 0) else { return Ok(()) };
        let keep = self.settings.max_files.max(1);
        for n in (1..keep).rev() {
            let from = if n == 1 { path.clone() } else { numbered(&path, n - 1) };
            match std::fs::rename(&from, numbered(&path, n)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        if keep == 1 {
            std::fs::remove_file(&path)?;
        }
        self.file = Some(append(&path)?);
        self.size = 0;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().append(true).create(true).mode(0o600).open(path)
}

/// The n-th older file of a log.
pub fn numbered(path: &Path, n: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{n}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(dir: &Path, max_size: Option<u64>, max_files: u32) -> LogSettings {
        LogSettings { path: Some(dir.join("ctr.log")), max_size, max_files }
    }

    #[test]
    fn lines_are_tagged_whole_or_partial() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::open(settings(dir.path(), None, 1)).unwrap();
        log.write(Stream::Stdout, b"one\ntw").unwrap();
        log.write(Stream::Stderr, b"o\n\n").unwrap();
        let text = std::fs::read_to_string(dir.path().join("ctr.log")).unwrap();
        let rest: Vec<_> = text.lines().map(|l| l.split_once(' ').unwrap().1).collect();
        assert_eq!(rest, ["stdout F one", "stdout P tw", "stderr F o", "stderr F "]);
    }

    #[test]
    fn rotation_keeps_the_newest_and_loses_no_line_between_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::open(settings(dir.path(), Some(200), 3)).unwrap();
        for i in 0..20 {
            log.write(Stream::Stdout, format!("line {i}\n").as_bytes()).unwrap();
        }
        let path = dir.path().join("ctr.log");
        let mut lines = String::new();
        for n in [2, 1] {
            lines += &std::fs::read_to_string(numbered(&path, n)).unwrap();
        }
        lines += &std::fs::read_to_string(&path).unwrap();
        let numbers: Vec<u32> =
            lines.lines().map(|l| l.rsplit_once(' ').unwrap().1.parse().unwrap()).collect();
        assert_eq!(*numbers.last().unwrap(), 19);
        assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1), "{numbers:?}");
        assert!(!numbered(&path, 3).exists());
    }
}
