//! Containers whose monitors are of an older build, which knows less, driven by this one.
//!
//! The older build is that of the feature `older`: a monitor without some requests, fields and answers, made of the same source.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use loment_testkit::{Patience, Terminal, World, run};

use crate::{eventually, lives, monitor_of, pid_of, world_with};

/// The older build: cargo makes four crates anew the first time, and nothing later.
fn older() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        cargo.args([
            "build",
            "--quiet",
            "--package",
            "loment",
            "--bin",
            "loment-older",
            "--features",
            "older",
        ]);
        let ours = Path::new(env!("CARGO_BIN_EXE_loment"));
        if ours.parent().is_some_and(|directory| directory.ends_with("release")) {
            cargo.arg("--release");
        }
        run(&mut cargo, Patience::LONG).succeeds();
        ours.with_file_name("loment-older")
    })
}

const STAYS: &str = "trap 'exit 7' TERM; : >/dev/shm/ready; while :; do sleep 0.05; done";

/// A container of the older build that runs.
#[track_caller]
fn start(world: &World, flags: &[&str], image: &str) {
    let head = ["run", "-d", "--network", "none", "--name", "old"];
    let arguments = [&head[..], flags, &[image, "sh", "-c", STAYS]].concat();
    run(&mut world.command_of(older(), arguments), Patience::NORMAL).succeeds();
    let ready = format!("/proc/{}/root/dev/shm/ready", pid_of(world, "old"));
    eventually("the container is ready", || Path::new(&ready).exists());
}

#[test]
fn a_container_of_an_older_build_is_driven_by_a_newer_one() {
    let (world, image) = world_with("busybox:latest");
    start(&world, &["--memory", "64m", "--restart", "on-failure:1"], &image);
    let monitor = monitor_of(&world, "old");
    assert_eq!(world.inspect("{{.State.Status}} {{.RestartCount}}", "old"), "running 0");
    assert_eq!(world.loment(["ps", "--format", "{{.Names}} {{.State}}"]).succeeds(), "old running");
    assert_eq!(world.loment(["exec", "-e", "A=b", "old", "sh", "-c", "echo $A"]).succeeds(), "b");
    assert_eq!(world.loment(["exec", "old", "sh", "-c", "exit 3"]).code, 3);
    // It does not say the id of what was run.
    world.loment(["exec", "-d", "old", "sh", "-c", "echo one >/proc/1/fd/1"]).succeeds();
    eventually("it is in the log", || world.loment(["logs", "old"]).stdout == "one\n");
    for arguments in [&["pause", "old"][..], &["unpause", "old"], &["top", "old"], &["rename", "old", "new"]]
    {
        world.loment(arguments).succeeds();
    }
    world.loment(["update", "--memory", "80m", "new"]).succeeds();
    assert_eq!(world.loment(["stats", "--no-stream", "--format", "{{.Name}}", "new"]).succeeds(), "new");
    let mut terminal = Terminal::start(&world.command(["exec", "-it", "-e", "PS1=ready> ", "new", "sh"]));
    terminal.shows("ready> ");
    terminal.types("stty size; exit 4\n");
    terminal.shows("24 80");
    assert_eq!(terminal.ends(), 4);
    assert!(lives(monitor));
    world.loment(["restart", "new"]).succeeds();
    assert!(!lives(monitor));
    // Its monitor is of this build now.
    let said = world.loment(["exec", "-d", "new", "true"]).succeeds().len();
    assert_eq!(said, 64);
    world.loment(["stop", "new"]).succeeds();
    assert_eq!(world.inspect("{{.State.Status}} {{.State.ExitCode}}", "new"), "exited 7");
    world.loment(["rm", "new"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn what_an_older_monitor_does_not_know_is_refused_with_what_to_do() {
    let (world, image) = world_with("busybox:latest");
    start(&world, &["--rm", "--health-cmd", "true", "--health-interval", "0"], &image);
    let words = ["version 0.0.0", "restart the container"];
    world.loment(["healthcheck", "run", "old"]).fails_saying(125, &words);
    let mut exec = Command::new("sh");
    exec.args(["-c", "exec \"$@\" 3</dev/null", "sh"]);
    let arguments = ["exec", "--preserve-fds", "1", "old", "true"];
    let inner = world.command(arguments);
    exec.arg(inner.get_program()).args(inner.get_args());
    let refused = run(&mut exec, Patience::NORMAL);
    refused.fails_saying(125, &["unknown field `descriptors`", words[0], words[1]]);
    let updated = world.loment(["update", "--health-cmd", "false", "old"]);
    assert!(updated.code == 0 && updated.stderr.contains("change with its next start"), "{updated}");
    // It would be removed at its end.
    world.loment(["restart", "old"]).fails_saying(125, &["unknown field `keep`", words[0]]);
    assert_eq!(world.inspect("{{.State.Status}}", "old"), "running");
    world.loment(["stop", "old"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_container_of_an_older_build_is_killed_and_removed_by_a_newer_one() {
    let (world, image) = world_with("busybox:latest");
    start(&world, &[], &image);
    world.loment(["kill", "--signal", "TERM", "old"]).succeeds();
    assert_eq!(world.loment(["wait", "old"]).succeeds(), "7");
    run(&mut world.command_of(older(), ["start", "old"]), Patience::NORMAL).succeeds();
    world.loment(["rm", "--force", "--time", "0", "old"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}
