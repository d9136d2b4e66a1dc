//! Beginnings of blobs whose transfer broke off, for the next attempt, by whomever.
//!
//! They are the one thing in a store that nothing vouches for: no flush, no digest. Whoever reads one hashes it together with what
//! follows, and begins anew when that is not the blob. All who write to one write the same bytes to the same places.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use oci_spec::image::Digest;

use crate::disk;
use crate::error::{Context, Error};
use crate::lease::LayerSlot;
use crate::store::Store;

/// The directory, in a store's.
pub(crate) const PARTIAL: &str = "partial";
/// After this nobody comes back for one.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The beginning of a blob, as far as it came.
#[derive(Debug)]
pub struct Partial {
    path: PathBuf,
    file: Option<File>,
    length: u64,
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
        sweep(&dir);
        let path = dir.join(disk::escape(blob.as_ref()));
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).during("open", &path)?;
        let length = file.metadata().during("look at", &path)?.len();
        Ok(Self { path, file: Some(file), length })
    }

    /// Bytes of it.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// All of it, from its start.
    ///
    /// # Errors
    /// The kernel's.
    pub fn reader(&self) -> io::Result<impl Read + Send + use<>> {
        File::open(&self.path).map(|file| file.take(self.length))
    }

    /// Adds what came next. When that fails, for want of space perhaps, nothing is kept.
    pub fn append(&mut self, bytes: &[u8]) {
        let Some(file) = &self.file else { return };
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

/// Removes those for which nobody came back.
pub(crate) fn sweep(dir: &Path) {
    let now = SystemTime::now();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|found| found.modified());
        let age = modified.ok().and_then(|modified| now.duration_since(modified).ok());
        if age.is_some_and(|age| age > KEPT) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
