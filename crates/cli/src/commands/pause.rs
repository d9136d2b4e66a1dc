//! `pause` and `unpause`

use clap::Parser;
use loment_engine::Status;

use super::{chosen, for_each};
use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;

/// Stop all processes of containers until they are unpaused
#[derive(Parser, Debug)]
pub(super) struct Pause {
    /// Pause every running container
    #[arg(short, long)]
    all: bool,
    /// Containers
    #[arg(value_name = "CONTAINER", required_unless_present = "all")]
    containers: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &Pause) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let names = chosen(&engine, &flags.containers, flags.all, |c| c.status == Status::Running)?;
    for_each(&names, |name| {
        engine.pause(name)?;
        print(&format!("{name}\n"))
    })
}

/// Let paused containers go on
#[derive(Parser, Debug)]
pub(super) struct Unpause {
    /// Unpause every paused container
    #[arg(short, long)]
    all: bool,
    /// Containers
    #[arg(value_name = "CONTAINER", required_unless_present = "all")]
    containers: Vec<String>,
}

pub(super) fn run_unpause(globals: &Globals, flags: &Unpause) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let names = chosen(&engine, &flags.containers, flags.all, |c| c.status == Status::Paused)?;
    for_each(&names, |name| {
        engine.unpause(name)?;
        print(&format!("{name}\n"))
    })
}
