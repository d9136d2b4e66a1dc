//! Directories that nobody knows yet: what is made in one appears whole, by a rename.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::Error;
use crate::error::Context;
use crate::names::new_id;

/// How often a directory is made anew that others have taken for a killed program's.
const TRIES: u32 = 16;

/// A directory below `dir`, which is made if it is not there, with a name that begins with `prefix`; locked, as long as the file is open.
/// One that is not locked is the leftover of a program that was killed.
pub(crate) fn new_dir(dir: &Path, prefix: &str, mode: u32) -> Result<(PathBuf, File), Error> {
    for _ in 0..TRIES {
        let new = dir.join(format!("{prefix}{}", new_id().context("choose", "a name")?));
        DirBuilder::new().mode(0o700).recursive(true).create(dir).context("create", dir.display())?;
        DirBuilder::new().mode(mode).create(&new).context("create", new.display())?;
        // Whoever sweeps may have taken it for a killed program's before it was locked.
        let Ok(lock) = File::open(&new) else { continue };
        lock.lock().context("lock", new.display())?;
        let now = std::fs::symlink_metadata(&new).map(|m| m.ino()).ok();
        if now.is_some() && now == lock.metadata().map(|m| m.ino()).ok() {
            return Ok((new, lock));
        }
    }
    Err(io::Error::from(Errno::AGAIN)).context("make a directory in", dir.display())
}
