//! The directories of a runtime's containers.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use super::{CONFIG, Id, NOTIFY, ROOT, Record, START, STATE, VERSION};
use crate::error::Context;
use crate::{Bundle, Error};

/// How long to wait before a lock is tried again.
const LOOK: std::time::Duration = std::time::Duration::from_millis(1);
/// All that a container's directory ever holds.
const OURS: [&str; 6] = [CONFIG, STATE, START, NEW, NOTIFY, ROOT];
/// A record that is being written.
const NEW: &str = ".state.json";
/// The file by which crun's containers are known.
const CRUN: &str = "status";
/// A field that every record of runc's has.
const RUNC: &str = "init_process_pid";

/// An id that is being made a container of, or removed: nobody else may do either while this lives.
#[derive(Debug)]
pub struct Reservation(#[expect(dead_code, reason = "it holds the lock")] File);

/// The directory of a runtime's containers.
#[derive(Debug)]
pub struct States {
    root: PathBuf,
}

/// Whether somebody makes or removes the container of that directory at this moment.
pub(super) fn is_locked(dir: &Path) -> bool {
    let Ok(file) = File::open(dir) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
}

impl States {
    /// Uses `root`, made (mode 0700) when the first container is.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// A container's directory.
    pub fn dir(&self, id: &Id) -> PathBuf {
        self.root.join(id.as_str())
    }

    /// Where a created container waits for the order to start.
    pub fn start_socket(&self, id: &Id) -> PathBuf {
        self.dir(id).join(START)
    }

    /// Takes an id: its directory exists from now on.
    ///
    /// # Errors
    /// [`Error::Exists`] when it is in use.
    pub fn reserve(&self, id: &Id) -> Result<Reservation, Error> {
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700);
        let dir = self.dir(id);
        let made = builder.create(&dir).or_else(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                builder.recursive(true).create(&self.root)?;
                builder.recursive(false).create(&dir)
            }
            _ => Err(e),
        });
        match made {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.context("create", dir.display())?,
        }
        // New or not: it is ours if it can be locked and holds no container. Of several that come here, one gets it.
        let exists = || Error::Exists { id: id.as_str().to_owned() };
        let reservation = self.lock(id)?.ok_or_else(exists)?;
        let taken = [STATE, CRUN].iter().any(|name| dir.join(name).symlink_metadata().is_ok());
        if taken { Err(exists()) } else { Ok(reservation) }
    }

    /// Locks a container's directory; `None` when somebody else has, or has removed it.
    fn lock(&self, id: &Id) -> Result<Option<Reservation>, Error> {
        let dir = self.dir(id);
        let file = match File::open(&dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.context("open", dir.display())?,
        };
        // Whoever only looks holds a lock for a moment, too.
        let mut attempt = 0;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(rustix::io::Errno::WOULDBLOCK) if attempt < 20 => {
                    attempt += 1;
                    std::thread::sleep(LOOK);
                }
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                other => {
                    other.context("lock", dir.display())?;
                    break;
                }
            }
        }
        // Whoever had the lock before may have removed the directory.
        let ours = file.metadata().context("look at", dir.display())?;
        let same = fs::metadata(&dir).is_ok_and(|now| (now.dev(), now.ino()) == (ours.dev(), ours.ino()));
        Ok(same.then_some(Reservation(file)))
    }

    /// Keeps the configuration a container is made from.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn keep_config(&self, id: &Id, bundle: &Bundle) -> Result<(), Error> {
        let path = self.dir(id).join(CONFIG);
        Ok(fs::write(&path, &bundle.text).context("write", path.display())?)
    }

    /// The configuration a container was made from, with the path of its bundle.
    ///
    /// # Errors
    /// As [`Bundle::load`].
    pub fn config(&self, record: &Record) -> Result<Bundle, Error> {
        Bundle::read(record.bundle.clone(), &self.dir(&record.id).join(CONFIG))
    }

    /// Writes a record, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn save(&self, record: &Record) -> Result<(), Error> {
        let dir = self.dir(&record.id);
        let (new, path) = (dir.join(NEW), dir.join(STATE));
        let bytes = serde_json::to_vec(record).expect("a record has string keys only");
        fs::write(&new, bytes).and_then(|()| fs::rename(&new, &path)).context("write", path.display())?;
        Ok(())
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such container, [`Error::Foreign`] when it is another runtime's,
    /// [`Error::Version`] when its record is another version's, [`Error::Damaged`] when it cannot be understood.
    pub fn load(&self, id: &Id) -> Result<Record, Error> {
        let path = self.dir(id).join(STATE);
        let bytes = match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let crun = self.dir(id).join(CRUN);
                return Err(match crun.symlink_metadata() {
                    Ok(_) => foreign(id, "crun", &crun),
                    Err(_) => Error::NotFound { id: id.as_str().to_owned() },
                });
            }
            other => other.context("read", path.display())?,
        };
        match serde_json::from_slice::<Record>(&bytes) {
            Ok(record) if record.version == VERSION && record.id == *id => Ok(record),
            other => Err(refusal(id, &path, &bytes, other.err())),
        }
    }

    /// Every container's id, sorted.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn list(&self) -> Result<Vec<Id>, Error> {
        let entries = match fs::read_dir(&self.root) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.context("read", self.root.display())?,
        };
        let mut ids: Vec<Id> =
            entries.flatten().filter_map(|e| Id::new(e.file_name().to_str()?).ok()).collect();
        ids.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(ids)
    }

    /// Forgets a container; `false` when somebody else has done that.
    ///
    /// # Errors
    /// [`Error::Failed`]; [`Error::Busy`] while somebody else makes or removes it.
    pub fn forget(&self, id: &Id) -> Result<bool, Error> {
        match self.lock(id)? {
            Some(reservation) => self.abandon(id, &reservation).map(|()| true),
            None => self.absent(id).map(|()| false),
        }
    }

    /// What could not be locked is gone, or is somebody else's for now.
    fn absent(&self, id: &Id) -> Result<(), Error> {
        if self.dir(id).exists() { Err(Error::Busy { id: id.as_str().to_owned() }) } else { Ok(()) }
    }

    /// Removes what a creator left that was killed before there was a container, if anything. `undo` is called before, where it
    /// is known what the container was to be.
    ///
    /// # Errors
    /// As [`States::forget`]; [`Error::Foreign`] when the directory holds what is not ours.
    pub fn clear(&self, id: &Id, undo: impl FnOnce(&Bundle)) -> Result<(), Error> {
        let entries = fs::read_dir(self.dir(id)).into_iter().flatten().flatten();
        match entries.into_iter().find(|e| !OURS.iter().any(|name| e.file_name() == *name)) {
            Some(file) => Err(foreign(id, "another runtime", &file.path())),
            None => match self.lock(id)? {
                Some(reservation) => {
                    let dir = self.dir(id);
                    if let Ok(bundle) = Bundle::read(dir.clone(), &dir.join(CONFIG)) {
                        undo(&bundle);
                    }
                    self.abandon(id, &reservation)
                }
                None => self.absent(id),
            },
        }
    }

    /// Forgets a container that is not made after all.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn abandon(&self, id: &Id, _reservation: &Reservation) -> Result<(), Error> {
        let dir = self.dir(id);
        // Mostly there is nothing else in it.
        let _ = fs::remove_file(dir.join(CONFIG));
        let _ = fs::remove_file(dir.join(STATE));
        if fs::remove_dir(&dir).is_ok() {
            return Ok(());
        }
        match fs::remove_dir_all(&dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => Ok(other.context("remove", dir.display())?),
        }
    }
}

fn foreign(id: &Id, owner: &'static str, path: &Path) -> Error {
    Error::Foreign { id: id.as_str().to_owned(), owner, path: path.display().to_string() }
}

/// Why a record cannot be used.
fn refusal(id: &Id, path: &Path, bytes: &[u8], error: Option<serde_json::Error>) -> Error {
    let document: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let version = document.get("version").and_then(Value::as_u64);
    let (id_text, path_text) = (id.as_str().to_owned(), path.display().to_string());
    if document.get(RUNC).is_some() {
        return foreign(id, "runc", path);
    }
    match version {
        Some(found) if found != u64::from(VERSION) => Error::Version { id: id_text, found, path: path_text },
        None if document.is_object() => foreign(id, "another runtime", path),
        _ => {
            let reason = error.map_or_else(|| "it names another container".to_owned(), |e| e.to_string());
            Error::Damaged { id: id_text, path: path_text, reason }
        }
    }
}
