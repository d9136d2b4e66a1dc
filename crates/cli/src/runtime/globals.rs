//! The flags before the command.

use std::path::PathBuf;

use anyhow::bail;
use loment_runtime::state::{Id, States};

use super::arguments::{Argument, Arguments};
use super::commands;
use super::log::Log;
use super::place::{Manager, Places};

/// Where containers are remembered when `--root` is not given.
const ROOT: &str = "/run/loment-runtime";

/// What the flags ask for.
pub(crate) enum Request<'a> {
    /// It is done already: help, version.
    Done,
    /// A command, whose own arguments follow.
    Command { name: &'a str, runtime: Settings },
}

/// What every command is told.
#[derive(Debug)]
pub(crate) struct Settings {
    states: States,
    places: Places,
    criu: Option<PathBuf>,
}

/// The same, with where warnings go.
#[derive(Debug)]
pub(crate) struct Runtime<'a> {
    pub(crate) states: States,
    pub(crate) places: Places,
    /// The program for checkpoints, if one was named.
    pub(crate) criu: Option<PathBuf>,
    pub(crate) log: &'a Log,
}

impl Settings {
    pub(crate) fn with(self, log: &Log) -> Runtime<'_> {
        Runtime { states: self.states, places: self.places, criu: self.criu, log }
    }
}

/// Reads the flags up to the command.
pub(crate) fn read<'a>(arguments: &mut Arguments<'a>, log: &mut Log) -> anyhow::Result<Request<'a>> {
    let (mut root, mut criu) = (None, None);
    let mut manager = Manager::Direct;
    // Whether control groups that may not be made are done without.
    let mut tolerant = !loment_sys::process::is_root();
    loop {
        match arguments.next()? {
            None => bail!("no command given: see loment-runtime --help"),
            Some(Argument::Word(name)) => {
                let states = States::new(root.unwrap_or_else(default_root));
                let runtime = Settings { states, places: Places { manager, tolerant }, criu };
                return Ok(Request::Command { name, runtime });
            }
            Some(Argument::Flag(flag)) => match flag {
                "--root" => root = Some(PathBuf::from(arguments.value(flag)?)),
                "--log" => log.write_to(arguments.value(flag)?)?,
                "--log-format" => log.set_format(arguments.value(flag)?)?,
                "--log-level" => log.set_level(arguments.value(flag)?)?,
                "--debug" => log.set_level("debug")?,
                "--systemd-cgroup" | "-s" => manager = Manager::Systemd,
                "--cgroup-manager" => manager = Manager::parse(arguments.value(flag)?)?,
                "--rootless" => match arguments.value(flag)? {
                    "true" => tolerant = true,
                    "false" => tolerant = false,
                    "auto" => {}
                    other => bail!("invalid --rootless {other:?}: use true, false or auto"),
                },
                "--criu" => criu = Some(PathBuf::from(arguments.value(flag)?)),
                "--help" | "-h" => return commands::print(&commands::overview()).map(|()| Request::Done),
                "--version" | "-v" => {
                    let version = env!("CARGO_PKG_VERSION");
                    commands::print(&format!("loment-runtime version {version}\nspec: 1.3.0\n"))?;
                    return Ok(Request::Done);
                }
                other => bail!("unknown flag {other}: see loment-runtime --help"),
            },
        }
    }
}

/// A user's own directory, as runc has it: for everybody but root, and for who is root in a user namespace only.
fn default_root() -> PathBuf {
    let own = !loment_sys::process::is_root()
        || is_mapped() && std::env::var_os("USER").is_none_or(|u| u != "root");
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|d| own && !d.is_empty()) {
        Some(dir) => PathBuf::from(dir).join("loment-runtime"),
        None => ROOT.into(),
    }
}

/// Whether this process's users are not the host's.
fn is_mapped() -> bool {
    !loment_sys::ids::IdMap::own_users().is_the_machines()
}

/// The id of a container, the only word that many commands take.
pub(crate) fn id(words: &[&str]) -> anyhow::Result<Id> {
    match words {
        [] => bail!("no container id given"),
        [id] => Ok(Id::new(id)?),
        [_, surplus, ..] => bail!("unexpected argument {surplus:?}"),
    }
}
