//! Machines that have cgroup v2 alone, but not its controllers: what most nested containers see.

use std::fs;
use std::process::Command;

use loment_testkit::{Output, Patience, World, run, skip};
use serde_json::{Value, json};

use crate::runtime::{bundle, id};
use crate::{through, world, world_over_directory};

/// In a mount namespace of its own, with nothing but the v2 hierarchy.
pub(crate) const VIEW: [&str; 7] = [
    "unshare",
    "--mount",
    "--propagation",
    "private",
    "sh",
    "-c",
    "umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$0\" \"$@\"",
];

#[track_caller]
pub(crate) fn in_view(command: &Command) -> Output {
    run(&mut through(&VIEW, command), Patience::NORMAL)
}

/// The limits for which v2 has no controller here, as flags, and the controllers' names.
#[track_caller]
fn impossible_limits(world: &World) -> Vec<([&'static str; 2], &'static str)> {
    let mut cat = Command::new("cat");
    cat.arg("/sys/fs/cgroup/cgroup.controllers")
        .envs(world.bare().get_envs().filter_map(|(n, v)| Some((n, v?))));
    let output = in_view(&cat);
    let has: Vec<_> = output.succeeds().split_whitespace().collect();
    let all = [
        (["--memory", "64m"], "memory"),
        (["--pids-limit", "10"], "pids"),
        (["--cpus", "0.5"], "cpu"),
        (["--cpuset-cpus", "0"], "cpuset"),
    ];
    let missing: Vec<_> = all.into_iter().filter(|(_, name)| !has.contains(name)).collect();
    if missing.is_empty() {
        skip("limits without their controllers", "this machine's cgroup v2 has all of them");
    }
    missing
}

#[test]
fn containers_run_without_controllers_and_limits_are_refused_by_name() {
    let (world, fs) = world_over_directory();
    let loment = |arguments: &[&str]| in_view(&world.command(arguments));
    let run = |flags: &[&str], script: &str| {
        loment(&[&["run", "--network", "none"], flags, &["--rootfs", &fs, "sh", "-c", script]].concat())
    };
    assert_eq!(run(&["--rm"], "echo $$; grep 0:: /proc/self/cgroup").succeeds(), "1\n0::/");
    for (flags, controller) in impossible_limits(&world) {
        let message = format!("the {controller} cgroup controller is not available");
        run(&[&["--rm"], &flags[..]].concat(), "true").fails_saying(125, &[&message]);
    }
    assert_eq!(world.leftovers(), [""; 0]);
    run(&["--detach", "--name", "c"], "trap 'exit 7' TERM; while :; do sleep 0.05; done").succeeds();
    assert_eq!(loment(&["exec", "c", "sh", "-c", "grep 0:: /proc/self/cgroup"]).succeeds(), "0::/");
    assert_eq!(loment(&["stop", "c"]).succeeds(), "c");
    assert_eq!(world.inspect("{{.State.Status}} {{.State.ExitCode}}", "c"), "exited 7");
    assert_eq!(loment(&["rm", "c"]).succeeds(), "c");
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn the_runtime_does_so_too() {
    let world = world();
    let (dir, id) = (bundle(&world, "echo $$", |_| ()), id("unified"));
    // Makes the link by which the binary is called.
    world.named("loment-runtime", ["--version"]).succeeds();
    let run = || {
        let mut command = Command::new(world.dir().join("loment-runtime"));
        command.envs(world.bare().get_envs().filter_map(|(n, v)| Some((n, v?))));
        command.arg("--root").arg(world.dir().join("runtime")).args(["run", "--bundle"]).arg(&dir).arg(&id);
        in_view(&command)
    };
    assert_eq!(run().succeeds(), "1");
    if impossible_limits(&world).iter().any(|(_, name)| *name == "memory") {
        let path = dir.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config["linux"]["resources"] = json!({ "memory": { "limit": 64 << 20 } });
        fs::write(&path, config.to_string()).unwrap();
        run().fails_saying(1, &["the memory cgroup controller is not available"]);
    }
    assert!(fs::read_dir(world.dir().join("runtime")).unwrap().next().is_none(), "a state was left");
}
