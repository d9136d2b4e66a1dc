//! Removing containers.

use crate::container::{Container, Status};
use crate::stop::signal;
use crate::{Engine, Error};

impl Engine {
    /// Removes a container. One that runs is killed when `force` is given, and refused otherwise.
    ///
    /// # Errors
    /// [`Error::State`], [`Error::Unkillable`].
    pub fn remove(&self, name: &str, force: bool, timeout: Option<u32>) -> Result<Container, Error> {
        let container = self.container(name)?;
        if container.status == Status::Running {
            if !force {
                return Err(running(container.config.id));
            }
            match (timeout, container.open_process()) {
                (None | Some(0), Some(process)) => {
                    signal(&process, 9)?;
                    self.stop(name_of(&container), Some(0)).map(drop).or_else(gone)?;
                }
                _ => self.stop(name_of(&container), timeout).map(drop).or_else(gone)?,
            }
        }
        // A container started with --rm may have gone by itself by now.
        if let Ok(_lock) = self.lock(&container.config.id) {
            if let Some(now) = self.load(&container.config.id)? {
                // Started since it was looked at.
                if now.status == Status::Running {
                    return Err(running(now.config.id));
                }
                self.clear_leftovers(&now);
            }
            self.names().release(&container.config.name, &container.config.id);
            self.store().remove_container(&container.config.id)?;
        }
        Ok(container)
    }
}

fn running(id: String) -> Error {
    Error::State {
        operation: "remove",
        id,
        status: "running",
        hint: " - running or paused containers cannot be removed without force: stop it or use --force",
    }
}

fn name_of(container: &Container) -> &str {
    &container.config.id
}

/// What was to be removed has gone by itself.
fn gone(error: Error) -> Result<(), Error> {
    if matches!(error, Error::NoContainer { .. }) { Ok(()) } else { Err(error) }
}
