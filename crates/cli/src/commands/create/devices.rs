//! Flags: devices.

use clap::Args;
use loment_engine::Create;

use crate::commands::values::devices as values;
use crate::error::Error;

#[derive(Args, Debug)]
#[command(next_help_heading = "Devices")]
pub(super) struct DevicesFlags {
    /// Add a device of the host; ACCESS is any of r, w and m
    #[arg(long, value_name = "HOST[:CONTAINER[:ACCESS]]")]
    device: Vec<String>,
    /// Allow devices by their numbers, such as "c 1:3 rwm"; * is any number
    #[arg(long, value_name = "TYPE MAJOR:MINOR ACCESS")]
    device_cgroup_rule: Vec<String>,
}

impl DevicesFlags {
    pub(super) fn apply(&self, asked: &mut Create) -> Result<(), Error> {
        for text in &self.device {
            asked.config.devices.nodes.push(values::device(text)?);
        }
        asked.config.devices.rules.clone_from(&self.device_cgroup_rule);
        Ok(())
    }
}
