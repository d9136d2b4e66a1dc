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
pub(crate) fn setting(world: &World, name: &str, controller: &str, files: &[&str]) -> Option<String> {
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
fn every_limit_is_written_to_the_containers_group() {
    let (world, image) = world_with("busybox:latest");
    let flags = [
        "-m",
        "64m",
        "--memory-reservation",
        "32m",
        "-c",
        "512",
        "--cpu-period",
        "50000",
        "--cpu-quota",
        "20000",
        "--cpuset-mems",
        "0",
        "--device-cgroup-rule",
        "c 10:229 rw",
    ];
    sleeper(&world, "c", &flags, &image);
    let wanted: [(&str, &[&str], &[&str]); 5] = [
        ("memory", &["memory.soft_limit_in_bytes", "memory.low"], &["33554432"]),
        ("cpu", &["cpu.shares", "cpu.weight"], &["512", "59", "20"]),
        ("cpu", &["cpu.cfs_period_us", "cpu.max"], &["50000", "20000 50000"]),
        ("cpu", &["cpu.cfs_quota_us", "cpu.max"], &["20000", "20000 50000"]),
        ("cpuset", &["cpuset.mems"], &["0"]),
    ];
    for (controller, files, values) in wanted {
        match setting(&world, "c", controller, files) {
            Some(value) => assert!(values.contains(&value.as_str()), "{files:?}: {value}"),
            None => skip(&format!("limit of {controller}"), "this machine has no such controller"),
        }
    }
    match group(&world, "c", "devices") {
        Some(dir) => {
            let list = fs::read_to_string(dir.join("devices.list")).unwrap();
            assert!(list.lines().any(|line| line == "c 10:229 rw"), "{list}");
        }
        None => skip("rules of devices in a file", "this machine has no devices hierarchy"),
    }
    world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    let flags = ["--memory-swappiness", "7", "--oom-kill-disable", "-m", "64m"];
    if group_is_v1("memory") {
        sleeper(&world, "c", &flags, &image);
        assert_eq!(setting(&world, "c", "memory", &["memory.swappiness"]).unwrap(), "7");
        let oom = setting(&world, "c", "memory", &["memory.oom_control"]).unwrap();
        assert!(oom.starts_with("oom_kill_disable 1"), "{oom}");
        world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    } else {
        skip("limits of version 1", "this machine has control groups of version 2");
    }
    assert_eq!(world.leftovers(), [""; 0]);
}

fn group_is_v1(controller: &str) -> bool {
    PathBuf::from("/sys/fs/cgroup").join(controller).join("cgroup.procs").exists()
}

#[test]
fn limits_of_disks_are_written_to_the_containers_group() {
    let (world, image) = world_with("busybox:latest");
    let disk = fs::read_dir("/sys/block").unwrap().flatten().find_map(|entry| {
        let device = PathBuf::from("/dev").join(entry.file_name());
        let has_queue =
            entry.path().join("queue").exists() && !entry.file_name().to_string_lossy().starts_with("loop");
        (has_queue && device.exists()).then_some(device)
    });
    let Some(disk) = disk.filter(|_| group_is_v1("blkio")) else {
        return skip("limits of disks", "this machine has no disk, or no hierarchy of version 1 for them");
    };
    let disk = disk.display();
    let flags = [
        "--device-read-bps",
        &format!("{disk}:1m"),
        "--device-write-bps",
        &format!("{disk}:2mb"),
        "--device-read-iops",
        &format!("{disk}:100"),
        "--device-write-iops",
        &format!("{disk}:200"),
    ];
    sleeper(&world, "c", &flags, &image);
    for (file, value) in [
        ("blkio.throttle.read_bps_device", "1048576"),
        ("blkio.throttle.write_bps_device", "2097152"),
        ("blkio.throttle.read_iops_device", "100"),
        ("blkio.throttle.write_iops_device", "200"),
    ] {
        let written = setting(&world, "c", "blkio", &[file]).unwrap();
        assert!(written.ends_with(&format!(" {value}")), "{file}: {written}");
    }
    world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    for (flag, value) in [
        ("--device-read-bps", "/dev/null:1m"),
        ("--device-read-bps", "/dev/nothing:1m"),
        ("--blkio-weight", "5"),
        ("--device-cgroup-rule", "c 10"),
        ("--memory-swappiness", "101"),
        ("--cgroup-conf", "x"),
    ] {
        let refused = world.loment(["create", flag, value, &image, "true"]);
        assert!(!refused.fails(125).is_empty(), "{refused}");
    }
    world.loment(["create", "--cpus", "1", "--cpu-quota", "1000", &image, "true"]).fails(125);
    assert_eq!(world.leftovers(), [""; 0]);
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
