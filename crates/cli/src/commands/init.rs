//! `init`

use clap::Parser;

use super::choose::Chosen;
use super::for_each;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::{complain, print};

/// Make containers ready to run their programs, which wait for a start
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Every container that was never started, or has ended
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    chosen: Chosen,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let names = flags.chosen.choice(flags.all).ids(globals, &engine, |c| !c.status.is_active())?;
    for_each(&names, |name| {
        for warning in engine.init(name)? {
            complain(&format!("Warning: {warning}"));
        }
        print(&format!("{name}\n"))
    })
}
