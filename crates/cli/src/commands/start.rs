//! `start`

use std::path::PathBuf;

use clap::Parser;
use loment_engine::{CheckpointOptions, Engine, Streams};
use loment_runtime::Cause;

use super::choose::{Choice, filtered};
use super::for_each;
use super::starter::Starter;
use crate::attach::{Session, exit_status, own_streams};
use crate::detach;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::{complain, print};
use crate::rootless;
use crate::runtime::find_criu;

/// Start containers
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Show the container's output and error output until it ends
    #[arg(short, long)]
    attach: bool,
    /// Send it standard input
    #[arg(short, long)]
    interactive: bool,
    /// Set the keys that leave the terminal and let the container run [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Hand signals on to the container
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = clap::ArgAction::Set)]
    sig_proxy: bool,
    /// Start every container that does not run
    #[arg(long)]
    all: bool,
    /// Those that this is true of, as ps --filter; with names, of these
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// The container that was made last
    #[arg(short, long)]
    latest: bool,
    /// Have it go on from where it was saved by checkpoint create under this name
    #[arg(long, value_name = "NAME")]
    checkpoint: Option<String>,
    /// Look for that in this directory [default: with the container]
    #[arg(long, value_name = "DIR", requires = "checkpoint")]
    checkpoint_dir: Option<PathBuf>,
    /// Containers
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let starter = Starter::take(0, &[])?;
    let engine = globals.engine()?;
    let names = chosen(globals, &engine, flags)?;
    if let Some(checkpoint) = &flags.checkpoint {
        return restore(&engine, flags, checkpoint, &names);
    }
    if !flags.attach && !flags.interactive {
        return for_each(&names, |name| {
            starter.start(&engine, name).map_err(of_engine)?;
            rootless::linger::note(globals.root());
            print(&format!("{name}\n"))
        });
    }
    let name = match names.as_slice() {
        [name] => name,
        // The filters are true of none.
        [] => return Ok(0),
        _ => {
            return Err(Error::Invalid(
                "only one container can be started with --attach: start the others without".into(),
            ));
        }
    };
    let container = engine.container(name)?;
    let streams = match container.config.log.driver.is_passthrough() {
        true => Streams::default(),
        false => {
            Streams { stdin: flags.interactive && container.config.process.stdin, stdout: true, stderr: true }
        }
    };
    let terminal = container.config.process.terminal;
    let detach_keys = detach::keys(flags.detach_keys.as_deref(), terminal)?;
    let Some(starting) = engine.start_with(name, Some(streams), starter.handed())? else {
        return Err(Error::Invalid(format!("container {name} is already running")));
    };
    let session = Session {
        connection: starting.connection,
        streams,
        terminal,
        detach_keys: &detach_keys,
        forward_signals: flags.sig_proxy,
    };
    exit_status(session.run())
}

/// Who starts it in the background is told by the status that the engine failed, also where the program is not there.
fn of_engine(error: Error) -> Error {
    match error {
        Error::Engine(loment_engine::Error::Start { message, .. }) => {
            loment_engine::Error::Start { cause: Cause::Setup, message }.into()
        }
        other => other,
    }
}

/// Has a container go on from where it was saved.
fn restore(engine: &Engine, flags: &Flags, checkpoint: &str, names: &[String]) -> Result<u8, Error> {
    let [name] = names else {
        // The words are Docker's.
        return Err(Error::Invalid("you cannot restore multiple containers at once".into()));
    };
    if flags.attach || flags.interactive {
        let text = "--checkpoint has a container go on in the background: leave out --attach and --interactive, and use attach";
        return Err(Error::Invalid(text.into()));
    }
    let place = engine.named_checkpoint(name, flags.checkpoint_dir.as_deref(), checkpoint)?;
    let how = (&find_criu()?, &CheckpointOptions::default());
    for warning in engine.restore_from(name, Some(&place), how, Some(own_streams()))? {
        complain(&format!("Warning: {warning}"));
    }
    print(&format!("{name}\n")).map(|()| 0)
}

/// Filters choose among the names, if there are any.
fn chosen(globals: &Globals, engine: &Engine, flags: &Flags) -> Result<Vec<String>, Error> {
    let Flags { all, filter, latest, containers, .. } = flags;
    if *all && !*latest && !containers.is_empty() {
        let text = "either start all containers or the container(s) provided in the arguments";
        return Err(Error::Invalid(text.into()));
    }
    if filter.is_empty() || containers.is_empty() {
        let choice = Choice { all: *all, latest: *latest, names: containers, ..Choice::default() };
        return choice.with_filters(filter).ids(globals, engine, |c| !c.status.is_running());
    }
    let meant = filtered(globals, engine, filter, |_| true)?;
    let mut names = Vec::new();
    for name in containers {
        if meant.contains(&engine.container(name)?.config.id) {
            names.push(name.clone());
        }
    }
    Ok(names)
}
