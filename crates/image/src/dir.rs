//! Plain directories: the `dir:` transport of containers/image, version 1.1.
//!
//! `manifest.json` is what it is about, `DIGITS.manifest.json` a manifest that an index lists, `DIGITS` a blob.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use oci_spec::image::{Descriptor, Digest};

use crate::destination::{Destination, Incoming, Wants};
use crate::error::Error;
use crate::files;
use crate::source::{Fetched, Source};

const MANIFEST: &str = "manifest.json";
const VERSION: &str = "version";
const TEXT: &str = "Directory Transport Version: 1.1\n";

/// An image in a directory of its own.
#[derive(Debug)]
pub struct ImageDir {
    dir: PathBuf,
    name: String,
    /// Files of the image that is written.
    used: Mutex<HashSet<String>>,
}

impl ImageDir {
    /// The image in `dir`.
    pub fn open(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf(), name: format!("dir:{}", dir.display()), used: Mutex::default() }
    }

    /// Opens `dir`, made when it is missing, for another image, which takes the place of the one that is there.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] when something else is there.
    pub fn create(dir: &Path) -> Result<Self, Error> {
        files::failed(fs::create_dir_all(dir), "create", dir)?;
        let version = dir.join(VERSION);
        let known = files::read_document(&version)
            .is_ok_and(|text| text.starts_with(b"Directory Transport Version: "));
        let mut entries = files::failed(fs::read_dir(dir), "list", dir)?;
        if !known && entries.next().is_some() {
            return Err(Error::NotEmpty { dir: dir.display().to_string() });
        }
        files::write(&version, TEXT.as_bytes())?;
        Ok(Self::open(dir))
    }

    fn use_file(&self, name: String) {
        // A thread that panicked has not left a set half changed.
        self.used.lock().unwrap_or_else(|e| e.into_inner()).insert(name);
    }

    /// Removes what the older image had and this one has not.
    fn remove_others(&self) -> Result<(), Error> {
        let used = self.used.lock().unwrap_or_else(|e| e.into_inner());
        for entry in files::failed(fs::read_dir(&self.dir), "list", &self.dir)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_part(&name) && !used.contains(&name) {
                files::failed(fs::remove_file(entry.path()), "remove", &entry.path())?;
            }
        }
        Ok(())
    }

    /// A digest of ours is plain hexadecimal, so it cannot leave the directory.
    fn path(&self, digest: &Digest, end: &str) -> Result<PathBuf, Error> {
        let unknown = || Error::Algorithm { what: self.name.clone(), digest: digest.clone() };
        loment_store::Algorithm::of(digest).ok_or_else(unknown)?;
        Ok(self.dir.join(file_name(digest) + end))
    }
}

/// Other algorithms than SHA-256 are in the name.
fn file_name(digest: &Digest) -> String {
    match digest.as_ref().strip_prefix("sha256:") {
        Some(digits) => digits.to_owned(),
        None => digest.as_ref().replace(':', "-"),
    }
}

/// Whether a file is a part of an image by its name.
fn is_part(name: &str) -> bool {
    let digits = name.strip_suffix(".manifest.json").unwrap_or(name);
    let digits = digits.strip_prefix("sha512-").unwrap_or(digits);
    digits.len() >= 64 && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

impl Source for ImageDir {
    fn name(&self) -> &str {
        &self.name
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<Fetched, Error> {
        let path = match digest {
            Some(digest) => self.path(digest, ".manifest.json")?,
            None => self.dir.join(MANIFEST),
        };
        let bytes = files::read_document(&path)?;
        Ok(Fetched { media_type: String::new(), digest: digest.cloned(), bytes })
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        let path = self.path(blob.digest(), "")?;
        Ok(Box::new(files::open(&path)?))
    }
}

impl Destination for ImageDir {
    fn name(&self) -> &str {
        &self.name
    }

    fn wants(&self) -> Wants {
        Wants::AsIs
    }

    fn has(&self, blob: &Descriptor) -> Result<bool, Error> {
        let path = self.path(blob.digest(), "")?;
        let there = fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == blob.size());
        if there {
            self.use_file(file_name(blob.digest()));
        }
        Ok(there)
    }

    fn put_blob(&self, blob: &mut Incoming<'_>) -> Result<(), Error> {
        let name = |digest: &Digest| {
            self.use_file(file_name(digest));
            file_name(digest)
        };
        files::write_blob(&self.dir, name, blob)
    }

    fn put_document(&self, descriptor: &Descriptor, bytes: &[u8], top: bool) -> Result<(), Error> {
        if !top {
            self.use_file(file_name(descriptor.digest()) + ".manifest.json");
            return files::write(&self.path(descriptor.digest(), ".manifest.json")?, bytes);
        }
        files::flush(&self.dir)?;
        files::write(&self.dir.join(MANIFEST), bytes)?;
        self.remove_others()
    }
}
