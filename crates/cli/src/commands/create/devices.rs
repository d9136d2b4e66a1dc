//! Flags: devices.

use clap::Args;
use loment_engine::Create;
use loment_image::conf::is_device_name;

use crate::commands::values::{devices as values, list};
use crate::containers_conf::{CONTAINERS, ContainersConf};
use crate::error::Error;
use crate::globals::Globals;

#[derive(Args, Debug)]
#[command(next_help_heading = "Devices")]
pub(super) struct DevicesFlags {
    /// Add a device of the host, and ACCESS is any of r, w and m; or one that is described (CDI), VENDOR/CLASS=NAME
    #[arg(long, value_name = "HOST[:CONTAINER[:ACCESS]]")]
    device: Vec<String>,
    /// Add GPUs that are described (CDI): all, a number of them, or device=NAME,...
    #[arg(long, value_name = "GPUS")]
    gpus: Vec<String>,
    /// Allow devices by their numbers, such as "c 1:3 rwm"; * is any number
    #[arg(long, value_name = "TYPE MAJOR:MINOR ACCESS")]
    device_cgroup_rule: Vec<String>,
}

impl DevicesFlags {
    /// After those about rights.
    pub(super) fn apply(
        &self,
        globals: &Globals,
        conf: &ContainersConf,
        asked: &mut Create,
    ) -> Result<(), Error> {
        let described = &mut asked.config.devices.described;
        let nodes = &mut asked.config.devices.nodes;
        for text in list(&self.device) {
            match is_device_name(&text) {
                true => described.push(text),
                false => nodes.push(values::device(&text)?),
            }
        }
        for text in &self.gpus {
            described.extend(values::gpus(text)?);
        }
        // One that has all has these.
        if !asked.config.security.privileged {
            let read = |text: &str| match is_device_name(text) {
                true => Ok(Err(text.to_owned())),
                false => values::device(text).map(Ok),
            };
            for device in conf.list_as(CONTAINERS, "devices", read)? {
                match device {
                    Ok(device) if nodes.iter().any(|other| other.container == device.container) => {}
                    Ok(device) => nodes.push(device),
                    Err(name) => described.push(name),
                }
            }
        }
        if !described.is_empty() {
            // One is enough of each.
            let mut seen = std::collections::HashSet::new();
            described.retain(|name| seen.insert(name.clone()));
            asked.config.devices.descriptions = globals.cdi_dirs()?;
        }
        asked.config.devices.rules.clone_from(&self.device_cgroup_rule);
        Ok(())
    }
}
