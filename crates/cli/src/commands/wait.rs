//! `wait`

use clap::Parser;

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
    /// Containers
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    for_each(&flags.containers, |name| {
        let code = match engine.wait(name) {
            Err(loment_engine::Error::NoContainer { .. }) if flags.ignore => -1,
            other => other?,
        };
        print(&format!("{code}\n"))
    })
}
