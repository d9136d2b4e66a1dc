//! Further programs in a container.

use std::path::PathBuf;

use loment_monitor::protocol::{Connection, Exec, Request, Streams};

use crate::container::Status;
use crate::error::Context;
use crate::{Engine, Error, spec};

/// A program to run in a container.
#[derive(Clone, Debug, Default)]
pub struct ExecOptions {
    /// What to run.
    pub command: Vec<String>,
    /// `NAME=VALUE`, added to the container's.
    pub env: Vec<String>,
    /// Instead of the container's.
    pub user: Option<String>,
    /// Instead of the container's.
    pub workdir: Option<PathBuf>,
    /// It has a terminal.
    pub terminal: bool,
    /// With every capability.
    pub privileged: bool,
    /// Which streams the caller takes part in.
    pub streams: Streams,
}

impl Engine {
    /// Runs a program in a container. The connection's answers are [`crate::Answer::Started`], output, and
    /// [`crate::Answer::Exited`].
    ///
    /// # Errors
    /// [`Error::State`] when the container does not run.
    pub fn exec(&self, name: &str, options: ExecOptions) -> Result<Connection, Error> {
        let container = self.container(name)?;
        if container.status != Status::Running {
            return Err(Error::State {
                operation: "exec in",
                id: container.config.id.clone(),
                status: container.status.name(),
                hint: ": can only create exec sessions on running containers",
            });
        }
        let mut config = container.config.clone();
        config.security.privileged |= options.privileged;
        if let Some(workdir) = options.workdir {
            config.process.workdir = workdir;
        }
        // The container's environment, its terminal's name as this one needs it, and the caller's.
        let mut env: Vec<String> = config.process.env.clone();
        if options.terminal && !env.iter().any(|e| e.starts_with("TERM=")) {
            env.push("TERM=xterm".into());
        }
        for entry in options.env {
            let key = entry.split('=').next().unwrap_or_default().to_owned();
            env.retain(|e| e.split('=').next() != Some(&key));
            env.push(entry);
        }
        let process = spec::exec_process(&config, &options.command, &env, options.terminal)?;
        let user = options.user.unwrap_or(config.process.user.clone());
        let gone = || Error::MonitorGone { id: container.config.id.clone() };
        let connection = container.monitor().ok_or_else(gone)?;
        let seccomp = spec::seccomp_filter(&config)?;
        let annotations = config.annotations.into_iter().collect();
        let request = Exec { process, user, seccomp, annotations, streams: options.streams };
        connection.send(&Request::Exec(Box::new(request))).context("send the program to", "the monitor")?;
        Ok(connection)
    }
}
