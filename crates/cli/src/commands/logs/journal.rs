//! The journal of systemd, read by its own program: its files are nobody else's business.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Error as IoError, ErrorKind, Result as IoResult};
use std::os::fd::{AsFd, OwnedFd};

use loment_logs::{Entries, Moment, Options, Record};
use loment_sys::wait::wait_exit;
use rustix::event::{PollFd, PollFlags, poll};

use super::merge::Owned;
use crate::error::{Doing, Error};
use crate::programs;

/// The program that reads the journal.
const PROGRAM: &str = "journalctl";

/// What of the journal is a container's.
#[derive(Debug)]
pub(super) struct Journal {
    id: String,
    options: Options,
    /// The last lines, which were found backwards.
    first: VecDeque<Owned>,
    shown: Option<Owned>,
    running: Option<Running>,
    /// The last entry that was read.
    cursor: String,
    is_following: bool,
    is_past: bool,
}

/// A journalctl and what it writes.
#[derive(Debug)]
struct Running {
    child: OwnedFd,
    entries: Entries<BufReader<File>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = loment_sys::process::pidfd_signal(self.child.as_fd(), 9);
        let _ = wait_exit(&self.child);
    }
}

impl Journal {
    pub(super) fn open(id: &str, options: Options) -> Result<Self, Error> {
        let mut journal = Self {
            id: id.to_owned(),
            options,
            first: VecDeque::new(),
            shown: None,
            running: None,
            cursor: String::new(),
            is_following: options.follow,
            is_past: false,
        };
        if let Some(wanted) = options.tail {
            journal.find_last(wanted)?;
        }
        journal.go_on()?;
        Ok(journal)
    }

    fn run(&self, arguments: &[&str]) -> Result<Running, Error> {
        let what = format!("CONTAINER_ID_FULL={}", self.id);
        let words = [&["--quiet", "--no-pager", "--all", "--output=export"], arguments, &[&what]].concat();
        let (child, output) =
            journalctl(&words, true).doing(|| format!("read the journal with {PROGRAM}"))?;
        Ok(Running { child, entries: Entries::new(BufReader::with_capacity(64 * 1024, output)) })
    }

    /// Reads on after the last entry, and waits for more if the log is followed.
    fn go_on(&mut self) -> Result<(), Error> {
        let mut arguments = Vec::new();
        if self.is_following {
            arguments.extend(["--follow".to_owned(), "--no-tail".to_owned()]);
        }
        if !self.cursor.is_empty() {
            arguments.push(format!("--after-cursor={}", self.cursor));
        } else if let Some(since) = self.options.since {
            // Entries have a time of their own, which is later than ours.
            arguments.push(format!("--since=@{}", since.seconds().max(0)));
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.running = Some(self.run(&arguments)?);
        Ok(())
    }

    /// The last lines, from the end on.
    fn find_last(&mut self, wanted: usize) -> Result<(), Error> {
        let mut running = self.run(&["--reverse"])?;
        let mut lines = 0;
        let mut seen = [false; 2];
        while let Some(record) = running.entries.next_record().doing(|| "read the journal".into())? {
            let stream = record.stream as usize;
            lines += usize::from(!record.partial || !seen[stream]);
            seen[stream] = true;
            let record = (lines <= wanted).then(|| Owned::new(&record));
            if self.cursor.is_empty() {
                running.entries.cursor().clone_into(&mut self.cursor);
            }
            match record {
                Some(record) => self.first.push_front(record),
                None => break,
            }
        }
        Ok(())
    }

    /// The next record. `None` at the end or, of a log that is followed, when there is none at this moment.
    pub(super) fn next_record(&mut self) -> Result<Option<Record<'_>>, Error> {
        loop {
            if self.is_past {
                return Ok(None);
            }
            let record = match self.first.pop_front() {
                Some(record) => record,
                None => match self.read()? {
                    Some(record) => record,
                    None => return Ok(None),
                },
            };
            let moment = Moment::parse(record.time.as_bytes());
            let (since, until) = (self.options.since, self.options.until);
            self.is_past = until.is_some_and(|u| moment.is_some_and(|m| m > u));
            if !self.is_past && since.is_none_or(|s| moment.is_some_and(|m| m >= s)) {
                return Ok(Some(self.shown.insert(record).record()));
            }
        }
    }

    fn read(&mut self) -> Result<Option<Owned>, Error> {
        let Some(running) = &mut self.running else { return Ok(None) };
        if self.is_following && running.entries.input().buffer().is_empty() {
            let output = running.entries.input().get_ref();
            let mut ready = [PollFd::new(output, PollFlags::IN)];
            let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
            if poll(&mut ready, Some(&now)).doing(|| "wait for the journal".into())? == 0 {
                return Ok(None);
            }
        }
        let record =
            running.entries.next_record().doing(|| "read the journal".into())?.map(|r| Owned::new(&r));
        if record.is_some() {
            running.entries.cursor().clone_into(&mut self.cursor);
        } else {
            let exit = self.running.take().map(|r| wait_exit(&r.child)).transpose();
            let exit = exit.doing(|| format!("wait for {PROGRAM}"))?;
            if let Some(exit) = exit.filter(|exit| exit.status() != 0) {
                let status = exit.status();
                return Err(Error::Invalid(format!(
                    "{PROGRAM}, which reads the journal, failed with status {status}"
                )));
            }
        }
        Ok(record)
    }

    /// Nothing more is written: reads what there is to the end.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.is_following) {
            // What was taken from the monitor may not be written yet. One that cannot be asked has written it soon.
            let _ = journalctl(&["--sync"], false).and_then(|(child, _)| wait_exit(&child));
            self.running = None;
            self.go_on()?;
        }
        Ok(())
    }

    pub(super) fn is_past(&self) -> bool {
        self.is_past
    }
}

/// Starts it, with what it says of failures shown or not.
fn journalctl(arguments: &[&str], shown: bool) -> IoResult<(OwnedFd, File)> {
    let missing = || IoError::new(ErrorKind::NotFound, "there is no such program in PATH");
    let file = programs::find(PROGRAM).ok_or_else(missing)?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let stderr = std::io::stderr();
    let stderr = if shown { stderr.as_fd() } else { null.as_fd() };
    programs::start(&file, &[&[PROGRAM], arguments].concat(), null.as_fd(), stderr)
}
