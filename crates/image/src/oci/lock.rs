//! The locks of an OCI image layout. No other tool takes one.
//!
//! Whoever copies to a layout counts on blobs that are there until the index lists them: so the directory of its blobs is locked,
//! shared, from the time the layout is opened, and who deletes waits for all of them. The index is changed under a lock on the
//! layout itself, for a moment, after that.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{io, thread};

use crate::error::Error;
use crate::files;

/// How long others are waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked whether they are done.
const LOOK: Duration = Duration::from_millis(20);

/// Keeps others of us from changing the index of the layout in `dir`: of two changes at a time, one would be lost.
pub(super) fn lock(dir: &Path) -> Result<File, Error> {
    let held = "another program has held its lock for a minute: end that, or copy elsewhere";
    wait(dir, File::try_lock, held)
}

/// Keeps blobs from being deleted of which it was seen that they are there.
pub(super) fn share(blobs: &Path) -> Result<File, Error> {
    let held = "another program has been deleting from it for a minute: end that, or copy elsewhere";
    wait(blobs, File::try_lock_shared, held)
}

/// Waits for all who count on blobs that are there.
pub(super) fn exclude(blobs: &Path) -> Result<File, Error> {
    let held = "something has been copied to it for a minute: try again when that has ended";
    wait(blobs, File::try_lock, held)
}

fn wait(
    dir: &Path,
    try_lock: impl Fn(&File) -> Result<(), TryLockError>,
    held: &'static str,
) -> Result<File, Error> {
    let file = files::failed(File::open(dir), "open", dir)?;
    let end = Instant::now() + PATIENCE;
    loop {
        match try_lock(&file) {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < end => thread::sleep(LOOK),
            Err(TryLockError::WouldBlock) => return files::failed(Err(io::Error::other(held)), "lock", dir),
            Err(TryLockError::Error(error)) => return files::failed(Err(error), "lock", dir),
        }
    }
}
