//! Containers that run, looked at and changed: with control groups that loment makes, and as scopes of systemd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use loment_testkit::{Patience, World, run};

use crate::groups::disturb;
use crate::{SLEEP, eventually, group, setting, world};

const MANAGERS: [&str; 2] = ["cgroupfs", "systemd"];

/// Starts a container called `c` whose group that manager makes; its first process.
#[track_caller]
fn start(world: &World, manager: &str, flags: &[&str], fs: &str, script: &str) -> u32 {
    let head = ["--cgroup-manager", manager, "run", "--detach", "--network", "none", "--name", "c"];
    world.loment([&head[..], flags, &["--rootfs", fs, "sh", "-c", script]].concat()).succeeds();
    pid(world)
}

/// Has systemd arrange its groups anew. On v2 it takes controllers away from groups that it has not made, which is why it makes those
/// of containers there unless told otherwise.
fn arrange(manager: &str) {
    if manager == "systemd" || !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        disturb();
    }
}

fn pid(world: &World) -> u32 {
    world.inspect("{{.State.Pid}}", "c").parse().expect("a pid is a number")
}

fn remove(world: &World) {
    world.loment(["rm", "--force", "--time", "0", "c"]).succeeds();
}

/// What its limits are, whichever hierarchy has them.
fn limits(pid: u32) -> [String; 6] {
    let files: [(&str, &[&str]); 6] = [
        ("memory", &["memory.limit_in_bytes", "memory.max"]),
        ("memory", &["memory.soft_limit_in_bytes", "memory.low"]),
        ("cpu", &["cpu.cfs_quota_us", "cpu.max"]),
        ("cpu", &["cpu.shares", "cpu.weight"]),
        ("cpuset", &["cpuset.cpus"]),
        ("pids", &["pids.max"]),
    ];
    files.map(|(controller, files)| setting(pid, controller, files))
}

