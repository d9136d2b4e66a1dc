//! Limits are in the group of the container, and hold.

use std::fs;

use loment_testkit::World;
use serde_json::json;

use crate::{Running, bundle, eventually, group, runtime, setting, sh, sleeper, world};

const MEBIBYTE: u64 = 1 << 20;

/// The limits of 64 MiB of memory, of 32 MiB of swap besides, half a CPU, the second CPU and 33 processes.
#[track_caller]
fn are_there(pid: u32) {
    assert_eq!(setting(pid, "memory", &["memory.limit_in_bytes", "memory.max"]), (64 * MEBIBYTE).to_string());
    let swap = setting(pid, "memory", &["memory.memsw.limit_in_bytes", "memory.swap.max"]);
    // v1 counts memory and swap together.
    assert!([96 * MEBIBYTE, 32 * MEBIBYTE].map(|s| s.to_string()).contains(&swap), "{swap}");
    let cpu = setting(pid, "cpu", &["cpu.cfs_quota_us", "cpu.max"]);
    assert!(["50000", "50000 100000"].contains(&cpu.as_str()), "{cpu}");
    assert_eq!(setting(pid, "cpuset", &["cpuset.cpus"]), "1");
    assert_eq!(setting(pid, "pids", &["pids.max"]), "33");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn flags_of_run_are_written_to_the_containers_group() {
    let (world, fs) = world();
    let memory = ["--memory", "64m", "--memory-swap", "96m"];
    let others = ["--cpus", "0.5", "--cpuset-cpus", "1", "--pids-limit", "33"];
    are_there(sleeper(&world, &[memory.as_slice(), &others].concat(), &fs));
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn resources_of_a_bundle_are_written_to_the_containers_group() {
    let (world, fs) = world();
    let resources = json!({
        "memory": { "limit": 64 * MEBIBYTE, "swap": 96 * MEBIBYTE, "reservation": 16 * MEBIBYTE },
        "cpu": { "quota": 50000, "period": 100_000, "shares": 512, "cpus": "1", "mems": "0" },
        "pids": { "limit": 33 },
    });
    let (_container, pid) = Running::with(&world, &fs, &resources);
    are_there(pid);
    let reservation = setting(pid, "memory", &["memory.soft_limit_in_bytes", "memory.low"]);
    assert_eq!(reservation, (16 * MEBIBYTE).to_string());
    let shares = setting(pid, "cpu", &["cpu.shares", "cpu.weight"]);
    // The quadratic of runc 1.3.2 and crun 1.23 for 512.
    assert!(["512", "59"].contains(&shares.as_str()), "{shares}");
    assert_eq!(setting(pid, "cpuset", &["cpuset.mems"]), "0");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn without_flags_only_processes_are_limited() {
    let (world, fs) = world();
    let pid = sleeper(&world, &[], &fs);
    assert_eq!(setting(pid, "pids", &["pids.max"]), "2048");
    let memory = setting(pid, "memory", &["memory.limit_in_bytes", "memory.max"]);
    assert!(memory == "max" || memory.parse::<u64>().is_ok_and(|m| m > 1 << 60), "{memory}");
    let cpu = setting(pid, "cpu", &["cpu.cfs_quota_us", "cpu.max"]);
    assert!(["-1", "max 100000"].contains(&cpu.as_str()), "{cpu}");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn too_much_memory_ends_the_container_and_is_reported() {
    let (world, fs) = world();
    let head = ["run", "--network", "none", "--name", "c", "-m", "16m", "--memory-swap", "16m"];
    let output = world.loment([head.as_slice(), &["--rootfs", &fs, "tail", "/dev/zero"]].concat());
    output.fails(137);
    assert_eq!(world.inspect("{{.State.OOMKilled}} {{.State.ExitCode}}", "c"), "true 137");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_program_killed_by_somebody_has_not_run_out_of_memory() {
    let (world, fs) = world();
    sleeper(&world, &["-m", "64m"], &fs);
    world.loment(["kill", "--signal", "KILL", "c"]).succeeds();
    assert_eq!(world.loment(["wait", "c"]).succeeds(), "137");
    assert_eq!(world.inspect("{{.State.OOMKilled}}", "c"), "false");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn too_much_memory_ends_a_bundles_program() {
    let (world, fs) = world();
    let resources = json!({ "memory": { "limit": 16 * MEBIBYTE, "swap": 16 * MEBIBYTE } });
    // /dev of this bundle is the root file system's own, and empty.
    let dir = bundle(&world, &fs, "x=$(yes)", &resources);
    runtime(&world, &["run", "--bundle", &dir, crate::ID]).fails(137);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_starts_with_one_mebibyte_of_memory() {
    let (world, fs) = world();
    let resources = json!({ "memory": { "limit": MEBIBYTE } });
    let dir = bundle(&world, &fs, "exit 7", &resources);
    runtime(&world, &["run", "--bundle", &dir, crate::ID]).fails(7);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn more_processes_than_allowed_cannot_be_made() {
    let (world, fs) = world();
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done 2>&1; wait";
    let output = sh(&world, &["--pids-limit", "4"], &fs, script);
    assert!((output.stdout.clone() + &output.stderr).contains("can't fork"), "{output}");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn the_cpu_set_is_what_the_program_sees() {
    let (world, fs) = world();
    let script = "grep Cpus_allowed_list /proc/self/status | cut -f2";
    assert_eq!(sh(&world, &["--cpuset-cpus", "1"], &fs, script).succeeds(), "1");
    assert_eq!(sh(&world, &[], &fs, script).succeeds(), "0-1");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn half_a_cpu_is_no_more() {
    let (world, fs) = world();
    let pid = sleeper(&world, &["--cpus", "0.5"], &fs);
    world.loment(["exec", "--detach", "c", "sh", "-c", "while :; do :; done"]).succeeds();
    eventually("it has been held back", || throttled(pid) > 0);
}

/// How often the process's group had to wait for its next period.
fn throttled(pid: u32) -> u64 {
    let text = setting(pid, "cpu", &["cpu.stat"]);
    text.lines().find_map(|l| l.strip_prefix("nr_throttled ")?.parse().ok()).unwrap_or(0)
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_device_that_was_not_given_cannot_be_used_even_when_it_is_made() {
    let (world, fs) = world();
    // The kernel's log and the machine's disk, beside a device that is given to all.
    let script = "mknod /k c 1 11 && mknod /d b 254 0 && mknod /z c 1 5
        for f in k d z; do head -c 1 /$f >/dev/null 2>/said && echo $f is open; cat /said; done; true";
    let said = |flags: &[&str]| sh(&world, flags, &format!("{fs}:O"), script).succeeds().to_owned();
    let default = said(&["--cap-add", "mknod"]);
    assert!(default.contains("z is open"), "{default}");
    assert_eq!(default.matches("Operation not permitted").count(), 2, "{default}");
    let privileged = said(&["--privileged"]);
    assert!(!privileged.contains("Operation not permitted"), "{privileged}");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_device_can_be_given_for_reading_only() {
    let (world, fs) = world();
    let script = "head -c 1 /dev/mine | wc -c; true >>/dev/mine; echo end";
    let said = |access: &str| {
        let device = format!("/dev/vda:/dev/mine:{access}");
        let output = sh(&world, &["--device", &device], &fs, &format!("({script}) 2>&1"));
        output.succeeds().to_owned()
    };
    let read_only = said("r");
    assert!(read_only.starts_with("1\n") && read_only.contains("Operation not permitted"), "{read_only}");
    assert_eq!(said("rw"), "1\nend");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn what_cannot_be_written_is_an_error_and_leaves_nothing() {
    let (world, fs) = world();
    let output = sh(&world, &["--cpuset-cpus", "4000"], &fs, "true");
    assert!(matches!(output.code, 125 | 126), "{output}");
    assert!(output.stderr.contains("cpuset.cpus"), "{output}");
    assert_eq!(world.leftovers(), [""; 0]);
    assert_eq!(groups_left(&world), [""; 0]);
}

/// Groups of loment's own that are left in any hierarchy while no container runs.
pub(crate) fn groups_left(world: &World) -> Vec<String> {
    let own = group(std::process::id(), "memory");
    assert!(own.starts_with("/sys/fs/cgroup"), "{}: {}", world.dir().display(), own.display());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let cgroups =
        mounts.lines().map(|l| l.split(' ').collect::<Vec<_>>()).filter(|f| f[2].starts_with("cgroup"));
    let mut left = Vec::new();
    for mount in cgroups {
        let entries = fs::read_dir(mount[1]).unwrap().flatten();
        let names = entries.map(|e| e.file_name().to_string_lossy().into_owned());
        left.extend(names.filter(|n| n.starts_with("loment-")).map(|n| format!("{}/{n}", mount[1])));
    }
    left
}
