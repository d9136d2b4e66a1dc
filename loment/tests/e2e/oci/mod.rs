//! What a specification can ask of `loment-runtime`, a file for each part of it.

mod clocks;
mod groups;
mod hooks;
mod killed;
mod listener;
mod scheduling;
mod users;

use loment_testkit::{Output, World};
use serde_json::Value;

use crate::runtime::{bundle, id, runtime};

/// Runs a container whose shell runs `script`, with the specification changed by `edit`.
fn run(world: &World, name: &str, script: &str, edit: impl FnOnce(&mut Value)) -> Output {
    let dir = bundle(world, script, edit);
    runtime(world, &["run", "--bundle", dir.to_str().unwrap(), &id(name)])
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
