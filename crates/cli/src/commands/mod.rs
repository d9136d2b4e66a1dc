//! The commands. Each file has one: its flags, and what it does with the engine.

mod access;
mod attach;
mod boot;
mod checkpoint;
mod choose;
mod cleanup;
mod clone;
mod commit;
pub(crate) mod complete;
mod container_exists;
mod container_mount;
mod copy;
mod cp;
mod create;
mod df;
mod diff;
mod doctor;
mod events;
mod exec;
mod exists;
mod export;
#[cfg(test)]
mod flags_tests;
mod groups;
mod healthcheck;
mod history;
mod image_mount;
mod images;
mod images_tree;
mod import;
mod info;
mod init;
mod inspect;
mod inspect_container;
mod inspect_image;
mod kill;
mod layers;
mod load;
mod login;
mod logs;
mod manifest;
mod manifest_artifact;
mod manifest_verbose;
mod pause;
mod pod;
mod port;
mod preserve;
mod progress;
mod prune;
mod ps;
mod pull;
mod push;
mod refused;
mod remote;
mod rename;
mod restart;
mod rm;
mod rmi;
mod run;
mod runlabel;
mod save;
mod search;
mod secret;
mod sh;
mod sides;
mod signing;
mod start;
mod starter;
mod stats;
mod stop;
mod sync;
mod sync_list;
mod system_check;
mod system_reset;
mod table;
mod tag;
mod top;
mod tree;
mod unshare;
mod update;
mod values;
mod version;
mod volume;
mod wait;

use std::ffi::OsString;

use clap::Parser;
use loment_engine::Engine;

use crate::arguments::Parsed;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;
use crate::reference::Spelling;
use groups::Group;

/// Commands that the peers have and we have not: that is what is wrong, not their flags.
const OF_PEERS: [&str; 12] = [
    "artifact", "build", "buildx", "compose", "farm", "generate", "kube", "machine", "network", "play",
    "quadlet", "swarm",
];

/// All commands in all their spellings.
pub(crate) fn spellings() -> Vec<Spelling> {
    let spelling = |typed: String, command: &'static table::Command| {
        let parser = (command.parser)().name(typed.clone()).bin_name(format!("loment {typed}"));
        Spelling { typed, command: command.name, parser: parser.disable_version_flag(true) }
    };
    let alone = table::all().filter(|command| !command.name.contains(' '));
    let alone = alone.map(|command| spelling(command.name.to_owned(), command));
    let in_groups = groups::GROUPS.iter().flat_map(|group| {
        let words = group.words().into_iter();
        words.filter_map(move |(word, _)| {
            Some(spelling(format!("{} {word}", group.name), group.command(word)?))
        })
    });
    alone.chain(in_groups).collect()
}

/// Groups, and what they are for.
pub(crate) fn group_names() -> Vec<(&'static str, &'static str)> {
    groups::GROUPS.iter().map(|group| (group.name, group.about)).collect()
}

pub(crate) use refused::all as refused_commands;

/// Finds and runs the command that `arguments` begins with.
pub(crate) fn run(globals: &Globals, arguments: &[OsString]) -> Result<u8, Error> {
    let program = globals.persona.name;
    if globals.persona.remote_only {
        return dispatch_in(globals, &groups::SKOPEO, arguments);
    }
    let Some(name) = arguments.first() else {
        print(&overview(program))?;
        // For Docker that is all there is to say.
        return match globals.persona.docker_documents {
            true => Ok(0),
            false => Err(Error::Invalid(format!("missing command '{program} COMMAND'"))),
        };
    };
    match name.to_str().unwrap_or_default() {
        "-h" | "--help" | "help" => print(&overview(program)).map(|()| 0),
        "-v" | "--version" => print(&version::line(globals.persona)).map(|()| 0),
        other => dispatch(globals, other, arguments),
    }
}

fn dispatch(globals: &Globals, name: &str, arguments: &[OsString]) -> Result<u8, Error> {
    if let Some(group) = groups::group(name) {
        return dispatch_in(globals, group, &arguments[1..]);
    }
    // A name with a space is a group's.
    match table::command(name).filter(|c| !c.name.contains(' ')) {
        Some(command) => (command.run)(globals, arguments),
        None => {
            // As Go's programs, which read all flags for themselves when there is no such command.
            let flag = arguments.iter().position(|word| word.as_encoded_bytes().starts_with(b"-"));
            if let Some(flag) = flag.filter(|_| !OF_PEERS.contains(&name)) {
                Globals::parse(globals.persona, &arguments[flag..])?;
            }
            Err(unknown(globals, "", name, &groups::first_words()))
        }
    }
}

