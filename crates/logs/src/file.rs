//! Writing a log into files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use memchr::{memchr, memrchr};

use crate::compress::Chore;
use crate::cursor::Cursor;
use crate::record::{Record, Stream};
use crate::rotate::{append, finish_compressed, next_to_compress, rotate, tidy};
use crate::settings::{Format, Rotation};
use crate::time::Moment;
use crate::{LONGEST, json_file, k8s};

/// Room kept in a file for the rest of a line, in bytes: a new file never begins in the middle of one that fits.
const RESERVE: u64 = 4096;

/// A log in files.
#[derive(Debug)]
pub(crate) struct FileWriter {
    path: PathBuf,
    format: Format,
    rotation: Rotation,
    /// As they stand in each record.
    attributes: Vec<u8>,
    output: Output,
    /// The last record of standard output, of standard error, was the beginning of a line.
    in_line: [bool; 2],
    /// The beginning of a character at the end of a chunk, for a format that cannot have a part of one.
    unfinished: [Vec<u8>; 2],
    /// Records were lost since: the beginnings of lines will not go on.
    has_lost: bool,
    /// Records of the last chunk were written, if not all of them.
    has_written: bool,
    /// The number of the file that is being compressed, unless it has been deleted meanwhile.
    compressing: Option<u32>,
    /// Somebody is doing that.
    is_busy: bool,
    /// There may be files to be compressed.
    wants_chore: bool,
}

/// The file that is written to.
#[derive(Debug)]
struct Output {
    file: File,
    /// Up to where there are whole records, in bytes.
    size: u64,
    /// What is after that has to go before anything is written.
    is_torn: bool,
    /// When its first record was written.
    born: Option<Moment>,
}

impl FileWriter {
    pub(crate) fn open(
        path: PathBuf,
        format: Format,
        rotation: Rotation,
        attributes: &BTreeMap<String, String>,
    ) -> io::Result<Self> {
        tidy(&path)?;
        let output = Output::open(&path, format)?;
        let attributes = json_file::attributes(attributes);
        Ok(Self {
            path,
            format,
            rotation,
            attributes,
            output,
            in_line: [false; 2],
            unfinished: [Vec::new(), Vec::new()],
            has_lost: false,
            has_written: false,
            compressing: None,
            is_busy: false,
            wants_chore: true,
        })
    }

    pub(crate) fn write(&mut self, stream: Stream, data: &[u8]) -> io::Result<()> {
        let joined;
        let mut rest = match std::mem::take(&mut self.unfinished[stream as usize]) {
            held if held.is_empty() => data,
            held => {
                joined = [&held, data].concat();
                &joined
            }
        };
        if self.format == Format::JsonFile {
            let (whole, cut) = rest.split_at(rest.len() - json_file::unfinished(rest));
            self.unfinished[stream as usize] = cut.to_vec();
            rest = whole;
        }
        self.write_lines(stream, rest)
    }

    /// What was held back of a stream that has ended.
    pub(crate) fn finish(&mut self, stream: Stream) -> io::Result<()> {
        let held = std::mem::take(&mut self.unfinished[stream as usize]);
        self.write_lines(stream, &held)
    }

    fn write_lines(&mut self, stream: Stream, data: &[u8]) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let now = Moment::now();
        let time = now.to_string();
        if self.has_lost {
            self.close_lines(&time)?;
        }
        if self.is_old(now) {
            self.rotate();
        }
        let was_in_line = self.in_line[stream as usize];
        self.has_written = false;
        let written = self.write_records(stream, data, &time);
        if written.is_err() {
            self.has_lost = true;
            self.in_line[stream as usize] = was_in_line && !self.has_written;
        } else {
            self.output.born.get_or_insert(now);
        }
        written
    }

    /// Ends lines of which the rest was lost.
    fn close_lines(&mut self, time: &str) -> io::Result<()> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if self.in_line[stream as usize] {
                let mut record = Vec::new();
                self.encode(&mut record, &Record { time, stream, partial: false, text: b"".into() });
                self.flush(&record)?;
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
            let before = out.len();
            self.encode(&mut out, &Record { time, stream, partial, text: text.into() });
            // Inside a line a new file begins only when that is longer than what was kept for it.
            let room = if partial && !self.in_line.contains(&true) { RESERVE } else { 0 };
            if self.is_full(before as u64, (out.len() - before) as u64 + room) {
                let record = out.split_off(before);
                self.flush(&out)?;
                self.rotate();
                out = record;
            }
            self.in_line[stream as usize] = partial;
        }
        self.flush(&out)
    }

    fn encode(&self, out: &mut Vec<u8>, record: &Record<'_>) {
        match self.format {
            Format::K8sFile => k8s::encode(out, record),
            Format::JsonFile => json_file::encode(out, record, &self.attributes),
        }
    }

    /// Writes records, of which as many as fit stay.
    fn flush(&mut self, records: &[u8]) -> io::Result<()> {
        let size = self.output.size;
        let written = self.output.append(records);
        self.has_written |= self.output.size > size;
        written
    }

    /// Whether the file, with what is about to be written to it, has no room for so many bytes more. One record is written
    /// however large it is.
    fn is_full(&self, pending: u64, more: u64) -> bool {
        let size = self.output.size + pending;
        size > 0 && self.rotation.max_size.is_some_and(|max| size + more > max)
    }

    fn is_old(&self, now: Moment) -> bool {
        let (Some(age), Some(born)) = (self.rotation.max_age, self.output.born) else { return false };
        now.seconds().saturating_sub(born.seconds()) >= i64::try_from(age).unwrap_or(i64::MAX)
    }

    /// Begins a new file. While that cannot be had, the log goes on in the old one: better a long file than lost lines.
    fn rotate(&mut self) {
        let keep = self.rotation.max_files.max(1);
        if let Ok(file) = rotate(&self.path, keep) {
            self.output = Output { file, size: 0, is_torn: false, born: None };
            self.compressing = self.compressing.map(|n| n + 1).filter(|n| *n < keep);
            self.wants_chore = true;
        }
    }

    /// A file to be compressed, if there is one and none is being compressed.
    pub(crate) fn chore(&mut self) -> Option<Chore> {
        if !self.rotation.compress || !self.wants_chore || self.is_busy {
            return None;
        }
        self.compressing = next_to_compress(&self.path, self.rotation.max_files);
        self.is_busy = self.compressing.is_some();
        self.wants_chore = self.is_busy;
        Some(Chore::new(&self.path, self.compressing?, self.format))
    }

    /// Puts what came of the chore in place.
    pub(crate) fn end_chore(&mut self, is_done: bool) -> io::Result<()> {
        self.is_busy = false;
        // What failed is not tried again before the next file is complete.
        self.wants_chore = is_done;
        // By now it may have another number, or none.
        finish_compressed(&self.path, self.compressing.take().filter(|_| is_done))
    }
}

impl Output {
    fn open(path: &Path, format: Format) -> io::Result<Self> {
        let file = append(path)?;
        let len = file.metadata()?.len();
        let size = whole_records(&file, len)?;
        let mut cursor = Cursor::new(file.try_clone()?, 0, None);
        let born = cursor
            .next_line()?
            .and_then(|(_, line)| format.parse(cursor.line(line)).map(|r| Moment::parse(r.time.as_bytes())));
        let mut output = Self { file, size, is_torn: size < len, born: born.flatten() };
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
