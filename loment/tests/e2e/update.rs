//! `update`: of what runs, and of what does not.

use std::fs;

use loment_testkit::{World, skip};

use crate::limits::setting;
use crate::{eventually, pid_of, sh, sleeper, world_over_directory, world_with};

#[test]
fn limits_change_while_a_container_runs_and_stay() {
    let (world, image) = world_with("busybox:latest");
    let id = sleeper(&world, "c", &["--memory", "64m", "--pids-limit", "100", "--restart", "always"], &image);
    let pid = pid_of(&world, "c");
    let flags = [
        "--memory",
        "32m",
        "--memory-swap",
        "48m",
        "--memory-reservation",
        "16m",
        "--cpus",
        "0.5",
        "--cpu-shares",
        "512",
        "--cpuset-cpus",
        "0",
        "--pids-limit",
        "50",
    ];
    let output = world.loment([&["update"], &flags[..], &["c"]].concat());
    assert_eq!(output.succeeds(), id);
    let wanted: [(&str, &[&str], &[&str]); 6] = [
        ("memory", &["memory.limit_in_bytes", "memory.max"], &["33554432"]),
        ("memory", &["memory.soft_limit_in_bytes", "memory.low"], &["16777216"]),
        ("cpu", &["cpu.cfs_quota_us", "cpu.max"], &["50000", "50000 100000"]),
        ("cpu", &["cpu.shares", "cpu.weight"], &["512", "59", "20"]),
        ("cpuset", &["cpuset.cpus"], &["0"]),
        ("pids", &["pids.max"], &["50"]),
    ];
    let check = |when: &str| {
        for (controller, files, values) in wanted {
            match setting(&world, "c", controller, files) {
                Some(value) => assert!(values.contains(&value.as_str()), "{when}: {files:?}: {value}"),
                None => skip(&format!("limit of {controller}"), "this machine has no such controller"),
            }
        }
    };
    check("at once");
    assert_eq!(pid_of(&world, "c"), pid, "it was not started again");
    let shown = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.PidsLimit}} {{.HostConfig.CpuShares}}";
    assert_eq!(world.inspect(shown, "c"), "33554432 50331648 50 512");
    // Its monitor starts it again by itself.
    kill(&pid.to_string());
    eventually("it was started again", || ![0, pid].contains(&pid_of(&world, "c")));
    check("after its monitor's start");
    world.loment(["restart", "--time", "0", "c"]).succeeds();
    check("after a start");
    // What the kernel, or sense, refuses changes nothing.
    for (flags, words) in [
        (&["--memory", "64m"][..], &["--memory-swap"][..]),
        (&["--memory-reservation", "64m"], &["smaller"]),
        (&["--cpuset-cpus", "4000"], &["cpuset"]),
        (&["--cpus", "1", "--cpu-quota", "5"], &["--cpu-quota and --cpus cannot be set together"]),
        (&["--blkio-weight", "5"], &["10"]),
        (&["--restart", "sometimes"], &["sometimes"]),
    ] {
        let output = world.loment([&["update"], flags, &["c"]].concat());
        let message = output.fails(125);
        assert!(words.iter().all(|word| message.contains(word)), "{output}");
    }
    check("after refusals");
    assert_eq!(world.inspect("{{.HostConfig.CpusetCpus}}", "c"), "0");
    world.loment(["update", "--memory", "100m", "--memory-swap", "200m", "c"]).succeeds();
    world.loment(["update", "--memory", "80m", "--memory-swap", "-1", "--latest"]).succeeds();
    assert_eq!(world.inspect("{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}", "c"), "83886080 -1");
    assert_eq!(world.persona("docker", ["update", "--pids-limit", "-1", "c"]).succeeds(), "c");
    world.loment(["update", "--pids-limit", "1", "nobody"]).fails_saying(125, &["no such container"]);
    world.loment(["update"]).fails_saying(125, &["at least one name or id"]);
    world.loment(["rm", "--force", "c"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_new_policy_counts_for_the_run_that_goes_on() {
    let (world, rootfs) = world_over_directory();
    sleeper(&world, "c", &["--rootfs"], &rootfs);
    let pid = pid_of(&world, "c");
    world.loment(["update", "--restart", "on-failure:2", "c"]).succeeds();
    let policy = "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}";
    assert_eq!(world.inspect(policy, "c"), "on-failure 2");
    kill(&pid.to_string());
    eventually("it was started again", || ![0, pid].contains(&pid_of(&world, "c")));
    let pid = pid_of(&world, "c");
    world.loment(["update", "--restart", "no", "c"]).succeeds();
    kill(&pid.to_string());
    assert_eq!(world.loment(["wait", "c"]).succeeds(), "137");
    assert_eq!(world.inspect("{{.State.Status}} {{.RestartCount}}", "c"), "exited 1");
    let head = ["run", "--detach", "--rm", "--network", "none", "--name", "gone", "--rootfs"];
    world.loment([&head[..], &[&rootfs, "sleep", "1000"]].concat()).succeeds();
    world.loment(["update", "--restart", "always", "gone"]).fails_saying(125, &["removed"]);
}

fn kill(pid: &str) {
    assert!(std::process::Command::new("kill").args(["-9", pid]).status().unwrap().success());
}

fn health(world: &World) -> String {
    world.inspect("{{.State.Health.Status}}", "c")
}

#[test]
fn checks_change_while_a_container_runs() {
    let (world, rootfs) = world_over_directory();
    sleeper(&world, "c", &["--rootfs"], &rootfs);
    let flags = ["--health-cmd", "true", "--health-interval", "50ms", "--health-retries", "1"];
    world.loment([&["update"], &flags[..], &["c"]].concat()).succeeds();
    eventually("it is healthy", || health(&world) == "healthy");
    world.loment(["update", "--health-cmd", "sleep 1000", "--health-timeout", "10m", "c"]).succeeds();
    eventually("its check runs", || world.loment(["top", "c", "args"]).stdout.contains("sleep 1000"));
    assert_eq!(health(&world), "starting");
    // The check that runs is of before, and says nothing.
    world.loment(["update", "--health-cmd", "false", "c"]).succeeds();
    eventually("it is unhealthy", || health(&world) == "unhealthy");
    assert!(!world.loment(["top", "c", "args"]).stdout.contains("sleep 1000"));
    assert_eq!(
        world.inspect("{{.Config.Healthcheck.Retries}} {{.Config.Healthcheck.Test}}", "c"),
        "1 [CMD-SHELL false]"
    );
    world.loment(["update", "--health-on-failure", "kill", "--health-max-log-count", "2", "c"]).succeeds();
    assert_eq!(world.loment(["wait", "c"]).succeeds(), "137");
    world.loment(["update", "--no-healthcheck", "c"]).succeeds();
    world.loment(["start", "c"]).succeeds();
    world.loment(["healthcheck", "run", "c"]).fails_saying(125, &["no health check"]);
    world.loment(["update", "--health-retries", "3", "c"]).fails_saying(125, &["--health-cmd"]);
    world
        .loment(["update", "--health-cmd", "true", "--health-startup-retries", "3", "c"])
        .fails_saying(125, &["--health-startup-cmd"]);
    let startup = [
        "update",
        "--health-cmd",
        "true",
        "--health-startup-cmd",
        "false",
        "--health-startup-interval",
        "50ms",
        "c",
    ];
    world.loment(startup).succeeds();
    world
        .loment(["update", "--restart", "always", "--health-on-failure", "restart", "c"])
        .fails_saying(125, &["exclude each other"]);
}

#[test]
fn variables_and_limits_of_programs_are_for_the_next_start() {
    let (world, image) = world_with("busybox:latest");
    let flags = ["--env", "A=1", "--env", "B=2", "--ulimit", "nofile=100:200", "--restart", "always"];
    sleeper(&world, "c", &flags, &image);
    let pid = pid_of(&world, "c");
    let update =
        ["update", "--env", "A=3", "--unsetenv", "B", "--env", "C=4", "--ulimit", "nofile=50:60", "c"];
    world.loment(update).succeeds();
    let script = "echo $A,$B,$C,$(ulimit -n)";
    let exec = || world.loment(["exec", "c", "sh", "-c", script]).succeeds().to_owned();
    assert_eq!(exec(), "1,2,,100", "what it was started with");
    kill(&pid.to_string());
    eventually("it was started again", || ![0, pid].contains(&pid_of(&world, "c")));
    let environ = fs::read_to_string(format!("/proc/{}/environ", pid_of(&world, "c"))).unwrap();
    assert!(
        environ.contains("A=3\0") && environ.contains("C=4\0") && !environ.contains("B=2"),
        "{environ:?}"
    );
    assert_eq!(exec(), "3,,4,50");
    world.loment(["stop", "c"]).succeeds();
    // One that does not run changes, too.
    world.loment(["update", "--env", "A=5", "--ulimit", "nofile=70", "c"]).succeeds();
    world.loment(["start", "c"]).succeeds();
    assert_eq!(exec(), "5,,4,70");
    assert_eq!(sh(&world, &[], &image, "echo other"), "other");
}

#[test]
fn limits_of_programs_go_as_far_as_the_machine_lets_them() {
    let (world, image) = world_with("busybox:latest");
    let limits = |flags: &[&str]| sh(&world, flags, &image, "ulimit -Hn; ulimit -Sn");
    // What is not limited has what can be given.
    let host = limits(&["--ulimit", "host"]);
    limits(&["--ulimit", "nofile=-1:-1", "--ulimit", "nproc=-1"]);
    sleeper(&world, "c", &["--ulimit", "nofile=100"], &image);
    world.loment(["update", "--ulimit", "host", "c"]).succeeds();
    world.loment(["restart", "--time", "0", "c"]).succeeds();
    let exec = world.loment(["exec", "c", "sh", "-c", "ulimit -Hn; ulimit -Sn"]);
    assert_eq!(exec.succeeds(), host);
    for (flags, words) in [
        (["--ulimit", "nofile:1024:1024"], "invalid ulimit argument: nofile:1024:1024"),
        (["--ulimit", "nofile=2:1"], "ulimit soft limit must be less than or equal to hard limit: 2 > 1"),
        (["--blkio-weight-device", "/dev/zero:123"], "/dev/zero: not a block device"),
    ] {
        world.loment([&["update"], &flags[..], &["c"]].concat()).fails_saying(125, &[words]);
    }
}

#[test]
fn limits_that_were_taken_before_a_refusal_are_what_they_were() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "c", &["--memory", "64m", "--pids-limit", "100", "--cpu-shares", "300"], &image);
    let all = || {
        let memory = setting(&world, "c", "memory", &["memory.limit_in_bytes", "memory.max"]);
        let shares = setting(&world, "c", "cpu", &["cpu.shares", "cpu.weight"]);
        (memory, shares, setting(&world, "c", "pids", &["pids.max"]))
    };
    let before = all();
    let update =
        ["update", "--memory", "32m", "--memory-swap", "64m", "--cpu-shares", "600", "--pids-limit", "50"];
    // No machine has so many processors.
    let refused = [&update[..], &["--cpuset-cpus", "4000", "c"]].concat();
    world.loment(refused).fails_saying(125, &["cpuset"]);
    assert_eq!(all(), before);
    world.loment([&update[..], &["c"]].concat()).succeeds();
    assert_ne!(all(), before);
}

#[test]
fn a_monitor_that_does_not_answer_keeps_an_update_for_a_while_only() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "c", &[], &image);
    let container = crate::pid_of(&world, "c");
    let stat = fs::read_to_string(format!("/proc/{container}/stat")).unwrap();
    let monitor: i32 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap();
    let monitor = rustix::process::Pid::from_raw(monitor).unwrap();
    rustix::process::kill_process(monitor, rustix::process::Signal::STOP).unwrap();
    let output = world.loment(["update", "--env", "A=1", "c"]);
    rustix::process::kill_process(monitor, rustix::process::Signal::CONT).unwrap();
    output.succeeds();
    assert!(output.stderr.contains("has not answered for 10 seconds"), "{output}");
}
