//! Flags: how a container's health is checked.

use std::path::PathBuf;

use clap::Args;
use loment_engine::{Create, HealthLog, OnFailure, Startup};

use crate::commands::values::supervision::{check, nanoseconds, on_failure};
use crate::error::Error;

#[derive(Args, Debug)]
#[command(next_help_heading = "Health")]
pub(super) struct HealthFlags {
    /// Check the container's health with this: a text for a shell, a JSON list of a program and its arguments, or none
    #[arg(long, value_name = "COMMAND")]
    health_cmd: Option<String>,
    /// Wait so long between checks, such as 1m30s; disable checks only by hand [default: the image's, or 30s]
    #[arg(long, value_name = "TIME")]
    health_interval: Option<String>,
    /// Give a check so long [default: the image's, or 30s]
    #[arg(long, value_name = "TIME")]
    health_timeout: Option<String>,
    /// Take it for unhealthy after so many failures in a row [default: the image's, or 3]
    #[arg(long, value_name = "NUMBER")]
    health_retries: Option<u32>,
    /// Do not count failures so long after the start [default: the image's, or 0s]
    #[arg(long, value_name = "TIME")]
    health_start_period: Option<String>,
    /// Wait so long between checks in that time [default: the image's, or 5s]
    #[arg(long, value_name = "TIME")]
    health_start_interval: Option<String>,
    /// Do this when it becomes unhealthy: none, kill, restart or stop
    #[arg(long, value_name = "ACTION", default_value = "none")]
    health_on_failure: String,
    /// Keep results in a directory, too, or as events (events_logger)
    #[arg(long, value_name = "local|events_logger|DIR", default_value = "local")]
    health_log_destination: String,
    /// Keep so many results; 0 is all
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    health_max_log_count: u32,
    /// Keep so many bytes of what each wrote; 0 is all
    #[arg(long, value_name = "NUMBER", default_value_t = 500)]
    health_max_log_size: u32,
    /// Begin these checks when this one has succeeded
    #[arg(long, value_name = "COMMAND")]
    health_startup_cmd: Option<String>,
    /// Wait so long between checks of the start
    #[arg(long, value_name = "TIME", default_value = "30s")]
    health_startup_interval: String,
    /// Give a check of the start so long
    #[arg(long, value_name = "TIME", default_value = "30s")]
    health_startup_timeout: String,
    /// Start the container again after so many failures of it; 0 is never
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    health_startup_retries: u32,
    /// Have it succeed so often in a row; 0 is once
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    health_startup_success: u32,
    /// Check nothing, whatever the image says
    #[arg(long)]
    no_healthcheck: bool,
}

impl HealthFlags {
    pub(super) fn apply(&self, asked: &mut Create) -> Result<(), Error> {
        let time = |flag: &str, text: &Option<String>| {
            text.as_deref().map(|text| nanoseconds(flag, text)).transpose()
        };
        let test = self.health_cmd.as_deref().map(check).transpose()?;
        if self.no_healthcheck && test.is_some() {
            return Err(Error::Invalid("--no-healthcheck and --health-cmd exclude each other".into()));
        }
        let health = &mut asked.choices.health;
        health.none = self.no_healthcheck;
        health.test = test;
        health.interval = match self.health_interval.as_deref() {
            Some("disable") => Some(0),
            _ => time("health-interval", &self.health_interval)?,
        };
        health.timeout = time("health-timeout", &self.health_timeout)?;
        health.start_period = time("health-start-period", &self.health_start_period)?;
        health.start_interval = time("health-start-interval", &self.health_start_interval)?;
        health.retries = self.health_retries;
        health.on_failure = on_failure(&self.health_on_failure)?;
        health.log = HealthLog {
            count: self.health_max_log_count,
            size: self.health_max_log_size,
            directory: directory(&self.health_log_destination)?,
            events: self.health_log_destination == "events_logger",
            quiet: false,
        };
        health.startup = match self.health_startup_cmd.as_deref().map(check).transpose()? {
            Some(test) => Some(Startup {
                test,
                said: Vec::new(),
                interval: nanoseconds("health-startup-interval", &self.health_startup_interval)?,
                timeout: nanoseconds("health-startup-timeout", &self.health_startup_timeout)?,
                retries: self.health_startup_retries,
                success: self.health_startup_success,
            }),
            None => None,
        };
        let has_policy = asked.config.supervision.restart != loment_engine::config::Restart::No;
        if health.on_failure == OnFailure::Restart && has_policy {
            return Err(Error::Invalid(
                "--health-on-failure restart and --restart exclude each other: with a policy, use kill"
                    .into(),
            ));
        }
        Ok(())
    }
}

fn directory(text: &str) -> Result<Option<PathBuf>, Error> {
    match text {
        "local" | "" | "events_logger" => Ok(None),
        path => match std::fs::canonicalize(path) {
            Ok(path) if path.is_dir() => Ok(Some(path)),
            _ => Err(Error::Invalid(format!(
                "invalid value {path:?} for --health-log-destination: it is no directory that exists"
            ))),
        },
    }
}
