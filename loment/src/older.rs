//! The binary with a monitor of an older build: see the feature of that name.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    loment_cli::main(&arguments)
}
