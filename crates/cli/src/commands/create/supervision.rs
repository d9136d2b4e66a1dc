//! Flags: how a container is looked after.

use clap::Args;
use loment_engine::config::{NotifyMode, Restart};
use loment_engine::{Create, SystemdMode};

use crate::commands::values::supervision as values;
use crate::containers_conf::{ContainersConf, ENGINE};
use crate::ecosystem::variable;
use crate::error::Error;
use crate::globals::Globals;

#[derive(Args, Debug)]
#[command(next_help_heading = "Supervision")]
pub(super) struct SupervisionFlags {
    /// Remove the container when it ends
    #[arg(long)]
    rm: bool,
    #[arg(skip)]
    rmi: bool,
    /// Start the container again when it ends: no, on-failure[:TIMES], always or unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    /// Start these containers before it, wait for those that are to be healthy, and do not remove them while it is there
    #[arg(long, value_name = "CONTAINER[:healthy]", value_delimiter = ',')]
    requires: Vec<String>,
    /// Kill the container when it has run for so long, in seconds; 0 is for ever
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// Choose who runs the container: loment itself, also called oci, crun, runc and default
    #[arg(long, value_name = "RUNTIME")]
    runtime: Option<String>,
    /// Choose how the container is kept apart: default or process
    #[arg(long, value_name = "WAY")]
    isolation: Option<String>,
    /// Choose who tells the service manager (NOTIFY_SOCKET) that it is ready: container, conmon (at its start), healthy or ignore
    #[arg(long, value_name = "WHO")]
    sdnotify: Option<String>,
    /// Make it ready for systemd as its program: true is when its command is systemd or init, false never, always whatever it is
    #[arg(long, value_name = "WHEN")]
    systemd: Option<String>,
    /// Limit each temporary file system that systemd has: /run, /run/lock, /tmp and /var/log/journal
    #[arg(long, value_name = "SIZE")]
    shm_size_systemd: Option<String>,
    /// Set the signal that asks the container to stop
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Set the seconds between that signal and SIGKILL
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<u32>,
}

impl SupervisionFlags {
    /// As with --rm.
    pub(super) fn remove_at_end(&mut self, image: bool) {
        (self.rm, self.rmi) = (true, image);
    }

    pub(super) fn apply(
        &self,
        globals: &Globals,
        conf: &ContainersConf,
        asked: &mut Create,
    ) -> Result<(), Error> {
        asked.config.requires.clone_from(&self.requires);
        match self.runtime.as_deref() {
            Some(name) => values::runtime(name)?,
            None => conf.text_as(ENGINE, "runtime", values::runtime)?.unwrap_or_default(),
        }
        self.isolation.as_deref().map_or(Ok(()), values::isolation)?;
        let supervision = &mut asked.config.supervision;
        (supervision.auto_remove, supervision.auto_remove_image) = (self.rm, self.rmi);
        supervision.restart = self.restart.as_deref().map_or(Ok(Restart::No), values::restart)?;
        if self.rm && supervision.restart != Restart::No {
            return Err(Error::Invalid(
                "--rm and --restart exclude each other: what is removed cannot be started again".into(),
            ));
        }
        asked.choices.systemd = match &self.systemd {
            Some(text) => values::systemd(text)?,
            // Docker knows nothing of it.
            None if globals.persona.completes_containers => SystemdMode::Auto,
            None => SystemdMode::Never,
        };
        asked.config.files.systemd_size = values::systemd_size(self.shm_size_systemd.as_deref())?;
        let supervision = &mut asked.config.supervision;
        supervision.timeout = self.timeout.filter(|&seconds| seconds > 0);
        supervision.notify.mode =
            self.sdnotify.as_deref().map_or(Ok(NotifyMode::default()), values::sdnotify)?;
        if supervision.notify.mode != NotifyMode::Ignore {
            let manager = variable("NOTIFY_SOCKET").and_then(|socket| socket.into_string().ok());
            supervision.notify.socket = manager.unwrap_or_default();
        }
        let signal = self.stop_signal.as_deref().map(values::signal);
        asked.choices.stop_signal = signal.transpose()?;
        asked.choices.stop_timeout = self.stop_timeout;
        asked.choices.usual_stop_timeout = conf.number_as(ENGINE, "stop_timeout", |seconds| {
            u32::try_from(seconds).map_err(|_| "use a number of seconds from 0 on")
        })?;
        Ok(())
    }
}
