//! Flags that `run` and `create` know and refuse: one table, which the parser, the refusal and its test are made from.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::error::Error;
use crate::reference::REFUSED;

/// Why a flag is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// It is about a network, and there are none yet that it could be about.
    Network,
    /// It needs this, which is not there yet.
    Later(&'static str),
    /// Other machines have what it sets.
    Windows,
}

/// A flag that is refused.
#[derive(Debug)]
struct Refused {
    /// Without the hyphens.
    flag: &'static str,
    /// Another spelling.
    alias: Option<&'static str>,
    /// It is a switch.
    is_switch: bool,
    why: Why,
}

const TABLE: [Refused; 12] = [
    flag("ip", Why::Network),
    flag("ip6", Why::Network),
    flag("mac-address", Why::Network),
    Refused { alias: Some("net-alias"), ..flag("network-alias", Why::Network) },
    flag("link", Why::Network),
    flag("link-local-ip", Why::Network),
    flag("decryption-key", Why::Later("encrypted images")),
    Refused { is_switch: true, ..flag("use-api-socket", Why::Later("the API")) },
    flag("cpu-count", Why::Windows),
    flag("cpu-percent", Why::Windows),
    flag("io-maxbandwidth", Why::Windows),
    flag("io-maxiops", Why::Windows),
];

const fn flag(flag: &'static str, why: Why) -> Refused {
    Refused { flag, alias: None, is_switch: false, why }
}

impl Refused {
    fn message(&self) -> String {
        format!("--{} {}", self.flag, self.reason())
    }

    fn reason(&self) -> String {
        match self.why {
            Why::Network => {
                "can only be set in a network, and networks other than none and host are not there yet".into()
            }
            Why::Later(what) => format!("is about {what}: that is not there yet"),
            Why::Windows => "is for Windows hosts".into(),
        }
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
        // A switch may be off.
        let is_given = |row: &&Refused| match row.is_switch {
            true => matches.get_one::<bool>(row.flag) == Some(&true),
            false => matches.contains_id(row.flag),
        };
        Ok(Self(TABLE.iter().filter(is_given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for RefusedFlags {
    fn augment_args(command: Command) -> Command {
        TABLE.iter().fold(command, |command, row| {
            let arg = Arg::new(row.flag).long(row.flag).hide(true);
            let arg = arg.help(format!("{REFUSED}{}", row.reason()));
            let arg = match row.is_switch {
                true => arg.action(ArgAction::SetTrue),
                // Whatever its value looks like, it is the flag that is refused.
                false => arg.action(ArgAction::Append).allow_hyphen_values(true),
            };
            command.arg(row.alias.iter().fold(arg, |arg, alias| arg.alias(*alias)))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
