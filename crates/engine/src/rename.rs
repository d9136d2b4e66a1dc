//! Giving containers other names.

use loment_events::{What, more};

use crate::error::invalid;
use crate::names::while_doing;
use crate::{Engine, Error};

impl Engine {
    /// Gives a container another name, also while it runs.
    ///
    /// # Errors
    /// [`Error::NameInUse`], [`Error::Invalid`].
    pub fn rename(&self, name: &str, new: &str) -> Result<(), Error> {
        let id = self.id(name)?;
        let gone = || Error::NoContainer { name: name.to_owned() };
        let _lock = match self.lock(&id) {
            Err(_) if !self.dir(&id).exists() => return Err(gone()),
            lock => lock?,
        };
        let mut config = self.load(&id)?.ok_or_else(gone)?.config;
        let old = std::mem::replace(&mut config.name, new.to_owned());
        if old == new && name != new && self.names().id(name).as_deref() == Some(id.as_str()) {
            // Who renamed it was killed before it was done.
            self.names().release(name, &id);
            return Ok(());
        }
        if old == new {
            return Err(invalid("name", new, "the container has that name already"));
        }
        let names = self.names();
        // Killed in between, the container has both names, and shows the one in its record.
        self.take_name(Some(new), &id).map_err(while_doing("renaming container"))?;
        self.save(&config).inspect_err(|_| names.release(new, &id))?;
        names.release(&old, &id);
        let reporter = self.reporter(&config);
        reporter.tell(&[reporter.event(What::Rename).with(more::OLD_NAME, old)]);
        Ok(())
    }
}
