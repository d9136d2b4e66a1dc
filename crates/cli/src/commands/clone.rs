//! `container clone`

use clap::Parser;
use loment_engine::{CloneChoices, Handed};

use super::pull::short_names;
use super::update::LimitsFlags;
use crate::attach::own_streams;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::{complain, print};

/// Make a container like another one, without what was changed in its files
///
/// What flags say replaces what the container has.
#[derive(Parser, Debug)]
pub(super) struct Flags {
    #[command(flatten)]
    limits: LimitsFlags,
    /// Give it this name [default: the container's with -clone behind it]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Remove the container afterwards
    #[arg(long)]
    destroy: bool,
    /// Remove it also while it runs
    #[arg(short, long)]
    force: bool,
    /// Put the copy into this pod: what the pod shares is the pod's
    #[arg(long, value_name = "POD")]
    pod: Option<String>,
    /// Start the copy
    #[arg(long)]
    run: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// The copy's name
    #[arg(value_name = "NAME", conflicts_with = "name")]
    copy: Option<String>,
    /// An image instead of the container's
    #[arg(value_name = "IMAGE")]
    image: Option<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    if flags.force && !flags.destroy {
        return Err(Error::Invalid("cannot set --force without --destroy".into()));
    }
    let engine = globals.engine()?;
    let image = match &flags.image {
        Some(image) => Some(engine.find_image(image, &short_names(globals)?)?),
        None => None,
    };
    let name = flags.name.clone().or_else(|| flags.copy.clone());
    let choices = CloneChoices { name, image, limits: flags.limits.limits()?, pod: flags.pod.clone() };
    let copy = engine.clone_container(&flags.container, choices)?;
    if flags.destroy {
        engine.remove(&flags.container, flags.force, None)?;
    }
    let id = &copy.config.id;
    if flags.run {
        let handed = Handed { stdio: Some(own_streams()), ..Handed::default() };
        for warning in engine.start(id, handed)? {
            complain(&format!("Warning: {warning}"));
        }
    }
    print(&format!("{id}\n")).map(|()| 0)
}
