//! `logs`

use std::io::Write;
use std::time::Duration;

use clap::Parser;
use loment_logs::{Moment, Options, Record, Stream};

use crate::error::{Doing, Error};
use crate::globals::Globals;

/// How often a followed log is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// Fetch the logs of a container
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Go on with what is added, until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Show only so many of the last lines; all is no limit
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    tail: Option<String>,
    /// Show when each line was written
    #[arg(short, long)]
    timestamps: bool,
    /// Show only what is not older: a time (RFC 3339, or seconds since 1970) or an age such as 10m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Show only what is not newer
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Container
    #[arg(value_name = "CONTAINER")]
    container: String,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let tail =
        match flags.tail.as_deref() {
            None | Some("all" | "-1") => None,
            Some(n) => Some(n.parse().map_err(|_| {
                Error::Invalid(format!("invalid value {n:?} for --tail: use a number or all"))
            })?),
        };
    let options = Options {
        tail,
        since: flags.since.as_deref().map(moment).transpose()?,
        until: flags.until.as_deref().map(moment).transpose()?,
        follow: flags.follow,
    };
    let (container, mut reader) = engine.logs(&flags.container, options)?;
    let mut printer = Printer::new(flags.timestamps);
    loop {
        // Looked at before reading: what was written before the end is read after it.
        let is_running = flags.follow && engine.is_running(&container.config.id);
        while let Some(record) = reader.next_record().map_err(loment_engine::Error::from)? {
            printer.show(&record)?;
        }
        printer.flush()?;
        if !is_running {
            return Ok(0);
        }
        std::thread::sleep(INTERVAL);
    }
}

fn moment(text: &str) -> Result<Moment, Error> {
    let time = if let Ok(time) = text.parse::<jiff::Timestamp>() {
        time
    } else if let Ok(seconds) = text.parse::<i64>() {
        jiff::Timestamp::from_second(seconds)
            .map_err(|e| Error::Invalid(format!("invalid time {text:?}: {e}")))?
    } else {
        let span: jiff::SignedDuration = text.parse().map_err(|_| {
            Error::Invalid(format!(
                "invalid time {text:?}: use 2026-01-31T12:00:00Z or a duration such as 10m"
            ))
        })?;
        jiff::Timestamp::now()
            .saturating_sub(span)
            .map_err(|e| Error::Invalid(format!("invalid time {text:?}: {e}")))?
    };
    // Before 1970 the part after the second counts backwards; logs are younger.
    Ok(Moment::new(time.as_second(), time.subsec_nanosecond().max(0) as u32))
}

/// Output is written when there is so much of it, in bytes.
const BUFFER: usize = 64 * 1024;

struct Printer {
    timestamps: bool,
    /// Not yet written, and for which stream it is: the order between the two is kept.
    buffer: Vec<u8>,
    stream: Stream,
    /// The last record of standard output and of standard error was the beginning of a line.
    in_line: [bool; 2],
}

impl Printer {
    fn new(timestamps: bool) -> Self {
        Self { timestamps, buffer: Vec::with_capacity(BUFFER), stream: Stream::Stdout, in_line: [false; 2] }
    }

    fn show(&mut self, record: &Record<'_>) -> Result<(), Error> {
        if self.stream != record.stream || self.buffer.len() >= BUFFER {
            self.flush()?;
            self.stream = record.stream;
        }
        let in_line = &mut self.in_line[record.stream as usize];
        if self.timestamps && !*in_line {
            self.buffer.extend(record.time.as_bytes());
            self.buffer.push(b' ');
        }
        *in_line = record.partial;
        self.buffer.extend(&*record.text);
        if !record.partial {
            self.buffer.push(b'\n');
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let written = match self.stream {
            Stream::Stdout => {
                std::io::stdout().lock().write_all(&self.buffer).and_then(|()| std::io::stdout().flush())
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
