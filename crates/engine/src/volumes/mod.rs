//! Volumes: directories that outlive the containers that have them.
//!
//! `<root>/volumes/<name>/` is one: `volume.json` says what it is, `_data` is what containers see, `users/<id>` is an empty file for
//! each container that has it, and `fresh` is there until it was used and has
//! something in it. It appears under its name by a rename, whole, and goes the
//! same way. Its lock is that of its directory.
//!
//! A container is noted in `users` before its own record is written, and taken off after that is gone: one that is noted and not
//! there does not count. What a killed program left half made has a name that no volume can have, and its lock is free.

mod archive;
mod create;
mod filter;
mod remove;
mod using;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use loment_monitor::volumes::{DATA, FRESH, USERS};
use loment_store::ImageId;
use serde::{Deserialize, Serialize};

pub use self::create::NewVolume;
pub use self::filter::VolumeFilters;
pub use self::using::{ImageVolumes, VolumeChoices, VolumesFrom};
use crate::config::SizeLimits;
use crate::error::Context;
use crate::names::new_id;
use crate::new_dir::whole_names;
use crate::{Engine, Error};

const RECORD: &str = "volume.json";
/// The version of the record.
const VERSION: u32 = 1;
/// The beginning of the names of those that are not made yet.
const NEW: &str = ".new-";

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredVolume {
    /// Version of the record.
    version: u32,
    /// Unique among volumes.
    pub name: String,
    /// RFC 3339.
    pub created: String,
    /// `local` or `image`.
    pub driver: String,
    /// The user's.
    pub labels: BTreeMap<String, String>,
    /// The driver's.
    pub options: BTreeMap<String, String>,
    /// It was made for a container, with a name that nobody chose.
    pub anonymous: bool,
    /// Whose it is.
    pub uid: u32,
    /// The group whose it is.
    pub gid: u32,
    /// Nothing is copied to it from the image of its first container.
    pub no_copy: bool,
    /// What its files may occupy.
    #[serde(skip_serializing_if = "SizeLimits::is_none")]
    pub size: SizeLimits,
    /// Its owner was chosen: that of the directory it is first mounted on does not become its own.
    pub owner_chosen: bool,
    /// Why its record cannot be read. Nothing but its name is known then.
    #[serde(skip)]
    pub problem: Option<String>,
    /// What its files are copied from when it is made.
    #[serde(skip)]
    image: Option<ImageId>,
    /// Its directory.
    #[serde(skip)]
    dir: PathBuf,
}

impl StoredVolume {
    /// Where its files are.
    pub fn mount_point(&self) -> PathBuf {
        self.dir.join(DATA)
    }

    /// Whether no container has used it yet.
    pub fn is_fresh(&self) -> bool {
        self.dir.join(FRESH).exists()
    }

    /// Whether something has to be mounted to see its files.
    pub fn has_mount(&self) -> bool {
        ["type", "device"].iter().any(|key| self.options.contains_key(*key))
    }
}

impl Engine {
    /// The same engine, with volumes in that directory; `None` is in that of the store.
    #[must_use]
    pub fn with_volumes(mut self, dir: Option<PathBuf>) -> Self {
        self.volumes = dir;
        self
    }

    /// Where volumes are.
    pub fn volumes_dir(&self) -> PathBuf {
        self.volumes.clone().unwrap_or_else(|| self.root().join("volumes"))
    }

