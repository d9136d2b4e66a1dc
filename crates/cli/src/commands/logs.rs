//! `logs`

use std::io::Write;
use std::time::Duration;

use clap::Parser;
use loment_engine::{LogLine, LogOptions, Stream};

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
    let options = LogOptions {
        tail,
        since: flags.since.as_deref().map(moment).transpose()?,
        until: flags.until.as_deref().map(moment).transpose()?,
    };
    let (container, mut reader) = engine.logs(&flags.container, options)?;
    let mut printer = Printer { timestamps: flags.timestamps, in_line: [false, false] };
    printer.show(&reader.read_all()?)?;
    if !flags.follow {
        return Ok(0);
    }
    loop {
        // Looked at before reading: what was written before the end is read after it.
        let running = engine.is_running(&container.config.id);
        printer.show(&reader.read_new()?)?;
        if !running {
            return Ok(0);
        }
        std::thread::sleep(INTERVAL);
    }
}

/// A moment as the log has it: RFC 3339 in UTC with nanoseconds, so that texts compare.
fn moment(text: &str) -> Result<String, Error> {
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
    Ok(format!("{time:.9}"))
}

struct Printer {
    timestamps: bool,
    /// The last record of standard output and of standard error was the beginning of a line.
    in_line: [bool; 2],
}

impl Printer {
    fn show(&mut self, lines: &[LogLine]) -> Result<(), Error> {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        for line in lines {
            let (buffer, i) = match line.stream {
                Stream::Stdout => (&mut out, 0),
                Stream::Stderr => (&mut err, 1),
            };
            if self.timestamps && !self.in_line[i] {
                buffer.extend(line.time.as_bytes());
                buffer.push(b' ');
            }
            buffer.extend(&line.text);
            if !line.partial {
                buffer.push(b'\n');
            }
            self.in_line[i] = line.partial;
        }
        let written = std::io::stdout()
            .write_all(&out)
            .and_then(|()| std::io::stdout().flush())
            .and_then(|()| std::io::stderr().write_all(&err));
        match written {
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(Error::Shown { status: 0 }),
            other => other.doing(|| "write the log".into()),
        }
    }
}
