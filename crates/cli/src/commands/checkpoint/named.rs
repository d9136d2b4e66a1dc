//! Docker's `checkpoint create`, `checkpoint ls` and `checkpoint rm`

use std::path::PathBuf;

use clap::Parser;
use loment_engine::{Checkpoint, CheckpointOptions};

use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;
use crate::runtime::find_criu;

/// The words after `checkpoint`, and the commands that are meant.
pub(in crate::commands) const WORDS: &[(&str, &str)] = &[
    ("create", "checkpoint create"),
    ("list", "checkpoint ls"),
    ("ls", "checkpoint ls"),
    ("remove", "checkpoint rm"),
    ("rm", "checkpoint rm"),
];

/// Save the processes of a container under a name, and end them
///
/// start --checkpoint has the container go on from there, as often as that is asked.
#[derive(Parser, Debug)]
pub(super) struct CreateFlags {
    /// Keep it in this directory [default: with the container]
    #[arg(long, value_name = "DIR")]
    checkpoint_dir: Option<PathBuf>,
    /// Let the container go on afterwards
    #[arg(long)]
    leave_running: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// The name of what is saved
    #[arg(value_name = "CHECKPOINT")]
    name: String,
}

pub(super) fn create(globals: &Globals, flags: &CreateFlags) -> Result<u8, Error> {
    let CreateFlags { checkpoint_dir, leave_running, container, name } = flags;
    let engine = globals.engine()?;
    let place = engine.named_checkpoint(container, checkpoint_dir.as_deref(), name)?;
    let how = Checkpoint {
        options: CheckpointOptions::default(),
        leave_running: *leave_running,
        place: Some(place),
        ..Checkpoint::default()
    };
    engine.checkpoint(container, &find_criu()?, &how)?.forget_logs();
    print(&format!("{name}\n")).map(|()| 0)
}

/// List what was saved of a container
#[derive(Parser, Debug)]
pub(super) struct ListFlags {
    /// Look in this directory [default: with the container]
    #[arg(long, value_name = "DIR")]
    checkpoint_dir: Option<PathBuf>,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
}

pub(super) fn list(globals: &Globals, flags: &ListFlags) -> Result<u8, Error> {
    let names = globals.engine()?.checkpoints(&flags.container, flags.checkpoint_dir.as_deref())?;
    let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
    print(&format!("CHECKPOINT NAME\n{lines}")).map(|()| 0)
}

/// Remove what was saved of a container under a name
#[derive(Parser, Debug)]
pub(super) struct RemoveFlags {
    /// Look in this directory [default: with the container]
    #[arg(long, value_name = "DIR")]
    checkpoint_dir: Option<PathBuf>,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// The name of what was saved
    #[arg(value_name = "CHECKPOINT")]
    name: String,
}

pub(super) fn remove(globals: &Globals, flags: &RemoveFlags) -> Result<u8, Error> {
    let RemoveFlags { checkpoint_dir, container, name } = flags;
    globals.engine()?.remove_checkpoint(container, checkpoint_dir.as_deref(), name)?;
    Ok(0)
}
