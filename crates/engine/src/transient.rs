//! Containers that do not outlive a boot.
//!
//! Nothing of them is flushed, so a power cut may leave them damaged; the first command after a boot removes them. The file `transient` in
//! the store's directory says that there have been some, one in the directory of what a boot ends that they were looked for.

use std::path::Path;

use loment_monitor::state::boot_id;

use crate::config::Config;
use crate::error::Context;
use crate::names::ids_with_prefix;
use crate::{Engine, Error};

const MARK: &str = "transient";

impl Engine {
    /// The same engine, in which new containers do not outlive a boot, if that is wanted.
    #[must_use]
    pub fn with_transience(mut self, is_wanted: bool) -> Self {
        self.transient = is_wanted;
        self
    }

    /// Before there is one: that there have been some.
    pub(crate) fn note_transience(&self) -> Result<(), Error> {
        for dir in [self.root(), self.runroot()] {
            let mark = dir.join(MARK);
            if !mark.exists() {
                std::fs::write(&mark, "").context("write", mark.display())?;
            }
        }
        Ok(())
    }

    /// Removes those of another boot, the first time after one.
    pub(crate) fn sweep_transient(&self) {
        let has = |dir: &Path| dir.join(MARK).exists();
        if !has(self.root()) || has(self.runroot()) {
            return;
        }
        let ids = ids_with_prefix(&self.containers_dir(), "");
        let is_over = |id: &String| {
            let config: Result<Option<Config>, Error> = self.config(id, |config: &Config| config.version);
            config.is_ok_and(|config| {
                config.is_some_and(|config| !config.transient.is_empty() && config.transient != boot_id())
            })
        };
        let over: Vec<String> = ids.into_iter().filter(is_over).collect();
        let removed = self.with_dependents(&over).iter().all(|id| {
            // Others that need one of them stay, and so does what they need.
            !over.contains(id) || self.remove_with_volumes(id, true, None, true).is_ok()
        });
        if removed {
            // Who cannot write it looks again.
            let _ = std::fs::write(self.runroot().join(MARK), "");
        }
    }
}
