//! `pod rm` and `pod prune`

use std::path::PathBuf;

use clap::Parser;

use super::choose::Chosen;
use crate::commands::remove_each;
use crate::commands::values::supervision::grace;
use crate::error::{Error, one_line};
use crate::globals::Globals;
use crate::output::{complain, print};

/// Remove pods with their containers
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Stop what runs
    #[arg(short, long)]
    force: bool,
    /// Skip pods that do not exist
    #[arg(short, long)]
    ignore: bool,
    /// Set the seconds to wait before SIGKILL, -1 to wait for ever; each container's own by default
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS", allow_negative_numbers = true)]
    time: Option<i64>,
    /// Pods whose ids are in these files
    #[arg(long, value_name = "FILE")]
    pod_id_file: Vec<PathBuf>,
    #[command(flatten)]
    chosen: Chosen,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    // In Podman's words.
    if flags.time.is_some() && !flags.force {
        return Err(Error::Invalid("--force option must be specified to use the --time option".into()));
    }
    let engine = globals.engine()?;
    let names = flags.chosen.names(&engine, &flags.pod_id_file, flags.ignore)?;
    let time = flags.time.map(|time| grace(Some(time))).transpose()?;
    remove_each(&names, |name| match engine.remove_pod(name, flags.force, time) {
        Err(loment_engine::Error::NoPod { .. }) if flags.ignore || flags.force => Ok(()),
        Err(loment_engine::Error::PodRuns { id, containers }) => {
            let error = loment_engine::Error::PodRuns { id, containers: containers.clone() };
            complain(&format!("Error: {}", one_line(&error)));
            for id in containers {
                complain(&format!(
                    "cannot remove container {id} as it is running - running or paused containers cannot be removed without force: container state improper"
                ));
            }
            Err(Error::Shown { status: 125 })
        }
        removed => print(&format!("{}\n", removed?)),
    })
}

/// Remove pods that have ended, with their containers
#[derive(Parser, Debug)]
pub(super) struct PruneFlags {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

pub(super) fn prune(globals: &Globals, flags: &PruneFlags) -> Result<u8, Error> {
    let question = "WARNING! This will remove all stopped/exited pods..\n";
    if !flags.force && !crate::commands::prune::confirmed(question)? {
        return Ok(0);
    }
    let (removed, failed) = globals.engine()?.prune_pods()?;
    print(&removed.iter().map(|id| format!("{id}\n")).collect::<String>())?;
    for (id, error) in &failed {
        complain(&format!("Error: removing pod {id}: {}", one_line(error)));
    }
    if failed.is_empty() { Ok(0) } else { Err(Error::Shown { status: 125 }) }
}
