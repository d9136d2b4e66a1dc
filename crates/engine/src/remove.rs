//! Removing containers.

use crate::container::{Container, Status};
use crate::{Engine, Error};

/// How often a container that is started again and again is killed before giving up.
const TRIES: u32 = 10;

impl Engine {
    /// Removes a container. One that runs is killed when `force` is given, and refused otherwise.
    ///
    /// # Errors
    /// [`Error::State`], [`Error::Unkillable`].
    pub fn remove(&self, name: &str, force: bool, timeout: Option<u32>) -> Result<Container, Error> {
        let container = self.container(name)?;
        let id = container.config.id.as_str();
        for _ in 0..TRIES {
            if self.remove_stopped(&container)? {
                return Ok(container);
            }
            if !force {
                break;
            }
            // Without a time of its own it is killed at once.
            match self.stop(id, Some(timeout.unwrap_or(0))) {
                // Started with --rm, it has gone by itself.
                Err(Error::NoContainer { .. }) => {}
                other => drop(other?),
            }
        }
        Err(running(container.config.id))
    }

    /// Removes a container that does not run; `false` when it does. Looked at under the lock: it may just be starting.
    fn remove_stopped(&self, container: &Container) -> Result<bool, Error> {
        let id = container.config.id.as_str();
        let Ok(_lock) = self.lock(id) else { return Ok(true) };
        if let Some(now) = self.load(id)? {
            if now.status == Status::Running {
                return Ok(false);
            }
            self.clear_leftovers(&now);
        }
        self.names().release(&container.config.name, id);
        self.store().remove_container(id)?;
        Ok(true)
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
