//! `image exists`

use clap::Parser;

use super::pull::short_names;
use crate::error::Error;
use crate::globals::Globals;

/// Check whether an image is in local storage: status 0 if it is, 1 if not
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    match globals.engine()?.find_image(&flags.image, &short_names(globals)?) {
        Ok(_) => Ok(0),
        Err(loment_engine::Error::NoImage { .. }) => Ok(1),
        Err(error) => Err(error.into()),
    }
}
