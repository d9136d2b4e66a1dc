//! `unshare`

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::Parser;

use crate::ecosystem::variable;
use crate::error::{Doing, Error};
use crate::globals::Globals;
use crate::output::complain;
use crate::{programs, rootless};

/// Run a program in the user namespace of an ordinary user's containers
///
/// There the user is root, and files of containers that belong to others can be read, changed and removed. `mount` and `image
/// mount` show files to programs that run in it.
#[derive(Parser, Debug)]
#[command(trailing_var_arg = true)]
pub(super) struct Flags {
    /// The program and its arguments; without one, the shell that SHELL names
    #[arg(value_name = "COMMAND", allow_hyphen_values = true)]
    command: Vec<OsString>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    if !rootless::is_rootless() {
        // The words are Podman's.
        return Err(Error::Invalid("please use unshare with rootless".into()));
    }
    // Makes the directories, and so enters the namespace.
    drop(globals.engine()?);
    let command = match flags.command.as_slice() {
        [] => vec![variable("SHELL").unwrap_or_else(|| "/bin/sh".into())],
        command => command.to_vec(),
    };
    let name = command[0].to_string_lossy().into_owned();
    let path = if name.contains('/') { Some(name.clone().into()) } else { programs::find(&name) };
    let Some(path) = path else { return failed(&name, "there is no such program in PATH", 127) };
    let text =
        |bytes: &[u8]| CString::new(bytes).map_err(std::io::Error::other).doing(|| format!("run {name}"));
    let argv = command.iter().map(|word| text(word.as_bytes())).collect::<Result<Vec<_>, _>>()?;
    let user = rootless::user().to_string();
    let own = [
        (rootless::VARIABLE, user.as_ref()),
        ("CONTAINERS_GRAPHROOT", globals.root().as_os_str()),
        ("CONTAINERS_RUNROOT", globals.runroot().as_os_str()),
    ];
    let envp = std::env::vars_os()
        .filter(|(name, _)| !own.iter().any(|(other, _)| name == other))
        .chain(own.map(|(name, value)| (name.into(), value.to_owned())))
        .map(|(name, value)| text(&[name.as_bytes(), b"=", value.as_bytes()].concat()))
        .collect::<Result<Vec<_>, _>>()?;
    let error = loment_sys::exec::execve(&text(path.as_os_str().as_bytes())?, &argv, &envp);
    let missing = error.kind() == std::io::ErrorKind::NotFound;
    failed(&name, error, if missing { 127 } else { 126 })
}

/// As a shell would have it.
fn failed(name: &str, why: impl std::fmt::Display, status: u8) -> Result<u8, Error> {
    complain(&format!("Error: cannot run {name}: {why}"));
    Err(Error::Shown { status })
}
