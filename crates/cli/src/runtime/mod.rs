//! The OCI runtime command line: `loment-runtime`, `runc`, `crun`. Arguments are read by hand: this is called for every
//! container, and building a parser costs more than reading six flags.
//!
//! `globals.rs` has the flags before the command, `commands/` one file for each command. What several commands do is in the
//! other files: `container.rs` makes containers, `annotations.rs` is what only a command can do about annotations, `place.rs` chooses their control groups, `session.rs` waits for programs,
//! `systemd.rs` knows the scopes that systemd makes.

mod annotations;
mod arguments;
mod class;
mod commands;
mod console;
mod container;
mod criu;
mod descriptors;
mod found;
mod globals;
mod hooks;
mod log;
mod notify;
mod pid_file;
mod place;
mod protect;
mod session;
mod systemd;

use std::ffi::OsString;
use std::process::ExitCode;

use arguments::Arguments;

/// Runs one command.
pub(crate) use criu::find_criu;

pub(crate) fn main(arguments: &[OsString]) -> ExitCode {
    let mut arguments = Arguments::new(arguments);
    let mut log = log::Log::default();
    let (mut status, result) = match globals::read(&mut arguments, &mut log) {
        Ok(globals::Request::Done) => return ExitCode::SUCCESS,
        Ok(globals::Request::Command { name, runtime }) => {
            // runc's status for a program that could not be executed; a program's own are below it.
            (if name == "exec" { 255 } else { 1 }, commands::run(name, &mut arguments, &runtime.with(&log)))
        }
        Err(error) => (1, Err(error)),
    };
    match result {
        Ok(code) => status = code,
        Err(error) => log.error(&crate::error::one_line_in_c(error.as_ref())),
    }
    ExitCode::from(status)
}
