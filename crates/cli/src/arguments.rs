//! A command's own arguments, with Go's grammar where it is another than clap's.

use std::any::TypeId;
use std::ffi::OsString;

use clap::builder::{NonEmptyStringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command, Parser};

/// What parsing came to.
pub(crate) enum Parsed<P> {
    Flags(P),
    /// The help that was asked for.
    Help(String),
    /// What is wrong, in one line.
    Mistake(String),
}

/// Reads the flags of the command that `make` makes, which is `P`'s with its names.
pub(crate) fn parse<P: Parser>(make: impl Fn() -> Command, arguments: &[OsString]) -> Parsed<P> {
    let matches = make().mut_args(switch).try_get_matches_from(arguments);
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
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    Parsed::Mistake(first.split_whitespace().collect::<Vec<_>>().join(" "))
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

/// Go's words for truth values, `strconv.ParseBool`.
fn boolean(word: &str) -> Result<bool, &'static str> {
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
            Parsed::Help(text) | Parsed::Mistake(text) => panic!("{arguments:?}: {text}"),
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
            matches!(self::read(&["-id"]), Parsed::Mistake(text) if text.contains("cannot be used with"))
        );
    }

    #[test]
    fn the_help_shows_them_as_switches() {
        let Parsed::Help(help) = read(&["--help"]) else { panic!("no help") };
        assert!(help.contains("--rm                   Keep nothing"), "{help}");
    }
}
