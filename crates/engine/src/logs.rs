//! Where a container's log is.

use loment_logs::{Options, Reader};

use crate::container::Container;
use crate::error::invalid;
use crate::{Engine, Error};

impl Engine {
    /// Opens a container's log.
    ///
    /// # Errors
    /// [`Error::NoContainer`]; [`Error::Invalid`] for one that keeps none; [`Error::Log`].
    pub fn logs(&self, name: &str, options: Options) -> Result<(Container, Reader), Error> {
        let container = self.container(name)?;
        let path = container.log_path().ok_or_else(|| {
            invalid(
                "log driver",
                container.config.log.driver.clone(),
                "this container does not keep its output",
            )
        })?;
        let reader = Reader::open(&path, options)?;
        Ok((container, reader))
    }

    /// Whether a container runs, looked at anew.
    pub fn is_running(&self, id: &str) -> bool {
        self.load(id).is_ok_and(|c| c.is_some_and(|c| c.status.is_active()))
    }
}
