//! `pod clone`

use clap::Parser;

use super::life::done;
use crate::commands::create::PodCloneFlags;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::{complain, print};

/// Make a pod like another one, with copies of its containers
///
/// Files that containers have changed are not copied; volumes are the same ones. What flags say replaces what the pod has, or is added
/// to it.
#[derive(Parser, Debug)]
#[command(disable_help_flag = true)]
pub(super) struct Flags {
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Remove the pod afterwards, also if it runs
    #[arg(long)]
    destroy: bool,
    /// Start the copy
    #[arg(long)]
    start: bool,
    #[command(flatten)]
    pod: PodCloneFlags,
    /// The pod
    #[arg(value_name = "POD")]
    old: String,
    /// The copy's name
    #[arg(value_name = "NAME")]
    copy: Option<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let asked = flags.pod.request(globals, flags.copy.as_deref())?;
    if flags.pod.has_no_effect() {
        complain("Note: --infra-command has no effect: an infra container is no process.");
    }
    let engine = globals.engine()?;
    let copy = engine.clone_pod(&flags.old, asked)?;
    // It is there, whatever becomes of the rest.
    print(&format!("{}\n", copy.id))?;
    if flags.destroy {
        engine.remove_pod(&flags.old, true, None)?;
    }
    if flags.start {
        done(engine.start_pod(&copy.id)?, "start")?;
    }
    Ok(0)
}
