//! `container exists`

use clap::Parser;

use crate::error::Error;
use crate::globals::Globals;

/// Check whether there is a container: status 0 if there is, 1 if not
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Look for containers of other tools in the same storage, too: there are none
    #[arg(long)]
    external: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let _ = flags.external;
    match globals.engine()?.container(&flags.container) {
        Ok(_) => Ok(0),
        Err(loment_engine::Error::NoContainer { .. }) => Ok(1),
        Err(error) => Err(error.into()),
    }
}
