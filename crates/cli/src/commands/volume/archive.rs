//! `volume export`, `volume import`, `volume mount`, `volume unmount` and `volume reload`

use std::fs::File;
use std::io::{BufReader, BufWriter, IsTerminal, Read, Write};
use std::path::PathBuf;

use clap::Parser;

use crate::commands::for_each;
use crate::error::{Doing, Error};
use crate::globals::Globals;
use crate::output::print;
use crate::rootless::check_mounts_are_seen;

// In Podman's words.
const TO_TERMINAL: &str = "cannot write to terminal, use command-line redirection or the --output flag";

/// Write the files of a volume as a tar
#[derive(Parser, Debug)]
pub(super) struct ExportFlags {
    /// Write to this file [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The volume
    #[arg(value_name = "VOLUME")]
    volume: String,
}

/// Unpack a tar in a volume, over what is there
#[derive(Parser, Debug)]
pub(super) struct ImportFlags {
    /// The volume
    #[arg(value_name = "VOLUME")]
    volume: String,
    /// The tar, compressed or not; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Show volumes on this machine, and print where
#[derive(Parser, Debug)]
pub(super) struct MountFlags {
    /// Volumes
    #[arg(value_name = "VOLUME", required = true)]
    volumes: Vec<String>,
}

/// Show volumes no longer on this machine
#[derive(Parser, Debug)]
pub(super) struct UnmountFlags {
    /// Volumes
    #[arg(value_name = "VOLUME", required = true)]
    volumes: Vec<String>,
}

/// Look for volumes of plugins: there are none
#[derive(Parser, Debug)]
pub(super) struct ReloadFlags {}

pub(super) fn run_export(globals: &Globals, flags: &ExportFlags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    // Before a file is made.
    engine.volume(&flags.volume)?;
    let out: Box<dyn Write> = match &flags.output {
        Some(path) => Box::new(File::create(path).doing(|| format!("create {}", path.display()))?),
        None if std::io::stdout().is_terminal() => {
            return Err(Error::Invalid(TO_TERMINAL.into()));
        }
        None => Box::new(std::io::stdout()),
    };
    engine.export_volume(&flags.volume, &mut BufWriter::with_capacity(256 * 1024, out))?;
    Ok(0)
}

pub(super) fn run_import(globals: &Globals, flags: &ImportFlags) -> Result<u8, Error> {
    let source: Box<dyn Read + Send> = match flags.file.as_os_str() == "-" {
        true => Box::new(std::io::stdin()),
        false => Box::new(File::open(&flags.file).doing(|| format!("open {}", flags.file.display()))?),
    };
    globals.engine()?.import_volume(&flags.volume, BufReader::with_capacity(256 * 1024, source))?;
    Ok(0)
}

pub(super) fn run_mount(globals: &Globals, flags: &MountFlags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    check_mounts_are_seen(globals.persona.name, "volume mount")?;
    for_each(&flags.volumes, |name| print(&format!("{}\n", engine.mount_volume(name)?.display())))
}

pub(super) fn run_unmount(globals: &Globals, flags: &UnmountFlags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    check_mounts_are_seen(globals.persona.name, "volume unmount")?;
    for_each(&flags.volumes, |name| print(&format!("{}\n", engine.unmount_volume(name)?)))
}

pub(super) fn run_reload(_: &Globals, _: &ReloadFlags) -> Result<u8, Error> {
    // As Podman says it.
    print("Added:\n\nRemoved:\n").map(|()| 0)
}
