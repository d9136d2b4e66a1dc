//! `create`

mod accounts;
mod devices;
mod environment;
mod files;
mod flags;
mod health;
mod identity;
mod limits;
mod log;
mod namespaces;
mod net;
mod process;
mod refused;
mod security;
mod supervision;

use clap::Parser;

pub(super) use self::flags::CreateFlags;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;

/// Create but do not start a container
#[derive(Parser, Debug)]
#[command(disable_help_flag = true)]
pub(super) struct Flags {
    #[command(flatten)]
    create: CreateFlags,
}

pub(super) fn run(globals: &Globals, flags: Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let container = flags.create.create(globals, &engine)?;
    print(&format!("{}\n", container.config.id))?;
    Ok(0)
}
