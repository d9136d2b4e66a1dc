//! `kill`

use clap::Parser;

use super::choose::Chosen;
use super::for_each;
use super::values::supervision::signal;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;

/// Send a signal to running containers
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Signal every running container
    #[arg(short, long)]
    all: bool,
    /// Choose the signal, by name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: String,
    #[command(flatten)]
    chosen: Chosen,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let number = signal(&flags.signal)?;
    let engine = globals.engine()?;
    let names = flags
        .chosen
        .choice(flags.all)
        .ids(globals, &engine, |c| c.status.has_process() && c.status.is_running())?;
    for_each(&names, |name| {
        engine.kill(name, number)?;
        print(&format!("{name}\n"))
    })
}
