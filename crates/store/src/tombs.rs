//! What is removed: renamed into `tombs/`, where nothing looks for it, and deleted from there.
//!
//! Renaming is quick and deleting is not: a layer of 70,000 files takes half a minute on ext4. So who removes something deletes for
//! a moment only, which is enough for what is small, and leaves the rest to somebody whom nobody waits for.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, openat, openat2, renameat, unlinkat,
};
use rustix::io::Errno;

use crate::disk;
use crate::error::{Context, Error};
use crate::store::Store;

/// The directory, in a store's.
const TOMBS: &str = "tombs";
/// What the store puts there; others have names of theirs.
const PREFIXES: [&str; 4] = ["tomb-", CONTAINER, "deep-", MOUNTED];
/// Containers.
pub(crate) const CONTAINER: &str = "container-";
/// Layers that may be mounted: deleting them frees nothing before they are unmounted, which the sweeper does.
pub(crate) const MOUNTED: &str = "mounted-";
/// How long the one who removes something deletes.
const MOMENT: Duration = Duration::from_millis(50);

impl Store {
    /// Whether something removed is still to be deleted.
    pub fn has_tombs(root: &Path) -> bool {
        tombs(&root.join(TOMBS)).is_ok_and(|names| !names.is_empty())
    }

    /// Deletes what has been removed from the store at `root`, however long that takes, unless somebody else is at it.
    ///
    /// # Errors
    /// [`Error::Io`] for what cannot be deleted; the rest is.
    pub fn empty_tombs(root: &Path) -> Result<(), Error> {
        let dir = root.join(TOMBS);
        let (mut result, mut stuck) = (Ok(()), HashSet::new());
        loop {
            let lock = File::open(&dir).during("open", &dir)?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => return result,
                Err(fs::TryLockError::Error(error)) => return Err(error).during("lock", &dir),
            }
            for name in tombs(&dir)?.into_iter().filter(|name| !stuck.contains(name)).collect::<Vec<_>>() {
                release(&dir, &name);
                let removed = remove_tree(&dir, &name);
                if removed.is_err() {
                    stuck.insert(name);
                }
                result = result.and(removed);
            }
            drop(lock);
            // Somebody may have added one after the listing, and seen the lock before it was given up.
            if tombs(&dir)?.iter().all(|name| stuck.contains(name)) {
                return result;
            }
        }
    }

    /// Takes `name` out of a directory of an engine's, on the file system of the store, as if it were the store's own: at once, however
    /// much is in it. `false` when it was not there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn bury(&self, dir: &Path, name: &str) -> Result<bool, Error> {
        let was_there = self.bury_many(dir, name)?;
        if was_there {
            self.buried(dir)?;
        }
        Ok(was_there)
    }

    /// The same as one of many: after the last of them comes [`Store::buried`].
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn bury_many(&self, dir: &Path, name: &str) -> Result<bool, Error> {
        self.entomb(dir, name, PREFIXES[0])
    }

    /// What was taken out of `dir` does not come back.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn buried(&self, dir: &Path) -> Result<(), Error> {
        disk::sync_dir(dir, self.durability())?;
        self.empty_tombs_for_a_moment()
    }

    /// Deletes for a moment.
    pub(crate) fn empty_tombs_for_a_moment(&self) -> Result<(), Error> {
        let (dir, until) = (self.path(TOMBS), Instant::now() + MOMENT);
        for name in tombs(&dir)?.iter().filter(|name| !name.starts_with(MOUNTED)) {
            release(&dir, name);
            // Something else that is stuck is told of by whoever empties all.
            if remove_until(&dir, name, Some(until)).is_ok_and(|whole| !whole) {
                break;
            }
        }
        Ok(())
    }

    /// Takes `name` out of a directory of the store, if it is there.
    pub(crate) fn entomb(&self, dir: &Path, name: &str, prefix: &str) -> Result<bool, Error> {
        let from = dir.join(name);
        match fs::rename(&from, self.path(TOMBS).join(disk::unique(prefix))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            result => result.during("remove", &from).map(|()| true),
        }
    }
}

