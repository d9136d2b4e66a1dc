//! Directories that nobody knows yet: what is made in one appears whole, by a rename.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use loment_sys::fd::is_at;
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
        if is_at(&lock, &new) {
            return Ok((new, lock));
        }
    }
    Err(io::Error::from(Errno::AGAIN)).context("make a directory in", dir.display())
}

/// The names in a directory of what is whole: those that do not begin as the names of [`new_dir`] do. A missing directory has none.
pub(crate) fn whole_names(dir: &Path, first: char) -> Result<Vec<String>, Error> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.context("read", dir.display())?,
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter(|name| !name.starts_with(first)).collect())
}

/// Removes with `discard` what killed programs have left whose names begin with `prefix`.
pub(crate) fn sweep(dir: &Path, prefix: &str, discard: impl Fn(&Path, &File)) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix)) {
            continue;
        }
        // Its maker holds the lock.
        if let Ok(dir) = File::open(entry.path())
            && dir.try_lock().is_ok()
        {
            discard(&entry.path(), &dir);
        }
    }
}
