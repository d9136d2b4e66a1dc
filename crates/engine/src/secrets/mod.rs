//! Secrets: what containers need to know and images must not have.
//!
//! `<root>/secrets/<name>/` is one: `secret.json` says what it is, `data` are its bytes, unless its driver keeps them elsewhere. It
//! appears under its name by a rename, whole, is replaced by an exchange, and goes by a rename. Its lock is that of its directory.
//! All of it is the superuser's alone. What a killed program left half made or half removed has a name that begins with `=`, which no
//! secret's does, and its lock is free: the next one that makes or removes a secret removes it, also from where a driver keeps it.
//!
//! A container has copies, in its own directory: what becomes of the secret later does not matter to it.

mod create;
mod filter;
mod remove;
mod using;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use loment_sys::fd::is_at;
use rustix::fs::{Mode, OFlags, openat};
use serde::{Deserialize, Serialize};

pub use self::create::{NewSecret, WhenThere};
pub use self::filter::SecretFilters;
pub(crate) use self::using::{SECRETS, destination, shown};
use crate::ecosystem::LoadError;
use crate::error::{Context, invalid};
use crate::new_dir::whole_names;
use crate::{Engine, Error};

const RECORD: &str = "secret.json";
const DATA: &str = "data";
/// The version of the record.
const VERSION: u32 = 1;
/// The beginning of the names of those that are not made yet, or not any more.
const NONE_YET: &str = "=new-";
/// No secret has so many bytes, as with Podman.
const TOO_MANY: usize = 512_000;
/// The longest record that is read, in bytes.
const MAX_RECORD: u64 = 4 << 20;
/// How often a secret is looked for that others make and remove.
const TRIES: u32 = 16;

/// The bytes of a secret, which nothing shows by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretData(pub Vec<u8>);

impl fmt::Debug for SecretData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// A secret, without its bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredSecret {
    /// Version of the record.
    version: u32,
    /// 25 hexadecimal digits.
    pub id: String,
    /// Unique among secrets.
    pub name: String,
    /// When there was first one of that name, RFC 3339.
    pub created: String,
    /// When it became what it is.
    pub updated: String,
    /// Who keeps its bytes: `file`, which is done here, or somebody whom the [`SecretKeeper`] knows.
    pub driver: String,
    /// The driver's.
    pub options: BTreeMap<String, String>,
    /// The user's.
    pub labels: BTreeMap<String, String>,
    /// Why its record cannot be read. Nothing but its name is known then.
    #[serde(skip)]
    pub problem: Option<String>,
}

impl StoredSecret {
    /// Where its bytes are, if they are in a file that is not in its own directory.
    fn file_elsewhere(&self) -> Option<PathBuf> {
        let path = self.options.get("path").filter(|_| self.is_file())?;
        Some(Path::new(path).join(&self.id))
    }

    fn is_file(&self) -> bool {
        self.driver == FILE
    }
}

/// The driver that is done here.
const FILE: &str = "file";

/// Who keeps the bytes of secrets whose driver is not `file`. They are known by the id of the secret.
pub trait SecretKeeper {
    /// Whether it knows the driver and its options.
    ///
    /// # Errors
    /// What is wrong with them.
    fn check(&self, driver: &str, options: &BTreeMap<String, String>) -> Result<(), LoadError>;

    /// Takes the bytes of a new secret.
    ///
    /// # Errors
    /// Why they were not taken.
    fn store(&self, secret: &StoredSecret, data: &SecretData) -> Result<(), LoadError>;

    /// Gives them back.
    ///
    /// # Errors
    /// Why they cannot be had.
    fn load(&self, secret: &StoredSecret) -> Result<SecretData, LoadError>;

    /// Forgets them.
    ///
    /// # Errors
    /// Why they are still there.
    fn erase(&self, secret: &StoredSecret) -> Result<(), LoadError>;
}

/// A secret that was found, and stays what it is while this is open.
struct Found {
    dir: File,
    secret: StoredSecret,
}

impl Engine {
    pub(crate) fn secrets_dir(&self) -> PathBuf {
        self.root().join("secrets")
    }

    pub(crate) fn secret_dir(&self, name: &str) -> PathBuf {
        self.secrets_dir().join(name)
    }

    /// The secret with that name or id, or an unambiguous beginning of an id.
    ///
    /// # Errors
    /// [`Error::NoSecret`], [`Error::AmbiguousSecret`]; those of its record.
    pub fn secret(&self, name: &str) -> Result<StoredSecret, Error> {
        self.find_secret(name).map(|found| found.secret)
    }

    /// The same, with its bytes.
    ///
    /// # Errors
    /// The same, and [`Error::SecretKeeper`].
    pub fn secret_with_data(
        &self,
        name: &str,
        keeper: &dyn SecretKeeper,
    ) -> Result<(StoredSecret, SecretData), Error> {
        for _ in 0..TRIES {
            let found = self.find_secret(name)?;
            match found.data(keeper) {
                // It was removed or replaced just now.
                Err(error)
                    if is_missing(&error) && !is_at(&found.dir, &self.secret_dir(&found.secret.name)) => {}
                data => return data.map(|data| (found.secret, data)),
            }
        }
        Err(Error::NoSecret { name: name.to_owned() })
    }

