//! Classes of caches and memory bandwidth, on a machine that has none. What is done where there are some is tested in
//! `loment-runtime`, on a directory.

use std::fs;

use serde_json::json;

use super::{assert_gone, run};
use crate::runtime::{Guard, bundle, runtime};
use crate::world;

#[test]
fn without_resctrl_a_container_that_needs_it_is_refused() {
    if fs::read_to_string("/proc/filesystems").unwrap().contains("resctrl") {
        println!("skipped: containers that need resctrl are refused, because this machine has it");
        return;
    }
    for asked in [
        json!({}),
        json!({ "closID": "/" }),
        json!({ "closID": "gold", "schemata": ["L3:0=f"], "enableMonitoring": true }),
    ] {
        let world = world();
        let output = run(&world, "resctrl", "true", |config| config["linux"]["intelRdt"] = asked);
        assert_eq!(output.code, 1, "{output}");
        let expected = "loment-runtime: error: linux.intelRdt: this kernel has no resctrl file system, or the processor nothing \
                        that it controls";
        assert_eq!(output.stderr.trim(), expected);
        assert_gone(&world, "resctrl");
        let groups = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
        let name = format!("loment-{}", crate::runtime::id("resctrl"));
        assert!(!groups.into_iter().any(|g| g.path().join(&name).exists()), "{name} is left");
    }
    let world = world();
    let output =
        run(&world, "resctrl-bad", "true", |c| c["linux"]["intelRdt"] = json!({ "closID": "../tasks" }));
    assert!(
        output.stderr.contains(r#"invalid linux.intelRdt.closID: "../tasks" is not a name of a class"#),
        "{output}"
    );
}

#[test]
fn a_container_without_a_class_has_none_to_update() {
    let world = world();
    let dir = bundle(&world, "sleep 1000", |_| ());
    let container = Guard::start(&world, "resctrl-update", &dir);
    for flag in ["--l3-cache-schema=L3:0=f", "--mem-bw-schema=MB:0=20"] {
        let output = runtime(&world, &["update", flag, &container.id]);
        assert_eq!(output.code, 1, "{output}");
        assert!(
            output.stderr.contains("has no class of resctrl: it was made without linux.intelRdt"),
            "{output}"
        );
    }
}
