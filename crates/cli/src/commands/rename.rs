//! `rename`

use clap::Parser;

use crate::error::Error;
use crate::globals::Globals;

/// Give a container another name
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Its new name
    #[arg(value_name = "NAME")]
    name: String,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    globals.engine()?.rename(&flags.container, &flags.name)?;
    Ok(0)
}
