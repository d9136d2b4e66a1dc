//! `pod start`, `stop`, `restart`, `kill`, `pause` and `unpause`

use std::path::PathBuf;

use clap::Parser;
use loment_engine::{OfPod, PodStatus};

use super::choose::Chosen;
use crate::commands::for_each;
use crate::commands::values::supervision::{grace, signal};
use crate::error::{Error, one_line};
use crate::globals::Globals;
use crate::output::{complain, print};

/// Start all containers of pods
#[derive(Parser, Debug)]
pub(super) struct StartFlags {
    /// Pods whose ids are in these files
    #[arg(long, value_name = "FILE")]
    pod_id_file: Vec<PathBuf>,
    #[command(flatten)]
    chosen: Chosen,
}

pub(super) fn start(globals: &Globals, flags: &StartFlags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let names = flags.chosen.names(&engine, &flags.pod_id_file, false)?;
    for_each(&names, |name| {
        let of = done(engine.start_pod(name)?, "starting")?;
        print(&format!("{}\n", of.pod.pod.name))
    })
}

/// Stop all containers of pods
#[derive(Parser, Debug)]
pub(super) struct StopFlags {
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

pub(super) fn stop(globals: &Globals, flags: &StopFlags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let names = flags.chosen.names(&engine, &flags.pod_id_file, flags.ignore)?;
    let grace = grace(flags.time)?;
    for_each(&names, |name| match engine.stop_pod(name, grace) {
        Err(loment_engine::Error::NoPod { .. }) if flags.ignore => Ok(()),
        of => print(&format!("{}\n", done(of?, "stopping")?.pod.pod.name)),
    })
}

/// Stop pods and start them again
#[derive(Parser, Debug)]
pub(super) struct RestartFlags {
    #[command(flatten)]
    chosen: Chosen,
}

pub(super) fn restart(globals: &Globals, flags: &RestartFlags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let names = flags.chosen.names(&engine, &[], false)?;
    for_each(&names, |name| show(done(engine.restart_pod(name)?, "restarting")?))
}

/// Send a signal to all containers of pods
#[derive(Parser, Debug)]
pub(super) struct KillFlags {
    /// The signal
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: String,
    #[command(flatten)]
    chosen: Chosen,
}

pub(super) fn kill(globals: &Globals, flags: &KillFlags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let number = signal(&flags.signal)?;
    let names = flags.chosen.names(&engine, &[], false)?;
    for_each(&names, |name| show(done(engine.kill_pod(name, number)?, "killing")?))
}

/// Stop all containers of pods in the midst of what they do
#[derive(Parser, Debug)]
pub(super) struct PauseFlags {
    #[command(flatten)]
    chosen: Chosen,
}

pub(super) fn pause(globals: &Globals, flags: &PauseFlags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let names = flags.chosen.names(&engine, &[], false)?;
    for_each(&names, |name| show(done(engine.pause_pod(name)?, "pausing")?))
}

/// Let paused pods go on
#[derive(Parser, Debug)]
pub(super) struct UnpauseFlags {
    #[command(flatten)]
    chosen: Chosen,
}

pub(super) fn unpause(globals: &Globals, flags: &UnpauseFlags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let names = flags.chosen.names(&engine, &[], false)?;
    for_each(&names, |name| {
        let of = done(engine.unpause_pod(name)?, "unpausing")?;
        // Nothing is said of one in which nothing was paused, as with Podman.
        match of.pod.status {
            PodStatus::Paused | PodStatus::Degraded => show(of),
            _ => Ok(()),
        }
    })
}

fn show(of: OfPod) -> Result<(), Error> {
    print(&format!("{}\n", of.pod.pod.id))
}

/// It was done with all of it; else says with what it was not.
pub(super) fn done(mut of: OfPod, doing: &str) -> Result<OfPod, Error> {
    let Some((id, last)) = of.failed.pop() else { return Ok(of) };
    let line = |id: &str, error: loment_engine::Error| {
        let error = Error::from(error);
        format!("{doing} container {id}: {}", one_line(&error))
    };
    for (id, error) in of.failed {
        complain(&format!("Error: {}", line(&id, error)));
    }
    Err(Error::Invalid(line(&id, last)))
}
