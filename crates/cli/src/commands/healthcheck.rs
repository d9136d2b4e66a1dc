//! `healthcheck run`

use clap::Parser;
use loment_engine::HealthStatus;

use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;

/// Check the health of a container now: status 0 if it is healthy, 1 if not
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Succeed whatever the result is
    #[arg(long)]
    ignore_result: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let report = engine.check_health(&flags.container)?;
    let is_over = report.status == HealthStatus::Stopped;
    if report.log.last().is_some_and(|result| result.exit_code == 0) && !is_over {
        return Ok(0);
    }
    // What this check says, and not yet of all: a failure that counts is one.
    let health = engine.container(&flags.container).ok().and_then(|c| c.config.supervision.health);
    let starts_up = health.is_some_and(|health| health.startup.is_some());
    let status = match report.status {
        HealthStatus::Starting if report.failing_streak == 0 || starts_up => HealthStatus::Starting,
        HealthStatus::Stopped => HealthStatus::Stopped,
        _ => HealthStatus::Unhealthy,
    };
    print(&format!("{}\n", status.name()))?;
    Ok(u8::from(!flags.ignore_result))
}
