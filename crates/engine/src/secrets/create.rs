//! Making and replacing secrets.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use loment_events::What;
use loment_monitor::now_rfc3339;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::{
    DATA, FILE, NONE_YET, RECORD, SecretData, SecretKeeper, StoredSecret, TRIES, VERSION, check_name,
    check_size,
};
use crate::error::{Context, invalid};
use crate::names::new_id;
use crate::new_dir::{new_dir, sweep};
use crate::{Engine, Error};

/// A secret to be made.
#[derive(Clone, Debug, Default)]
pub struct NewSecret {
    /// Its name.
    pub name: String,
    /// Empty is `file`.
    pub driver: String,
    /// The driver's.
    pub options: BTreeMap<String, String>,
    /// The user's.
    pub labels: BTreeMap<String, String>,
    /// What becomes of one that is there.
    pub when_there: WhenThere,
}

/// What becomes of a secret that is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenThere {
    /// It stays, and that is an error.
    #[default]
    Refuse,
    /// It stays, and is what was asked for.
    Keep,
    /// The new one takes its place.
    Replace,
}

impl Engine {
    /// Makes a secret.
    ///
    /// # Errors
    /// [`Error::SecretExists`], [`Error::SecretSize`], [`Error::Invalid`], [`Error::SecretKeeper`]; nothing is left of one that could not
    /// be made.
    pub fn create_secret(
        &self,
        asked: NewSecret,
        data: &SecretData,
        keeper: &dyn SecretKeeper,
    ) -> Result<StoredSecret, Error> {
        let when_there = asked.when_there;
        let mut secret = resolve(asked, keeper)?;
        check_size(&data.0)?;
        self.sweep_secrets(keeper);
        // Before anybody else is asked to keep it.
        if let Some(there) = self.there(&secret.name, when_there)? {
            return Ok(there);
        }
        let dir = self.secrets_dir();
        let (new, _lock) = new_dir(&dir, NONE_YET, 0o700)?;
        match self.fill_and_show(&new, &mut secret, when_there, (data, keeper)) {
            Ok(None) => {
                sync(&dir)?;
                self.tell_of_secret(What::Create, &secret);
                Ok(secret)
            }
            // Another one was quicker, or it cannot be made: nothing is left.
            other => {
                discard(&secret, &new, keeper);
                other.map(|there| there.unwrap_or(secret))
            }
        }
    }

    /// The secret of a name, where one that is there is to stay.
    fn there(&self, name: &str, when_there: WhenThere) -> Result<Option<StoredSecret>, Error> {
        if when_there == WhenThere::Replace || !self.secret_dir(name).exists() {
            return Ok(None);
        }
        match when_there {
            WhenThere::Keep => Ok(self.read_secret(name)?.map(|found| found.secret)),
            _ => Err(Error::SecretExists { name: name.to_owned() }),
        }
    }

    /// Gives a new secret its bytes, and then its name; or finds one that is to stay.
    fn fill_and_show(
        &self,
        new: &Path,
        secret: &mut StoredSecret,
        when_there: WhenThere,
        (data, keeper): (&SecretData, &dyn SecretKeeper),
    ) -> Result<Option<StoredSecret>, Error> {
        let dir = self.secrets_dir();
        write_record(new, secret)?;
        if secret.is_file() {
            let path = secret.file_elsewhere().unwrap_or_else(|| new.join(DATA));
            write_private(&path, &data.0, true).context("write", path.display())?;
            sync(path.parent().unwrap_or(new))?;
        } else {
            // Known here before it is known there, so that it can be forgotten again.
            sync(new)?;
            sync(&dir)?;
            keeper.store(secret, data).map_err(|source| Error::SecretKeeper {
                operation: "store",
                name: secret.name.clone(),
                source,
            })?;
        }
        sync(new)?;
        for _ in 0..TRIES {
            match renameat_with(CWD, new, CWD, self.secret_dir(&secret.name), RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                shown => return shown.context("make secret", &secret.name).map(|()| None),
            }
            if let Some(there) = self.there(&secret.name, when_there)? {
                return Ok(Some(there));
            }
            if when_there == WhenThere::Replace && self.exchange(new, secret, keeper)? {
                return Ok(None);
            }
        }
        Err(Error::SecretBusy { name: secret.name.clone(), seconds: 0 })
    }