    fn find_secret(&self, name: &str) -> Result<Found, Error> {
        let none = || Error::NoSecret { name: name.to_owned() };
        if check_name(name).is_ok()
            && let Some(found) = self.read_secret(name)?
        {
            return Ok(found);
        }
        // An id, or its beginning.
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(none());
        }
        let mut found: Option<Found> = None;
        for other in whole_names(&self.secrets_dir(), '=')? {
            let Ok(Some(other)) = self.read_secret(&other) else { continue };
            if other.secret.id == name {
                return Ok(other);
            }
            if other.secret.id.starts_with(name) {
                if found.is_some() {
                    return Err(Error::AmbiguousSecret { name: name.to_owned() });
                }
                found = Some(other);
            }
        }
        found.ok_or_else(none)
    }

    /// Reads the secret of that name; `None` when it is not there.
    fn read_secret(&self, name: &str) -> Result<Option<Found>, Error> {
        let path = self.secret_dir(name);
        for _ in 0..TRIES {
            let dir = match File::open(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                dir => dir.context("read", path.display())?,
            };
            match read_record(&dir, &path) {
                // It was removed or replaced just now.
                Err(error) if is_missing(&error) && !is_at(&dir, &path) => {}
                secret => return secret.map(|secret| Some(Found { dir, secret })),
            }
        }
        Ok(None)
    }

    /// All secrets by name; of those whose record cannot be read, that they are there.
    ///
    /// # Errors
    /// [`Error::Io`] for the directory of all of them.
    pub fn secrets(&self) -> Result<Vec<StoredSecret>, Error> {
        let mut all = Vec::new();
        for name in whole_names(&self.secrets_dir(), '=')? {
            match self.read_secret(&name) {
                Ok(found) => all.extend(found.map(|found| found.secret)),
                Err(error) => all.push(StoredSecret {
                    name,
                    problem: Some(error.to_string()),
                    ..StoredSecret::default()
                }),
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }
}

impl Found {
    fn data(&self, keeper: &dyn SecretKeeper) -> Result<SecretData, Error> {
        let secret = &self.secret;
        let read = |file: File| {
            let mut bytes = Vec::new();
            file.take(TOO_MANY as u64).read_to_end(&mut bytes).map(|_| bytes)
        };
        let bytes = match secret.file_elsewhere() {
            Some(path) => File::open(&path).and_then(read).context("read", path.display())?,
            None if secret.is_file() => {
                let opened = openat(
                    &self.dir,
                    DATA,
                    OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                    Mode::empty(),
                );
                let opened = opened.map_err(io::Error::from);
                opened.map(File::from).and_then(read).context("read the bytes of secret", &secret.name)?
            }
            None => {
                keeper
                    .load(secret)
                    .map_err(|source| Error::SecretKeeper {
                        operation: "read",
                        name: secret.name.clone(),
                        source,
                    })?
                    .0
            }
        };
        check_size(&bytes)?;
        Ok(SecretData(bytes))
    }
}

fn read_record(dir: &File, path: &Path) -> Result<StoredSecret, Error> {
    let path = path.join(RECORD);
    let opened = openat(dir, RECORD, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    let mut bytes = Vec::new();
    let read = opened
        .map_err(io::Error::from)
        .and_then(|fd| File::from(fd).take(MAX_RECORD).read_to_end(&mut bytes));
    read.context("read", path.display())?;
    let damaged = |source| Error::Damaged { path: path.display().to_string(), source };
    let secret: StoredSecret = serde_json::from_slice(&bytes).map_err(damaged)?;
    if secret.version != VERSION {
        let path = path.display().to_string();
        return Err(Error::Version { path, found: secret.version, known: VERSION });
    }
    Ok(secret)
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// Podman's rule, and no characters that would be something else in a directory or on a terminal.
fn check_name(name: &str) -> Result<(), Error> {
    let is_bad = |c: char| matches!(c, ',' | '/' | '=') || c.is_control();
    match name.is_empty() || name.len() > 253 || name.contains(is_bad) || name == "." || name == ".." {
        false => Ok(()),
        true => Err(invalid(
            "secret name",
            name,
            "use 1 to 253 bytes without '=', '/', ',' and control characters, and neither . nor ..",
        )),
    }
}

fn check_size(bytes: &[u8]) -> Result<(), Error> {
    match bytes.is_empty() || bytes.len() >= TOO_MANY {
        false => Ok(()),
        true => Err(Error::SecretSize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_podmans_but_for_those_that_are_no_names_of_directories() {
        for good in ["a", ".hidden", "a b", "ü", "-x", &"x".repeat(253)] {
            assert!(check_name(good).is_ok(), "{good:?}");
        }
        for bad in ["", ".", "..", "a/b", "a,b", "a=b", "a\0", "a\n", &"x".repeat(254)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        assert!(check_size(&[0; 511_999]).is_ok() && check_size(&[0; 512_000]).is_err());
        assert_eq!(format!("{:?}", SecretData(b"hidden".to_vec())), "6 bytes");
    }
}
