//! Control groups from a specification.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{assert_gone, groups, run};
use crate::runtime::{Guard, bundle, id};
use crate::world;

/// Whether this machine has a v1 hierarchy, or v2 with that controller.
fn has(controller: &str) -> bool {
    let v2 = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    Path::new("/sys/fs/cgroup").join(controller).exists() || v2.split_whitespace().any(|c| c == controller)
}

#[test]
fn a_mebibyte_of_memory_is_enough() {
    if !has("memory") {
        println!("skipped: a container in 1 MiB, because there is no memory controller");
        return;
    }
    let world = world();
    let output = run(&world, "small", "echo enough", |config| {
        config["linux"]["resources"] = json!({ "memory": { "limit": 1 << 20 } });
    });
    assert_eq!(output.succeeds(), "enough");
}

#[test]
fn the_configured_path_is_used_and_removed() {
    let world = world();
    let name = format!("loment-test-{}", id("path"));
    let output = run(&world, "path", "cat /proc/self/cgroup", |config| {
        config["linux"]["cgroupsPath"] = json!(format!("/{name}/inner"));
    });
    let text = output.succeeds();
    assert!(text.lines().all(|line| line.ends_with(&format!("/{name}/inner"))), "{text}");
    let left = groups(&name);
    let inner = left.iter().filter(|g| g.join("inner").exists()).count();
    // Its parents may be somebody else's by now.
    left.iter().for_each(|g| fs::remove_dir(g).unwrap());
    assert_eq!(inner, 0);
}

#[test]
fn paths_that_climb_are_refused() {
    for path in ["../outside", "/a/../../b", "a/./b", "..", "a\nb"] {
        let world = world();
        let output = run(&world, "climb", "true", |config| config["linux"]["cgroupsPath"] = json!(path));
        assert_ne!(output.code, 0, "{path:?}");
        assert!(output.stderr.contains("invalid cgroup path"), "{output}");
        assert_gone(&world, "climb");
    }
}

#[test]
fn limits_that_cannot_be_had_leave_nothing() {
    let cases = [
        (json!({ "unified": { "nonesuch.max": "1" } }), "nonesuch"),
        (json!({ "cpu": { "cpus": "4095" } }), "4095"),
        (json!({ "hugepageLimits": [{ "pageSize": "../2MB", "limit": 1 }] }), "../2MB"),
        (json!({ "devices": [{ "allow": true, "access": "rwx" }] }), "rwx"),
    ];
    for (resources, part) in cases {
        let world = world();
        let output = run(&world, "odd", "true", |config| config["linux"]["resources"] = resources);
        assert_ne!(output.code, 0, "{part}");
        assert!(output.stderr.contains(part) || output.stderr.contains("not available"), "{part}: {output}");
        assert_gone(&world, "odd");
        assert_eq!(groups(&format!("loment-{}", id("odd"))), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_group_in_use_is_refused_and_nobody_in_it_is_hurt() {
    let first = world();
    let path = format!("/loment-test-{}", id("shared"));
    let dir = bundle(&first, "sleep 1000", |config| config["linux"]["cgroupsPath"] = json!(path));
    let owner = Guard::start(&first, "shared", &dir);
    let second = world();
    let output =
        run(&second, "intruder", "echo never", |config| config["linux"]["cgroupsPath"] = json!(path));
    assert_ne!(output.code, 0);
    assert!(output.stderr.contains("already exists"), "{output}");
    assert_eq!(owner.status(), "running");
    assert_gone(&second, "intruder");
}
