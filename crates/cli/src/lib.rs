//! The command line: parses, calls the engine or the runtime, prints.
//!
//! The program's name and first argument choose what it is, before any parser is built. What is not here: container
//! logic. This crate and the binary are the only ones that print, read the environment and choose exit statuses.

mod error;
mod runtime;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// Runs the program: `arguments` includes its name.
pub fn main(arguments: &[OsString]) -> ExitCode {
    let name =
        arguments.first().and_then(|a| Path::new(a).file_name()).and_then(|n| n.to_str()).unwrap_or("loment");
    let rest = arguments.get(1..).unwrap_or_default();
    match name {
        "loment-runtime" | "runc" | "crun" => runtime::main(rest),
        _ => ExitCode::FAILURE,
    }
}
