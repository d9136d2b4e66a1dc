//! `rmi`

use clap::Parser;

use super::for_each;
use super::pull::short_names;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;

/// Remove images from local storage
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Remove every image
    #[arg(short, long)]
    all: bool,
    /// Remove their containers and all of their names, too
    #[arg(short, long)]
    force: bool,
    /// Skip images that do not exist
    #[arg(short, long)]
    ignore: bool,
    /// Images
    #[arg(value_name = "IMAGE", required_unless_present = "all")]
    images: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let short_names = short_names(globals)?;
    let mut names = flags.images.clone();
    if flags.all {
        names.extend(engine.images()?.into_iter().map(|i| i.image.image.id.hex().to_owned()));
    }
    // Podman's statuses: 1 for an image that does not exist, 2 for one in use.
    let mut status = 0;
    let result =
        for_each(&names, |name| match engine.remove_image(name, &short_names, flags.force || flags.all) {
            Err(loment_engine::Error::NoImage { .. })
                if flags.ignore || (flags.all && !flags.images.contains(&name.to_owned())) =>
            {
                Ok(())
            }
            Err(e) => {
                status = match &e {
                    loment_engine::Error::NoImage { .. } => 1,
                    loment_engine::Error::ImageInUse { .. } => 2,
                    _ => crate::error::ENGINE,
                };
                Err(e.into())
            }
            Ok(removed) => {
                for name in removed.untagged {
                    print(&format!("Untagged: {name}\n"))?;
                }
                if let Some(id) = removed.deleted {
                    print(&format!("Deleted: {id}\n"))?;
                }
                Ok(())
            }
        });
    result.map_err(|_| Error::Shown { status })
}
