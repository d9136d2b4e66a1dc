//! Where events are written.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::Event;

/// A file that was renamed is kept so long at least: whoever has opened it before may still write to it, and who follows it may be
/// slow.
const YOUNG: Duration = Duration::from_secs(10);
/// But no more of them than this.
const MOST: usize = 64;
/// How often a line is written that went to a file that was deleted at that moment.
const TRIES: u32 = 4;

/// A file of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    path: PathBuf,
    /// Bytes that all of it may take; 0 is no limit.
    max_size: u64,
}

impl Log {
    /// How large it may become, unless something else is said: as Podman's, a million bytes.
    pub const MAX_SIZE: u64 = 1_000_000;

    /// The one of a root directory. It takes `max_size` bytes at most, about (0 is no limit).
    pub fn below(root: &Path, max_size: u64) -> Self {
        Self::at(root.join("events/log"), max_size)
    }

    /// The file at an absolute path; its older parts are beside it, with a number behind its name.
    pub fn at(path: PathBuf, max_size: u64) -> Self {
        Self { path, max_size }
    }

    /// The file that is written to.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Appends events, all of them at once.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn write(&self, events: &[Event]) -> io::Result<()> {
        let mut lines = Vec::with_capacity(512);
        for event in events {
            event.write_line(&mut lines)?;
        }
        for _ in 0..TRIES {
            let mut file = self.open()?;
            match file.write(&lines)? {
                n if n == lines.len() => {}
                _ => return Err(ErrorKind::StorageFull.into()),
            }
            let now = file.metadata()?;
            // It was renamed, and grew old, between two steps of this process.
            if now.nlink() == 0 {
                continue;
            }
            if self.max_size > 0 && now.len() > self.max_size / 2 {
                self.rotate();
            }
            return Ok(());
        }
        Err(ErrorKind::NotFound.into())
    }

    /// Opens the file, which is made if need be.
    pub(crate) fn open(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        match options.open(&self.path) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                DirBuilder::new().mode(0o700).recursive(true).create(self.dir())?;
                options.open(&self.path)
            }
            other => other,
        }
    }

    /// Renames a file that is too large, and deletes what is too much. Somebody else may be at it, and then there is nothing to do; so
    /// is there after a failure, because the next writer will look again.
    fn rotate(&self) {
        let Ok(dir) = File::open(self.dir()) else { return };
        if dir.try_lock().is_err() {
            return;
        }
        // The last one who had the lock may have done it.
        if !fs::metadata(&self.path).is_ok_and(|now| now.len() > self.max_size / 2) {
            return;
        }
        let Ok(mut rotated) = self.rotated() else { return };
        let number = rotated.last().map_or(1, |last| last.number.saturating_add(1));
        let path = self.numbered(number);
        if fs::rename(&self.path, &path).is_err() {
            return;
        }
        rotated.extend(Rotated::look(number, &path));
        let mut sum = 0;
        for (kept, one) in rotated.iter().rev().enumerate() {
            sum += one.size;
            // The newest one stays, however large.
            if kept > 0 && (kept >= MOST || sum > self.max_size / 2 && !one.young) {
                let _ = fs::remove_file(self.numbered(one.number));
            }
        }
    }

    pub(crate) fn numbered(&self, number: u64) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{number}"));
        self.path.with_file_name(name)
    }

    /// The files that were renamed, the oldest first.
    pub(crate) fn rotated(&self) -> io::Result<Vec<Rotated>> {
        let mut found = Vec::new();
        let own = self.path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        for entry in fs::read_dir(self.dir())? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(own)?.strip_prefix('.'));
            if let Some(number) = number.and_then(|number| number.parse().ok()) {
                found.extend(Rotated::look(number, &self.numbered(number)));
            }
        }
        found.sort_unstable_by_key(|one| one.number);
        Ok(found)
    }
}

/// A file that was renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rotated {
    pub(crate) number: u64,
    pub(crate) inode: u64,
    size: u64,
    young: bool,
}

impl Rotated {
    /// `None` when it is gone.
    fn look(number: u64, path: &Path) -> Option<Self> {
        let now = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
        let age = now.modified().ok()?.elapsed();
        // Clocks are put back.
        let young = age.is_err() || age.is_ok_and(|age| age < YOUNG);
        Some(Self { number, inode: now.ino(), size: now.len(), young })
    }
}
