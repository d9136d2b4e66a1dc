//! `loment-runtime`: the command line of an OCI runtime.

use std::fs;
use std::path::PathBuf;

use loment_testkit::{Output, World, busybox_rootfs};
use serde_json::{Value, json};

use crate::{eventually, world};

/// A bundle whose process is busybox's shell with this script, changed by `edit`.
pub(crate) fn bundle(world: &World, script: &str, edit: impl FnOnce(&mut Value)) -> PathBuf {
    let dir = world.path("bundle");
    fs::create_dir_all(&dir).unwrap();
    busybox_rootfs(&dir.join("rootfs"));
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": ["/bin/sh", "-c", script],
            "env": ["PATH=/bin"],
            "cwd": "/",
        },
        "root": { "path": "rootfs" },
        "hostname": "bundle",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
        ],
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "mount" }, { "type": "uts" }, { "type": "ipc" }, { "type": "network" },
            ],
        },
    });
    edit(&mut config);
    fs::write(dir.join("config.json"), serde_json::to_vec(&config).unwrap()).unwrap();
    dir
}

pub(crate) fn runtime(world: &World, arguments: &[&str]) -> Output {
    let root = world.dir().join("runtime");
    let root = root.to_str().unwrap().to_owned();
    world.named("loment-runtime", [&["--root", root.as_str()], arguments].concat())
}

pub(crate) fn state(world: &World, id: &str) -> String {
    let output = runtime(world, &["state", id]);
    let state: Value = serde_json::from_str(output.succeeds()).unwrap();
    state["status"].as_str().unwrap().to_owned()
}

/// Ids are unique on the host, because control groups are.
pub(crate) fn id(test: &str) -> String {
    format!("test-{test}-{}", std::process::id())
}

#[test]
fn run_does_it_all() {
    let world = world();
    let dir = bundle(&world, "echo $$; hostname; exit 3", |_| ());
    let output = runtime(&world, &["run", "--bundle", dir.to_str().unwrap(), &id("run")]);
    assert_eq!(output.code, 3, "{output}");
    assert_eq!(output.stdout, "1\nbundle\n");
    runtime(&world, &["state", &id("run")]).fails(1);
}

#[test]
fn create_start_kill_and_delete_follow_the_specification() {
    let world = world();
    let dir = bundle(&world, "trap 'exit 0' TERM; while :; do sleep 0.05; done", |_| ());
    let id = id("life");
    // The container inherits our streams; a pipe would stay open.
    let mut create = std::process::Command::new("sh");
    create
        .args(["-c", "exec \"$@\" >/dev/null 2>&1 </dev/null", "sh"])
        .arg(world.dir().join("loment-runtime"));
    runtime(&world, &["--version"]).succeeds();
    create.arg("--root").arg(world.dir().join("runtime")).args(["create", "--bundle"]).arg(&dir).arg(&id);
    loment_testkit::run(&mut create, loment_testkit::Patience::NORMAL).succeeds();
    assert_eq!(state(&world, &id), "created");
    runtime(&world, &["start", &id]).succeeds();
    assert_eq!(state(&world, &id), "running");
    runtime(&world, &["start", &id]).fails(1);
    runtime(&world, &["delete", &id]).fails(1);
    assert_eq!(
        runtime(&world, &["exec", &id, "/bin/sh", "-c", "echo $$ >/dev/null; echo in"]).succeeds(),
        "in"
    );
    runtime(&world, &["kill", &id, "KILL"]).succeeds();
    eventually("it stops", || state(&world, &id) == "stopped");
    runtime(&world, &["delete", &id]).succeeds();
    runtime(&world, &["state", &id]).fails(1);
}

#[test]
fn a_bundle_without_a_program_fails_and_leaves_nothing() {
    let world = world();
    let dir = bundle(&world, "true", |config| config["process"]["args"] = json!(["/no/such/program"]));
    let output = runtime(&world, &["run", "--bundle", dir.to_str().unwrap(), &id("missing")]);
    assert_ne!(output.code, 0);
    assert!(output.stderr.to_lowercase().contains("no such file or directory"), "{output}");
    runtime(&world, &["state", &id("missing")]).fails(1);
    assert_eq!(runtime(&world, &["list"]).succeeds().lines().count(), 1);
}

#[test]
fn invalid_ids_and_bundles_are_refused() {
    let world = world();
    let dir = bundle(&world, "true", |_| ());
    let dir = dir.to_str().unwrap();
    for bad in ["../x", "a/b", "", ".", "a b"] {
        let output = runtime(&world, &["run", "--bundle", dir, bad]);
        assert_eq!(output.code, 1, "{output}");
    }
    runtime(&world, &["run", "--bundle", "/no/such/bundle", &id("none")]).fails(1);
}
