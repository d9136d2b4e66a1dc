//! Checkpoints with names, several of one container, as Docker has them: `<dir>/<name>`, in the container's own directory unless the
//! user has another.

use std::path::{Path, PathBuf};

use loment_monitor::state::INVENTORY;

use super::remove;
use crate::error::{Context, invalid};
use crate::names::check_name_of;
use crate::{Engine, Error};

/// The directory, in a container's, that they are in.
const NAMED: &str = "checkpoints";

impl Engine {
    /// Where a container's checkpoint of that name is, or would be.
    ///
    /// # Errors
    /// [`Error::NoContainer`]; [`Error::Invalid`] for what is no name.
    pub fn named_checkpoint(
        &self,
        container: &str,
        dir: Option<&Path>,
        name: &str,
    ) -> Result<PathBuf, Error> {
        check_name_of("checkpoint name", name)?;
        Ok(self.named_checkpoints(container, dir)?.join(name))
    }

    fn named_checkpoints(&self, container: &str, dir: Option<&Path>) -> Result<PathBuf, Error> {
        let id = self.container(container)?.config.id;
        match dir {
            Some(dir) => std::path::absolute(dir).context("find", dir.display()),
            None => Ok(self.dir(&id).join(NAMED)),
        }
    }

    /// The names of those that are complete, sorted.
    ///
    /// # Errors
    /// [`Error::NoContainer`], [`Error::Io`].
    pub fn checkpoints(&self, container: &str, dir: Option<&Path>) -> Result<Vec<String>, Error> {
        let dir = self.named_checkpoints(container, dir)?;
        let entries = match std::fs::read_dir(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.context("read", dir.display())?,
        };
        let whole = entries.flatten().filter(|entry| entry.path().join(INVENTORY).exists());
        let mut names: Vec<String> = whole.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Removes one.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is none of that name; [`Error::Io`].
    pub fn remove_checkpoint(&self, container: &str, dir: Option<&Path>, name: &str) -> Result<(), Error> {
        let path = self.named_checkpoint(container, dir, name)?;
        // Nothing else of that name is taken for one.
        match path.join(INVENTORY).exists() {
            true => remove(&path),
            false => Err(no_checkpoint(name, container)),
        }
    }
}

/// In Docker's words.
pub(super) fn no_checkpoint(name: &str, container: &str) -> Error {
    invalid("checkpoint", name, format!("checkpoint {name} does not exist for container {container}"))
}
