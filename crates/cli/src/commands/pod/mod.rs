//! `pod`

mod choose;
mod clone;
pub(super) mod inspect;
mod life;
pub(super) mod list;
mod look;
mod remove;

use clap::{CommandFactory, Parser};

pub(super) use self::inspect::document;
use super::create::PodFlags;
use super::parse;
use super::table::Command;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;

/// The words after `pod`, and the commands that are meant.
pub(super) const WORDS: &[(&str, &str)] = &[
    ("clone", "pod clone"),
    ("create", "pod create"),
    ("exists", "pod exists"),
    ("inspect", "pod inspect"),
    ("kill", "pod kill"),
    ("list", "pod ps"),
    ("logs", "pod logs"),
    ("ls", "pod ps"),
    ("pause", "pod pause"),
    ("prune", "pod prune"),
    ("ps", "pod ps"),
    ("restart", "pod restart"),
    ("rm", "pod rm"),
    ("start", "pod start"),
    ("stats", "pod stats"),
    ("stop", "pod stop"),
    ("top", "pod top"),
    ("unpause", "pod unpause"),
];

/// What can be done with pods.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "pod clone",
        about: "Make a pod like another one, with copies of its containers",
        parser: clone::Flags::command,
        run: |g, a| clone::run(g, &parse(g, "pod clone", a)?),
    },
    Command {
        name: "pod create",
        about: "Make a pod and print its id",
        parser: CreateFlags::command,
        run: |g, a| create(g, &parse(g, "pod create", a)?),
    },
    Command {
        name: "pod exists",
        about: "Check whether there is a pod",
        parser: ExistsFlags::command,
        run: |g, a| exists(g, &parse(g, "pod exists", a)?),
    },
    Command {
        name: "pod inspect",
        about: "Display what pods are",
        parser: inspect::Flags::command,
        run: |g, a| inspect::run(g, &parse(g, "pod inspect", a)?),
    },
    Command {
        name: "pod kill",
        about: "Send a signal to all containers of pods",
        parser: life::KillFlags::command,
        run: |g, a| life::kill(g, &parse(g, "pod kill", a)?),
    },
    Command {
        name: "pod logs",
        about: "Fetch the logs of a pod's containers",
        parser: look::LogsFlags::command,
        run: |g, a| look::logs(g, &parse(g, "pod logs", a)?),
    },
    Command {
        name: "pod pause",
        about: "Stop all containers of pods in the midst of what they do",
        parser: life::PauseFlags::command,
        run: |g, a| life::pause(g, &parse(g, "pod pause", a)?),
    },
    Command {
        name: "pod prune",
        about: "Remove pods that have ended, with their containers",
        parser: remove::PruneFlags::command,
        run: |g, a| remove::prune(g, &parse(g, "pod prune", a)?),
    },
    Command {
        name: "pod ps",
        about: "List pods",
        parser: list::Flags::command,
        run: |g, a| list::run(g, &parse(g, "pod ps", a)?),
    },
    Command {
        name: "pod restart",
        about: "Stop pods and start them again",
        parser: life::RestartFlags::command,
        run: |g, a| life::restart(g, &parse(g, "pod restart", a)?),
    },
    Command {
        name: "pod rm",
        about: "Remove pods with their containers",
        parser: remove::Flags::command,
        run: |g, a| remove::run(g, &parse(g, "pod rm", a)?),
    },
    Command {
        name: "pod start",
        about: "Start all containers of pods",
        parser: life::StartFlags::command,
        run: |g, a| life::start(g, &parse(g, "pod start", a)?),
    },
    Command {
        name: "pod stats",
        about: "Show what the containers of pods use, again and again",
        parser: look::StatsFlags::command,
        run: |g, a| look::stats(g, &parse(g, "pod stats", a)?),
    },
    Command {
        name: "pod stop",
        about: "Stop all containers of pods",
        parser: life::StopFlags::command,
        run: |g, a| life::stop(g, &parse(g, "pod stop", a)?),
    },
    Command {
        name: "pod top",
        about: "Show the processes of a pod",
        parser: look::TopFlags::command,
        run: |g, a| look::top(g, &parse(g, "pod top", a)?),
    },
    Command {
        name: "pod unpause",
        about: "Let paused pods go on",
        parser: life::UnpauseFlags::command,
        run: |g, a| life::unpause(g, &parse(g, "pod unpause", a)?),
    },
];

/// Make a pod and print its id
#[derive(Parser, Debug)]
#[command(disable_help_flag = true)]
struct CreateFlags {
    #[command(flatten)]
    pod: PodFlags,
}

fn create(globals: &Globals, flags: &CreateFlags) -> Result<u8, Error> {
    let pod = flags.pod.create(globals, &globals.engine()?)?;
    print(&format!("{}\n", pod.id)).map(|()| 0)
}

/// Check whether there is a pod: status 0 if there is, 1 if not
#[derive(Parser, Debug)]
struct ExistsFlags {
    /// The pod: its name or id
    #[arg(value_name = "POD")]
    pod: String,
}

fn exists(globals: &Globals, flags: &ExistsFlags) -> Result<u8, Error> {
    match globals.engine()?.pod(&flags.pod) {
        Err(loment_engine::Error::NoPod { .. }) => Ok(1),
        Err(error) if !error.is_unreadable() => Err(error.into()),
        _ => Ok(0),
    }
}
