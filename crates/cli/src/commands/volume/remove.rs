//! `volume rm`

use clap::Parser;

use super::exact;
use crate::commands::remove_each;
use crate::commands::values::supervision::grace;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;

/// Remove volumes
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Remove all volumes
    #[arg(short, long)]
    all: bool,
    /// Remove the containers that have them, too, and skip those that do not exist; as docker: only the latter
    #[arg(short, long)]
    force: bool,
    /// With --force, set the seconds running containers get to stop by themselves, -1 to wait for ever; 0 by default
    #[arg(short, long, alias = "timeout", value_name = "SECONDS")]
    time: Option<i64>,
    /// Volumes
    #[arg(value_name = "VOLUME", conflicts_with = "all", required_unless_present = "all")]
    volumes: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let names = match flags.all {
        true => engine.volumes()?.into_iter().map(|volume| volume.name).collect(),
        false => flags.volumes.clone(),
    };
    let grace = flags.time.map(|seconds| grace(Some(seconds))).transpose()?;
    let with_containers = flags.force && !globals.persona.docker_documents;
    remove_each(&names, |name| {
        match exact(globals, &engine, name)
            .and_then(|()| Ok(engine.remove_volume(name, with_containers, grace)?))
        {
            Err(Error::Engine(loment_engine::Error::NoVolume { .. })) if flags.force || flags.all => Ok(()),
            removed => print(&format!("{}\n", removed?)),
        }
    })
}
