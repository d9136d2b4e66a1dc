//! `volume prune`

use clap::Parser;
use loment_engine::Pruned;

use crate::commands::prune::{confirmed, reclaimed};
use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;

/// Remove volumes that no container has: those without a name of their own
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Remove those with names, too
    #[arg(short, long)]
    all: bool,
    /// Show what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Remove only those that this is true of: after, anonymous, driver, label, label!, name, opt, scope, since or until
    #[arg(long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

/// What is said before volumes are removed.
fn warning(all: bool) -> String {
    let which = if all { "all" } else { "anonymous" };
    format!("WARNING! This will remove {which} local volumes not used by at least one container.\n")
}

/// What was removed, as Docker lists it.
pub(in crate::commands) fn listed(pruned: &Pruned) -> String {
    match pruned.volumes.is_empty() {
        true => String::new(),
        false => format!("Deleted Volumes:\n{}\n\n", pruned.volumes.join("\n")),
    }
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let filters = engine.volume_filters(&flags.filter)?;
    let all = flags.all || filters.all();
    let unused = || -> Result<String, Error> {
        let volumes = engine.unused_volumes(all, &filters)?;
        Ok(volumes.iter().map(|volume| format!("{}\n", volume.name)).collect())
    };
    if flags.dry_run {
        return print(&unused()?).map(|()| 0);
    }
    let docker = globals.persona.docker_documents;
    if !flags.force {
        let names = if docker { String::new() } else { unused()? };
        if !docker && names.is_empty() {
            let none = if all { "No dangling volumes found" } else { "No dangling anonymous volumes found" };
            return print(&format!("{}{none}\n", warning(all))).map(|()| 0);
        }
        let list =
            if docker { String::new() } else { format!("The following volumes will be removed:\n{names}") };
        if !confirmed(&(warning(all) + &list))? {
            return Ok(0);
        }
    }
    let pruned = engine.prune_volumes(all, &filters)?;
    let text = match docker {
        true => listed(&pruned) + &reclaimed(&pruned),
        false => pruned.volumes.iter().map(|name| format!("{name}\n")).collect(),
    };
    print(&text).map(|()| 0)
}
