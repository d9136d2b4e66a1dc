//! What shells ask when a word is to be completed, as programs made with Go's cobra answer it: `__complete WORD…` prints what the last
//! word may become, one to a line with what it is for behind a tabulator, and in the end a colon and a number that says what the shell
//! is to do with that. `__completeNoDesc` leaves out what things are for.
//!
//! It reads names and changes nothing: no directory is made, nothing locked, and nothing said that nobody asked for.

mod candidates;
mod fields;
mod kinds;
mod line;
pub(super) mod scripts;

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

use self::candidates::{Candidates, Names};
use self::kinds::{Kind, of_flag, of_word};
use self::line::{Line, flag};
use super::groups;
use super::table;
use crate::error::Error;
use crate::global_flags;
use crate::globals::Globals;
use crate::output::{complain, print};
use crate::persona::Persona;

/// No blank is to be put behind the word.
const NO_SPACE: u8 = 2;
/// Files are not meant where nothing else is.
const NO_FILES: u8 = 4;
/// Directories are meant.
const FILTER_DIRECTORIES: u8 = 16;
/// What cobra calls them.
const DIRECTIVES: [(u8, &str); 3] =
    [(NO_SPACE, "NoSpace"), (NO_FILES, "NoFileComp"), (FILTER_DIRECTORIES, "FilterDirs")];

/// Whether a first argument asks for this, and whether what things are for is wanted, too.
pub(crate) fn is_asked(argument: &OsString) -> Option<bool> {
    match argument.to_str()? {
        "__complete" => Some(true),
        "__completeNoDesc" => Some(false),
        _ => None,
    }
}

/// Answers what the last of these words may become. Flags may have stood before the question, too.
pub(crate) fn answer(
    persona: &'static Persona,
    before: Vec<OsString>,
    words: &[OsString],
    described: bool,
) -> Result<u8, Error> {
    let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    let (current, typed) = words.split_last().map_or(("", &[][..]), |(last, rest)| (*last, rest));
    let mut found = complete(persona, before, typed, current);
    // A file of a container may be called anything.
    found.words.retain(|(word, about)| !word.chars().chain(about.chars()).any(char::is_control));
    found.words.dedup_by(|a, b| a.0 == b.0);
    let mut text = String::new();
    for (word, about) in &found.words {
        text += word;
        if described && !about.is_empty() {
            text += &format!("\t{about}");
        }
        text += "\n";
    }
    print(&format!("{text}:{}\n", found.directive))?;
    let set: Vec<String> = DIRECTIVES
        .iter()
        .filter(|(bit, _)| found.directive & bit != 0)
        .map(|(_, name)| format!("ShellCompDirective{name}"))
        .collect();
    let names = if set.is_empty() { "ShellCompDirectiveDefault".to_owned() } else { set.join(", ") };
    complain(&format!("Completion ended with directive: {names}"));
    Ok(0)
}

fn complete(persona: &'static Persona, mut own: Vec<OsString>, typed: &[&str], current: &str) -> Candidates {
    let flags = global_flags::parser();
    let (before, rest) = Line::before(&flags, typed);
    // What was typed wrongly is not counted; it is told when the command is run.
    own.extend(typed[..typed.len() - rest.len()].iter().map(OsString::from));
    let none = || Globals::parse(persona, &[]).map(|(globals, _)| globals);
    let Ok((globals, _)) = Globals::parse(persona, &own).or_else(|_| none().map(|g| (g, Vec::new()))) else {
        return Candidates::default();
    };
    let Some((first, arguments)) = rest.split_first() else {
        let words = || match persona.remote_only {
            true => groups::SKOPEO.words(),
            false => groups::first_words(),
        };
        return on_command(&globals, "", &flags, &before, current, |start| begun(words(), start));
    };
    if persona.remote_only {
        return in_group(&globals, &groups::SKOPEO, rest, current);
    }
    if let Some(group) = groups::group(first) {
        return in_group(&globals, group, arguments, current);
    }
    match table::command(first).filter(|command| !command.name.contains(' ')) {
        Some(command) => of_command(&globals, command, arguments, current),
        None => Candidates::of(Vec::new(), NO_FILES),
    }
}

/// In a group: its second word, or what is behind that.
fn in_group(globals: &Globals, group: &groups::Group, typed: &[&str], current: &str) -> Candidates {
    let Some((word, arguments)) = typed.split_first() else {
        let flags = Command::new("").arg(help_flag()).disable_help_flag(true);
        let line = Line::default();
        return on_command(globals, "", &flags, &line, current, |start| begun(group.words(), start));
    };
    match group.command(word) {
        Some(command) => of_command(globals, command, arguments, current),
        None => Candidates::of(Vec::new(), NO_FILES),
    }
}

