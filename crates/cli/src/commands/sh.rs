//! `sh`: a login shell in a container.

use std::io::IsTerminal;

use clap::Parser;

use super::exec;
use crate::containers_conf::{self, ENGINE};
use crate::error::Error;
use crate::globals::Globals;

/// Run a shell in the container that containers.conf names
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Arguments of the shell
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// The table of containers.conf that is about it.
const PODMANSH: &str = "podmansh";
/// The shell, the container, and how many seconds are waited until that runs, where nothing is said of them.
const USUAL: (&str, &str, u32) = ("/bin/sh", "podmansh", 30);

pub(super) fn run(globals: &Globals, flags: Flags) -> Result<u8, Error> {
    let conf = containers_conf::read()?;
    let text = |key| Ok::<_, Error>(conf.text(PODMANSH, key)?.map(|said| said.value.to_owned()));
    let seconds = |n: i64| u32::try_from(n).map_err(|_| "use a number of seconds");
    // The second is its older place.
    let wait = match conf.number_as(PODMANSH, "timeout", seconds)?.filter(|&n| n > 0) {
        Some(wait) => Some(wait),
        None => conf.number_as(ENGINE, "podmansh_timeout", seconds)?,
    };
    let (shell, container, usual) = USUAL;
    let container = text("container")?.unwrap_or_else(|| container.to_owned());
    let shell = text("shell")?.unwrap_or_else(|| shell.to_owned());
    let tty =
        std::io::stdin().is_terminal() || std::io::stdout().is_terminal() || std::io::stderr().is_terminal();
    let words = [container, shell].into_iter().chain(flags.arguments).collect();
    exec::run(globals, exec::Flags::of_shell(words, tty, wait.unwrap_or(usual)))
}
