//! `secret rm`

use clap::Parser;

use crate::commands::for_each;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;
use crate::secret_programs::Programs;

/// Remove secrets; containers keep those they have
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Remove all secrets
    #[arg(short, long)]
    all: bool,
    /// Skip those that do not exist
    #[arg(short, long)]
    ignore: bool,
    /// Secrets: names or ids
    #[arg(value_name = "SECRET", conflicts_with = "all", required_unless_present = "all")]
    secrets: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let names = match flags.all {
        true => engine.secrets()?.into_iter().map(|secret| secret.name).collect(),
        false => flags.secrets.clone(),
    };
    for_each(&names, |name| match engine.remove_secret(name, &Programs) {
        Err(loment_engine::Error::NoSecret { .. }) if flags.ignore || flags.all => Ok(()),
        removed => print(&format!("{}\n", removed?.id)),
    })
    .map(|_| 0)
}
