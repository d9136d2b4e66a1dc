//! `stop`

use clap::Parser;
use loment_engine::StopOptions;

use super::choose::{Choice, Chosen};
use super::for_each;
use super::values::supervision::{grace, signal};
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
    /// Set the signal that asks it to stop; the container's own by default
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    /// Set the seconds to wait before SIGKILL, -1 to wait for ever; the container's own by default
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS", allow_negative_numbers = true)]
    time: Option<i64>,
    /// Those that this is true of, as ps --filter
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    chosen: Chosen,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let choice = Choice { ignore: flags.ignore, ..flags.chosen.choice(flags.all) };
    let names = choice.with_filters(&flags.filter).ids(globals, &engine, |c| c.status.is_active())?;
    let signal = flags.signal.as_deref().map(signal).transpose()?;
    let options = StopOptions { signal, grace: grace(flags.time)?, keep: false };
    for_each(&names, |name| match engine.stop(name, &options) {
        Err(loment_engine::Error::NoContainer { .. }) if flags.ignore => Ok(()),
        other => {
            other?;
            print(&format!("{name}\n"))
        }
    })
}
