//! `wait`

use clap::Parser;

use super::choose::Choice;
use super::for_each;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;

/// Wait for containers to stop and print their exit codes
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Print -1 for containers that do not exist
    #[arg(long)]
    ignore: bool,
    /// The container that was made last
    #[arg(short, long)]
    latest: bool,
    /// Containers
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let choice = Choice { latest: flags.latest, names: &flags.containers, ..Choice::default() };
    let names = choice.ids(globals, &engine, |_| true)?;
    for_each(&names, |name| {
        let code = match engine.wait(name) {
            Err(loment_engine::Error::NoContainer { .. }) if flags.ignore => -1,
            other => other?,
        };
        print(&format!("{code}\n"))
    })
}
