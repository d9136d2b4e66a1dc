//! Reading a log that may grow and be rotated meanwhile.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::cursor::Cursor;
use crate::error::{Context, Error};
use crate::files::{Held, Known, newer_than};
use crate::record::Record;
use crate::settings::Format;
use crate::since;
use crate::tail::{self, Place, Start};
use crate::time::Moment;

/// What of a log is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// So many of the last lines only, of which those outside the time that is wanted are left out, as the peers do.
    pub tail: Option<usize>,
    /// Not before this moment.
    pub since: Option<Moment>,
    /// Not after this moment.
    pub until: Option<Moment>,
    /// Go on with what is written while it is read. Without, there is an end: that of the log when it was opened.
    pub follow: bool,
}

/// Reads a container's log, from the oldest file to the newest record.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    format: Format,
    options: Options,
    /// Files still to be read, the oldest first.
    queue: VecDeque<Held>,
    /// The file that is being read, its number in order, and what it is known by.
    current: Option<(Cursor, usize, Known)>,
    /// Where the last lines begin, if only those are wanted.
    start: Option<Start>,
    /// Something was later than wanted.
    is_past: bool,
    /// The number of the first file of the queue.
    next_number: usize,
    /// Read since it was last looked whether the log was rotated, in bytes.
    unlooked: usize,
}

/// After so many bytes it is looked whether a followed log was rotated: what is held open is not lost when it is deleted.
const LOOK: usize = 1 << 20;

impl Reader {
    /// Opens the log at `path`, with all its older files. There may be none yet.
    ///
    /// # Errors
    /// A file that cannot be opened or read.
    pub fn open(path: &Path, format: Format, options: Options) -> Result<Self, Error> {
        let mut files = newer_than(path, format, None).context("open", path)?;
        files.reverse();
        let mut start = None;
        let (number, offset) = match (options.tail, options.since) {
            (Some(wanted), _) => {
                start.insert(tail::start(path, format, &mut files, wanted).context("read", path)?).at
            }
            (None, Some(since)) => since::start(path, format, &mut files, since).context("read", path)?,
            (None, None) => (0, 0),
        };
        let mut reader = Self {
            path: path.to_path_buf(),
            format,
            options,
            queue: files.into(),
            current: None,
            start,
            is_past: false,
            next_number: 0,
            unlooked: 0,
        };
        reader.queue.drain(..number.min(reader.queue.len()));
        reader.next_number = number;
        reader.next_file().context("read", path)?;
        if let Some((cursor, ..)) = &mut reader.current {
            cursor.seek(offset);
        }
        Ok(reader)
    }

    /// The next record. `None` when there is none: at the end, or, of a log that is followed, at this moment.
    ///
    /// # Errors
    /// A file that cannot be opened or read.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, Error> {
        let found = loop {
            if self.is_past {
                return Ok(None);
            }
            let Some((place, range)) = self.next_line().context("read", &self.path)? else { return Ok(None) };
            if self.is_wanted(place, range.clone()) {
                break range;
            }
        };
        Ok(self.current.as_ref().and_then(|(cursor, ..)| self.format.parse(cursor.line(found))))
    }

    /// Whether all that will come is later than wanted.
    pub fn is_past(&self) -> bool {
        self.is_past
    }

    fn is_wanted(&mut self, place: Place, range: Range<usize>) -> bool {
        let Some((cursor, ..)) = &self.current else { return false };
        let Some(record) = self.format.parse(cursor.line(range)) else { return false };
        if self.start.as_ref().is_some_and(|s| tail::is_before(s, record.stream, place)) {
            return false;
        }
        let (since, until) = (self.options.since, self.options.until);
        if since.is_none() && until.is_none() {
            return true;
        }
        let moment = Moment::parse(record.time.as_bytes());
        self.is_past = until.is_some_and(|u| moment.is_some_and(|m| m > u));
        !self.is_past && since.is_none_or(|s| moment.is_some_and(|m| m >= s))
    }

    fn next_line(&mut self) -> io::Result<Option<(Place, Range<usize>)>> {
        if self.options.follow && self.unlooked > LOOK {
            self.look()?;
        }
        loop {
            // A file is complete when there is a newer one: its end is looked for after that is known.
            let is_complete = !self.queue.is_empty();
            if let Some((cursor, number, _)) = &mut self.current
                && let Some((offset, range)) = cursor.next_line()?
            {
                self.unlooked += range.len();
                return Ok(Some(((*number, offset), range)));
            }
            if is_complete {
                self.next_file()?;
            } else if !self.options.follow || !self.look()? {
                return Ok(None);
            } else if self.current.is_none() {
                self.next_file()?;
            }
        }
    }

    /// Looks whether the log was rotated. All newer files are held from then on.
    fn look(&mut self) -> io::Result<bool> {
        self.unlooked = 0;
        let known = match (self.queue.back(), &self.current) {
            (Some(newest), _) => Some(newest.known()?),
            (None, Some((cursor, _, known))) => Some(known.now(cursor.file())?),
            (None, None) => None,
        };
        self.queue.extend(newer_than(&self.path, self.format, known)?.into_iter().rev());
        Ok(!self.queue.is_empty())
    }

    fn next_file(&mut self) -> io::Result<()> {
        let Some(mut held) = self.queue.pop_front() else { return Ok(()) };
        let known = held.known()?;
        held.unpack(&self.path)?;
        let limit = (!self.options.follow).then_some(held.len);
        self.current = Some((Cursor::new(held.file, 0, limit), self.next_number, known));
        self.next_number += 1;
        Ok(())
    }
}
