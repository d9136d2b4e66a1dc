//! The health of containers: how it is checked, and what is known of it.

use std::path::Path;

use loment_image::ContainerDefaults;
use loment_monitor::health::{self, Health, HealthLog, HealthStatus, OnFailure, Report, Startup};
use loment_monitor::protocol::{Answer, Request};

use crate::container::{Container, Status};
use crate::error::Context;
use crate::stop::ends_within;
use crate::{Engine, Error};

/// How much longer than a container has for its end a check waits for that, in seconds.
const PATIENCE: u32 = 10;

/// What a user says of checks; `None` is what the image says, or the default. Times are in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct HealthChoices {
    /// There is none, whatever the image says.
    pub none: bool,
    /// `CMD` and a program with its arguments, or `CMD-SHELL` and a text.
    pub test: Option<Vec<String>>,
    /// Between checks; 0 is never.
    pub interval: Option<u64>,
    /// For each.
    pub timeout: Option<u64>,
    /// During which failures do not count.
    pub start_period: Option<u64>,
    /// Between checks in the start period.
    pub start_interval: Option<u64>,
    /// Failures until it is unhealthy.
    pub retries: Option<u32>,
    /// What is done then.
    pub on_failure: OnFailure,
    /// What comes first, with `test` as above.
    pub startup: Option<Startup>,
    /// What is kept.
    pub log: HealthLog,
}

impl HealthChoices {
    /// How a container of an image is checked.
    ///
    /// # Errors
    /// [`Error::ActionWithoutCheck`].
    pub(crate) fn resolve(&self, image: &ContainerDefaults) -> Result<Option<Health>, Error> {
        let known = image.healthcheck.clone().unwrap_or_default();
        let said = self.test.clone().unwrap_or(known.test);
        let shell = image.shell.as_deref().filter(|shell| !shell.is_empty());
        if self.none || said.is_empty() || said[0] == "NONE" {
            return match self.on_failure {
                OnFailure::None => Ok(None),
                action => Err(Error::ActionWithoutCheck { action: action.name() }),
            };
        }
        let default = Health::default();
        let time = |user: Option<u64>, image: i64, default: u64| {
            user.unwrap_or_else(|| u64::try_from(image).ok().filter(|&n| n > 0).unwrap_or(default))
        };
        let retries = u32::try_from(known.retries).ok().filter(|&n| n > 0).unwrap_or(default.retries);
        Ok(Some(Health {
            test: program(&said, shell),
            interval: time(self.interval, known.interval, default.interval),
            timeout: time(self.timeout, known.timeout, default.timeout),
            start_period: time(self.start_period, known.start_period, 0),
            start_interval: time(self.start_interval, known.start_interval, 0),
            retries: self.retries.unwrap_or(retries),
            on_failure: self.on_failure,
            startup: self.startup.clone().map(|startup| Startup {
                test: program(&startup.test, shell),
                said: startup.test,
                ..startup
            }),
            log: self.log.clone(),
            said,
        }))
    }
}

/// What is executed for a test as images write it.
pub(crate) fn program(test: &[String], shell: Option<&[String]>) -> Vec<String> {
    let default = ["/bin/sh".to_owned(), "-c".to_owned()];
    match test {
        [kind, rest @ ..] if kind == "CMD" => rest.to_vec(),
        [kind, rest @ ..] if kind == "CMD-SHELL" => {
            shell.unwrap_or(&default).iter().cloned().chain([rest.join(" ")]).collect()
        }
        // As old images have it.
        program => program.to_vec(),
    }
}

impl Container {
    /// What is known of its health; `None` if that is not checked.
    pub fn health(&self) -> Option<Report> {
        self.config.supervision.health.as_ref()?;
        Some(report(&self.run_dir, &self.dir))
    }
}

/// What is known of the health of a container with these directories.
pub(crate) fn report(run_dir: &Path, dir: &Path) -> Report {
    let read = |dir: &Path| serde_json::from_slice(&std::fs::read(dir.join(health::FILE)).ok()?).ok();
    read(run_dir).or_else(|| read(dir)).unwrap_or_default()
}

