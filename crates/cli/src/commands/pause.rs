//! `pause` and `unpause`

use clap::Parser;
use loment_engine::Status;

use super::choose::Chosen;
use super::for_each;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;

/// Stop all processes of containers until they are unpaused
#[derive(Parser, Debug)]
pub(super) struct Pause {
    /// Pause every running container
    #[arg(short, long)]
    all: bool,
    /// Those that this is true of, as ps --filter
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    chosen: Chosen,
}

pub(super) fn run(globals: &Globals, flags: &Pause) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let choice = flags.chosen.choice(flags.all).with_filters(&flags.filter);
    let names = choice.ids(globals, &engine, |c| c.status == Status::Running)?;
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
    /// Those that this is true of, as ps --filter
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    chosen: Chosen,
}

pub(super) fn run_unpause(globals: &Globals, flags: &Unpause) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let choice = flags.chosen.choice(flags.all).with_filters(&flags.filter);
    let names = choice.ids(globals, &engine, |c| c.status == Status::Paused)?;
    for_each(&names, |name| {
        engine.unpause(name)?;
        print(&format!("{name}\n"))
    })
}
