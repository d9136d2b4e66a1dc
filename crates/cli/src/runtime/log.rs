//! Where a runtime's errors go: standard error, and where the engine wants them.

use std::fs::File;
use std::io::Write;
use std::os::unix::net::UnixDatagram;

use anyhow::{Context, bail};

/// systemd-journald(8), native protocol.
const JOURNAL: &str = "/run/systemd/journal/socket";
const SYSLOG: &str = "/dev/log";
/// syslog(3): LOG_USER, and the severities.
const USER: u8 = 8;
const ERROR: u8 = 3;
const WARNING: u8 = 4;

/// What is written where.
#[derive(Debug, Default)]
pub(crate) struct Log {
    target: Option<Target>,
    /// `None`: for people to read on standard error, runc's text elsewhere.
    format: Option<Format>,
    quiet: bool,
}

/// Of a line in a file, and on standard error where one was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Text,
}

#[derive(Debug)]
enum Target {
    File(File),
    Journal(UnixDatagram, String),
    Syslog(UnixDatagram, String),
}

impl Log {
    /// `--log`: a path, or crun's `file:PATH`, `journald:NAME`, `syslog:NAME`. It is opened now: later this process may be in a
    /// container's mount namespace.
    pub(crate) fn write_to(&mut self, text: &str) -> anyhow::Result<()> {
        let connect = |path: &str| {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path).map(|()| socket)
        };
        self.target = Some(if let Some(name) = text.strip_prefix("journald:") {
            Target::Journal(connect(JOURNAL).with_context(|| format!("connect to {JOURNAL}"))?, name.into())
        } else if let Some(name) = text.strip_prefix("syslog:") {
            Target::Syslog(connect(SYSLOG).with_context(|| format!("connect to {SYSLOG}"))?, name.into())
        } else {
            let path = text.strip_prefix("file:").unwrap_or(text);
            let file = File::options().create(true).append(true).open(path);
            Target::File(file.with_context(|| format!("open log file {path}"))?)
        });
        Ok(())
    }

    /// `--log-format`.
    pub(crate) fn set_format(&mut self, name: &str) -> anyhow::Result<()> {
        self.format = Some(match name {
            "json" => Format::Json,
            "text" => Format::Text,
            other => bail!("invalid --log-format {other:?}: use text or json"),
        });
        Ok(())
    }

    /// `--log-level`: there are errors and warnings only.
    pub(crate) fn set_level(&mut self, name: &str) -> anyhow::Result<()> {
        self.quiet = match name {
            "error" => true,
            "debug" | "info" | "warning" | "warn" => false,
            other => bail!("invalid --log-level {other:?}: use debug, info, warning or error"),
        };
        Ok(())
    }

    /// Writes an error. containerd and conmon read the last line of the file.
    pub(crate) fn error(&self, message: &str) {
        self.write("error", ERROR, message);
    }

    /// Writes down what went wrong without ending the command.
    pub(crate) fn warn(&self, message: &str) {
        if !self.quiet {
            self.write("warning", WARNING, message);
        }
    }

    fn write(&self, level: &str, severity: u8, message: &str) {
        let shown = match (self.format, &self.target) {
            // runc logs to standard error, unless there is a better place.
            (Some(_), None) => self.line(level, message),
            _ => format!("loment-runtime: {level}: {message}"),
        };
        // Nobody is left to tell when standard error is closed, or what is logged to.
        let _ = writeln!(std::io::stderr(), "{shown}");
        let _ = match &self.target {
            None => return,
            Some(Target::File(file)) => {
                // One write: others append to the same file.
                let line = self.line(level, message) + "\n";
                (&*file).write_all(line.as_bytes())
            }
            Some(Target::Journal(socket, name)) => {
                let message = message.replace('\n', "; ");
                let text = format!("MESSAGE={message}\nPRIORITY={severity}\nSYSLOG_IDENTIFIER={name}\n");
                socket.send(text.as_bytes()).map(drop)
            }
            Some(Target::Syslog(socket, name)) => {
                socket.send(format!("<{}>{name}: {message}", USER | severity).as_bytes()).map(drop)
            }
        };
    }

    fn line(&self, level: &str, message: &str) -> String {
        let time = jiff::Timestamp::now().to_string();
        if self.format == Some(Format::Json) {
            serde_json::json!({"level": level, "msg": message, "time": time}).to_string()
        } else {
            format!("time={time:?} level={level} msg={message:?}")
        }
    }
}
