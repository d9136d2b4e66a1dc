//! Removing secrets.

use loment_events::What;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::create::{forget, sync};
use super::{NONE_YET, SecretKeeper, StoredSecret, check_name};
use crate::error::Context;
use crate::names::new_id;
use crate::{Engine, Error};

impl Engine {
    /// Removes a secret, and returns what it was. Containers keep their copies.
    ///
    /// # Errors
    /// [`Error::NoSecret`]; [`Error::SecretKeeper`] for one that is still there.
    pub fn remove_secret(&self, name: &str, keeper: &dyn SecretKeeper) -> Result<StoredSecret, Error> {
        self.sweep_secrets(keeper);
        let gone = || Error::NoSecret { name: name.to_owned() };
        let found = match self.find_secret(name) {
            // It goes like any other, under its name.
            Err(error) if error.is_unreadable() && check_name(name).is_ok() => {
                StoredSecret { name: name.to_owned(), ..StoredSecret::default() }
            }
            found => found?.secret,
        };
        let _lock = self.lock_secret(&found.name)?.ok_or_else(gone)?;
        // It may have been replaced before it was locked.
        let secret = match self.read_secret(&found.name) {
            Ok(now) => now.ok_or_else(gone)?.secret,
            Err(_) => found,
        };
        let dir = self.secrets_dir();
        let (path, tomb) = (
            self.secret_dir(&secret.name),
            dir.join(format!("{NONE_YET}{}", new_id().context("choose", "a name")?)),
        );
        std::fs::rename(&path, &tomb).context("remove secret", &secret.name)?;
        sync(&dir)?;
        if let Err(error) = forget(&secret, keeper) {
            // It is still there, so it stays known.
            let _ = renameat_with(CWD, &tomb, CWD, &path, RenameFlags::NOREPLACE);
            return Err(error);
        }
        self.tell_of_secret(What::Remove, &secret);
        std::fs::remove_dir_all(&tomb).context("remove", tomb.display())?;
        Ok(secret)
    }
}
