//! `restart`

use clap::Parser;
use loment_engine::StopOptions;

use super::choose::Chosen;
use super::for_each;
use super::values::supervision::{grace, signal};
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
    /// Set the signal that asks it to stop; the container's own by default
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    /// Those that this is true of, as ps --filter
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    chosen: Chosen,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let every = flags.all || flags.running;
    let choice = flags.chosen.choice(every).with_filters(&flags.filter);
    let names = choice.ids(globals, &engine, |c| !flags.running || c.status.is_active())?;
    let signal = flags.signal.as_deref().map(signal).transpose()?;
    let stop = StopOptions { signal, grace: grace(flags.time)?, keep: true };
    for_each(&names, |name| {
        for warning in engine.restart(name, &stop, Some(own_streams()))? {
            complain(&format!("Warning: {warning}"));
        }
        print(&format!("{name}\n"))
    })
}
