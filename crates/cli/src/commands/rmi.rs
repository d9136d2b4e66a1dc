//! `rmi`

use clap::Parser;
use loment_engine::RemoveImage;

use super::pull::{platform, short_names};
use super::{need_names, remove_each, swept};
use crate::error::{Error, one_line};
use crate::globals::Globals;
use crate::output::{complain, print};

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
    /// Keep nameless images that these were made from
    #[arg(long)]
    no_prune: bool,
    /// Remove images for this platform only, such as linux/arm64/v8
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", conflicts_with = "all")]
    platform: Option<String>,
    /// Images
    #[arg(value_name = "IMAGE", required_unless_present = "all")]
    images: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    need_names(&flags.images, flags.all)?;
    let platform = flags.platform.as_deref().map(platform).transpose()?;
    let engine = globals.engine()?;
    let short_names = short_names(globals)?;
    let remove = |name: &str, how| {
        if platform.is_some() {
            if engine.find_list(name, &short_names).is_ok() {
                let problem = "it is a list of images: manifest remove takes one off it";
                return Err(Error::Invalid(format!("invalid image {name:?} with --platform: {problem}")));
            }
            engine.find_image_on(name, &short_names, platform.as_ref())?;
        }
        Ok(engine.remove_image(name, &short_names, how)?)
    };
    let mut names = flags.images.clone();
    if flags.all {
        names.extend(engine.images()?.into_iter().map(|i| i.image.image.id.hex().to_owned()));
    }
    let all_names = flags.all || flags.force;
    let how = RemoveImage { all_names, containers: flags.force, keep_parents: flags.no_prune || flags.all };
    let result = remove_each(&names, |name| match remove(name, how) {
        Err(error @ Error::Engine(loment_engine::Error::NoImage { .. })) if flags.force => {
            // Docker says so, and fails as little.
            if globals.persona.docker_documents {
                complain(&format!("Error: {}", one_line(&error)));
            }
            Ok(())
        }
        Err(Error::Engine(loment_engine::Error::NoImage { .. }))
            if flags.ignore || (flags.all && !flags.images.contains(&name.to_owned())) =>
        {
            Ok(())
        }
        other => {
            let removed = other?;
            for name in removed.untagged {
                print(&format!("Untagged: {name}\n"))?;
            }
            removed.deleted.iter().try_for_each(|id| print(&format!("Deleted: {id}\n")))
        }
    });
    // Once for all of them; and somebody who was killed may have removed an image and left its layers.
    swept(&engine, result)
}
