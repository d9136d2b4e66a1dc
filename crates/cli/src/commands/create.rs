//! `create`

use clap::Parser;

use super::spec_flags::SpecFlags;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;

/// Create but do not start a container
#[derive(Parser, Debug)]
#[command(disable_help_flag = true)]
pub(super) struct Flags {
    #[command(flatten)]
    spec: SpecFlags,
}

pub(super) fn run(globals: &Globals, flags: Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let container = flags.spec.create(globals, &engine)?;
    print(&format!("{}\n", container.config.id))?;
    Ok(0)
}
