//! Beginnings of blobs whose transfer broke off, for the next attempt, by whomever.
//!
//! They are the one thing in a store that nothing vouches for: no flush, no digest. Whoever reads one hashes it together with what
//! follows, and begins anew when that is not the blob. Who adds to one has it locked; they take room only while there is enough.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use oci_spec::image::Digest;
use rustix::fs::fstatvfs;

use crate::disk;
use crate::error::{Context, Error};
use crate::lease::LayerSlot;
use crate::store::Store;
use crate::usage::free_bytes;

/// The directory, in a store's.
pub(crate) const PARTIAL: &str = "partial";
/// After this nobody comes back for one.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Bytes after which is looked again whether there is room.
const LOOK_EVERY: u64 = 4 << 20;

/// The beginning of a blob, as far as it came.
#[derive(Debug)]
pub struct Partial {
    path: PathBuf,
    file: Option<File>,
    length: u64,
    /// The length at which is looked again whether there is room.
    looked: u64,
}

impl LayerSlot<'_> {
    /// What has come of the blob this slot is for, `blob`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn partial(&self, blob: &Digest) -> Result<Partial, Error> {
        Partial::open(self.store(), blob)
    }
}

impl Partial {
    fn open(store: &Store, blob: &Digest) -> Result<Self, Error> {
        let dir = store.path(PARTIAL);
        disk::make_dir(&dir)?;
        sweep_old(&dir);
        let path = dir.join(disk::escape(blob.as_ref()));
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).during("open", &path)?;
        // Against sweeps, and a second one who fetches the same for a layer that is called otherwise.
        file.try_lock().map_err(io::Error::from).during("lock", &path)?;
        let length = file.metadata().during("look at", &path)?.len();
        Ok(Self { path, file: Some(file), length, looked: 0 })
    }

    /// Bytes of it.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// All of it, from its start.
    ///
    /// # Errors
    /// The kernel's; none of it is kept any more.
    pub fn reader(&self) -> io::Result<impl Read + Send + use<>> {
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?.try_clone()?;
        Ok(Reading { file, at: 0, end: self.length })
    }

    /// Adds what came next. It is kept while there is room, also for `more` bytes, of others; nothing is when not.
    pub fn append(&mut self, bytes: &[u8], more: u64) {
        let Some(file) = &self.file else { return };
        if self.length >= self.looked {
            self.looked = self.length + LOOK_EVERY;
            let free = fstatvfs(file).ok().and_then(|stat| free_bytes(&stat));
            if free.is_some_and(|free| free < more) {
                return self.discard();
            }
        }
        match file.write_all_at(bytes, self.length) {
            Ok(()) => self.length += bytes.len() as u64,
            Err(_) => self.discard(),
        }
    }

    /// Removes it: the blob is here, or what came is not the blob.
    pub fn discard(&mut self) {
        if self.file.take().is_some() {
            // What cannot be removed now is when it is old.
            let _ = fs::remove_file(&self.path);
        }
        self.length = 0;
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.length == 0 {
            self.discard();
        }
    }
}

/// What is kept, from where it is wanted; the file is written to meanwhile.
struct Reading {
    file: File,
    at: u64,
    end: u64,
}

impl Read for Reading {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(out.len());
        let count = self.file.read_at(&mut out[..most], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Store {
    /// Removes beginnings of blobs that nobody adds to at the moment: for want of room, or because everything that can go should.
    pub fn forget_partials(&self) {
        sweep(&self.path(PARTIAL), Duration::ZERO);
    }
}

/// Removes those for which nobody comes back any more.
pub(crate) fn sweep_old(dir: &Path) {
    sweep(dir, KEPT);
}

/// Removes those to which nobody has added for so long.
fn sweep(dir: &Path, kept: Duration) {
    let now = SystemTime::now();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|found| found.modified());
        let age = modified.ok().map(|modified| now.duration_since(modified).unwrap_or_default());
        if age.is_some_and(|age| age >= kept) {
            // Who adds to it holds its lock.
            let unused = File::open(entry.path()).and_then(|file| Ok(file.try_lock().map(|()| file)?));
            if unused.is_ok() {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}
