//! `run.oci.delegate-cgroup`: a group below the container's own, which the container manages.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use loment_testkit::World;
use serde_json::{Value, json};

use super::{add_namespace, assert_gone, run};
use crate::runtime::{Guard, bundle, command, id};
use crate::unified::{VIEW, in_view};
use crate::{through, world};

const DELEGATE: &str = "run.oci.delegate-cgroup";

fn delegating(config: &mut Value, name: &str) {
    config["annotations"] = json!({ DELEGATE: name });
    add_namespace(config, json!({ "type": "cgroup" }));
    let mount = json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup" });
    config["mounts"].as_array_mut().unwrap().push(mount);
}

/// The host's directory of a group on v2.
fn group(name: &str) -> PathBuf {
    let hybrid = Path::new("/sys/fs/cgroup/unified");
    let root = if hybrid.exists() { hybrid } else { Path::new("/sys/fs/cgroup") };
    root.join(name)
}

/// A container that was started where there is v2 alone.
#[track_caller]
fn start<'w>(world: &'w World, test: &str, edit: impl FnOnce(&mut Value)) -> Guard<'w> {
    let dir = bundle(world, "sleep 1000", edit);
    let guard = Guard::of(world, test);
    let errors = world.path("errors");
    let mut create =
        through(&VIEW, &command(world, &["run", "--detach", "--bundle", dir.to_str().unwrap(), &guard.id]));
    create.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&errors).unwrap());
    assert!(create.status().unwrap().success(), "{}", fs::read_to_string(errors).unwrap());
    guard
}

#[track_caller]
fn exec(world: &World, guard: &Guard<'_>, script: &str) -> loment_testkit::Output {
    in_view(&command(world, &["exec", &guard.id, "/bin/sh", "-c", script]))
}

#[test]
fn the_program_runs_in_a_group_of_its_own_below_the_containers() {
    let world = world();
    let c = start(&world, "delegate", |config| {
        delegating(config, "inner/deep");
        config["linux"]["resources"] = json!({ "pids": null, "unified": { "cgroup.max.depth": "7" } });
    });
    let own = group(&format!("loment-{}", c.id));
    let member = fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap();
    assert!(member.contains(&format!("0::/loment-{}/inner/deep\n", c.id)), "{member}");
    assert_eq!(fs::read_to_string(own.join("cgroup.procs")).unwrap(), "");
    // Limits are the container's group's alone.
    assert_eq!(fs::read_to_string(own.join("cgroup.max.depth")).unwrap(), "7\n");
    assert_eq!(fs::read_to_string(own.join("inner/cgroup.max.depth")).unwrap(), "max\n");
    // Controllers are handed on, so nobody can be in the container's group itself: who enters is beside its program.
    let handed_on = fs::read_to_string(own.join("cgroup.subtree_control")).unwrap();
    let expected = if handed_on.trim().is_empty() { "0::/" } else { "0::/inner/deep" };
    assert_eq!(exec(&world, &c, "grep 0:: /proc/self/cgroup").succeeds(), expected);
    // The namespace's root is the container's group.
    let script = "cat /sys/fs/cgroup/cgroup.max.depth; ls -d /sys/fs/cgroup/inner/deep";
    assert_eq!(exec(&world, &c, script).succeeds(), "7\n/sys/fs/cgroup/inner/deep");
    drop(c);
    assert!(!own.exists());
}

#[test]
fn in_a_user_namespace_the_group_is_its_roots() {
    let world = world();
    let c = start(&world, "delegate-user", |config| {
        delegating(config, "inner");
        add_namespace(config, json!({ "type": "user" }));
        let mapping = json!([{ "containerID": 0, "hostID": 100_000, "size": 10 }]);
        (config["linux"]["uidMappings"], config["linux"]["gidMappings"]) = (mapping.clone(), mapping);
        fs::create_dir_all(world.path("bundle").join("rootfs/sys/fs/cgroup")).unwrap();
    });
    let inner = group(&format!("loment-{}", c.id)).join("inner");
    let owner = |file: &str| fs::metadata(inner.join(file)).unwrap().uid();
    assert_eq!(
        (owner("."), owner("cgroup.procs"), owner("cgroup.subtree_control")),
        (100_000, 100_000, 100_000)
    );
    assert_eq!(owner("cgroup.max.depth"), 0, "a limit is not the container's to change");
    let script = "cd /sys/fs/cgroup/inner && mkdir mine && echo $$ > mine/cgroup.procs && grep 0:: /proc/self/cgroup; \
                  (echo 1 > cgroup.max.depth) 2>/dev/null || echo refused";
    assert_eq!(exec(&world, &c, script).succeeds(), "0::/inner/mine\nrefused");
}

#[test]
fn crun_1_28_names_that_climb_are_refused() {
    for name in ["..", "../outside", "a/../../b", "a/..", ".", "a//b", "a\nb", "/"] {
        let world = world();
        let output = run(&world, "climb", "echo never", |config| delegating(config, name));
        output.fails_saying(1, &[DELEGATE]);
        assert_gone(&world, "climb");
    }
}

#[test]
fn crun_1_29_who_enters_does_not_follow_the_program_out_of_its_group() {
    let world = world();
    let c = start(&world, "follow", |config| delegating(config, "inner"));
    let own = group(&format!("loment-{}", c.id));
    if fs::read_to_string(own.join("cgroup.subtree_control")).unwrap().trim().is_empty() {
        println!("skipped: a group that nobody can join, because v2 has no controller here");
        return;
    }
    // Its name begins as the container's group's does.
    let outside = group(&format!("loment-{}-outside", c.id));
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("cgroup.procs"), c.pid().to_string()).unwrap();
    let output = exec(&world, &c, "grep 0:: /proc/self/cgroup");
    drop(c);
    fs::remove_dir(&outside).unwrap();
    output.fails_saying(255, &["resource busy"]);
}

#[test]
fn v1_groups_are_not_delegated() {
    if !Path::new("/sys/fs/cgroup/memory").exists() {
        println!("skipped: delegation on cgroup v1, because this machine has v2 alone");
        return;
    }
    let world = world();
    let output = run(&world, "v1", "echo never", |config| delegating(config, "inner"));
    output.fails_saying(1, &[DELEGATE, "not supported on cgroup v1"]);
    assert_gone(&world, "v1");
    assert!(super::groups(&format!("loment-{}", id("v1"))).is_empty());
}
