//! A command's own arguments, with Go's grammar where it is another than clap's.

use std::any::TypeId;
use std::ffi::OsString;

use clap::builder::{NonEmptyStringValueParser, Resettable, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, Command, Id, Parser};

/// What parsing came to.
pub(crate) enum Parsed<P> {
    Flags(P),
    /// The help that was asked for.
    Help(String),
    /// What is wrong, in one line.
    Mistake(String),
    /// The same of flags that exclude each other.
    Conflict(String),
    /// The same of a flag that this command has not.
    Unknown {
        flag: String,
        mistake: String,
    },
}

/// Reads the flags of the command that `make` makes, which is `P`'s with its names.
pub(crate) fn parse<P: Parser>(make: impl Fn() -> Command, arguments: &[OsString]) -> Parsed<P> {
    let made = || make().mut_args(lenient);
    let off = turned_off(&made, arguments);
    let command = (0..).zip(&off).fold(made().mut_args(switch), |command, (n, id)| set_aside(command, id, n));
    let matches = command.try_get_matches_from(arguments);
    let parsed = matches.and_then(|matches| P::from_arg_matches(&matches));
    let error = match parsed {
        Ok(flags) => return Parsed::Flags(flags),
        Err(error) => error,
    };
    if error.kind() == ErrorKind::DisplayHelp {
        // Nobody has to see that switches have values, too.
        let is_help = |word: &&OsString| *word == "-h" || *word == "--help";
        let asked = arguments.iter().find(is_help).cloned().unwrap_or_else(|| "-h".into());
        let alone = arguments.first().cloned().into_iter().chain([asked]);
        let help = make().try_get_matches_from(alone).err();
        return Parsed::Help(help.map(|help| help.to_string()).unwrap_or_default());
    }
    if let Some(words) = conflict(&error) {
        return Parsed::Conflict(words);
    }
    let mistake = mistake(&error, arguments);
    match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(flag))) if flag.starts_with("--") => {
            Parsed::Unknown { flag: flag.clone(), mistake }
        }
        _ => Parsed::Mistake(mistake),
    }
}

/// What is wrong: about flags in the words of Go's programs, which scripts look for.
fn mistake(error: &clap::Error, arguments: &[OsString]) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let last = arguments.last().and_then(|word| word.to_str()).unwrap_or_default();
    match (error.kind(), context(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(flag)) if is_flag(flag) => return unknown_flag(flag, arguments),
        // Whatever follows a flag is its value: only the last word can be without one.
        (ErrorKind::InvalidValue, _)
            if context(ContextKind::InvalidValue) == Some("") && is_flag(last) && !last.contains('=') =>
        {
            return match last.chars().next_back().filter(|_| !last.starts_with("--")) {
                Some(letter) => format!("flag needs an argument: '{letter}' in -{letter}"),
                None => format!("flag needs an argument: {last}"),
            };
        }
        _ => {}
    }
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    first.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// That two flags exclude each other, in Podman's words, the same whichever is first; `None` where one is no flag.
fn conflict(error: &clap::Error) -> Option<String> {
    let name = |kind| {
        let Some(ContextValue::String(arg)) = error.get(kind) else { return None };
        let end = arg.find([' ', '=', '[']).unwrap_or(arg.len());
        Some(arg[..end].to_owned()).filter(|name| name.starts_with("--"))
    };
    if error.kind() != ErrorKind::ArgumentConflict {
        return None;
    }
    let mut both = [name(ContextKind::InvalidArg)?, name(ContextKind::PriorArg)?];
    both.sort();
    let [first, second] = both;
    let choose = ["--arch", "--os", "--platform"];
    Some(match choose.contains(&first.as_str()) && second == "--platform" {
        true => "--platform option can not be specified with --arch or --os".to_owned(),
        false => format!("{first} and {second} cannot be set together"),
    })
}

fn is_flag(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-')
}