    /// Puts a secret in the place of the one that is there, and removes that; `false` when none is there any more.
    fn exchange(
        &self,
        new: &Path,
        secret: &mut StoredSecret,
        keeper: &dyn SecretKeeper,
    ) -> Result<bool, Error> {
        let name = secret.name.clone();
        // Held until it is removed: without, it is the leftover of a program that was killed.
        let Some(_lock) = self.lock_secret(&name)? else { return Ok(false) };
        // One whose record cannot be read is replaced like any other.
        let old = self.read_secret(&name).ok().flatten().map(|found| found.secret);
        if let Some(old) = &old {
            secret.created.clone_from(&old.created);
            write_record(new, secret)?;
        }
        sync(new)?;
        let exchanged = renameat_with(CWD, new, CWD, self.secret_dir(&name), RenameFlags::EXCHANGE);
        exchanged.context("replace secret", &name)?;
        // Done, whether it can be flushed or not.
        let _ = sync(&self.secrets_dir());
        discard(&old.unwrap_or_default(), new, keeper);
        Ok(true)
    }

    /// Removes what killed programs have left half made or half removed.
    pub(super) fn sweep_secrets(&self, keeper: &dyn SecretKeeper) {
        sweep(&self.secrets_dir(), NONE_YET, |path, dir| {
            let secret = super::read_record(dir, path).unwrap_or_default();
            discard(&secret, path, keeper);
        });
    }
}

/// Removes a secret that has no name any more, or none yet. One that its keeper has and cannot forget now is tried again the next time.
fn discard(secret: &StoredSecret, dir: &Path, keeper: &dyn SecretKeeper) {
    if forget(secret, keeper).is_ok() || keeper.load(secret).is_err() {
        let _ = std::fs::remove_dir_all(dir);
    }
}

/// Removes the bytes of a secret that are not in its directory.
pub(super) fn forget(secret: &StoredSecret, keeper: &dyn SecretKeeper) -> Result<(), Error> {
    if let Some(path) = secret.file_elsewhere() {
        return match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).context("remove", path.display()),
            _ => Ok(()),
        };
    }
    if secret.is_file() || secret.driver.is_empty() {
        return Ok(());
    }
    let failed = |source| Error::SecretKeeper { operation: "remove", name: secret.name.clone(), source };
    keeper.erase(secret).map_err(failed)
}

/// From what was asked to what it is.
fn resolve(asked: NewSecret, keeper: &dyn SecretKeeper) -> Result<StoredSecret, Error> {
    let NewSecret { name, driver, mut options, labels, when_there: _ } = asked;
    check_name(&name)?;
    let driver = if driver.is_empty() { FILE.to_owned() } else { driver };
    if driver == FILE {
        if let Some(other) = options.keys().find(|key| *key != "path") {
            return Err(invalid("option of secrets in files", other, "use path=DIRECTORY, or none"));
        }
        if let Some(path) = options.get_mut("path") {
            let whole = std::path::absolute(&*path).context("find", &*path)?;
            *path = whole.into_os_string().into_string().map_err(|bad| {
                invalid("option of secrets", PathBuf::from(bad).display().to_string(), "use a path in UTF-8")
            })?;
        }
    } else {
        keeper.check(&driver, &options).map_err(|source| Error::SecretKeeper {
            operation: "keep",
            name: name.clone(),
            source,
        })?;
    }
    let mut id = new_id().context("choose", "an id")?;
    id.truncate(25);
    let now = now_rfc3339();
    Ok(StoredSecret {
        version: VERSION,
        id,
        name,
        created: now.clone(),
        updated: now,
        driver,
        options,
        labels,
        problem: None,
    })
}

/// Writes the record of one that nobody knows yet.
fn write_record(dir: &Path, secret: &StoredSecret) -> Result<(), Error> {
    let path = dir.join(RECORD);
    let written = serde_json::to_vec(secret).map_err(io::Error::other);
    written.and_then(|bytes| write_private(&path, &bytes, true)).context("write", path.display())
}

/// Writes a file that nobody but the superuser can read, and flushes it if it is to survive a power cut.
pub(super) fn write_private(path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::DirBuilder::new().mode(0o700).recursive(true).create(dir)?;
    }
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    if durable { file.sync_data() } else { Ok(()) }
}

pub(super) fn sync(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|dir| dir.sync_all()).context("flush", dir.display())
}
