//! `restart`

use clap::Parser;

use super::values::supervision::grace;
use super::{chosen, for_each};
use crate::attach::own_streams;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::{complain, print};

/// Stop containers and start them again
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Restart every container, whether it runs or not
    #[arg(short, long)]
    all: bool,
    /// Restart every running container
    #[arg(long)]
    running: bool,
    /// Set the seconds to wait before SIGKILL, -1 to wait for ever; the container's own by default
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS", allow_negative_numbers = true)]
    time: Option<i64>,
    /// Containers
    #[arg(value_name = "CONTAINER", required_unless_present_any = ["all", "running"])]
    containers: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let every = flags.all || flags.running;
    let names = chosen(&engine, &flags.containers, every, |c| flags.all || c.status.is_active())?;
    let grace = grace(flags.time)?;
    for_each(&names, |name| {
        for warning in engine.restart(name, grace, Some(own_streams()))? {
            complain(&format!("Warning: {warning}"));
        }
        print(&format!("{name}\n"))
    })
}
