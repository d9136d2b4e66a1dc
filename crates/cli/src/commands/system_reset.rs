//! `system reset`, `system migrate` and `system renumber`

use clap::Parser;

use super::prune::confirmed;
use crate::error::{Error, one_line};
use crate::globals::Globals;
use crate::output::{complain, print};
use crate::secret_programs::Programs;

/// Remove all containers with their processes, pods, images, volumes, secrets and events
#[derive(Parser, Debug)]
pub(super) struct Reset {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

/// Stop containers that run, so that the next start is with this program and the users that files give now
///
/// Records of containers of older versions are read as they are: nothing else is to be done. Containers of an ordinary user have the
/// ids of /etc/subuid and /etc/subgid from when the first of those that run was started, until the last of them is stopped.
#[derive(Parser, Debug)]
pub(super) struct Migrate {
    /// Accepted for compatibility: there is no database
    #[arg(long)]
    migrate_db: bool,
    /// Accepted for compatibility: loment runs containers itself
    #[arg(long, value_name = "RUNTIME")]
    new_runtime: Option<String>,
}

/// Do nothing, as there is nothing to do: locks are those of files, and have no numbers
#[derive(Parser, Debug)]
pub(super) struct Renumber {}

pub(super) fn run(globals: &Globals, flags: &Reset) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let warning = format!(
        "WARNING! This will remove:\n        - all containers\n        - all pods\n        - all images\n        \
         - all volumes\n        - all secrets\n        - all events\nof {}.\n",
        engine.root().display()
    );
    if !flags.force && !confirmed(&warning)? {
        return Ok(0);
    }
    status(&engine.reset(&Programs)?)
}

pub(super) fn run_migrate(globals: &Globals, _: &Migrate) -> Result<u8, Error> {
    let mut stopped = Vec::new();
    let kept = globals.engine()?.migrate(|id| stopped.push(format!("stopped {id}\n")))?;
    print(&stopped.concat())?;
    status(&kept)
}

pub(super) fn run_renumber(_: &Globals, _: &Renumber) -> Result<u8, Error> {
    Ok(0)
}

/// Says what is left.
fn status(kept: &[(String, loment_engine::Error)]) -> Result<u8, Error> {
    for (what, error) in kept {
        complain(&format!("Error: {what}: {}", one_line(error)));
    }
    match kept {
        [] => Ok(0),
        _ => Err(Error::Shown { status: crate::error::ENGINE }),
    }
}
