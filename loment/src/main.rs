//! The binary: everything is decided by its name and first argument in [`loment_cli::main`].

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    loment_cli::main(&arguments)
}