fn of_command(globals: &Globals, command: &table::Command, typed: &[&str], current: &str) -> Candidates {
    let mut parser = (command.parser)();
    if parser.get_arguments().all(|arg| arg.get_long() != Some("help")) {
        parser = parser.arg(help_flag());
    }
    // Flags for all commands may stand here, too; they are offered before the command only.
    for arg in global_flags::parser().get_arguments().filter(|arg| arg.get_action().takes_values()) {
        if parser.get_arguments().all(|own| own.get_long() != arg.get_long()) {
            parser = parser.arg(arg.clone().hide(true));
        }
    }
    let line = Line::read(&parser, typed);
    on_command(globals, command.name, &parser, &line, current, |start| {
        word(globals, command.name, &parser, &line, start)
    })
}

fn help_flag() -> Arg {
    Arg::new("help").short('h').long("help").help("Print help").action(ArgAction::SetTrue)
}

/// A flag, the value of one, or another word.
fn on_command(
    globals: &Globals,
    name: &str,
    command: &Command,
    line: &Line<'_>,
    current: &str,
    word: impl FnOnce(&str) -> Candidates,
) -> Candidates {
    let names = Names::new(globals, name, &line.words);
    if let Some(arg) = line.pending {
        return value(&names, name, arg, current);
    }
    if line.only_words || !current.starts_with('-') {
        return word(current);
    }
    match current.split_once('=') {
        Some((typed, start)) => match flag(command, typed) {
            Some(arg) => value(&names, name, arg, start),
            None => Candidates::of(Vec::new(), NO_FILES),
        },
        None => Candidates::of(flags(command, line, current), NO_FILES),
    }
}

/// The value of a flag.
fn value(names: &Names<'_>, command: &str, arg: &Arg, start: &str) -> Candidates {
    let possible = arg.get_possible_values();
    if possible.is_empty() {
        return names.candidates(of_flag(command, arg), start);
    }
    let shown = possible.iter().filter(|value| !value.is_hide_set() && value.get_name().starts_with(start));
    let about = |value: &clap::builder::PossibleValue| value.get_help().map(first_line).unwrap_or_default();
    Candidates::of(shown.map(|value| (value.get_name().to_owned(), about(value))).collect(), NO_FILES)
}

/// Flags that begin like this, but for those that were given and can be given once only.
fn flags(command: &Command, line: &Line<'_>, start: &str) -> Vec<(String, String)> {
    let is_free =
        |arg: &&Arg| !arg.is_hide_set() && (matches!(arg.get_action(), ArgAction::Append) || !line.has(arg));
    let mut free: Vec<&Arg> = command.get_arguments().filter(is_free).collect();
    free.sort_by_key(|arg| arg.get_long());
    let spelled = |arg: &Arg| {
        let long = arg.get_long().map(|long| format!("--{long}"));
        long.into_iter().chain(arg.get_short().map(|letter| format!("-{letter}")))
    };
    let about = |arg: &Arg| arg.get_help().map(first_line).unwrap_or_default();
    let all = free.into_iter().flat_map(|arg| spelled(arg).map(move |flag| (flag, about(arg))));
    all.filter(|(flag, _)| flag.starts_with(start)).collect()
}

fn first_line(help: &clap::builder::StyledStr) -> String {
    help.to_string().lines().next().unwrap_or_default().to_owned()
}

/// A word of a command that belongs to no flag.
fn word(globals: &Globals, name: &str, command: &Command, line: &Line<'_>, start: &str) -> Candidates {
    let mut value_names = Vec::new();
    let mut goes_on = false;
    for arg in command.get_positionals() {
        let names = arg.get_value_names().unwrap_or_default();
        value_names.extend(names.iter().map(|name| name.as_str()));
        let most = arg.get_num_args().map(|number| number.max_values());
        goes_on = matches!(arg.get_action(), ArgAction::Append) || most > Some(names.len().max(1));
    }
    let is_chosen = |name: &str| line.has_named(name);
    let mut number = line.words.len();
    // Who says which container is meant without a name types what comes behind that.
    if is_chosen("latest") {
        number += 1;
    }
    let kinds_end = !goes_on && number >= value_names.len();
    let kind = match of_word(name, &value_names, number) {
        _ if kinds_end => Kind::Nothing,
        Kind::Images if is_chosen("rootfs") => Kind::Directories,
        Kind::Containers(_) | Kind::Pods(_) if is_chosen("latest") || is_chosen("all") => Kind::Nothing,
        Kind::Images | Kind::Volumes | Kind::Secrets if is_chosen("all") => Kind::Nothing,
        kind => kind,
    };
    Names::new(globals, name, &line.words).candidates(kind, start)
}

fn begun(words: Vec<(&'static str, &'static str)>, start: &str) -> Candidates {
    let shown = words.into_iter().filter(|(word, _)| word.starts_with(start));
    Candidates::of(shown.map(|(word, about)| (word.to_owned(), about.to_owned())).collect(), NO_FILES)
}
