//! The commands. Each file has one: its flags, and what it does with the engine.

mod create;
mod exec;
mod images;
mod info;
mod inspect;
mod inspect_container;
mod inspect_image;
mod kill;
mod logs;
mod progress;
mod ps;
mod pull;
mod rm;
mod rmi;
mod run;
mod spec_flags;
mod start;
mod stop;
mod values;
mod version;
mod wait;

use std::ffi::OsString;

use clap::Parser;
use loment_engine::{Container, Engine};

use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;

/// A command's name, what it is for, and how it is run.
struct Command {
    name: &'static str,
    about: &'static str,
    run: fn(&Globals, &[OsString]) -> Result<u8, Error>,
}

const COMMANDS: [Command; 16] = [
    Command {
        name: "create",
        about: "Create but do not start a container",
        run: |g, a| create::run(g, parse(g, "create", a)?),
    },
    Command {
        name: "exec",
        about: "Run a command in a running container",
        run: |g, a| exec::run(g, parse(g, "exec", a)?),
    },
    Command {
        name: "images",
        about: "List images in local storage",
        run: |g, a| images::run(g, &parse(g, "images", a)?),
    },
    Command {
        name: "info",
        about: "Display system information",
        run: |g, a| info::run(g, &parse(g, "info", a)?),
    },
    Command {
        name: "inspect",
        about: "Display the configuration of containers and images",
        run: |g, a| inspect::run(g, &parse(g, "inspect", a)?),
    },
    Command {
        name: "kill",
        about: "Send a signal to running containers",
        run: |g, a| kill::run(g, &parse(g, "kill", a)?),
    },
    Command {
        name: "logs",
        about: "Fetch the logs of a container",
        run: |g, a| logs::run(g, &parse(g, "logs", a)?),
    },
    Command { name: "ps", about: "List containers", run: |g, a| ps::run(g, &parse(g, "ps", a)?) },
    Command {
        name: "pull",
        about: "Pull images from registries",
        run: |g, a| pull::run(g, &parse(g, "pull", a)?),
    },
    Command { name: "rm", about: "Remove containers", run: |g, a| rm::run(g, &parse(g, "rm", a)?) },
    Command {
        name: "rmi",
        about: "Remove images from local storage",
        run: |g, a| rmi::run(g, &parse(g, "rmi", a)?),
    },
    Command {
        name: "run",
        about: "Run a command in a new container",
        run: |g, a| run::run(g, parse(g, "run", a)?),
    },
    Command { name: "start", about: "Start containers", run: |g, a| start::run(g, &parse(g, "start", a)?) },
    Command {
        name: "stop",
        about: "Stop running containers",
        run: |g, a| stop::run(g, &parse(g, "stop", a)?),
    },
    Command {
        name: "version",
        about: "Display version information",
        run: |g, a| version::run(g, &parse(g, "version", a)?),
    },
    Command {
        name: "wait",
        about: "Wait for containers to stop and print their exit codes",
        run: |g, a| wait::run(g, &parse(g, "wait", a)?),
    },
];

/// Finds and runs the command that `arguments` begins with.
pub(crate) fn run(globals: &Globals, arguments: &[OsString]) -> Result<u8, Error> {
    let program = globals.persona.name;
    let Some(name) = arguments.first() else {
        print(&overview(program))?;
        return Ok(0);
    };
    match name.to_str().unwrap_or_default() {
        "-h" | "--help" | "help" => print(&overview(program)).map(|()| 0),
        "-v" | "--version" => print(&version::line(globals.persona)).map(|()| 0),
        // Podman's and Docker's long forms.
        group @ ("container" | "image" | "system") if arguments.len() > 1 => {
            run_in_group(globals, group, &arguments[1..])
        }
        other => dispatch(globals, other, arguments),
    }
}

fn dispatch(globals: &Globals, name: &str, arguments: &[OsString]) -> Result<u8, Error> {
    match COMMANDS.iter().find(|c| c.name == name) {
        Some(command) => (command.run)(globals, arguments),
        None => {
            let near = COMMANDS.iter().find(|c| c.name.starts_with(name) || is_near(c.name, name));
            let hint = near.map(|c| format!("\n\nDid you mean this?\n\t{}\n", c.name)).unwrap_or_default();
            let message = format!("unrecognized command `{} {name}`{hint}", globals.persona.name);
            Err(Error::Usage { message, program: globals.persona.name, command: String::new() })
        }
    }
}

