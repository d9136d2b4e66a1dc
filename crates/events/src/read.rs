//! Reading events from the oldest one on, or from now on, across files that are renamed.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::event::Event;
use crate::log::Log;
use crate::tail::Tail;

/// Files that were read and may get a line still, from whoever opened them before they were renamed. On a machine with much else to do
/// that may be many files ago.
const OLD: usize = 32;
/// How often files are listed again because they were renamed meanwhile.
const TRIES: u32 = 100;

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With the oldest event there is.
    Start,
    /// With the next one.
    End,
}

/// Reads events in the order in which they were written.
#[derive(Debug)]
pub struct Reader {
    log: Log,
    /// What is read; none while there is nothing.
    current: Option<Tail>,
    /// What comes after it, which is known before it was looked at for the last time.
    next: Option<Tail>,
    old: VecDeque<Tail>,
    /// Tells of changes, for who waits.
    changes: Option<OwnedFd>,
    /// Only lines with this in them are wanted.
    needle: Vec<u8>,
}

impl Reader {
    /// Opens a log, which need not be there yet.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn open(log: &Log, from: From) -> io::Result<Self> {
        let current = match from {
            From::Start => None,
            // Made if need be: otherwise, what is written next could not be told from what is there.
            From::End => {
                let mut file = log.open()?;
                file.seek(SeekFrom::End(0))?;
                Some(Tail::new(file)?)
            }
        };
        let (log, needle) = (log.clone(), Vec::new());
        Ok(Self { log, current, next: None, old: VecDeque::new(), changes: None, needle })
    }

    /// Only events that say `text` somewhere, such as an id: what else is there is not even parsed.
    #[must_use]
    pub fn mentioning(mut self, text: &str) -> Self {
        text.as_bytes().clone_into(&mut self.needle);
        self
    }

    /// The next event; `None` when there is none at this moment.
    ///
    /// # Errors
    /// The kernel's errno.
    #[expect(clippy::should_implement_trait, reason = "after `None` there may be more")]
    pub fn next(&mut self) -> io::Result<Option<Event>> {
        loop {
            let inode = match &mut self.current {
                Some(current) => {
                    if let Some(event) = next_of(current, &self.needle)? {
                        return Ok(Some(event));
                    }
                    Some(current.inode)
                }
                None => None,
            };
            if let Some(next) = self.next.take() {
                // This one was looked at again after it had been renamed.
                self.old.extend(self.current.replace(next));
                if self.old.len() > OLD {
                    self.old.pop_front();
                }
                continue;
            }
            let named = std::fs::metadata(self.log.path()).ok().map(|now| now.ino());
            if inode.is_some() && inode == named {
                return self.late();
            }
            match self.after(inode)? {
                Some(next) => self.next = Some(next),
                None => return self.late(),
            }
        }
    }

    /// What came to files after they had been read and renamed.
    fn late(&mut self) -> io::Result<Option<Event>> {
        // Whoever writes to one that is deleted notices, and writes it again.
        self.old.retain(|old| !old.is_deleted());
        for old in &mut self.old {
            if let Some(event) = next_of(old, &self.needle)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Opens the file after the one with this inode, or the oldest; `None` while there is none.
    fn after(&self, inode: Option<u64>) -> io::Result<Option<Tail>> {
        for _ in 0..TRIES {
            let Some(rotated) = self.rotated()? else { return Ok(None) };
            let known = rotated.iter().position(|&(_, one)| Some(one) == inode);
            // All are newer than one that is not there any more.
            let path = match rotated.get(known.map_or(0, |i| i + 1)) {
                Some(&(number, _)) => self.log.numbered(number),
                None => self.log.path().to_owned(),
            };
            match File::open(&path) {
                // Nothing has come between: it is the next one.
                Ok(file) if self.rotated()?.as_ref() == Some(&rotated) => return Tail::new(file).map(Some),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    if path == self.log.path() && self.rotated()?.as_ref() == Some(&rotated) {
                        return Ok(None);
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Err(ErrorKind::ResourceBusy.into())
    }

    /// Numbers and inodes of the files that were renamed; `None` when there is not even a directory.
    fn rotated(&self) -> io::Result<Option<Vec<(u64, u64)>>> {
        match self.log.rotated() {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            other => Ok(Some(other?.into_iter().map(|one| (one.number, one.inode)).collect())),
        }
    }

    /// Waits until there may be another event, but not longer than `time`. Often it is for nothing.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn wait(&mut self, time: Option<Duration>) -> io::Result<()> {
        let Some(changes) = &self.changes else {
            // Something may have come before this was there: to be looked at once more.
            self.log.open()?;
            let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            let what = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
            inotify::add_watch(&changes, self.log.dir(), what)?;
            self.changes = Some(changes);
            return Ok(());
        };
        let time = time.map(|time| Timespec {
            tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        });
        match poll(&mut [PollFd::new(changes, PollFlags::IN)], time.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => Ok(()),
            Ok(_) => take_all(changes),
            Err(e) => Err(e.into()),
        }
    }
}

/// The next line of a file that is an event, and wanted.
fn next_of(tail: &mut Tail, needle: &[u8]) -> io::Result<Option<Event>> {
    while let Some(line) = tail.line()? {
        let mentions = needle.is_empty() || line.windows(needle.len()).any(|part| part == needle);
        if let Some(event) = mentions.then(|| Event::parse(line)).flatten() {
            return Ok(Some(event));
        }
    }
    Ok(None)
}

/// What has changed does not matter, that something has was seen.
fn take_all(changes: &OwnedFd) -> io::Result<()> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(changes, &mut buffer);
    loop {
        match reader.next() {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
}