    /// Takes a volume away, whatever is in it. After the last one comes [`loment_store::Store::buried`].
    pub(crate) fn bury_volume(&self, name: &str) -> Result<(), Error> {
        let Some(dir) = &self.volumes else {
            return Ok(self.store().bury_many(&self.volumes_dir(), name).map(drop)?);
        };
        // On another file system there are no tombs: what is killed now is swept like what was never made.
        let gone = dir.join(format!("{NEW}{}", new_id().context("choose", "a name")?));
        match std::fs::rename(dir.join(name), &gone) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.context("remove volume", name)?,
        }
        File::open(dir).and_then(|dir| dir.sync_all()).context("flush", dir.display())?;
        match gone.symlink_metadata() {
            Ok(meta) if !meta.is_dir() => std::fs::remove_file(&gone),
            _ => std::fs::remove_dir_all(&gone),
        }
        .context("remove", gone.display())
    }

    pub(crate) fn volume_dir(&self, name: &str) -> PathBuf {
        self.volumes_dir().join(name)
    }

    /// The volume with that name, or an unambiguous beginning of one.
    ///
    /// # Errors
    /// [`Error::NoVolume`], [`Error::AmbiguousVolume`]; those of its record.
    pub fn volume(&self, name: &str) -> Result<StoredVolume, Error> {
        let name = self.volume_name(name)?;
        self.read_volume(&name)?.ok_or(Error::NoVolume { name })
    }

    /// The volume with exactly that name.
    ///
    /// # Errors
    /// [`Error::NoVolume`]; those of its record.
    pub fn whole_volume(&self, name: &str) -> Result<StoredVolume, Error> {
        let none = || Error::NoVolume { name: name.to_owned() };
        if crate::names::check(name).is_err() {
            return Err(none());
        }
        self.read_volume(name)?.ok_or_else(none)
    }

    /// The whole name of a volume.
    pub(crate) fn volume_name(&self, name: &str) -> Result<String, Error> {
        let none = || Error::NoVolume { name: name.to_owned() };
        if crate::names::check(name).is_err() {
            return Err(none());
        }
        if self.volume_dir(name).exists() {
            return Ok(name.to_owned());
        }
        let mut found = whole_names(&self.volumes_dir(), '.')?;
        found.retain(|other| other.starts_with(name));
        match (found.pop(), found.is_empty()) {
            (Some(found), true) => Ok(found),
            (Some(_), false) => Err(Error::AmbiguousVolume { name: name.to_owned() }),
            (None, _) => Err(none()),
        }
    }

    /// Reads a volume; `None` when it is not there.
    pub(crate) fn read_volume(&self, name: &str) -> Result<Option<StoredVolume>, Error> {
        let dir = self.volume_dir(name);
        let path = dir.join(RECORD);
        let bytes = match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.context("read", path.display())?,
        };
        let damaged = |source| Error::Damaged { path: path.display().to_string(), source };
        let volume: StoredVolume = serde_json::from_slice(&bytes).map_err(damaged)?;
        if volume.version != VERSION {
            let path = path.display().to_string();
            return Err(Error::Version { path, found: volume.version, known: VERSION });
        }
        Ok(Some(StoredVolume { dir, ..volume }))
    }

    /// All volumes by name; of those whose record cannot be read, that they are there.
    ///
    /// # Errors
    /// [`Error::Io`] for the directory of all of them.
    pub fn volumes(&self) -> Result<Vec<StoredVolume>, Error> {
        let mut all = Vec::new();
        for name in whole_names(&self.volumes_dir(), '.')? {
            match self.read_volume(&name) {
                Ok(volume) => all.extend(volume),
                Err(error) => {
                    let (dir, problem) = (self.volume_dir(&name), Some(error.to_string()));
                    all.push(StoredVolume { name, dir, problem, ..StoredVolume::default() });
                }
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Those that are not whole, and why.
    pub(crate) fn damaged_volumes(&self) -> Result<Vec<(String, Error)>, Error> {
        let mut damaged = Vec::new();
        for name in whole_names(&self.volumes_dir(), '.')? {
            let (dir, data) = (self.volume_dir(&name), self.volume_dir(&name).join(DATA));
            let whole = self.read_volume(&name).and_then(|volume| {
                let missing = if volume.is_none() { dir.join(RECORD) } else { data };
                std::fs::symlink_metadata(&missing).map(drop).context("look for", missing.display())
            });
            match whole {
                // One that was removed meanwhile is not damaged.
                Err(error) if dir.exists() => damaged.push((name, error)),
                _ => {}
            }
        }
        Ok(damaged)
    }

    /// The ids of the containers that have a volume.
    pub fn users_of_volume(&self, name: &str) -> Vec<String> {
        let files = std::fs::read_dir(self.volume_dir(name).join(USERS)).into_iter().flatten().flatten();
        let ids = files.filter_map(|file| file.file_name().into_string().ok());
        let mut ids: Vec<_> = ids.filter(|id| self.dir(id).exists()).collect();
        ids.sort_unstable();
        ids
    }

    /// Bytes that the files of a volume occupy on disk.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn volume_usage(&self, volume: &StoredVolume) -> Result<u64, Error> {
        Ok(loment_store::Store::tree_usage(&volume.mount_point())?)
    }
}
