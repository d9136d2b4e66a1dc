//! `completion`

use std::path::PathBuf;

use clap::Parser;

use crate::error::{Doing, Error};
use crate::globals::Globals;
use crate::output::print;

/// Print what makes a shell complete commands, flags and names
#[derive(Parser, Debug)]
pub(in crate::commands) struct Flags {
    /// The shell: bash, fish or zsh
    #[arg(value_name = "SHELL")]
    shell: String,
    /// Write to this file
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Do not show what things are for
    #[arg(long, alias = "no-descriptions")]
    no_desc: bool,
}

/// What shells are told, with `@NAME@` for the program's name and `@ASK@` for the word that asks it.
const SCRIPTS: [(&str, &str); 3] = [
    ("bash", include_str!("scripts/bash.sh")),
    ("fish", include_str!("scripts/fish.fish")),
    ("zsh", include_str!("scripts/zsh.zsh")),
];

pub(in crate::commands) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let text = script(globals.persona.name, &flags.shell, !flags.no_desc)?;
    match &flags.file {
        None => print(&text)?,
        Some(file) => std::fs::write(file, text).doing(|| format!("write {}", file.display()))?,
    }
    Ok(0)
}

fn script(name: &str, shell: &str, described: bool) -> Result<String, Error> {
    let ask = if described { "__complete" } else { "__completeNoDesc" };
    match SCRIPTS.iter().find(|(known, _)| *known == shell) {
        Some((_, script)) => Ok(script.replace("@NAME@", name).replace("@ASK@", ask)),
        None if shell == "powershell" => {
            let refused = "completion powershell is refused: PowerShell on Linux is not supported yet";
            Err(Error::Invalid(format!("{refused}: use bash, fish or zsh")))
        }
        None => Err(Error::Invalid(format!(
            "invalid argument {shell:?} for \"{name} completion\": use bash, fish or zsh"
        ))),
    }
}
