//! `tag` and `untag`

use clap::Parser;

use super::for_each;
use super::pull::short_names;
use crate::error::Error;
use crate::globals::Globals;

/// Give a local image further names
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Its further names
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

/// Take names away from a local image
#[derive(Parser, Debug)]
pub(super) struct UntagFlags {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Names to take away [default: all it has]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let short_names = short_names(globals)?;
    for_each(&flags.names, |name| Ok(engine.tag(&flags.image, name, &short_names)?))
}

pub(super) fn run_untag(globals: &Globals, flags: &UntagFlags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    engine.untag(&flags.image, &flags.names, &short_names(globals)?)?;
    Ok(0)
}
