//! Flags: groups of processes that it is in, besides its limits.

use clap::Args;
use loment_engine::Create;
use loment_engine::config::Groups;

use crate::containers_conf::{CONTAINERS, ContainersConf};
use crate::error::Error;

#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(super) struct GroupsFlags {
    /// Choose which control groups are made: enabled is its own and its monitor's, no-conmon only its own, split its own as a part of
    /// that of whoever starts it, disabled none
    #[arg(long, value_name = "WHICH")]
    cgroups: Option<String>,
    /// Put its processes in this class of caches and memory bandwidth, a directory of /sys/fs/resctrl that is there
    #[arg(long, value_name = "CLASS")]
    rdt_class: Option<String>,
}

impl GroupsFlags {
    /// After other limits.
    pub(super) fn apply(&self, conf: &ContainersConf, asked: &mut Create) -> Result<(), Error> {
        asked.choices.groups = match &self.cgroups {
            Some(text) => Some(groups(text)?),
            None => conf.text_as(CONTAINERS, "cgroups", groups)?,
        };
        asked.config.limits.rdt_class = self.rdt_class.clone().filter(|class| !class.is_empty());
        Ok(())
    }
}

/// Which control groups a container gets, in Podman's words.
fn groups(text: &str) -> Result<Groups, Error> {
    match text {
        "enabled" => Ok(Groups::Both),
        "no-conmon" => Ok(Groups::NoMonitor),
        "disabled" => Ok(Groups::None),
        "split" => Ok(Groups::Split),
        _ => Err(Error::Invalid(format!(
            "invalid cgroups {text:?}: use enabled, no-conmon, split or disabled"
        ))),
    }
}
