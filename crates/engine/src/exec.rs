//! Taking part in a container: in its own program, or in a further one.

use loment_monitor::protocol::{Connection, Exec, Request, Streams};

use crate::container::{Container, Status};
use crate::error::Context;
use crate::{Engine, Error};

impl Engine {
    /// Runs a program in a container. The connection's answers are [`crate::Answer::Started`], output, and
    /// [`crate::Answer::Exited`].
    ///
    /// # Errors
    /// [`Error::State`] when the container does not run.
    pub fn exec(&self, name: &str, options: Exec) -> Result<Connection, Error> {
        let container = self.container(name)?;
        if container.status != Status::Running {
            return Err(Error::State {
                operation: "exec in",
                id: container.config.id.clone(),
                status: container.status.name(),
                hint: ": can only create exec sessions on running containers",
            });
        }
        let gone = || Error::MonitorGone { id: container.config.id.clone() };
        let connection = container.monitor().ok_or_else(gone)?;
        connection.send(&Request::Exec(Box::new(options))).context("send the program to", "the monitor")?;
        Ok(connection)
    }

    /// Takes part in a container's standard streams. The connection's answers are [`crate::Answer::Started`], output, and
    /// [`crate::Answer::Exited`].
    ///
    /// # Errors
    /// [`Error::State`] when the container does not run, [`Error::CannotAttach`] for one that has its starter's streams.
    pub fn attach(&self, container: &Container, streams: Streams) -> Result<Connection, Error> {
        if container.status != Status::Running {
            return Err(Error::State {
                operation: "attach to",
                id: container.config.id.clone(),
                status: container.status.name(),
                hint: ": you can only attach to running containers",
            });
        }
        let driver = container.config.log.driver;
        if driver.is_passthrough() {
            return Err(Error::CannotAttach { driver: driver.name() });
        }
        let gone = || Error::MonitorGone { id: container.config.id.clone() };
        let connection = container.monitor().ok_or_else(gone)?;
        connection.send(&Request::Attach(streams)).context("attach to", "the monitor")?;
        Ok(connection)
    }
}
