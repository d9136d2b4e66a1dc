//! Flags that `run` and `create` know and refuse: one table, which the parser, the refusal and its test are made from.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::error::Error;

/// Why a flag is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// It is about a network, and there are none yet that it could be about.
    Network,
}

/// A flag that is refused. All of them take a value.
#[derive(Debug)]
struct Refused {
    /// Without the hyphens.
    flag: &'static str,
    /// Another spelling.
    alias: Option<&'static str>,
    why: Why,
}

const TABLE: [Refused; 6] = [
    Refused { flag: "ip", alias: None, why: Why::Network },
    Refused { flag: "ip6", alias: None, why: Why::Network },
    Refused { flag: "mac-address", alias: None, why: Why::Network },
    Refused { flag: "network-alias", alias: Some("net-alias"), why: Why::Network },
    Refused { flag: "link", alias: None, why: Why::Network },
    Refused { flag: "link-local-ip", alias: None, why: Why::Network },
];

impl Refused {
    fn message(&self) -> String {
        let sentence = match self.why {
            Why::Network => {
                "can only be set in a network, and networks other than none and host are not there yet"
            }
        };
        format!("--{} {sentence}", self.flag)
    }
}

/// Those of them that were given.
#[derive(Debug)]
pub(super) struct RefusedFlags(Vec<&'static Refused>);

impl RefusedFlags {
    /// Refuses the first.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.0.first().map_or(Ok(()), |row| Err(Error::Invalid(row.message())))
    }
}

impl FromArgMatches for RefusedFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(TABLE.iter().filter(|row| matches.contains_id(row.flag)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for RefusedFlags {
    fn augment_args(command: Command) -> Command {
        TABLE.iter().fold(command, |command, row| {
            // Whatever its value looks like, it is the flag that is refused.
            let arg = Arg::new(row.flag)
                .long(row.flag)
                .action(ArgAction::Append)
                .allow_hyphen_values(true)
                .hide(true);
            command.arg(row.alias.iter().fold(arg, |arg, alias| arg.alias(*alias)))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
