//! `container checkpoint` and `container restore`.

use std::fs;

use loment_testkit::{Output, World};
use serde_json::Value;

use super::kernel_has;
use crate::{eventually, world};

/// Counts where it can be seen, and says so.
const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i >/dev/shm/count; echo said $i; sleep 0.1; done";

#[track_caller]
fn start(world: &World, fs: &str, flags: &[&str]) {
    let words =
        [&["run", "-d", "--network", "none", "--name", "c"], flags, &["--rootfs", fs, "sh", "-c", COUNT]]
            .concat();
    world.loment(words).succeeds();
}

/// What CRIU says went wrong, for a test that fails.
pub(super) fn logs(world: &World) -> String {
    let mut text = String::new();
    for container in fs::read_dir(world.root().join("containers")).into_iter().flatten().flatten() {
        for log in ["dump.log", "restore.log"] {
            text += &fs::read_to_string(container.path().join("checkpoint").join(log)).unwrap_or_default();
        }
    }
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

#[track_caller]
fn works(world: &World, words: &[&str]) -> Output {
    let output = world.loment([&["container"], words].concat());
    assert_eq!(output.code, 0, "{output}\n{}", logs(world));
    output
}

fn count(world: &World) -> u64 {
    let read = || world.loment(["exec", "c", "cat", "/dev/shm/count"]).stdout.trim().parse().ok();
    (0..50).find_map(|_| read()).unwrap_or_default()
}

fn state(world: &World) -> String {
    let template = "{{.State.Status}} {{.State.Running}} {{.State.Checkpointed}} {{.State.Restored}}";
    world.inspect(template, "c")
}

#[track_caller]
fn remove(world: &World) {
    world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_goes_on_where_it_was_again_and_again() {
    let (world, fs) = world();
    // It would be started again, if that were an end.
    start(&world, &fs, &["--restart", "always", "-v", "data:/data", "--memory", "64m"]);
    let mut before = 0;
    for _ in 0..2 {
        eventually("it counts", || count(&world) > before + 3);
        before = count(&world);
        assert_eq!(works(&world, &["checkpoint", "c"]).succeeds(), "c");
        assert_eq!(state(&world), "exited false true false");
        let said = world.loment(["logs", "c"]).succeeds().lines().count();
        assert_eq!(works(&world, &["restore", "c"]).succeeds(), "c");
        assert_eq!(state(&world), "running true false true");
        eventually("it counts on", || count(&world) > before + 3);
        assert!(count(&world) < before + 1000);
        eventually("it is heard", || world.loment(["logs", "c"]).succeeds().lines().count() > said);
    }
    // As any other.
    assert_eq!(world.inspect("{{.HostConfig.Memory}}", "c"), (64 << 20).to_string());
    world.loment(["pause", "c"]).succeeds();
    world.loment(["unpause", "c"]).succeeds();
    world.loment(["stop", "-t", "0", "c"]).succeeds();
    assert_eq!(world.inspect("{{.State.Status}}", "c"), "exited");
    // What was used is gone.
    let none = world.loment(["container", "restore", "c"]);
    none.fails_saying(125, &["a checkpoint for this container cannot be found, cannot restore"]);
    // And it begins anew.
    world.loment(["start", "c"]).succeeds();
    eventually("it counts", || count(&world) > 0);
    assert_eq!(state(&world), "running true false false");
    remove(&world);
    world.loment(["volume", "rm", "data"]).succeeds();
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_may_go_on_while_it_is_saved_and_be_restored_more_than_once() {
    let (world, fs) = world();
    start(&world, &fs, &["-t"]);
    eventually("it counts", || count(&world) > 3);
    works(&world, &["checkpoint", "--leave-running", "--keep", "--all"]);
    assert_eq!(state(&world), "running true false false");
    let saved = count(&world);
    eventually("it counts on", || count(&world) > saved);
    world.loment(["container", "restore", "c"]).fails_saying(125, &["cannot restore container"]);
    world.loment(["stop", "-t", "0", "c"]).succeeds();
    for flags in [&["--keep"][..], &["--print-stats"]] {
        let restored = works(&world, &[&["restore"], flags, &["--all"]].concat());
        if flags == ["--print-stats"] {
            let document: Value = serde_json::from_str(restored.succeeds()).unwrap();
            assert!(document["podman_restore_duration"].as_u64().unwrap() > 0);
            let of = &document["container_statistics"][0]["criu_statistics"];
            assert!(of["pages_restored"].as_u64().unwrap() > 0, "{document}");
        }
        eventually("it counts on", || count(&world) > saved);
        world.loment(["stop", "-t", "0", "c"]).succeeds();
    }
    world.loment(["container", "restore", "c"]).fails(125);
    remove(&world);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn what_cannot_be_saved_is_refused_and_goes_on() {
    let (world, fs) = world();
    start(&world, &fs, &["--rm"]);
    world.loment(["container", "checkpoint", "c"]).fails_saying(125, &["--rm"]);
    eventually("it counts", || count(&world) > 3);
    world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    start(&world, &fs, &["--uidmap", "0:0:65536"]);
    world.loment(["container", "checkpoint", "c"]).fails_saying(125, &["users of its own"]);
    eventually("it counts", || count(&world) > 3);
    world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    world.loment(["create", "--network", "none", "--name", "c", "--rootfs", &fs, "true"]).succeeds();
    world.loment(["container", "checkpoint", "c"]).fails_saying(125, &["not running, cannot checkpoint"]);
    world.loment(["container", "checkpoint", "--ignore-rootfs", "c"]).fails_saying(125, &["--export"]);
    world.loment(["container", "restore", "--name", "x", "c"]).fails_saying(125, &["--import"]);
    remove(&world);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn memory_may_be_saved_before_the_rest() {
    if !kernel_has("mem_dirty_track") {
        return loment_testkit::skip(
            "memory before the rest",
            "this kernel does not track which pages are written",
        );
    }
    let (world, fs) = world();
    start(&world, &fs, &[]);
    world.loment(["container", "checkpoint", "--with-previous", "c"]).fails(125);
    eventually("it counts", || count(&world) > 3);
    works(&world, &["checkpoint", "--pre-checkpoint", "c"]);
    let before = count(&world);
    eventually("it counts on", || count(&world) > before + 3);
    let saved = works(&world, &["checkpoint", "--with-previous", "--print-stats", "c"]);
    let document: Value = serde_json::from_str(saved.succeeds()).unwrap();
    assert!(document["container_statistics"][0]["criu_statistics"]["frozen_time"].as_u64().unwrap() > 0);
    works(&world, &["restore", "c"]);
    eventually("it counts on", || count(&world) > before + 6);
    remove(&world);
}
