//! `export`

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;

use clap::Parser;

use crate::error::{Doing, Error};
use crate::globals::Globals;

/// Write the files of a container as a tar
///
/// What is mounted in it, such as volumes, is left out.
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Write to this file [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Container
    #[arg(value_name = "CONTAINER")]
    container: String,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    // Before a file is made.
    engine.container(&flags.container)?;
    let out: Box<dyn Write> = match &flags.output {
        Some(path) => Box::new(File::create(path).doing(|| format!("create {}", path.display()))?),
        None if std::io::stdout().is_terminal() => {
            return Err(Error::Invalid("refusing to export to terminal. Use -o flag or redirect".into()));
        }
        None => Box::new(std::io::stdout()),
    };
    engine.export(&flags.container, &mut BufWriter::with_capacity(256 * 1024, out))?;
    Ok(0)
}
