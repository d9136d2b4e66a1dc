//! Flags: how health is to be checked.

use clap::Args;
use loment_engine::HealthUpdate;

use crate::commands::values::supervision::{check, nanoseconds, on_failure};
use crate::error::Error;

#[derive(Args, Debug)]
#[command(next_help_heading = "Health")]
pub(super) struct HealthFlags {
    /// Check with this: a text for a shell, a JSON list of a program and its arguments, or none
    #[arg(long, value_name = "COMMAND", conflicts_with = "no_healthcheck")]
    health_cmd: Option<String>,
    /// Wait so long between checks, such as 1m30s; disable checks only by hand
    #[arg(long, value_name = "TIME", conflicts_with = "no_healthcheck")]
    health_interval: Option<String>,
    /// Give a check so long
    #[arg(long, value_name = "TIME", conflicts_with = "no_healthcheck")]
    health_timeout: Option<String>,
    /// Take it for unhealthy after so many failures in a row
    #[arg(long, value_name = "NUMBER", conflicts_with = "no_healthcheck")]
    health_retries: Option<u32>,
    /// Do not count failures so long after the start
    #[arg(long, value_name = "TIME", conflicts_with = "no_healthcheck")]
    health_start_period: Option<String>,
    /// Wait so long between checks in that time
    #[arg(long, value_name = "TIME", conflicts_with = "no_healthcheck")]
    health_start_interval: Option<String>,
    /// Do this when it becomes unhealthy: none, kill, restart or stop
    #[arg(long, value_name = "ACTION", conflicts_with = "no_healthcheck")]
    health_on_failure: Option<String>,
    /// Keep results in a directory, too, or as events (events_logger), or as by default (local)
    #[arg(long, value_name = "local|events_logger|DIR", conflicts_with = "no_healthcheck")]
    health_log_destination: Option<String>,
    /// Keep so many results; 0 is all
    #[arg(long, value_name = "NUMBER", conflicts_with = "no_healthcheck")]
    health_max_log_count: Option<u32>,
    /// Keep so many bytes of what each wrote; 0 is all
    #[arg(long, value_name = "NUMBER", conflicts_with = "no_healthcheck")]
    health_max_log_size: Option<u32>,
    /// Begin these checks when this one has succeeded
    #[arg(long, value_name = "COMMAND", conflicts_with = "no_healthcheck")]
    health_startup_cmd: Option<String>,
    /// Wait so long between checks of the start
    #[arg(long, value_name = "TIME", conflicts_with = "no_healthcheck")]
    health_startup_interval: Option<String>,
    /// Give a check of the start so long
    #[arg(long, value_name = "TIME", conflicts_with = "no_healthcheck")]
    health_startup_timeout: Option<String>,
    /// Start the container again after so many failures of it; 0 is never
    #[arg(long, value_name = "NUMBER", conflicts_with = "no_healthcheck")]
    health_startup_retries: Option<u32>,
    /// Have it succeed so often in a row; 0 is once
    #[arg(long, value_name = "NUMBER", conflicts_with = "no_healthcheck")]
    health_startup_success: Option<u32>,
    /// Check nothing any more
    #[arg(long)]
    no_healthcheck: bool,
}

impl HealthFlags {
    pub(super) fn update(&self) -> Result<HealthUpdate, Error> {
        let time = |flag: &str, text: &Option<String>| {
            text.as_deref().map(|text| nanoseconds(flag, text)).transpose()
        };
        let destination = self.health_log_destination.as_deref().map(|text| match text {
            "local" | "" => Ok((None, false)),
            "events_logger" => Ok((None, true)),
            path => match std::fs::canonicalize(path) {
                Ok(path) if path.is_dir() => Ok((Some(path), false)),
                _ => Err(Error::Invalid(format!(
                    "invalid value {path:?} for --health-log-destination: it is no directory that exists"
                ))),
            },
        });
        Ok(HealthUpdate {
            none: self.no_healthcheck,
            test: self.health_cmd.as_deref().map(check).transpose()?,
            interval: match self.health_interval.as_deref() {
                Some("disable") => Some(0),
                _ => time("health-interval", &self.health_interval)?,
            },
            timeout: time("health-timeout", &self.health_timeout)?,
            start_period: time("health-start-period", &self.health_start_period)?,
            start_interval: time("health-start-interval", &self.health_start_interval)?,
            retries: self.health_retries,
            on_failure: self.health_on_failure.as_deref().map(on_failure).transpose()?,
            log_count: self.health_max_log_count,
            log_size: self.health_max_log_size,
            log_destination: destination.transpose()?,
            startup_test: self.health_startup_cmd.as_deref().map(check).transpose()?,
            startup_interval: time("health-startup-interval", &self.health_startup_interval)?,
            startup_timeout: time("health-startup-timeout", &self.health_startup_timeout)?,
            startup_retries: self.health_startup_retries,
            startup_success: self.health_startup_success,
        })
    }
}
