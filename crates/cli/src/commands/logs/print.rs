//! Showing records.

use std::io::{IsTerminal, Write};

use loment_logs::{Record, Stream};

use crate::error::{Doing, Error};

/// Output is written when there is so much of it, in bytes.
const BUFFER: usize = 64 * 1024;
/// Podman's colours, in its order.
const COLOURS: [&str; 7] =
    ["\x1b[37m", "\x1b[31m", "\x1b[33m", "\x1b[34m", "\x1b[35m", "\x1b[36m", "\x1b[32m"];
const RESET: &str = "\x1b[0m";

/// What stands before the text of a line, and how it looks.
#[derive(Debug, Default)]
pub(super) struct Style {
    pub(super) timestamps: bool,
    /// Colours are wanted, where there is a terminal.
    pub(super) colours: bool,
}

/// Writes records to the streams they came from.
pub(super) struct Printer {
    timestamps: bool,
    /// Of standard output, of standard error: a terminal that shows colours.
    colours: [bool; 2],
    /// Not yet written, and for which stream it is: the order between the two is kept.
    buffer: Vec<u8>,
    stream: Stream,
    /// The container whose line on standard output, on standard error, has not ended.
    in_line: [Option<usize>; 2],
}

/// Whose record it is.
#[derive(Debug, Default)]
pub(super) struct Origin {
    /// Which of the containers.
    pub(super) number: usize,
    /// Its name or id, if that is to be seen, and a blank.
    pub(super) name: String,
    /// What else is said of each line, and a blank.
    pub(super) details: String,
}

impl Printer {
    pub(super) fn new(style: &Style) -> Self {
        let colours = [std::io::stdout().is_terminal(), std::io::stderr().is_terminal()];
        Self {
            timestamps: style.timestamps,
            colours: colours.map(|terminal| terminal && style.colours),
            buffer: Vec::with_capacity(BUFFER),
            stream: Stream::Stdout,
            in_line: [None; 2],
        }
    }

    /// The container whose line has not ended, if there is one.
    pub(super) fn unfinished(&self) -> Option<usize> {
        self.in_line[0].or(self.in_line[1])
    }

    pub(super) fn show(&mut self, origin: &Origin, record: &Record<'_>) -> Result<(), Error> {
        if self.stream != record.stream || self.buffer.len() >= BUFFER {
            self.flush()?;
            self.stream = record.stream;
        }
        let stream = record.stream as usize;
        let colour = self.colours[stream].then(|| COLOURS[origin.number % COLOURS.len()]);
        let in_line = &mut self.in_line[stream];
        if in_line.is_some_and(|other| other != origin.number) {
            // Nobody could tell where one container's line goes on as another's.
            self.buffer.push(b'\n');
            *in_line = None;
        }
        if let Some(colour) = colour {
            self.buffer.extend(colour.as_bytes());
        }
        if in_line.is_none() {
            self.buffer.extend(origin.name.as_bytes());
            if self.timestamps {
                self.buffer.extend(record.time.as_bytes());
                self.buffer.push(b' ');
            }
            self.buffer.extend(origin.details.as_bytes());
        }
        self.buffer.extend(&*record.text);
        if colour.is_some() {
            self.buffer.extend(RESET.as_bytes());
        }
        if !record.partial {
            self.buffer.push(b'\n');
        }
        *in_line = record.partial.then_some(origin.number);
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<(), Error> {
        let written = match self.stream {
            Stream::Stdout => {
                let mut out = std::io::stdout().lock();
                out.write_all(&self.buffer).and_then(|()| out.flush())
            }
            Stream::Stderr => std::io::stderr().write_all(&self.buffer),
        };
        self.buffer.clear();
        match written {
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(Error::Shown { status: 0 }),
            other => other.doing(|| "write the log".into()),
        }
    }
}
