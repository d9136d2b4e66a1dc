//! The commands.

use std::io::Write;

use anyhow::{Context, bail};

use super::arguments::{Arguments, Unknown};
use super::globals::Runtime;

mod checkpoint;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod kill;
mod list;
mod pause;
mod ps;
mod restore;
mod resume;
mod run;
mod spec;
mod start;
mod state;
mod stats;
mod update;

/// A command: its name, its help, of which the first line is what the list of commands says, and what it does.
struct Command {
    name: &'static str,
    help: &'static str,
    run: fn(&mut Arguments<'_>, &Runtime<'_>) -> anyhow::Result<u8>,
}

macro_rules! commands {
    ($($name:ident),* $(,)?) => {
        &[$(Command { name: stringify!($name), help: $name::HELP, run: $name::run }),*]
    };
}

const COMMANDS: &[Command] = commands![
    create, start, run, exec, state, kill, pause, resume, delete, list, ps, events, update, checkpoint,
    restore, spec, features,
];

const OPTIONS: &str = "\
Options:
      --root <DIR>                Keep the state of containers here [default: /run/loment-runtime]
      --log <FILE>                Write errors there, too: a file, file:FILE, journald:NAME or syslog:NAME
      --log-format <FORMAT>       Choose the format of that file: text or json [default: text]
      --log-level <LEVEL>         Say only what is that serious: debug, info, warning or error [default: warning]
      --debug                     Accepted for compatibility: there are no debug messages
      --cgroup-manager <MANAGER>  Choose who makes control groups: cgroupfs, systemd or disabled [default: cgroupfs]
  -s, --systemd-cgroup            Have systemd make control groups; cgroupsPath is SLICE:PREFIX:NAME
      --rootless <WHEN>           Do without control groups that may not be made: true, false or auto [default: auto]
      --criu <FILE>               Use this program for checkpoint and restore [default: criu in PATH]
  -h, --help                      Print help
  -v, --version                   Print the version
";

/// The help of the whole program.
pub(super) fn overview() -> String {
    let mut text = "Run containers according to the OCI runtime specification\n\n\
        Usage: loment-runtime [OPTIONS] <COMMAND>\n\nCommands:\n"
        .to_owned();
    for command in COMMANDS {
        let about = command.help.lines().next().unwrap_or_default();
        text += &format!("  {:10}  {about}\n", command.name);
    }
    text + "\n" + OPTIONS
}

/// Runs the command of that name.
pub(super) fn run(name: &str, arguments: &mut Arguments<'_>, runtime: &Runtime<'_>) -> anyhow::Result<u8> {
    let Some(command) = COMMANDS.iter().find(|c| c.name == name) else {
        bail!("unknown command {name:?}: see loment-runtime --help");
    };
    match (command.run)(arguments, runtime) {
        Err(e) if e.downcast_ref::<Unknown>().is_some_and(Unknown::is_help) => {
            print(command.help).map(|()| 0)
        }
        other => other,
    }
}

/// Writes to standard output.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("write to standard output")
}
