//! Hooks that the command line runs: after the start, and after the end.

use std::fs;
use std::path::Path;

use loment_testkit::World;
use serde_json::{Value, json};

use super::{Guard, bundle, id, runtime};
use crate::{eventually, world};

/// A hook that writes its input to a file of that name, and ends with that status.
fn hook(world: &World, name: &str, status: i32) -> Value {
    let file = world.path(name);
    let script = format!("cat > {0}.new; mv {0}.new {0}; exit {status}", file.display());
    json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] }])
}

fn said(world: &World, name: &str) -> Value {
    serde_json::from_slice(&fs::read(world.path(name)).unwrap()).unwrap()
}

fn with_hooks(world: &World, script: &str, failing: &str) -> std::path::PathBuf {
    bundle(world, script, |c| {
        for kind in ["poststart", "poststop"] {
            c["hooks"][kind] = hook(world, kind, i32::from(kind == failing));
        }
    })
}

#[test]
fn poststart_and_poststop_are_told_of_the_container() {
    let world = world();
    let dir = with_hooks(&world, "trap 'exit 0' TERM; while :; do sleep 0.05; done", "");
    let c = Guard::create(&world, "hooks", &dir);
    assert!(!world.path("poststart").exists());
    let pid = c.pid();
    runtime(&world, &["start", &c.id]).succeeds();
    let state = said(&world, "poststart");
    assert_eq!((state["status"].as_str(), state["id"].as_str()), (Some("running"), Some(c.id.as_str())));
    assert_eq!((state["pid"].as_i64(), state["bundle"].as_str()), (Some(pid), dir.to_str()));
    runtime(&world, &["kill", &c.id, "KILL"]).succeeds();
    eventually("it stops", || c.status() == "stopped");
    assert!(!world.path("poststop").exists());
    runtime(&world, &["delete", &c.id]).succeeds();
    assert_eq!(said(&world, "poststop")["status"], "stopped");
    assert!(!world.dir().join("runtime").join(&c.id).exists());
}

#[test]
fn run_runs_both() {
    let world = world();
    let dir = with_hooks(&world, "exit 6", "");
    assert_eq!(runtime(&world, &["run", "--bundle", dir.to_str().unwrap(), &id("both")]).code, 6);
    assert_eq!(said(&world, "poststart")["status"], "running");
    assert_eq!(said(&world, "poststop")["status"], "stopped");
}

#[test]
fn a_failing_poststart_stops_the_container() {
    let world = world();
    let dir = with_hooks(&world, "sleep 60", "poststart");
    let c = Guard::create(&world, "failing", &dir);
    runtime(&world, &["start", &c.id]).fails_saying(1, &["poststart", "exit status 1"]);
    eventually("it stops", || c.status() == "stopped");
    let output = runtime(&world, &["run", "--bundle", dir.to_str().unwrap(), &id("failing-run")]);
    output.fails_saying(1, &["poststart", "exit status 1"]);
    runtime(&world, &["state", &id("failing-run")]).fails(1);
}

#[test]
fn a_failing_poststop_is_only_said() {
    let world = world();
    let dir = with_hooks(&world, "exit 0", "poststop");
    let output = runtime(&world, &["run", "--bundle", dir.to_str().unwrap(), &id("warned")]);
    assert_eq!(output.code, 0, "{output}");
    assert!(output.stderr.contains("warning: run poststop hook"), "{output}");
}

#[test]
fn a_failed_creation_ends_with_poststop() {
    let world = world();
    let dir = bundle(&world, "true", |c| {
        c["process"]["args"] = json!(["/no/such/program"]);
        c["hooks"]["poststop"] = hook(&world, "poststop", 0);
    });
    runtime(&world, &["run", "--bundle", dir.to_str().unwrap(), &id("uncreated")]).fails(1);
    assert_eq!(said(&world, "poststop")["status"], "stopped");
    assert!(!Path::new(&world.dir().join("runtime").join(id("uncreated"))).exists());
}

#[test]
fn a_hook_during_creation_sees_the_container_being_created() {
    let world = world();
    runtime(&world, &["--version"]).succeeds();
    let (file, own) = (world.path("status"), world.dir().join("loment-runtime"));
    let c = Guard::of(&world, "creating");
    let script = format!(
        "{} --root {} state {} > {}",
        own.display(),
        world.dir().join("runtime").display(),
        c.id,
        file.display()
    );
    let dir = bundle(&world, "true", |config| {
        config["hooks"]["createRuntime"] = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
    });
    let output = super::silently(&world, &["create", "--bundle", dir.to_str().unwrap(), &c.id]);
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(said(&world, "status")["status"], "creating");
    assert_eq!(c.status(), "created");
}
