//! Control groups and rlimits.

use std::fs;
use std::path::PathBuf;

use loment_testkit::{World, skip};

use crate::{pid_of, sh, sleeper, world_with};

/// The directory of the container's group for a controller: its own v1 hierarchy, or the unified one.
fn group(world: &World, name: &str, controller: &str) -> Option<PathBuf> {
    let pid = pid_of(world, name);
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let mut fields = text.lines().map(|l| l.splitn(3, ':').collect::<Vec<_>>());
    let path = |f: Vec<&str>| f[2].trim_start_matches('/').to_owned();
    if let Some(v1) = fields.clone().find(|f| f[1].split(',').any(|c| c == controller)) {
        return Some(PathBuf::from("/sys/fs/cgroup").join(controller).join(path(v1)));
    }
    let v2 = fields.find(|f| f[0] == "0").map(path)?;
    let dir = PathBuf::from("/sys/fs/cgroup").join(v2);
    let controllers = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    controllers.split_whitespace().any(|c| c == controller).then_some(dir)
}

/// What the first of `files` that exists in the container's group holds.
fn setting(world: &World, name: &str, controller: &str, files: &[&str]) -> Option<String> {
    let dir = group(world, name, controller)?;
    let text = files.iter().find_map(|f| fs::read_to_string(dir.join(f)).ok());
    Some(text.unwrap_or_else(|| panic!("none of {files:?} in {}", dir.display())).trim().to_owned())
}

#[test]
fn limits_are_written_to_the_containers_group() {
    let (world, image) = world_with("busybox:latest");
    let flags =
        ["-m", "64m", "--memory-swap", "64m", "--cpus", "0.5", "--cpuset-cpus", "0", "--pids-limit", "33"];
    sleeper(&world, "c", &flags, &image);
    let wanted: [(&str, &[&str], &[&str]); 4] = [
        ("memory", &["memory.limit_in_bytes", "memory.max"], &["67108864"]),
        ("cpu", &["cpu.cfs_quota_us", "cpu.max"], &["50000", "50000 100000"]),
        ("cpuset", &["cpuset.cpus"], &["0"]),
        ("pids", &["pids.max"], &["33"]),
    ];
    for (controller, files, values) in wanted {
        match setting(&world, "c", controller, files) {
            Some(value) => assert!(values.contains(&value.as_str()), "{controller}: {value}"),
            None => skip(&format!("limit of {controller}"), "this machine has no such controller"),
        }
    }
}

#[test]
fn the_default_limit_of_processes_is_podmans() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "c", &[], &image);
    match setting(&world, "c", "pids", &["pids.max"]) {
        Some(value) => assert_eq!(value, "2048"),
        None => skip("the default limit of processes", "this machine has no pids controller"),
    }
}

#[test]
fn too_much_memory_ends_the_container_and_is_reported() {
    let (world, image) = world_with("busybox:latest");
    let script = "tail /dev/zero";
    let arguments = ["run", "--network", "none", "--name", "c", "-m", "16m", "--memory-swap", "16m", &image];
    let output = world.loment([&arguments, ["sh", "-c", script].as_slice()].concat());
    output.fails(137);
    assert_eq!(world.inspect("{{.State.OOMKilled}}", "c"), "true");
}

#[test]
fn more_processes_than_allowed_cannot_be_made() {
    let (world, image) = world_with("busybox:latest");
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done 2>&1; wait";
    let output =
        world.loment(["run", "--rm", "--network", "none", "--pids-limit", "4", &image, "sh", "-c", script]);
    assert!((output.stdout.clone() + &output.stderr).contains("can't fork"), "{output}");
}

#[test]
fn the_cpu_set_is_what_the_program_sees() {
    let (world, image) = world_with("busybox:latest");
    assert_eq!(
        sh(&world, &["--cpuset-cpus", "0"], &image, "grep Cpus_allowed_list /proc/self/status | cut -f2"),
        "0"
    );
}

#[test]
fn explicit_rlimits_apply_exactly_or_fail_by_name() {
    let (world, image) = world_with("busybox:latest");
    assert_eq!(sh(&world, &["--ulimit", "nofile=100:200"], &image, "ulimit -Sn; ulimit -Hn"), "100\n200");
    assert_eq!(sh(&world, &["--ulimit", "core=0"], &image, "ulimit -Hc"), "0");
    let too_much =
        ["run", "--rm", "--network", "none", "--ulimit", "nofile=2000000000:2000000000", &image, "true"];
    let output = world.loment(too_much);
    assert!(matches!(output.code, 125 | 126), "{output}");
    assert!(output.stderr.to_lowercase().contains("nofile"), "{output}");
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn groups_of_a_container_disappear_with_it() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "c", &[], &image);
    let dirs: Vec<_> =
        ["memory", "pids", "cpu", "freezer"].iter().filter_map(|c| group(&world, "c", c)).collect();
    assert!(dirs.iter().all(|d| d.exists()));
    world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    crate::eventually("the groups are gone", || dirs.iter().all(|d| !d.exists()));
}

#[test]
fn the_containers_group_is_the_root_of_what_it_sees() {
    let (world, image) = world_with("busybox:latest");
    let paths = sh(&world, &[], &image, "cut -d: -f3 /proc/self/cgroup | sort -u");
    assert_eq!(paths, "/");
}