/// Takes back what a container was limited to; again, when it was deleted in part before.
fn release(dir: &Path, name: &str) {
    if name.starts_with(CONTAINER) {
        Store::release_limits(&dir.join(name));
    }
}

/// The names of the store's own.
fn tombs(dir: &Path) -> Result<Vec<String>, Error> {
    let mut names = disk::names(dir)?;
    names.retain(|name| PREFIXES.iter().any(|prefix| name.starts_with(prefix)));
    Ok(names)
}

/// Directories nested deeper than this are moved up before they are emptied.
const MAX_DEPTH: u32 = 48;

/// Removes `name` in the directory `parent`, whatever it is and however deep, without following links. Missing things count as
/// removed.
pub(crate) fn remove_tree(parent: &Path, name: &str) -> Result<(), Error> {
    remove_until(parent, name, None).map(drop)
}

/// As [`remove_tree`], but not for longer than that; `false` when something is left.
fn remove_until(parent: &Path, name: &str, until: Option<Instant>) -> Result<bool, Error> {
    let path = parent.join(name);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = openat(CWD, parent, flags, Mode::empty()).during("open", parent)?;
    let mut removal = Removal { top: top.as_fd(), pending: vec![name.as_bytes().to_vec()], until };
    while let Some(next) = removal.pending.pop() {
        match removal.entry(top.as_fd(), &next, MAX_DEPTH) {
            Err(OUT_OF_TIME) => return Ok(false),
            result => result.during("remove", &path)?,
        }
    }
    Ok(true)
}

/// No call used here says this.
const OUT_OF_TIME: Errno = Errno::TIME;

/// The removal of a tree. Neither stack nor descriptors grow with the depth a hostile layer chose: deep directories are renamed
/// to the top and emptied from there.
struct Removal<'a> {
    top: BorrowedFd<'a>,
    /// Names in `top`.
    pending: Vec<Vec<u8>>,
    until: Option<Instant>,
}

impl Removal<'_> {
    fn entry(&mut self, dir: BorrowedFd<'_>, name: &[u8], depth: u32) -> Result<(), Errno> {
        if self.until.is_some_and(|until| Instant::now() > until) {
            return Err(OUT_OF_TIME);
        }
        match unlinkat(dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR) => self.dir(dir, name, depth),
            Err(errno) => Err(errno),
        }
    }

    fn dir(&mut self, dir: BorrowedFd<'_>, name: &[u8], depth: u32) -> Result<(), Errno> {
        if depth == 0 {
            let aside = disk::unique("deep-").into_bytes();
            renameat(dir, name, self.top, aside.as_slice())?;
            self.pending.push(aside);
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Some file systems skip entries of a listing that shrinks meanwhile, so an unfinished one is repeated.
        for attempt in 0.. {
            // What is mounted there is not the store's to delete (Linux 5.6).
            let fd = match openat2(dir, name, flags, Mode::empty(), ResolveFlags::NO_XDEV) {
                Err(Errno::NOENT) => return Ok(()), // another sweep was faster
                Err(Errno::XDEV) => return Err(Errno::BUSY),
                result => result?,
            };
            let mut entries = Dir::read_from(&fd)?;
            while let Some(entry) = entries.read() {
                let entry = entry?;
                let child = entry.file_name();
                if child == c"." || child == c".." {
                    continue;
                }
                match entry.file_type() {
                    FileType::Directory => self.dir(fd.as_fd(), child.to_bytes(), depth - 1)?,
                    _ => self.entry(fd.as_fd(), child.to_bytes(), depth - 1)?,
                }
            }
            match unlinkat(dir, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => break,
                Err(Errno::NOTEMPTY) if attempt < 8 => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}
