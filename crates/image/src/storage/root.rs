//! The directory that another tool keeps its storage in. Whose it is may have put anything there, while it is read even: below it no link
//! is followed, and what is not a regular file is looked at and not opened.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use serde::Deserialize;

use crate::error::Error;
use crate::files::{failed, read_all, reopen};

/// Largest `images.json` or `layers.json`; those of some thousand layers have a few megabytes.
const MAX_LIST: u64 = 256 << 20;

/// That directory.
#[derive(Debug)]
pub(super) struct Root {
    dir: OwnedFd,
    /// For messages.
    pub(super) path: PathBuf,
}

impl Root {
    /// The way to it is the user's own.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let dir = open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        Ok(Self { dir: failed(dir.map_err(io::Error::from), "open", path)?, path: path.to_path_buf() })
    }

    pub(super) fn try_clone(&self) -> Result<Self, Error> {
        Ok(Self { dir: failed(self.dir.try_clone(), "open", &self.path)?, path: self.path.clone() })
    }

    fn find(&self, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        Ok(openat2(&self.dir, name, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
    }

    /// A directory, to find files in.
    pub(super) fn dir(&self, name: &str) -> Result<OwnedFd, Error> {
        failed(self.find(name, OFlags::PATH | OFlags::DIRECTORY), "open", &self.path.join(name))
    }

    /// A regular file.
    pub(super) fn file(&self, name: &str) -> Result<File, Error> {
        let file = self.find(name, OFlags::PATH).and_then(|found| reopen(found.as_fd()));
        failed(file, "open", &self.path.join(name))
    }

    /// All of a file that has no more than `most` bytes.
    pub(super) fn read(&self, name: &str, most: u64) -> Result<Vec<u8>, Error> {
        failed(read_all(self.file(name)?, most), "read", &self.path.join(name))
    }

    /// What a document lists.
    pub(super) fn list<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<Vec<T>, Error> {
        let what = || self.path.join(name).display().to_string();
        serde_json::from_slice(&self.read(name, MAX_LIST)?)
            .map_err(|source| Error::Malformed { what: what(), source })
    }
}
