//! What was typed before the word that is to be completed: which flags and words of a command. Nothing is an error here; who types has
//! not finished.

use clap::{Arg, Command, Id};

/// What was typed of a command.
#[derive(Debug, Default)]
pub(super) struct Line<'c> {
    /// The flags.
    given: Vec<&'c Id>,
    /// The words that belong to none.
    pub(super) words: Vec<&'c str>,
    /// The flag that the next word is the value of.
    pub(super) pending: Option<&'c Arg>,
    /// What follows is no flag, whatever it begins with.
    pub(super) only_words: bool,
}

impl<'c> Line<'c> {
    /// Reads what was typed behind a command.
    pub(super) fn read(command: &'c Command, typed: &[&'c str]) -> Self {
        let mut line = Self::default();
        let is_trailing = command.get_positionals().any(Arg::is_trailing_var_arg_set);
        for word in typed {
            line.add(command, word);
            line.only_words |= is_trailing && !line.words.is_empty();
        }
        line
    }

    /// Reads what was typed before the command; the second of what is returned begins with the command.
    pub(super) fn before<'t>(flags: &'c Command, typed: &'t [&'c str]) -> (Self, &'t [&'c str]) {
        let mut line = Self::default();
        for (at, word) in typed.iter().enumerate() {
            line.add(flags, word);
            if !line.words.is_empty() {
                return (line, &typed[at..]);
            }
        }
        (line, &[])
    }

    fn add(&mut self, command: &'c Command, word: &'c str) {
        if self.pending.take().is_some() {
            return;
        }
        if self.only_words || word == "-" || !word.starts_with('-') {
            self.words.push(word);
            return;
        }
        if word == "--" {
            self.only_words = true;
            return;
        }
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        if name.starts_with("--") {
            let Some(arg) = flag(command, name) else { return };
            self.given.push(arg.get_id());
            self.pending = Some(arg).filter(|arg| value.is_none() && takes_next(arg));
            return;
        }
        // Letters, of which one with a value is the last.
        for (at, letter) in word.char_indices().skip(1) {
            let Some(arg) = lettered(command, letter) else { return };
            self.given.push(arg.get_id());
            if takes_next(arg) {
                let is_last = at + letter.len_utf8() == word.len();
                self.pending = Some(arg).filter(|_| is_last);
                return;
            }
        }
    }

    /// Whether a flag was typed.
    pub(super) fn has(&self, arg: &Arg) -> bool {
        self.given.contains(&arg.get_id())
    }

    /// Whether the flag of that name was typed.
    pub(super) fn has_named(&self, name: &str) -> bool {
        self.given.iter().any(|id| id.as_str() == name)
    }
}

/// The flag of that name, which has its dashes.
pub(super) fn flag<'c>(command: &'c Command, name: &str) -> Option<&'c Arg> {
    let name = name.strip_prefix("--")?;
    let is_it = |arg: &&Arg| {
        arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|all| all.contains(&name))
    };
    command.get_arguments().find(is_it)
}

fn lettered(command: &Command, letter: char) -> Option<&Arg> {
    let is_it = |arg: &&Arg| {
        let aliases = arg.get_all_short_aliases();
        arg.get_short() == Some(letter) || aliases.is_some_and(|all| all.contains(&letter))
    };
    command.get_arguments().find(is_it)
}

/// Whether the word behind a flag is its value.
fn takes_next(arg: &Arg) -> bool {
    arg.get_action().takes_values() && arg.get_num_args().is_none_or(|number| number.min_values() > 0)
}

#[cfg(test)]
mod tests {
    use clap::ArgAction;

    use super::*;

    fn command() -> Command {
        let words = Arg::new("words").num_args(1..).trailing_var_arg(true);
        Command::new("x")
            .arg(Arg::new("tty").short('t').action(ArgAction::SetTrue))
            .arg(Arg::new("env").short('e').long("env").action(ArgAction::Append))
            .arg(Arg::new("time").long("time").alias("timeout"))
            .arg(words)
    }

    #[test]
    fn flags_words_and_values_are_told_apart() {
        let command = command();
        let read = |typed: &[&'static str]| {
            let line = Line::read(&command, typed);
            (line.words.join(" "), line.pending.map(|arg| arg.get_id().to_string()), line.only_words)
        };
        let pending = |id: &str| Some(id.to_owned());
        assert_eq!(read(&[]), (String::new(), None, false));
        assert_eq!(read(&["-t", "-e"]), (String::new(), pending("env"), false));
        assert_eq!(read(&["-te"]), (String::new(), pending("env"), false));
        assert_eq!(read(&["-teA=1", "--timeout"]), (String::new(), pending("time"), false));
        assert_eq!(read(&["--env=A", "-e", "-t"]), (String::new(), None, false));
        assert_eq!(read(&["--nonesuch", "--", "-t"]), ("-t".into(), None, true));
        assert_eq!(read(&["image", "-e"]), ("image -e".into(), None, true));
        let (line, rest) = Line::before(&command, &["-e", "x", "-t", "ps", "-e"]);
        assert!(line.has_named("tty") && rest == ["ps", "-e"]);
    }
}
