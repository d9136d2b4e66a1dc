//! Taking part in a container: in its own program, or in a further one.

use std::os::fd::{AsFd, OwnedFd};

use loment_monitor::protocol::{Connection, Exec, MAX_DESCRIPTORS, Request, Streams};

use crate::container::{Container, Status};
use crate::error::{Context, invalid};
use crate::{Engine, Error};

impl Engine {
    /// Runs a program in a container, with copies of descriptors under these numbers. The connection's answers are
    /// [`crate::Answer::Started`], output, and [`crate::Answer::Exited`].
    ///
    /// # Errors
    /// [`Error::State`] when the container does not run; [`Error::Invalid`] for more than [`MAX_DESCRIPTORS`] of them.
    pub fn exec(
        &self,
        name: &str,
        mut options: Exec,
        descriptors: &[(i32, OwnedFd)],
    ) -> Result<Connection, Error> {
        if descriptors.len() > MAX_DESCRIPTORS {
            let hint = format!("at most {MAX_DESCRIPTORS} can be handed on to a program that is run later");
            return Err(invalid("number of descriptors", descriptors.len().to_string(), hint));
        }
        options.descriptors = descriptors.iter().map(|(number, _)| *number).collect();
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
        let fds: Vec<_> = descriptors.iter().map(|(_, fd)| fd.as_fd()).collect();
        let sent = connection.send_with(&Request::Exec(Box::new(options)), &fds);
        sent.context("send the program to", "the monitor")?;
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
