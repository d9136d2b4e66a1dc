//! `rm`

use clap::Parser;

use super::choose::{Choice, Chosen};
use super::remove_each;
use super::values::supervision::grace;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;

/// Remove containers
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Remove every container
    #[arg(short, long)]
    all: bool,
    /// Kill and remove running ones, too; skip those that do not exist
    #[arg(short, long)]
    force: bool,
    /// Skip containers that do not exist
    #[arg(short, long)]
    ignore: bool,
    /// With --force, set the seconds running ones get to stop by themselves; 0 by default
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    time: Option<i64>,
    /// Remove the containers that need them, too
    #[arg(long)]
    depend: bool,
    /// Remove their anonymous volumes, too
    #[arg(short, long)]
    volumes: bool,
    /// Those that this is true of, as ps --filter
    #[arg(long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    chosen: Chosen,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let ignore = flags.ignore || flags.force;
    let choice = Choice { ignore, ..flags.chosen.choice(flags.all) };
    let mut names = choice.with_filters(&flags.filter).ids(globals, &engine, |c| !c.infra)?;
    if flags.depend || flags.all {
        // Those that need others first.
        names = engine.with_dependents(&names);
    }
    let grace = flags.time.map(|seconds| grace(Some(seconds))).transpose()?;
    remove_each(&names, |name| match engine.remove_with_volumes(name, flags.force, grace, flags.volumes) {
        Err(loment_engine::Error::NoContainer { .. }) if ignore => Ok(()),
        Err(loment_engine::Error::NoContainer { name }) => Err(Error::NothingToRemove { name }),
        // What needs it has gone: what it is there for goes with it.
        Err(loment_engine::Error::Infra { id, pod }) if flags.depend => {
            engine.remove_pod(&pod, flags.force, grace)?;
            print(&format!("{id}\n"))
        }
        other => {
            other?;
            print(&format!("{name}\n"))
        }
    })
}
