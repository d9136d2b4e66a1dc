//! Cleaning up after containers that have ended. Their monitors do it; this is for those whose monitor was killed.

use crate::Engine;
use crate::container::Container;
use crate::error::Error;

impl Engine {
    /// Removes what a container that does not run has left: mounts, groups, files of its run. There is nothing of these where
    /// its monitor was not killed.
    ///
    /// # Errors
    /// [`Error::State`] when it runs; [`Error::MonitorStays`].
    pub fn clean_up(&self, name: &str) -> Result<Container, Error> {
        let container = self.container(name)?;
        refuse_active(&container)?;
        // What a living monitor does at the end is this.
        self.wait_for_monitor(&container)?;
        let id = &container.config.id;
        let _lock = match self.lock(id) {
            // It was removed at its end.
            Err(_) if !container.dir.exists() => return Ok(container),
            lock => lock?,
        };
        // It may have been started meanwhile.
        let Some(now) = self.load(id)? else { return Ok(container) };
        refuse_active(&now)?;
        self.clear_leftovers(&now);
        let _ = loment_monitor::remove_monitor_cgroup(&self.place(&now.config));
        Ok(now)
    }
}

fn refuse_active(container: &Container) -> Result<(), Error> {
    if !container.status.is_active() {
        return Ok(());
    }
    Err(Error::State {
        operation: "clean up",
        id: container.config.id.clone(),
        status: container.status.name(),
        hint: ": stop it first",
    })
}
