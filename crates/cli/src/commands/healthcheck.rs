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
    let report = globals.engine()?.check_health(&flags.container)?;
    let is_over = report.status == HealthStatus::Stopped;
    if report.log.last().is_some_and(|result| result.exit_code == 0) && !is_over {
        return Ok(0);
    }
    // What this check says, and not yet of all.
    let status = match report.status {
        status @ (HealthStatus::Starting | HealthStatus::Stopped) => status,
        _ => HealthStatus::Unhealthy,
    };
    print(&format!("{}\n", status.name()))?;
    Ok(u8::from(!flags.ignore_result))
}
