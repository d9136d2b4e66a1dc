//! The lock of an OCI image layout. No other tool takes one.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{io, thread};

use crate::error::Error;
use crate::files;

/// How long others who change the index are waited for: each does so for a moment.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked whether they are done.
const LOOK: Duration = Duration::from_millis(20);

/// Keeps others of us from changing the index of the layout in `dir`: of two changes at a time, one would be lost.
pub(super) fn lock(dir: &Path) -> Result<File, Error> {
    let file = files::failed(File::open(dir), "open", dir)?;
    let end = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < end => thread::sleep(LOOK),
            Err(TryLockError::WouldBlock) => {
                let held = "another program has held its lock for a minute: end that, or copy elsewhere";
                return files::failed(Err(io::Error::other(held)), "lock", dir);
            }
            Err(TryLockError::Error(error)) => return files::failed(Err(error), "lock", dir),
        }
    }
}
