//! `stop`

use clap::Parser;
use loment_engine::Status;

use super::{chosen, for_each};
use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;

/// Stop running containers
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Stop every running container
    #[arg(short, long)]
    all: bool,
    /// Skip containers that do not exist
    #[arg(short, long)]
    ignore: bool,
    /// Set the seconds to wait before SIGKILL; the container's own by default
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS")]
    time: Option<u32>,
    /// Containers
    #[arg(value_name = "CONTAINER", required_unless_present = "all")]
    containers: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let names = chosen(&engine, &flags.containers, flags.all, |c| c.status == Status::Running)?;
    for_each(&names, |name| match engine.stop(name, flags.time) {
        Err(loment_engine::Error::NoContainer { .. }) if flags.ignore => Ok(()),
        other => {
            other?;
            print(&format!("{name}\n"))
        }
    })
}
