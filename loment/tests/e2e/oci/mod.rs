//! What a specification can ask of `loment-runtime`, a file for each part of it.

mod annotations;
mod capabilities;
mod clocks;
mod delegation;
mod groups;
mod hooks;
mod joined;
mod killed;
mod listener;
mod mount_options;
mod mounts;
mod net_devices;
mod resctrl;
mod scheduling;
mod users;

use std::fs;
use std::path::{Path, PathBuf};

use loment_testkit::{Output, World};
use serde_json::Value;

use crate::runtime::{bundle, id, runtime};

/// Runs a container whose shell runs `script`, with the specification changed by `edit`.
fn run(world: &World, name: &str, script: &str, edit: impl FnOnce(&mut Value)) -> Output {
    let dir = bundle(world, script, edit);
    runtime(world, &["run", "--bundle", dir.to_str().unwrap(), &id(name)])
}

/// Control groups of that name, in any hierarchy.
fn groups(name: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).unwrap().flatten().map(|e| e.path()).chain([root.to_owned()]);
    hierarchies.map(|h| h.join(name)).filter(|g| g.exists()).collect()
}

/// The specification gets one more namespace.
fn add_namespace(config: &mut Value, namespace: Value) {
    config["linux"]["namespaces"].as_array_mut().unwrap().push(namespace);
}

/// Nothing of the container is left.
#[track_caller]
fn assert_gone(world: &World, name: &str) {
    runtime(world, &["state", &id(name)]).fails(1);
    assert_eq!(runtime(world, &["list"]).succeeds().lines().count(), 1);
}
