//! Writing a log.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use memchr::{memchr, memrchr};
use serde::{Deserialize, Serialize};

use crate::record::{Record, Stream};
use crate::rotate::{append, rotate};
use crate::time::Moment;
use crate::{LONGEST, k8s};

/// Where a container's output is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// `None` keeps nothing.
    pub path: Option<PathBuf>,
    /// A file larger than this (bytes) is rotated.
    pub max_size: Option<u64>,
    /// How many files are kept, the current one included; at most [`MAX_FILES`](crate::MAX_FILES).
    pub max_files: u32,
}

/// Room kept in a file for the rest of a line, in bytes: a new file never begins in the middle of one that fits.
const RESERVE: u64 = 4096;

/// A log being written.
#[derive(Debug)]
pub struct Writer {
    output: Option<Output>,
    settings: Settings,
    /// The last record of standard output, of standard error, was the beginning of a line.
    in_line: [bool; 2],
    /// Records were lost since: the beginnings of lines will not go on.
    has_lost: bool,
    /// Records of the last chunk were written, if not all of them.
    has_written: bool,
}

/// The file that is written to.
#[derive(Debug)]
struct Output {
    file: File,
    /// Up to where there are whole records, in bytes.
    size: u64,
    /// What is after that has to go before anything is written.
    is_torn: bool,
}

impl Writer {
    /// Opens the log for appending, or one that keeps nothing. What a crash has left of a record is cut off.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn open(settings: Settings) -> io::Result<Self> {
        let output = settings.path.as_deref().map(Output::open).transpose()?;
        Ok(Self { output, settings, in_line: [false; 2], has_lost: false, has_written: false })
    }

    /// Writes a chunk: whole lines, and one that goes on in the next chunk.
    ///
    /// # Errors
    /// The kernel's errno, such as `ENOSPC`. What could not be written is lost, but never a part of a record: the log stays
    /// readable, and the next chunk is written if it can be.
    pub fn write(&mut self, stream: Stream, data: &[u8]) -> io::Result<()> {
        if self.output.is_none() || data.is_empty() {
            return Ok(());
        }
        let now = Moment::now().to_string();
        if self.has_lost {
            self.close_lines(&now)?;
        }
        let was_in_line = self.in_line[stream as usize];
        self.has_written = false;
        let written = self.write_records(stream, data, &now);
        if written.is_err() {
            self.has_lost = true;
            self.in_line[stream as usize] = was_in_line && !self.has_written;
        }
        written
    }

    /// Ends lines of which the rest was lost.
    fn close_lines(&mut self, time: &str) -> io::Result<()> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if self.in_line[stream as usize] {
                let mut record = Vec::new();
                k8s::encode(&mut record, &Record { time, stream, partial: false, text: b"".into() });
                self.flush(&mut record)?;
                self.in_line[stream as usize] = false;
            }
        }
        self.has_lost = false;
        Ok(())
    }

    fn write_records(&mut self, stream: Stream, data: &[u8], time: &str) -> io::Result<()> {
        let mut out = Vec::with_capacity(data.len() + data.len() / 4 + 256);
        let mut rest = data;
        while !rest.is_empty() {
            let (text, partial, next) = match memchr(b'\n', rest) {
                Some(end) => (&rest[..end], false, &rest[end + 1..]),
                None => (rest, true, &rest[rest.len()..]),
            };
            rest = next;
            let record = k8s::len(time, stream, text.len()) as u64;
            // Inside a line a new file begins only when that is longer than what was kept for it.
            let room = if partial && !self.in_line.contains(&true) { RESERVE } else { 0 };
            if self.is_full(out.len() as u64, record + room) {
                self.flush(&mut out)?;
                self.rotate();
            }
            k8s::encode(&mut out, &Record { time, stream, partial, text: text.into() });
            self.in_line[stream as usize] = partial;
        }
        self.flush(&mut out)
    }

    /// Writes records, of which as many as fit stay.
    fn flush(&mut self, records: &mut Vec<u8>) -> io::Result<()> {
        let Some(output) = &mut self.output else { return Ok(()) };
        let size = output.size;
        let written = output.append(records);
        self.has_written |= output.size > size;
        records.clear();
        written
    }

    /// Whether the file, with what is about to be written to it, has no room for so many bytes more. One record is written
    /// however large it is.
    fn is_full(&self, pending: u64, more: u64) -> bool {
        let size = self.output.as_ref().map_or(0, |o| o.size) + pending;
        size > 0 && self.settings.max_size.is_some_and(|max| size + more > max)
    }

    /// Begins a new file. While that cannot be had, the log goes on in the old one: better a long file than lost lines.
    fn rotate(&mut self) {
        if let (Some(path), Some(output)) = (&self.settings.path, &mut self.output)
            && let Ok(file) = rotate(path, self.settings.max_files)
        {
            *output = Output { file, size: 0, is_torn: false };
        }
    }
}

impl Output {
    fn open(path: &Path) -> io::Result<Self> {
        let file = append(path)?;
        let len = file.metadata()?.len();
        let size = whole_records(&file, len)?;
        let mut output = Self { file, size, is_torn: size < len };
        output.mend()?;
        Ok(output)
    }

    /// Writes whole records. Of those that do not all fit, the first ones stay and none in part.
    fn append(&mut self, records: &[u8]) -> io::Result<()> {
        self.mend()?;
        let mut done = 0;
        while done < records.len() {
            match self.file.write(&records[done..]) {
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    let whole = memrchr(b'\n', &records[..done]).map_or(0, |end| end + 1);
                    self.size += whole as u64;
                    self.is_torn = whole < done;
                    // Tried again before the next record, if it fails.
                    let _ = self.mend();
                    return Err(e);
                }
            }
        }
        self.size += done as u64;
        Ok(())
    }

    fn mend(&mut self) -> io::Result<()> {
        // Somebody may have emptied the file meanwhile: it is not made longer.
        if self.is_torn && self.file.metadata()?.len() > self.size {
            self.file.set_len(self.size)?;
        }
        self.is_torn = false;
        Ok(())
    }
}

/// Up to where a file of `len` bytes holds whole records. What has no end within the longest record stays as it is.
fn whole_records(file: &File, len: u64) -> io::Result<u64> {
    let mut last = [0];
    if len == 0 || (file.read_at(&mut last, len - 1)? == 1 && last == *b"\n") {
        return Ok(len);
    }
    let from = len.saturating_sub(LONGEST as u64);
    let mut end = vec![0; (len - from) as usize];
    file.read_exact_at(&mut end, from)?;
    Ok(match memrchr(b'\n', &end) {
        Some(at) => from + at as u64 + 1,
        None if from == 0 => 0,
        None => len,
    })
}
