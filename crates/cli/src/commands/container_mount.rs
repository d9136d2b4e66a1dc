//! `mount` and `unmount`

use clap::Parser;
use loment_engine::MountedContainer;
use serde_json::{Value, json};

use super::choose::{Choice, Chosen};
use super::for_each;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::{indented, print};
use crate::rootless::check_mounts_are_seen;

/// Mount containers as directories of this machine, or list those that are mounted
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Mount all containers
    #[arg(short, long)]
    all: bool,
    /// The container that was made last
    #[arg(short, long)]
    latest: bool,
    /// Print as json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Print whole ids
    #[arg(long, alias = "notruncate")]
    no_trunc: bool,
    /// Containers
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Unmount containers, with the last request for each
#[derive(Parser, Debug)]
pub(super) struct UnmountFlags {
    /// Unmount all containers
    #[arg(short, long)]
    all: bool,
    /// Unmount however often it was mounted, also while it is in use
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    chosen: Chosen,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    if let Some(other) = flags.format.as_deref().filter(|format| *format != "json") {
        return Err(Error::Invalid(format!("invalid value {other:?} for --format: use json")));
    }
    let engine = globals.engine()?;
    check_mounts_are_seen(globals.persona.name, "mount")?;
    let (all, latest, names) = (flags.all, flags.latest, flags.containers.as_slice());
    let mounted = if !all && !latest && names.is_empty() {
        engine.mounted_containers()
    } else {
        let choice = Choice { all, latest, names, ..Choice::default() };
        let ids = choice.ids(globals, &engine, |_| true)?;
        let mounted: Result<Vec<_>, _> = ids.iter().map(|id| engine.mount_container(id)).collect();
        mounted?
    };
    if flags.format.is_some() {
        let documents = Value::Array(mounted.iter().map(document).collect());
        return print(&format!("{}\n", indented(&documents))).map(|()| 0);
    }
    if let ([one], true) = (mounted.as_slice(), latest || names.len() == 1) {
        return print(&format!("{}\n", one.path.display())).map(|()| 0);
    }
    let id = |one: &MountedContainer| match flags.no_trunc {
        true => one.container.config.id.clone(),
        false => one.container.short_id().to_owned(),
    };
    let lines = mounted.iter().map(|one| format!("{} {}\n", id(one), one.path.display()));
    print(&lines.collect::<String>()).map(|()| 0)
}

/// As Podman writes it, capitals included.
fn document(mounted: &MountedContainer) -> Value {
    let config = &mounted.container.config;
    json!({ "id": config.id, "Names": [config.name], "mountpoint": mounted.path })
}

pub(super) fn run_unmount(globals: &Globals, flags: &UnmountFlags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    check_mounts_are_seen(globals.persona.name, "unmount")?;
    let ids = match flags.all {
        // Those that there are: of all others there is nothing to say.
        true => {
            flags.chosen.choice(true).ids(globals, &engine, |_| false)?;
            engine.mounted_containers().into_iter().map(|one| one.container.config.id).collect()
        }
        false => flags.chosen.choice(false).ids(globals, &engine, |_| true)?,
    };
    for_each(&ids, |name| match engine.unmount_container(name, flags.force)? {
        (id, true) => print(&format!("{id}\n")),
        (_, false) => Err(Error::Invalid(format!("{name}: container is not mounted"))),
    })
}
