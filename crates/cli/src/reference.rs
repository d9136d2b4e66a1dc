//! What there is of commands and flags, from the parsers themselves: documents are made of it.

use clap::Command;

use crate::commands;
use crate::global_flags;

pub use crate::global_flags::ACCEPTED;
/// How the help of a flag begins that is known and refused.
pub const REFUSED: &str = "Refused: ";

/// A command as it is typed.
#[derive(Debug)]
pub struct Spelling {
    /// Its one or two words.
    pub typed: String,
    /// The spelling that those of one command have in common.
    pub command: &'static str,
    /// Its flags and arguments.
    pub parser: Command,
}

/// All commands in all their spellings, with groups.
pub fn spellings() -> Vec<Spelling> {
    commands::spellings()
}

/// Groups of commands, and what they are for.
pub fn groups() -> Vec<(&'static str, &'static str)> {
    commands::group_names()
}

/// The flags before the command.
pub fn global_flags() -> Command {
    global_flags::parser()
}

/// Commands that are refused, and why.
pub fn refused_commands() -> Vec<(String, &'static str)> {
    commands::refused_commands()
}
