//! Groups of containers beside those that systemd manages.

use std::fs;
use std::path::Path;
use std::process::Command;

use loment_testkit::{Patience, World, run};

use crate::{eventually, group, setting, sleeper, world};

/// `systemctl ARGUMENTS`.
#[track_caller]
pub(crate) fn systemctl(arguments: &[&str]) {
    run(Command::new("systemctl").args(arguments), Patience::NORMAL).succeeds();
}

/// Whether the process is there and more than a zombie.
pub(crate) fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

/// A unit that is stopped whatever happens.
struct Unit(&'static str);

impl Drop for Unit {
    fn drop(&mut self) {
        // One that is gone is what is wanted.
        drop(Command::new("systemctl").args(["stop", self.0]).output());
    }
}

impl Unit {
    /// A service that runs `command` and goes on when that has ended.
    #[track_caller]
    fn start(name: &'static str, command: &Command) -> Self {
        let mut start = Command::new("systemd-run");
        start.args([
            "--quiet",
            "--collect",
            "--unit",
            name,
            "--property=Type=oneshot",
            "--remain-after-exit",
        ]);
        start.arg(command.get_program()).args(command.get_args());
        run(&mut start, Patience::NORMAL).succeeds();
        Self(name)
    }
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_outlives_the_service_that_started_it() {
    let (world, fs) = world();
    let script = ["sh", "-c", crate::SLEEP];
    let arguments = ["run", "--detach", "--network", "none", "--name", "c", "--rootfs", &fs];
    let unit = Unit::start("starter.service", &world.command([arguments.as_slice(), &script].concat()));
    let pid: u32 = world.inspect("{{.State.Pid}}", "c").parse().unwrap();
    systemctl(&["stop", unit.0]);
    assert!(lives(pid), "systemd has ended it with the service");
    assert_eq!(world.loment(["exec", "c", "echo", "still"]).succeeds(), "still");
    world.loment(["stop", "c"]).succeeds();
    assert_eq!(world.inspect("{{.State.ExitCode}}", "c"), "0");
}

/// Makes systemd arrange its groups anew.
#[track_caller]
pub(crate) fn disturb() {
    systemctl(&["daemon-reload"]);
    let mut service = Command::new("systemd-run");
    service.args([
        "--quiet",
        "--collect",
        "--wait",
        "--property=CPUWeight=50",
        "--property=AllowedCPUs=0",
        "true",
    ]);
    run(&mut service, Patience::NORMAL).succeeds();
    systemctl(&["daemon-reload"]);
}

/// On v2 systemd takes controllers that none of its units uses away from every group that is not its own.
#[test]
#[ignore = "run by cargo xtask vm-test"]
fn limits_stay_when_systemd_arranges_its_own_groups() {
    let (world, fs) = world();
    let others = ["--cpus", "0.5", "--cpuset-cpus", "1"];
    let pid = sleeper(&world, &[["--memory", "64m", "--pids-limit", "33"], others].concat(), &fs);
    let all = || {
        [
            setting(pid, "memory", &["memory.limit_in_bytes", "memory.max"]),
            setting(pid, "pids", &["pids.max"]),
            setting(pid, "cpu", &["cpu.cfs_quota_us", "cpu.max"]),
            setting(pid, "cpuset", &["cpuset.cpus"]),
        ]
    };
    let before = all();
    disturb();
    assert_eq!(all(), before);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_frozen_container_can_be_removed() {
    let (world, fs) = world();
    let pid = sleeper(&world, &[], &fs);
    let dir = group(pid, "freezer");
    let (file, value) = match dir.join("cgroup.freeze") {
        v2 if v2.exists() => (v2, "1"),
        _ => (dir.join("freezer.state"), "FROZEN"),
    };
    fs::write(&file, value).unwrap_or_else(|e| panic!("write {}: {e}", file.display()));
    eventually("it is frozen", || is_frozen(&dir));
    world.loment(["rm", "--force", "--time", "0", "c"]).succeeds();
    assert!(!lives(pid));
    eventually("its group is gone", || !dir.exists());
}

fn is_frozen(dir: &Path) -> bool {
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
    read("freezer.state") == "FROZEN\n" || read("cgroup.events").contains("frozen 1")
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn groups_of_a_container_disappear_with_it() {
    let (world, fs) = world();
    let pid = sleeper(&world, &[], &fs);
    let dirs: Vec<_> = ["memory", "pids", "cpu", "cpuset", "freezer"].iter().map(|c| group(pid, c)).collect();
    assert!(dirs.iter().all(|d| d.is_dir()), "{dirs:?}");
    remove(&world);
    eventually("the groups are gone", || dirs.iter().all(|d| !d.exists()));
}

#[track_caller]
fn remove(world: &World) {
    world.loment(["rm", "--force", "--time", "0", "c"]).succeeds();
}
