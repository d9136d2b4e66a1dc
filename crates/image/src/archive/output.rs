//! An archive on its way out, to a file or a stream.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use loment_store::ArchiveWriter;
use oci_spec::image::Digest;

use super::Scratch;
use crate::destination::Incoming;
use crate::error::Error;
use crate::files::{self, Unfinished};

/// Where an archive is written to.
pub struct Output {
    state: Mutex<State>,
    target: Option<Target>,
    scratch: Scratch,
    name: String,
}

/// A file that is to get a name.
struct Target {
    new: Unfinished,
    path: PathBuf,
    /// What has the name now, and whether the new one is like it.
    old: Option<(File, bool)>,
}

struct State {
    tar: ArchiveWriter<Box<dyn Write + Send>>,
    written: HashSet<String>,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Output {
    /// A file, which appears when it is whole and takes the place of an older one, with its owner and mode; of a link, where that leads.
    /// Pipes and devices are written to as they are.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn file(path: &Path, scratch: &Scratch) -> Result<Self, Error> {
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            let file = files::failed(OpenOptions::new().write(true).open(path), "open", path)?;
            return Ok(Self::stream(Box::new(file), &path.display().to_string(), scratch));
        }
        let path = files::followed(path)?;
        // Who may not write to it may not replace it either.
        let old = match OpenOptions::new().write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            old => Some(files::failed(old, "open", &path)?),
        };
        let new = Unfinished::create(path.parent().unwrap_or(Path::new("/")))?;
        let alike = old.as_ref().map(|old| new.look_like(old)).transpose();
        let old = old.zip(files::failed(alike, "replace", &path)?);
        let file = files::failed(new.file(), "open", &path)?;
        let output = Self::stream(Box::new(file), &path.display().to_string(), scratch);
        Ok(Self { target: Some(Target { new, path, old }), ..output })
    }

    /// The same; an archive that is there stays as it is, since nothing can be added to it.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::File`].
    pub fn new_file(path: &Path, scratch: &Scratch) -> Result<Self, Error> {
        match fs::metadata(path) {
            Ok(found) if found.is_file() && found.len() > 0 => {
                Err(Error::Exists { path: path.display().to_string() })
            }
            _ => Self::file(path, scratch),
        }
    }

    /// Anything that takes bytes. `name` is for messages.
    pub fn stream(out: Box<dyn Write + Send>, name: &str, scratch: &Scratch) -> Self {
        let state = State { tar: ArchiveWriter::new(out), written: HashSet::new() };
        Self { state: Mutex::new(state), target: None, scratch: scratch.clone(), name: name.to_owned() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Who panicked has ended the whole copy.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.state().written.contains(name)
    }

    /// Writes a blob under the name of its digest. One whose size is not known yet is kept elsewhere until it is.
    pub(crate) fn put(&self, blob: &mut Incoming<'_>, name: impl Fn(&Digest) -> String) -> Result<(), Error> {
        let Some(descriptor) = blob.descriptor().cloned() else {
            let mut file = self.scratch.keep(blob, "a layer")?;
            let (digest, size) = blob.finish(&self.name)?;
            let mut state = self.state();
            return match state.written.insert(name(&digest)) {
                true => self.failed(state.tar.add(&name(&digest), size, &mut file)),
                false => Ok(()),
            };
        };
        let member = name(descriptor.digest());
        let mut state = self.state();
        if state.written.contains(&member) {
            drop(state);
            return blob.end(&self.name).map(|_| ());
        }
        let added = state.tar.add(&member, descriptor.size(), blob);
        let odd = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
        };
        match added {
            Err(error) if !odd(&error) => {
                return Err(Error::Copy { blob: descriptor.digest().to_string(), source: error });
            }
            // Of the wrong length, or of another content, which finishing it says.
            added => blob.finish(&self.name).map(|_| ()).and_then(|()| self.failed(added))?,
        }
        state.written.insert(member);
        Ok(())
    }

    /// Writes a document, unless it is there.
    pub(crate) fn document(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut state = self.state();
        match state.written.insert(name.to_owned()) {
            true => self.failed(state.tar.add(name, bytes.len() as u64, &mut &bytes[..])),
            false => Ok(()),
        }
    }

    /// Ends the archive, and gives it its name.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let Self { state, target, name, .. } = self;
        let state = state.into_inner().unwrap_or_else(|e| e.into_inner());
        let ended = state.tar.finish();
        files::failed(ended, "write", Path::new(&name))?;
        let Some(Target { new, path, old }) = target else { return Ok(()) };
        new.flush()?;
        match old {
            Some((old, alike)) => new.replace(&path, old, alike),
            None => new.name(&path),
        }
    }

    fn failed(&self, result: io::Result<()>) -> Result<(), Error> {
        files::failed(result, "write", Path::new(&self.name))
    }
}