/// That there is no such flag; a letter is shown with what was typed behind it.
pub(crate) fn unknown_flag(flag: &str, arguments: &[OsString]) -> String {
    if flag.starts_with("--") {
        return format!("unknown flag: {flag}");
    }
    let letter = flag.chars().nth(1).unwrap_or('-');
    let typed = arguments.iter().filter_map(|word| word.to_str()).filter(|word| !word.starts_with("--"));
    let cluster = typed
        .filter_map(|word| word.strip_prefix('-'))
        .find_map(|word| word.find(letter).map(|at| &word[at..]));
    format!("unknown shorthand flag: '{letter}' in -{}", cluster.unwrap_or(&flag[1..]))
}

/// What follows a flag that has a value is its value, whatever it begins with.
fn lenient(arg: Arg) -> Arg {
    let has_one = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let has_one = has_one && arg.get_num_args().is_none_or(|number| number == 1.into());
    if has_one && !arg.is_positional() { arg.allow_hyphen_values(true) } else { arg }
}

/// `--rm=false` means what it says, as every boolean of Go's programs; alone it means true. What has a truth value by itself, as
/// `--tls-verify` has, takes Go's words for it, too.
fn switch(arg: Arg) -> Arg {
    let words = || NonEmptyStringValueParser::new().try_map(|word| boolean(&word));
    match arg.get_action() {
        ArgAction::SetTrue => {}
        ArgAction::Set if arg.get_value_parser().type_id() == TypeId::of::<bool>() => {
            return arg.value_parser(words());
        }
        _ => return arg,
    }
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_value("false")
        .default_missing_value("true")
        .value_name("BOOLEAN")
        .value_parser(words())
}

/// The switches that are off because they are said to be. What conflicts with a switch, or needs one, does so when it is on; clap asks
/// whether it was typed.
fn turned_off(make: &impl Fn() -> Command, arguments: &[OsString]) -> Vec<Id> {
    let is_off = |word: &OsString| {
        let flag = word.to_str().filter(|word| word.starts_with('-'));
        flag.and_then(|flag| flag.rsplit_once('=')).is_some_and(|(_, value)| boolean(value) == Ok(false))
    };
    // As good as always: nothing is read twice.
    if !arguments.iter().any(is_off) {
        return Vec::new();
    }
    let is_switch = |arg: &&Arg| matches!(arg.get_action(), ArgAction::SetTrue);
    let switches: Vec<Id> =
        make().get_arguments().filter(is_switch).map(|arg| arg.get_id().clone()).collect();
    let read = make().mut_args(switch).ignore_errors(true).try_get_matches_from(arguments);
    let Ok(matches) = read else { return Vec::new() };
    let is_off = |id: &Id| {
        let typed = matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        typed && matches.get_one::<bool>(id.as_str()) == Some(&false)
    };
    switches.into_iter().filter(is_off).collect()
}

/// Gives the names of a switch to another argument that nobody asks for and nothing conflicts with. The switch itself, which cannot be
/// typed any more, has its value without it: off.
fn set_aside(command: Command, id: &Id, number: u32) -> Command {
    let Some(arg) = command.get_arguments().find(|arg| arg.get_id() == id) else { return command };
    let mut aside = Arg::new(format!("{id}, off")).hide(true);
    if let Some(short) = arg.get_short() {
        aside = aside.short(short).short_aliases(arg.get_all_short_aliases().unwrap_or_default());
    }
    if let Some(long) = arg.get_long() {
        let aliases = arg.get_aliases().unwrap_or_default().into_iter();
        let aliases = aliases.chain(arg.get_visible_aliases().unwrap_or_default());
        aside = aside.long(long.to_owned()).aliases(aliases.map(str::to_owned));
    }
    // One without any name would be a word. This one is in the area for private use.
    let letter = char::from_u32(0xe000 + number).unwrap_or(char::REPLACEMENT_CHARACTER);
    let unnamed = |arg: Arg| {
        let arg = arg.long(Resettable::Reset).alias(Resettable::Reset).visible_alias(Resettable::Reset);
        let arg = arg.short_alias(Resettable::Reset).visible_short_alias(Resettable::Reset);
        arg.short(letter)
    };
    command.mut_arg(id, unnamed).arg(switch(aside.action(ArgAction::SetTrue)))
}

