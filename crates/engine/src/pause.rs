//! Stopping a container in the midst of what it does, and letting it go on.

use loment_events::What;

use crate::container::{Container, Status};
use crate::{Engine, Error};

impl Engine {
    /// Stops all processes of a container until [`Engine::unpause`].
    ///
    /// # Errors
    /// [`Error::State`] when it does not run; [`Error::Cgroup`] where the kernel has no freezer.
    pub fn pause(&self, name: &str) -> Result<Container, Error> {
        let container = self.container(name)?;
        if container.status != Status::Running {
            return Err(improper("pause", &container, ": can only pause running containers"));
        }
        self.freeze(&container, true)?;
        self.tell(&container.config, What::Pause);
        Ok(container)
    }

    /// Lets a paused container go on.
    ///
    /// # Errors
    /// [`Error::State`] when it is not paused.
    pub fn unpause(&self, name: &str) -> Result<Container, Error> {
        let container = self.container(name)?;
        if container.status != Status::Paused {
            return Err(improper("unpause", &container, ": can only unpause paused containers"));
        }
        self.freeze(&container, false)?;
        self.tell(&container.config, What::Unpause);
        Ok(container)
    }

    pub(crate) fn freeze(&self, container: &Container, frozen: bool) -> Result<(), Error> {
        Ok(self.group(container.cgroup())?.freeze(frozen)?)
    }

    pub(crate) fn is_frozen(&self, group: Option<&str>) -> bool {
        self.group(group).is_ok_and(|group| group.is_frozen())
    }
}

fn improper(operation: &'static str, container: &Container, hint: &'static str) -> Error {
    let (id, status) = (container.config.id.clone(), container.status.name());
    Error::State { operation, id, status, hint }
}