/// What systemd would write if it arranged the group of a scope anew.
fn told(world: &World) -> String {
    let unit = format!("loment-{}.scope", world.inspect("{{.Id}}", "c"));
    let mut show = Command::new("systemctl");
    let properties =
        "MemoryMax,MemoryLow,MemoryLimit,CPUQuotaPerSecUSec,CPUWeight,CPUShares,AllowedCPUs,TasksMax";
    show.args(["show", "--property", properties, &unit]);
    run(&mut show, Patience::NORMAL).succeeds().to_owned()
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn limits_change_for_good_or_not_at_all() {
    for manager in MANAGERS {
        let (world, fs) = world();
        let flags = ["--memory", "64m", "--memory-swap", "96m", "--pids-limit", "100"];
        let first = start(&world, manager, &flags, &fs, SLEEP);
        let memory = ["--memory", "32m", "--memory-swap", "48m", "--memory-reservation", "16m"];
        let others = ["--cpus", "0.5", "--cpu-shares", "512", "--cpuset-cpus", "1", "--pids-limit", "50"];
        world.loment([&["update"], &memory[..], &others, &["c"]].concat()).succeeds();
        assert_eq!(pid(&world), first, "it was not started again");
        let after = limits(first);
        assert_eq!(after[..2], [(32 << 20).to_string(), (16 << 20).to_string()], "{manager}");
        assert!(["50000", "50000 100000"].contains(&after[2].as_str()), "{manager}: {after:?}");
        assert!(["512", "59"].contains(&after[3].as_str()), "{manager}: {after:?}");
        assert_eq!(after[4..], ["1", "50"], "{manager}");
        arrange(manager);
        assert_eq!(limits(first), after, "{manager}: systemd arranged its groups");
        let knows = told(&world);
        for refused in [&["--cpuset-cpus", "4000"][..], &["--cpuset-mems", "7"]] {
            let flags = [
                "update",
                "--memory",
                "24m",
                "--memory-swap",
                "30m",
                "--pids-limit",
                "7",
                "--cpu-shares",
                "99",
            ];
            world.loment([&flags[..], refused, &["c"]].concat()).fails_saying(125, &["cpuset"]);
            assert_eq!(limits(first), after, "{manager}: {refused:?}");
            assert_eq!(told(&world), knows, "{manager}: {refused:?}");
        }
        arrange(manager);
        assert_eq!(limits(first), after, "{manager}: after what was refused");
        assert_eq!(world.inspect("{{.HostConfig.Memory}} {{.HostConfig.CpusetCpus}}", "c"), "33554432 1");
        world.loment(["restart", "--time", "0", "c"]).succeeds();
        assert_eq!(limits(pid(&world)), after, "{manager}: its next life");
        remove(&world);
    }
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn stats_are_those_of_its_group() {
    for manager in MANAGERS {
        let (world, fs) = world();
        let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; dd if=/dev/zero of=/dev/shm/x bs=1M count=20; \
                      dd if=/dev/zero of=/written bs=1M count=4 conv=fsync; sleep 1000; :";
        let first = start(&world, manager, &["--memory", "64m"], &fs, script);
        let field = |template: &str| -> f64 {
            let shown = world.loment(["stats", "--no-stream", "--format", template, "c"]);
            shown.succeeds().parse().unwrap_or_else(|e| panic!("{e}: {shown}"))
        };
        eventually("all is written", || world.loment(["top", "c", "comm"]).stdout.contains("sleep"));
        assert!(field("{{.MemPerc | printf \"%.4s\"}}") > 25.0, "{manager}");
        assert_eq!([field("{{.PIDs}}"), field("{{.MemLimit}}")], [2.0, f64::from(64 << 20)], "{manager}");
        assert!(field("{{.CPUNano}}") > 1e6, "{manager}");
        let unified = group(first, "memory").join("cgroup.controllers").exists();
        // On v1, what was written through the page cache is nobody's.
        if unified {
            assert!(field("{{.BlockOutput}}") >= f64::from(4 << 20), "{manager}");
        }
        world.loment(["update", "--memory", "48m", "c"]).succeeds();
        assert_eq!(field("{{.MemLimit}}"), f64::from(48 << 20), "{manager}");
        world.loment(["pause", "c"]).succeeds();
        assert_eq!(field("{{.PIDs}}"), 2.0, "{manager}: paused");
        world.loment(["unpause", "c"]).succeeds();
        remove(&world);
    }
}

/// A scope goes with its last process, whoever is looking at it then.
#[test]
#[ignore = "run by cargo xtask vm-test"]
fn stats_do_not_mind_containers_that_end() {
    for manager in MANAGERS {
        let (world, fs) = world();
        let names = ["a", "b", "d"];
        let head = ["--cgroup-manager", manager, "run", "--rm", "--network", "none"];
        let lives = |name: &str| {
            let mut command = world.command([&head[..], &["--name", name, "--rootfs", &fs, "true"]].concat());
            command.stdout(std::process::Stdio::null()).spawn().unwrap()
        };
        start(&world, manager, &[], &fs, SLEEP);
        for _ in 0..5 {
            let mut running = names.map(lives);
            while running.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
                let shown =
                    world.loment(["stats", "--all", "--no-stream", "--format", "{{.Name}} {{.PIDs}}"]);
                assert!(shown.succeeds().lines().any(|line| line.starts_with("c ")), "{shown}");
                assert_eq!(shown.stderr, "", "{shown}");
            }
            for mut child in running {
                assert!(child.wait().unwrap().success());
            }
        }
        remove(&world);
    }
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn what_is_paused_stays_so_until_it_may_go_on() {
    for manager in MANAGERS {
        let (world, fs) = world();
        let pid = start(&world, manager, &["--memory", "64m"], &fs, SLEEP);
        let dir = group(pid, "freezer");
        let is_frozen = || {
            let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
            read("freezer.state") == "FROZEN\n" || read("cgroup.events").contains("frozen 1")
        };
        world.loment(["pause", "c"]).succeeds();
        assert!(is_frozen(), "{manager}");
        disturb();
        assert!(is_frozen(), "{manager}: systemd arranged its groups");
        assert_eq!(world.inspect("{{.State.Status}}", "c"), "paused");
        world.loment(["update", "--memory", "32m", "c"]).succeeds();
        assert!(is_frozen(), "{manager}: updated");
        assert_eq!(setting(pid, "memory", &["memory.limit_in_bytes", "memory.max"]), (32 << 20).to_string());
        world.loment(["unpause", "c"]).succeeds();
        assert!(!is_frozen(), "{manager}");
        world.loment(["pause", "c"]).succeeds();
        remove(&world);
        eventually("its group is gone", || !dir.exists());
    }
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn too_much_memory_for_a_new_limit_is_reported() {
    for manager in MANAGERS {
        let (world, fs) = world();
        start(&world, manager, &[], &fs, SLEEP);
        world.loment(["update", "--memory", "16m", "--memory-swap", "16m", "c"]).succeeds();
        // A program beside its first one.
        world.loment(["exec", "c", "tail", "/dev/zero"]).fails(137);
        assert_eq!(world.inspect("{{.State.Status}}", "c"), "running", "{manager}");
        world.loment(["stop", "c"]).succeeds();
        assert_eq!(world.inspect("{{.State.OOMKilled}}", "c"), "true", "{manager}");
        remove(&world);
    }
}

/// The groups of a pod, for a controller: those in which the groups of its members are.
fn around(pid: u32, controller: &str) -> PathBuf {
    group(pid, controller).parent().unwrap().to_owned()
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_pods_limits_are_those_of_all_its_members_together() {
    for manager in MANAGERS {
        let (world, fs) = world();
        let loment = |words: &[&str]| world.loment([&["--cgroup-manager", manager], words].concat());
        let limits = [
            "--memory",
            "48m",
            "--memory-swap",
            "48m",
            "--cpus",
            "0.5",
            "--cpuset-cpus",
            "1",
            "--cpu-shares",
            "512",
        ];
        let made = loment(&[&["pod", "create", "--name", "p", "--network", "none"], &limits[..]].concat());
        let id = made.succeeds().to_owned();
        let member = |name: &str, script: &str| {
            let words =
                ["run", "--detach", "--pod", "p", "--name", name, "--rootfs", &fs, "sh", "-c", script];
            loment(&words).succeeds();
            world.inspect("{{.State.Pid}}", name).parse::<u32>().unwrap()
        };
        let first = member("c", SLEEP);
        let read = |controller: &str, files: &[&str]| {
            let dir = around(first, controller);
            let found = files.iter().find_map(|file| fs::read_to_string(dir.join(file)).ok());
            found
                .unwrap_or_else(|| panic!("{manager}: none of {files:?} in {}", dir.display()))
                .trim()
                .to_owned()
        };
        let expected = match manager {
            "systemd" => format!("machine.slice/machine-loment_pod_{id}.slice"),
            _ => format!("loment-pod-{id}"),
        };
        assert!(around(first, "memory").ends_with(&expected), "{}", around(first, "memory").display());
        let unified = around(first, "memory").join("cgroup.controllers").exists();
        let all = || {
            let memory = read("memory", &["memory.limit_in_bytes", "memory.max"]);
            let cpu = [&["cpu.cfs_quota_us", "cpu.max"][..], &["cpu.shares", "cpu.weight"]];
            [memory, read("cpu", cpu[0]), read("cpu", cpu[1])]
        };
        let before = all();
        assert_eq!(before[0], (48 << 20).to_string(), "{manager}");
        assert!(["50000", "50000 100000"].contains(&before[1].as_str()), "{manager}: {before:?}");
        // On v1, systemd knows nothing of sets of CPUs.
        if unified || manager == "cgroupfs" {
            assert_eq!(read("cpuset", &["cpuset.cpus"]), "1", "{manager}");
        }
        arrange(manager);
        assert_eq!(all(), before, "{manager}: systemd arranged its groups");
        // Each of both has enough alone.
        let second = member(
            "d",
            "until [ -e /dev/shm/go ]; do sleep 0.1; done; dd if=/dev/zero of=/dev/shm/y bs=1M count=30",
        );
        world.loment(["exec", "c", "dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=30"]).succeeds();
        fs::write(format!("/proc/{second}/root/dev/shm/go"), "").unwrap();
        let ended =
            || ["c", "d"].map(|name| world.inspect("{{.State.Running}}", name)).contains(&"false".to_owned());
        eventually("one of them is killed", ended);
        loment(&["pod", "stop", "--time", "0", "p"]).succeeds();
        loment(&["pod", "start", "p"]).succeeds();
        let again: u32 = world.inspect("{{.State.Pid}}", "c").parse().unwrap();
        let memory = around(again, "memory");
        let limit = ["memory.limit_in_bytes", "memory.max"]
            .iter()
            .find_map(|f| fs::read_to_string(memory.join(f)).ok());
        assert_eq!(limit.unwrap().trim(), before[0], "{manager}: its next life");
        loment(&["pod", "rm", "--force", "--time", "0", "p"]).succeeds();
        eventually("its group is gone", || !memory.exists());
    }
}
