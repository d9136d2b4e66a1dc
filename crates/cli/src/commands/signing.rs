//! Flags about signing and encrypting images, which every command that moves images knows and refuses: before anything is moved, so
//! that nobody takes an image for signed or secret that is not.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::error::Error;
use crate::reference::REFUSED;

const SIGNING: [&str; 6] = [
    "sign-by",
    "sign-by-sigstore",
    "sign-by-sigstore-private-key",
    "sign-by-sq-fingerprint",
    "sign-identity",
    "sign-passphrase-file",
];
const REASON: &str = "signing, encrypting and decrypting images is not there yet";
const ENCRYPTION: [&str; 3] = ["encrypt-layer", "encryption-key", "decryption-key"];

/// Those of them that were given.
#[derive(Debug)]
pub(super) struct SigningFlags(Vec<&'static str>);

impl SigningFlags {
    /// Refuses the first.
    pub(super) fn check(&self) -> Result<(), Error> {
        let Some(flag) = self.0.first() else { return Ok(()) };
        Err(Error::Invalid(format!("--{flag} is refused: {REASON}, and nothing was transferred")))
    }
}

fn all() -> impl Iterator<Item = &'static str> {
    SIGNING.into_iter().chain(ENCRYPTION)
}

impl FromArgMatches for SigningFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(all().filter(|flag| matches.contains_id(flag)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for SigningFlags {
    fn augment_args(command: Command) -> Command {
        all().fold(command, |command, flag| {
            // Whatever its value looks like, it is the flag that is refused: layers are counted from the last one, too, as -1.
            let arg = Arg::new(flag).long(flag).hide(true).action(ArgAction::Append);
            let arg = arg.help(format!("{REFUSED}{REASON}"));
            command.arg(arg.allow_hyphen_values(true))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