/// Go's words for truth values, `strconv.ParseBool`.
pub(crate) fn boolean(word: &str) -> Result<bool, &'static str> {
    match word {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("use true or false"),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[derive(Parser, Debug)]
    struct Flags {
        /// Keep nothing
        #[arg(long)]
        rm: bool,
        #[arg(short, long)]
        detach: bool,
        #[arg(short, long, conflicts_with = "detach")]
        interactive: bool,
        #[arg(short, long)]
        tty: bool,
        #[arg(short, long, action = ArgAction::Count)]
        verbose: u8,
        /// Verify
        #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = ArgAction::Set)]
        tls_verify: Option<bool>,
        #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = ArgAction::Set)]
        all: bool,
        words: Vec<String>,
    }

    fn read(arguments: &[&str]) -> Parsed<Flags> {
        let arguments: Vec<OsString> = ["x"].iter().chain(arguments).map(OsString::from).collect();
        parse(|| Flags::command().args_override_self(true), &arguments)
    }

    fn flags(arguments: &[&str]) -> Flags {
        match read(arguments) {
            Parsed::Flags(flags) => flags,
            Parsed::Help(text)
            | Parsed::Mistake(text)
            | Parsed::Conflict(text)
            | Parsed::Unknown { mistake: text, .. } => {
                panic!("{arguments:?}: {text}")
            }
        }
    }

    #[test]
    fn switches_have_values() {
        for (word, meant) in
            [("1", true), ("T", true), ("TRUE", true), ("false", false), ("F", false), ("0", false)]
        {
            assert_eq!(flags(&[&format!("--rm={word}")]).rm, meant, "{word}");
            assert_eq!(flags(&[&format!("-d={word}")]).detach, meant, "{word}");
        }
        assert!(!flags(&["--rm", "--rm=false"]).rm, "the last one counts");
        assert!(flags(&["--rm=0", "--rm"]).rm);
        for wrong in ["--rm=yes", "--rm=", "-d=2"] {
            assert!(matches!(read(&[wrong]), Parsed::Mistake(text) if text.contains("BOOLEAN")), "{wrong}");
        }
    }

    #[test]
    fn truth_values_are_written_as_in_go() {
        assert!(flags(&[]).tls_verify.is_none() && flags(&[]).all);
        assert_eq!(flags(&["--tls-verify", "false"]).tls_verify, Some(true), "the word is another argument");
        for word in ["1", "t", "T", "true", "TRUE", "True"] {
            let read = flags(&[&format!("--tls-verify={word}"), &format!("--all={word}")]);
            assert!(read.tls_verify == Some(true) && read.all, "{word}");
        }
        for word in ["0", "f", "F", "false", "FALSE", "False"] {
            let read = flags(&[&format!("--tls-verify={word}"), &format!("--all={word}")]);
            assert!(read.tls_verify == Some(false) && !read.all, "{word}");
        }
        for wrong in ["--tls-verify=yes", "--tls-verify=", "--tls-verify=tRUE", "--all=2"] {
            assert!(matches!(read(&[wrong]), Parsed::Mistake(text) if text.contains("BOOL")), "{wrong}");
        }
    }

    #[test]
    fn alone_they_are_true_and_take_no_word() {
        let read = flags(&["--rm", "true", "false"]);
        assert!(read.rm && read.words == ["true", "false"]);
        let read = flags(&["-it", "-vv", "word"]);
        assert!(read.interactive && read.tty && !read.rm && read.verbose == 2 && read.words == ["word"]);
        let read = flags(&["-it=false"]);
        assert!(read.interactive && !read.tty);
        assert!(
            matches!(self::read(&["-id"]), Parsed::Conflict(text) if text == "--detach and --interactive cannot be set together")
        );
    }

    #[test]
    fn mistakes_with_flags_are_said_as_in_go() {
        for (arguments, words) in [
            (&["--nonesuch"][..], "unknown flag: --nonesuch"),
            (&["--nonesuch=x"], "unknown flag: --nonesuch"),
            (&["word", "-x"], "unknown shorthand flag: 'x' in -x"),
            (&["--rm", "-dxt", "word"], "unknown shorthand flag: 'x' in -xt"),
        ] {
            let told = match read(arguments) {
                Parsed::Mistake(text) | Parsed::Unknown { mistake: text, .. } => text,
                _ => String::new(),
            };
            assert_eq!(told, words, "{arguments:?}");
        }
        for (arguments, words) in [
            (&["-a", "--format"][..], "flag needs an argument: --format"),
            (&["-vf"], "flag needs an argument: 'f' in -f"),
            (&["-f"], "flag needs an argument: 'f' in -f"),
        ] {
            assert_eq!(several(arguments).unwrap_err(), words);
        }
        assert!(several(&["word", "--format", "-f"]).is_ok(), "what follows is its value");
    }

    #[derive(Parser, Debug)]
    struct Several {
        #[arg(short, long, alias = "every", requires = "format")]
        all: bool,
        #[arg(short, long)]
        format: Option<String>,
        #[arg(short, long, conflicts_with = "format")]
        verbose: bool,
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        words: Vec<String>,
    }

    fn several(arguments: &[&str]) -> Result<Several, String> {
        let arguments: Vec<OsString> = ["x"].iter().chain(arguments).map(OsString::from).collect();
        match parse(|| Several::command().args_override_self(true), &arguments) {
            Parsed::Flags(flags) => Ok(flags),
            Parsed::Help(text)
            | Parsed::Mistake(text)
            | Parsed::Conflict(text)
            | Parsed::Unknown { mistake: text, .. } => Err(text),
        }
    }

    #[test]
    fn what_is_off_conflicts_with_nothing_and_serves_nothing() {
        for off in ["--all=false", "-a=0", "--every=F"] {
            let read = several(&[off, "word"]).unwrap();
            assert!(!read.all && read.words == ["word"], "{off}");
            // As if it had not been said.
            let none = several(&[]).unwrap_err();
            assert_eq!(several(&[off]).unwrap_err(), none);
            assert!(none.contains("required"), "{none}");
        }
        let read = several(&["-va=false", "-v=0", "--format", "x", "word"]).unwrap();
        assert!(!read.verbose && !read.all && read.format.as_deref() == Some("x"));
        // The last one counts.
        assert!(several(&["--all", "--all=false", "word"]).is_ok());
        let both = several(&["--all=false", "-a", "--format", "x", "word"]).unwrap_err();
        assert!(both.contains("cannot be used with"), "{both}");
        let on = several(&["--all", "--verbose=false"]).unwrap_err();
        assert!(on.contains("required") && on.contains("--format"), "{on}");
        assert!(several(&["--all", "--format", "x", "--verbose=false"]).unwrap().all);
        // A word that looks like it is a word.
        let read = several(&["--", "--all=false"]).unwrap();
        assert_eq!(read.words, ["--all=false"]);
        let mistake = several(&["--all=false", "--nonesuch", "word"]).unwrap_err();
        assert!(mistake.contains("--nonesuch"), "{mistake}");
        let read = flags(&["-i", "-d=false", "--rm=false"]);
        assert!(read.interactive && !read.detach && !read.rm);
    }

    #[test]
    fn the_help_shows_them_as_switches() {
        let Parsed::Help(help) = read(&["--help"]) else { panic!("no help") };
        assert!(help.contains("--rm                   Keep nothing"), "{help}");
    }
}
