//! The OCI runtime command line: `loment-runtime`, `runc`, `crun`. Arguments are read by hand: this is called for every
//! container, and building a parser costs more than reading six flags.

mod arguments;
mod commands;
mod help;
mod log;
mod protect;

use std::ffi::OsString;
use std::process::ExitCode;

use arguments::Arguments;

/// Runs one command.
pub(crate) fn main(arguments: &[OsString]) -> ExitCode {
    let mut arguments = Arguments::new(arguments);
    let mut log = log::Log::default();
    match commands::run(&mut arguments, &mut log) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            log.error(&crate::error::one_line(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
