//! `container cleanup`

use clap::Parser;
use loment_engine::RemoveImage;

use super::choose::Choice;
use super::pull::short_names;
use super::{for_each, swept};
use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;

/// Remove what containers that have ended left when their monitors were killed
///
/// Monitors clean up by themselves: after them there is nothing to do.
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Clean up after every container that does not run
    #[arg(short, long)]
    all: bool,
    /// Accepted for compatibility: a command of exec leaves nothing, and is forgotten when it ends
    #[arg(long, value_name = "SESSION", conflicts_with_all = ["all", "latest", "rm", "rmi"])]
    exec: Option<String>,
    /// The container that was made last
    #[arg(short, long)]
    latest: bool,
    /// Remove the container, too
    #[arg(long)]
    rm: bool,
    /// Remove the container and its image, too
    #[arg(long)]
    rmi: bool,
    /// Containers
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let choice =
        Choice { all: flags.all, latest: flags.latest, names: &flags.containers, ..Choice::default() };
    let names = choice.ids(globals, &engine, |c| !c.status.is_active())?;
    if flags.exec.is_some() {
        // Whether there is such a container is all that can be wrong.
        return for_each(&names, |name| Ok(engine.container(name).map(drop)?));
    }
    let result = for_each(&names, |name| {
        let container = engine.clean_up(name)?;
        if flags.rm || flags.rmi {
            engine.remove(&container.config.id, false, None)?;
        }
        if let Some(image) = container.config.image.filter(|_| flags.rmi) {
            engine.remove_image(image.id.hex(), &short_names(globals)?, RemoveImage::default())?;
        }
        print(&format!("{name}\n"))
    });
    if flags.rmi { swept(&engine, result) } else { result }
}