/// `container ls` is `ps`, `image rm` is `rmi`, and so on.
fn dispatch_in(globals: &Globals, group: &Group, arguments: &[OsString]) -> Result<u8, Error> {
    let word = arguments.first().map_or("--help", |word| word.to_str().unwrap_or_default());
    if ["-h", "--help", "help"].contains(&word) {
        let group_name = format!("{} {}", globals.persona.name, group.name);
        let usage = format!("{}\n\nUsage: {} <COMMAND>\n", group.about, group_name.trim_end());
        let options = match globals.persona.remote_only {
            true => crate::skopeo_globals::HELP,
            false => "\nOptions:\n  -h, --help  Print help\n",
        };
        let text = usage + &list(&group.words()) + options;
        print(&text)?;
        // For Docker and skopeo that is all there is to say.
        let is_asked =
            !arguments.is_empty() || globals.persona.docker_documents || globals.persona.remote_only;
        let missing = || Error::Invalid(format!("missing command '{group_name} COMMAND'"));
        return if is_asked { Ok(0) } else { Err(missing()) };
    }
    if globals.persona.remote_only && ["-v", "--version"].contains(&word) {
        return print(&version::line(globals.persona)).map(|()| 0);
    }
    match group.command(word) {
        Some(command) => (command.run)(globals, arguments),
        None if globals.persona.remote_only && word == "layers" => {
            layers::run(globals, &parse(globals, "layers", arguments)?)
        }
        None => {
            refused::check(globals, group.name, word)?;
            Err(unknown(globals, group.name, word, &group.words()))
        }
    }
}

/// The error for a word that is no command, with the one that may have been meant.
fn unknown(globals: &Globals, group: &str, word: &str, known: &[(&str, &str)]) -> Error {
    let program = globals.persona.name;
    let near = known.iter().find(|(name, _)| name.starts_with(word) || is_near(name, word));
    let hint = near.map(|(name, _)| format!("\n\nDid you mean this?\n\t{name}\n")).unwrap_or_default();
    let before = if group.is_empty() { String::new() } else { format!(" {group}") };
    let message = format!("unrecognized command `{program}{before} {word}`{hint}");
    Error::Usage { message, program, command: group.to_owned() }
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

fn overview(program: &str) -> String {
    let usage = format!("Run and manage containers and images\n\nUsage: {program} [OPTIONS] <COMMAND>\n");
    usage + &list(&groups::first_words()) + &crate::global_flags::help()
}

/// The list of commands in a help.
fn list(words: &[(&str, &str)]) -> String {
    let lines = words.iter().map(|(word, about)| format!("  {word:<10} {about}\n"));
    lines.fold("\nCommands:\n".to_owned(), |text, line| text + &line)
}

/// Parses a command's own flags. Mistakes are one line, as Podman's, and end with where to look.
fn parse<P: Parser>(globals: &Globals, name: &'static str, arguments: &[OsString]) -> Result<P, Error> {
    let program = globals.persona.name;
    let name = if globals.persona.remote_only { name.trim_start_matches("image ") } else { name };
    let command = || {
        let full_name = format!("{program} {name}");
        P::command().name(name).bin_name(full_name).disable_version_flag(true).args_override_self(true)
    };
    match crate::arguments::parse(command, arguments) {
        Parsed::Flags(flags) => Ok(flags),
        Parsed::Help(text) => {
            print(&text)?;
            Err(Error::Shown { status: 0 })
        }
        Parsed::Conflict(message) => Err(Error::Invalid(message)),
        Parsed::Mistake(message) => Err(Error::Usage { message, program, command: name.to_owned() }),
        Parsed::Unknown { flag, mistake } => {
            let usage = Box::new(Error::Usage { message: mistake, program, command: name.to_owned() });
            Err(Error::UnknownFlag { flag, usage })
        }
    }
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

/// After removals: what nothing needs any more goes, too. That they failed is told before that this does.
fn swept(engine: &Engine, removals: Result<u8, Error>) -> Result<u8, Error> {
    let swept = engine.sweep();
    removals.and_then(|status| Ok(swept.map(|()| status)?))
}

/// Refuses a command that is for nothing: `--all=false` alone.
fn need_names(names: &[String], all: bool) -> Result<(), Error> {
    match names {
        [] if !all => Err(Error::Invalid("you must provide at least one name or id".into())),
        _ => Ok(()),
    }
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
