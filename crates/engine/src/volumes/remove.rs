//! Removing volumes.

use loment_events::{Kind, What};
use loment_monitor::has_mounts;
use loment_monitor::volume_mounts::{end, hide};
use loment_monitor::volumes::DATA;
use loment_store::Store;

use super::{StoredVolume, USERS, VolumeFilters};
use crate::error::Context;
use crate::prune::Pruned;
use crate::stop::Grace;
use crate::{Engine, Error};

/// How often containers that come back are removed before giving up.
const TRIES: u32 = 10;

impl Engine {
    /// Removes a volume, and returns its name. With `force` the containers that have it are removed first, those that run after
    /// that grace.
    ///
    /// # Errors
    /// [`Error::NoVolume`], [`Error::VolumeInUse`].
    pub fn remove_volume(&self, name: &str, force: bool, grace: Option<Grace>) -> Result<String, Error> {
        let name = self.volume_name(name)?;
        let gone = || Error::NoVolume { name: name.clone() };
        for _ in 0..TRIES {
            if self.users_of_volume(&name).is_empty() {
                self.hide_volume(&name)?;
            }
            let lock = self.lock_volume(&name)?.ok_or_else(gone)?;
            let users = self.users_of_volume(&name);
            if users.is_empty() {
                self.remove_unused(&name)?;
                self.store().buried(&self.volumes_dir())?;
                return Ok(name);
            }
            if !force {
                return Err(Error::VolumeInUse { name, users });
            }
            // Nobody waits for containers with it.
            drop(lock);
            for user in self.with_dependents(&users) {
                match self.remove_with_volumes(&user, true, grace, false) {
                    Err(Error::NoContainer { .. }) => {}
                    removed => drop(removed?),
                }
            }
        }
        Err(Error::VolumeInUse { users: self.users_of_volume(&name), name })
    }

    /// Shows it on the host no longer; for who has not its lock.
    fn hide_volume(&self, name: &str) -> Result<(), Error> {
        let volume = self.read_volume(name).ok().flatten();
        if let Some(mount) = volume.and_then(|volume| self.volume_mount(&volume)) {
            hide(&mount).map_err(|e| Error::VolumeMount { name: name.to_owned(), source: Box::new(e) })?;
        }
        Ok(())
    }

    /// Removes one that nobody has; for who has its lock. What makes that last comes after it, once for all.
    fn remove_unused(&self, name: &str) -> Result<(), Error> {
        // One whose record cannot be read goes like any other.
        let volume = self.read_volume(name).ok().flatten().unwrap_or_default();
        let dir = self.volume_dir(name);
        // Somebody shows it, or has something of his own there.
        if has_mounts(&dir).context("look for mounts in", dir.display())? {
            return Err(Error::VolumeMounted { name: name.to_owned(), path: dir.join(DATA) });
        }
        if let Some(mount) = self.volume_mount(&volume) {
            end(&mount).map_err(|e| Error::VolumeMount { name: name.to_owned(), source: Box::new(e) })?;
        }
        if volume.size.any() {
            Store::release_directory(&dir);
        }
        let labels = volume.labels;
        self.bury_volume(name)?;
        self.tell_of_volume(What::Remove, name, &labels);
        Ok(())
    }

    /// Takes a container off those who have a volume. An anonymous one that nobody else has is removed, if that is wanted.
    pub(crate) fn leave_volume(&self, name: &str, id: &str, remove: bool) -> Result<(), Error> {
        let Some(_lock) = self.lock_volume(name)? else { return Ok(()) };
        let file = self.volume_dir(name).join(USERS).join(id);
        match std::fs::remove_file(&file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).context("remove", file.display());
            }
            _ => {}
        }
        if remove
            && self.users_of_volume(name).is_empty()
            && self.read_volume(name).is_ok_and(|volume| volume.is_some_and(|volume| volume.anonymous))
        {
            self.remove_unused(name)?;
            self.store().buried(&self.volumes_dir())?;
        }
        Ok(())
    }

    /// The volumes that no container has: the anonymous ones, or all of them, of those that `filters` mean.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn unused_volumes(&self, all: bool, filters: &VolumeFilters) -> Result<Vec<StoredVolume>, Error> {
        let mut unused = self.volumes()?;
        // Of one that cannot be read nobody knows whether it is meant.
        unused.retain(|volume| volume.problem.is_none() && (all || volume.anonymous));
        unused.retain(|volume| {
            let used = !self.users_of_volume(&volume.name).is_empty();
            !used && filters.keep(volume, used)
        });
        Ok(unused)
    }

    /// Removes them.
    ///
    /// # Errors
    /// Those of removing, but for volumes that somebody else removed or took meanwhile.
    pub fn prune_volumes(&self, all: bool, filters: &VolumeFilters) -> Result<Pruned, Error> {
        self.sweep_new_volumes();
        let (mut pruned, mut failed) = (Pruned::default(), None);
        for volume in self.unused_volumes(all, filters)? {
            match self.prune_volume(&volume) {
                Ok(Some(size)) => {
                    pruned.reclaimed += size;
                    pruned.volumes.push(volume.name);
                }
                Ok(None) => {}
                // The others go all the same.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if !pruned.volumes.is_empty() {
            self.store().buried(&self.volumes_dir())?;
        }
        self.tell_of_prune(Kind::Volume, pruned.reclaimed);
        failed.map_or(Ok(pruned), Err)
    }

    /// Removes one if nobody has it by now; the bytes that are free then.
    fn prune_volume(&self, volume: &StoredVolume) -> Result<Option<u64>, Error> {
        self.hide_volume(&volume.name)?;
        let Some(_lock) = self.lock_volume(&volume.name)? else { return Ok(None) };
        if !self.users_of_volume(&volume.name).is_empty() {
            return Ok(None);
        }
        let size = self.volume_usage(volume)?;
        self.remove_unused(&volume.name).map(|()| Some(size))
    }
}
