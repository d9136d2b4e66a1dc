//! Writing a log, wherever it goes.

use std::io;
use std::os::fd::BorrowedFd;

use crate::compress::Chore;
use crate::file::FileWriter;
use crate::journald::Journal;
use crate::record::Stream;
use crate::settings::Settings;

/// A log being written.
#[derive(Debug)]
pub struct Writer(Kind);

#[derive(Debug)]
enum Kind {
    Nothing,
    Files(Box<FileWriter>),
    Journal(Box<Journal>),
}

impl Writer {
    /// One that keeps nothing.
    pub fn none() -> Self {
        Self(Kind::Nothing)
    }

    /// Opens the log for appending, or one that keeps nothing. What a crash has left of a record is cut off.
    ///
    /// # Errors
    /// The kernel's errno; without a journal, that of connecting to it.
    pub fn open(settings: Settings) -> io::Result<Self> {
        Ok(Self(match settings {
            Settings::Nothing | Settings::Passthrough => Kind::Nothing,
            Settings::Files { path, format, rotation, attributes } => {
                let name = path.display().to_string();
                let explain = |e: io::Error| io::Error::new(e.kind(), format!("{name}: {e}"));
                Kind::Files(Box::new(FileWriter::open(path, format, rotation, &attributes).map_err(explain)?))
            }
            Settings::Journal { fields, buffer } => Kind::Journal(Box::new(Journal::open(&fields, buffer)?)),
        }))
    }

    /// Writes a chunk: whole lines, and one that goes on in the next chunk.
    ///
    /// # Errors
    /// The kernel's errno, such as `ENOSPC`. What could not be written is lost, but never a part of a record: the log stays
    /// readable, and the next chunk is written if it can be.
    pub fn write(&mut self, stream: Stream, data: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Kind::Nothing => Ok(()),
            Kind::Files(files) => files.write(stream, data),
            Kind::Journal(journal) => journal.write(stream, data),
        }
    }

    /// The stream has ended: writes what was held back until it could be a line.
    ///
    /// # Errors
    /// As of [`Writer::write`].
    pub fn finish(&mut self, stream: Stream) -> io::Result<()> {
        match &mut self.0 {
            Kind::Nothing => Ok(()),
            Kind::Files(files) => files.finish(stream),
            Kind::Journal(journal) => journal.finish(stream),
        }
    }

    /// What takes nothing more at this moment: when it can be written to, call [`Writer::resume`], and write nothing until then.
    pub fn blocked_on(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Kind::Journal(journal) => journal.blocked_on(),
            Kind::Nothing | Kind::Files(_) => None,
        }
    }

    /// Writes what was not taken.
    ///
    /// # Errors
    /// As of [`Writer::write`].
    pub fn resume(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Kind::Journal(journal) => journal.resume(),
            Kind::Nothing | Kind::Files(_) => Ok(()),
        }
    }

    /// Something to be done in another process, whose end is told to [`Writer::end_chore`]. Only one at a time.
    pub fn chore(&mut self) -> Option<Chore> {
        match &mut self.0 {
            Kind::Files(files) => files.chore(),
            Kind::Nothing | Kind::Journal(_) => None,
        }
    }

    /// The chore was done, or could not be.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn end_chore(&mut self, is_done: bool) -> io::Result<()> {
        match &mut self.0 {
            Kind::Files(files) => files.end_chore(is_done),
            Kind::Nothing | Kind::Journal(_) => Ok(()),
        }
    }
}