impl Engine {
    /// Checks the health of a container now; what is known then. One that is killed or stopped for it has ended then.
    ///
    /// # Errors
    /// [`Error::State`] when it does not run, [`Error::NoHealthCheck`].
    pub fn check_health(&self, name: &str) -> Result<Report, Error> {
        let container = self.container(name)?;
        let id = container.config.id.clone();
        if container.config.supervision.health.is_none() {
            return Err(Error::NoHealthCheck { id });
        }
        if container.status != Status::Running {
            let (status, hint) = (container.status.name(), ": only running containers have a health");
            return Err(Error::State { operation: "check the health of", id, status, hint });
        }
        let gone = || Error::MonitorGone { id: id.clone() };
        let monitor = container.monitor().ok_or_else(gone)?;
        let before = container.health().unwrap_or_default().log;
        monitor.send(&Request::Check).context("ask", "the monitor")?;
        loop {
            match monitor.receive().context("hear from", "the monitor")?.ok_or_else(gone)? {
                Answer::Exited { .. } => {
                    let report = container.health().ok_or_else(gone)?;
                    self.await_action(&container, &report)?;
                    return Ok(report);
                }
                Answer::Failed { cause, message } => {
                    // One that could not be started is a result, too; one that the monitor does not know is none.
                    return match container.health() {
                        Some(report) if report.log != before => Ok(report),
                        _ => Err(Error::Start { cause, message }),
                    };
                }
                _ => {}
            }
        }
    }

    /// Waits for the end of a container whose monitor ends it because it is unhealthy.
    fn await_action(&self, container: &Container, report: &Report) -> Result<(), Error> {
        let supervision = &container.config.supervision;
        let action = supervision.health.as_ref().map(|health| health.on_failure);
        let ends = matches!(action, Some(OnFailure::Kill | OnFailure::Stop));
        if !ends || report.status != HealthStatus::Unhealthy {
            return Ok(());
        }
        let patience = supervision.stop_timeout.saturating_add(PATIENCE);
        match container.open_process() {
            Some(process) if !ends_within(&process, patience) => Ok(()),
            _ => self.wait_for_record(container),
        }
    }
}

#[cfg(test)]
mod tests {
    use loment_image::Healthcheck;

    use super::*;

    #[test]
    fn the_user_decides_over_the_image_part_by_part() {
        let second = 1_000_000_000;
        let healthcheck = Healthcheck {
            test: vec!["CMD-SHELL".into(), "curl x".into()],
            interval: 7 * second,
            retries: 9,
            ..Healthcheck::default()
        };
        let image = ContainerDefaults {
            healthcheck: Some(healthcheck),
            shell: Some(vec!["/bin/ash".into(), "-ec".into()]),
            ..ContainerDefaults::default()
        };
        let health = HealthChoices { timeout: Some(5), ..HealthChoices::default() };
        let health = health.resolve(&image).unwrap().unwrap();
        assert_eq!(health.test, ["/bin/ash", "-ec", "curl x"]);
        assert_eq!((health.interval, health.timeout, health.retries), (7 * second as u64, 5, 9));
        let none = HealthChoices { none: true, ..HealthChoices::default() };
        assert_eq!(none.resolve(&image).unwrap(), None);
        let kill = HealthChoices { on_failure: OnFailure::Kill, ..HealthChoices::default() };
        assert!(kill.resolve(&image).unwrap().is_some());
        let error = kill.resolve(&ContainerDefaults::default()).unwrap_err().to_string();
        assert_eq!(error, "cannot set on-failure action to kill without a health check");
        let own = HealthChoices {
            test: Some(vec!["CMD".into(), "a".into()]),
            retries: Some(1),
            ..HealthChoices::default()
        };
        let health = own.resolve(&ContainerDefaults::default()).unwrap().unwrap();
        assert_eq!((health.test, health.retries), (vec!["a".to_owned()], 1));
        assert_eq!(HealthChoices::default().resolve(&ContainerDefaults::default()).unwrap(), None);
    }
}
