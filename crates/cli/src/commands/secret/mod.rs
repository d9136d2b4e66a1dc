//! `secret`

mod create;
mod inspect;
pub(super) mod list;
mod remove;

use clap::{CommandFactory, Parser};

use super::parse;
use super::table::Command;
use crate::error::Error;
use crate::globals::Globals;

/// What can be done with secrets.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "secret create",
        about: "Make a secret and print its id",
        parser: create::Flags::command,
        run: |g, a| create::run(g, &parse(g, "secret create", a)?),
    },
    Command {
        name: "secret exists",
        about: "Check whether there is a secret",
        parser: ExistsFlags::command,
        run: |g, a| exists(g, &parse(g, "secret exists", a)?),
    },
    Command {
        name: "secret inspect",
        about: "Display what secrets are",
        parser: inspect::Flags::command,
        run: |g, a| inspect::run(g, &parse(g, "secret inspect", a)?),
    },
    Command {
        name: "secret ls",
        about: "List secrets",
        parser: list::Flags::command,
        run: |g, a| list::run(g, &parse(g, "secret ls", a)?),
    },
    Command {
        name: "secret rm",
        about: "Remove secrets",
        parser: remove::Flags::command,
        run: |g, a| remove::run(g, &parse(g, "secret rm", a)?),
    },
];

/// Check whether there is a secret: status 0 if there is, 1 if not
#[derive(Parser, Debug)]
struct ExistsFlags {
    /// The secret: its name or id
    #[arg(value_name = "SECRET")]
    secret: String,
}

fn exists(globals: &Globals, flags: &ExistsFlags) -> Result<u8, Error> {
    match globals.engine()?.secret(&flags.secret) {
        Err(loment_engine::Error::NoSecret { .. }) => Ok(1),
        Err(error) if !error.is_unreadable() => Err(error.into()),
        _ => Ok(0),
    }
}
