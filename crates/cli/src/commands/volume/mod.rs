//! `volume`

mod archive;
mod create;
mod inspect;
pub(super) mod list;
mod prune;
mod remove;

use clap::{CommandFactory, Parser};
use loment_engine::{Engine, StoredVolume};
use serde_json::{Value, json};

use super::parse;
use super::table::Command;
use crate::error::Error;
use crate::globals::Globals;

pub(super) use self::inspect::find;
pub(super) use self::prune::listed as pruned_list;

/// What can be done with volumes.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "volume create",
        about: "Make a volume and print its name",
        parser: create::Flags::command,
        run: |g, a| create::run(g, &parse(g, "volume create", a)?),
    },
    Command {
        name: "volume exists",
        about: "Check whether there is a volume",
        parser: ExistsFlags::command,
        run: |g, a| exists(g, &parse(g, "volume exists", a)?),
    },
    Command {
        name: "volume export",
        about: "Write the files of a volume as a tar",
        parser: archive::ExportFlags::command,
        run: |g, a| archive::run_export(g, &parse(g, "volume export", a)?),
    },
    Command {
        name: "volume import",
        about: "Unpack a tar in a volume, over what is there",
        parser: archive::ImportFlags::command,
        run: |g, a| archive::run_import(g, &parse(g, "volume import", a)?),
    },
    Command {
        name: "volume inspect",
        about: "Display what volumes are",
        parser: inspect::Flags::command,
        run: |g, a| inspect::run(g, &parse(g, "volume inspect", a)?),
    },
    Command {
        name: "volume ls",
        about: "List volumes",
        parser: list::Flags::command,
        run: |g, a| list::run(g, &parse(g, "volume ls", a)?),
    },
    Command {
        name: "volume mount",
        about: "Show volumes on this machine, and print where",
        parser: archive::MountFlags::command,
        run: |g, a| archive::run_mount(g, &parse(g, "volume mount", a)?),
    },
    Command {
        name: "volume prune",
        about: "Remove volumes that no container has",
        parser: prune::Flags::command,
        run: |g, a| prune::run(g, &parse(g, "volume prune", a)?),
    },
    Command {
        name: "volume reload",
        about: "Look for volumes of plugins: there are none",
        parser: archive::ReloadFlags::command,
        run: |g, a| archive::run_reload(g, &parse(g, "volume reload", a)?),
    },
    Command {
        name: "volume rm",
        about: "Remove volumes",
        parser: remove::Flags::command,
        run: |g, a| remove::run(g, &parse(g, "volume rm", a)?),
    },
    Command {
        name: "volume unmount",
        about: "Show volumes no longer on this machine",
        parser: archive::UnmountFlags::command,
        run: |g, a| archive::run_unmount(g, &parse(g, "volume unmount", a)?),
    },
];

/// Check whether there is a volume: status 0 if there is, 1 if not
#[derive(Parser, Debug)]
struct ExistsFlags {
    /// The volume
    #[arg(value_name = "VOLUME")]
    volume: String,
}

fn exists(globals: &Globals, flags: &ExistsFlags) -> Result<u8, Error> {
    match globals.engine()?.whole_volume(&flags.volume) {
        Err(loment_engine::Error::NoVolume { .. }) => Ok(1),
        Err(error) if !error.is_unreadable() => Err(error.into()),
        _ => Ok(0),
    }
}

/// Docker knows volumes by their whole names only.
fn exact(globals: &Globals, engine: &Engine, name: &str) -> Result<(), Error> {
    match engine.whole_volume(name) {
        Err(error @ loment_engine::Error::NoVolume { .. }) if globals.persona.docker_documents => {
            Err(error.into())
        }
        _ => Ok(()),
    }
}

/// A volume as Podman and Docker show it.
fn document(globals: &Globals, engine: &Engine, volume: &StoredVolume) -> Value {
    let mut document = json!({
        "Name": volume.name, "Driver": volume.driver, "Mountpoint": volume.mount_point(),
        "CreatedAt": volume.created, "Labels": volume.labels, "Scope": "local", "Options": volume.options,
    });
    if globals.persona.docker_documents {
        // Where there are none, it says so.
        for key in ["Labels", "Options"] {
            if document[key].as_object().is_some_and(serde_json::Map::is_empty) {
                document[key] = Value::Null;
            }
        }
        return document;
    }
    let running = engine.users_of_volume(&volume.name);
    let running = running.iter().filter(|id| engine.container(id).is_ok_and(|c| c.status.is_active()));
    document["MountCount"] = running.count().into();
    let fresh = volume.is_fresh();
    let more = [
        ("Anonymous", json!(volume.anonymous), volume.anonymous),
        ("UID", json!(volume.uid), volume.uid > 0),
        ("GID", json!(volume.gid), volume.gid > 0),
        ("NeedsCopyUp", json!(true), fresh && !volume.no_copy),
        ("NeedsChown", json!(true), fresh && !volume.owner_chosen),
    ];
    for (key, value, _) in more.into_iter().filter(|(.., shown)| *shown) {
        document[key] = value;
    }
    document
}

/// The same with every field that a template may name.
pub(super) fn full(mut document: Value) -> Value {
    let rest = [
        ("Anonymous", json!(false)),
        ("UID", json!(0)),
        ("GID", json!(0)),
        ("NeedsCopyUp", json!(false)),
        ("NeedsChown", json!(false)),
        ("MountCount", json!(0)),
        ("Status", json!({})),
        ("StorageID", json!("")),
        ("Timeout", json!(0)),
    ];
    for (key, value) in rest {
        if document.get(key).is_none() {
            document[key] = value;
        }
    }
    document
}