/// `container ls` is `ps`, `image ls` is `images`, `image rm` is `rmi`; the rest keeps its name.
fn run_in_group(globals: &Globals, group: &str, arguments: &[OsString]) -> Result<u8, Error> {
    let name = match (group, arguments[0].to_str().unwrap_or_default()) {
        ("container", "ls" | "list") => "ps",
        ("image", "ls" | "list") => "images",
        ("image", "rm") => "rmi",
        (_, other) => other,
    };
    dispatch(globals, name, arguments)
}

/// One letter more, less, or other.
fn is_near(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let same_front = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let same_back = a[same_front.min(a.len())..]
        .iter()
        .rev()
        .zip(b[same_front.min(b.len())..].iter().rev())
        .take_while(|(x, y)| x == y)
        .count();
    a.len().max(b.len()) > 2 && a.len().max(b.len()) - same_front - same_back <= 1
}

/// The flags before the command, which `globals` reads.
const OPTIONS: &str = "
Options:
      --root <DIR>     Keep images and containers here [default: /var/lib/loment]
      --runroot <DIR>  Keep here what a reboot forgets [default: /run/loment]
  -h, --help           Print help
  -v, --version        Print the version
";

fn overview(program: &str) -> String {
    let mut text = format!(
        "Run and manage containers and images\n\nUsage: {program} [OPTIONS] <COMMAND>\n\nCommands:\n"
    );
    for command in &COMMANDS {
        text += &format!("  {:<10}{}\n", command.name, command.about);
    }
    text + OPTIONS
}

/// Parses a command's own flags. Mistakes are one line, as Podman's, and end with where to look.
fn parse<P: Parser>(globals: &Globals, name: &'static str, arguments: &[OsString]) -> Result<P, Error> {
    let program = globals.persona.name;
    let mut command = P::command()
        .name(name)
        .bin_name(format!("{program} {name}"))
        .disable_version_flag(true)
        .args_override_self(true);
    let matches = match command.try_get_matches_from_mut(arguments) {
        Ok(matches) => matches,
        Err(e) if e.kind() == clap::error::ErrorKind::DisplayHelp => {
            print(&e.to_string())?;
            return Err(Error::Shown { status: 0 });
        }
        Err(e) => {
            let text = e.to_string();
            let first = text.split("\n\n").next().unwrap_or_default();
            let message =
                first.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
            return Err(Error::Usage { message, program, command: name.to_owned() });
        }
    };
    P::from_arg_matches(&matches).map_err(|e| Error::Invalid(e.to_string()))
}

/// Does something for each of several objects, goes on past failures, and shows each; whether any failed is the status.
fn for_each<'a>(
    names: impl IntoIterator<Item = &'a String>,
    mut step: impl FnMut(&str) -> Result<(), Error>,
) -> Result<u8, Error> {
    let mut status = 0;
    for name in names {
        if let Err(error) = step(name) {
            status = error.status(crate::error::ENGINE);
            let text = crate::error::one_line(&error);
            // A reader that went away is nobody's error.
            if !text.is_empty() {
                crate::output::complain(&format!("Error: {text}"));
            }
        }
    }
    if status == 0 { Ok(0) } else { Err(Error::Shown { status }) }
}

/// As [`for_each`], with the statuses of removing.
fn remove_each<'a>(
    names: impl IntoIterator<Item = &'a String>,
    mut step: impl FnMut(&str) -> Result<(), Error>,
) -> Result<u8, Error> {
    let mut status = 0;
    let result = for_each(names, |name| step(name).inspect_err(|error| status = error.status_of_removal()));
    result.map_err(|_| Error::Shown { status })
}

/// The containers a command is for: those named, and with `all` every one that `which` is true of.
fn chosen(
    engine: &Engine,
    names: &[String],
    all: bool,
    which: impl Fn(&Container) -> bool,
) -> Result<Vec<String>, Error> {
    let mut names = names.to_vec();
    if all {
        names.extend(engine.containers()?.into_iter().filter(which).map(|c| c.config.id));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_found() {
        assert!(is_near("start", "strat") || is_near("start", "stat"));
        assert!(is_near("images", "image") && is_near("run", "runn"));
        assert!(!is_near("run", "exec") && !is_near("ps", "rm"));
    }
}
