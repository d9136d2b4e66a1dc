//! One supervisor per container: what happens when something around it dies.

use std::fs;
use std::process::{Command, Stdio};

use loment_testkit::World;

use crate::{eventually, lives, monitor_of, pid_of, sleeper, world_with};

fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

/// A front end that stays attached.
fn attached(world: &World, name: &str, image: &str) -> std::process::Child {
    let script = "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.05; done";
    let arguments = ["run", "--network", "none", "--name", name, image, "sh", "-c", script];
    let child = world
        .command(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("it runs", || world.loment(["logs", name]).stdout.contains("line 1"));
    child
}

#[test]
fn killing_the_front_end_leaves_the_container_running() {
    let (world, image) = world_with("busybox:latest");
    let mut front_end = attached(&world, "c", &image);
    let pid = pid_of(&world, "c");
    front_end.kill().unwrap();
    front_end.wait().unwrap();
    let lines = || world.loment(["logs", "c"]).stdout.lines().count();
    let before = lines();
    eventually("it goes on writing", || lines() > before + 3);
    assert!(lives(pid));
    assert_eq!(world.inspect("{{.State.Status}}", "c"), "running");
    world.loment(["stop", "-t", "0", "c"]).succeeds();
    assert_eq!(world.inspect("{{.State.Status}} {{.State.ExitCode}}", "c"), "exited 137");
}

#[test]
fn killing_the_monitor_is_reported_truthfully_and_cleared_by_force() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "c", &[], &image);
    let (pid, monitor) = (pid_of(&world, "c"), monitor_of(&world, "c"));
    kill(monitor);
    eventually("the monitor is gone", || !lives(monitor));
    let shown = world.inspect("{{.State.Status}}", "c");
    assert_eq!(shown == "running", lives(pid), "shown as {shown}");
    assert_eq!(world.loment(["ps", "-a", "--format", "{{.Names}}"]).succeeds(), "c");
    world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    assert!(!lives(pid));
    assert_eq!(world.loment(["ps", "-aq"]).succeeds(), "");
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn killing_monitor_and_container_is_reported_truthfully() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "c", &[], &image);
    let (pid, monitor) = (pid_of(&world, "c"), monitor_of(&world, "c"));
    kill(monitor);
    if lives(pid) {
        kill(pid);
    }
    eventually("both are gone", || !lives(pid) && !lives(monitor));
    assert_ne!(world.inspect("{{.State.Status}}", "c"), "running");
    world.loment(["start", "c"]).succeeds();
    assert_eq!(world.inspect("{{.State.Status}}", "c"), "running");
}

#[test]
fn killing_the_container_from_outside_is_an_exit_like_any_other() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "c", &[], &image);
    kill(pid_of(&world, "c"));
    assert_eq!(world.loment(["wait", "c"]).succeeds(), "137");
    assert_eq!(world.inspect("{{.State.Status}} {{.State.ExitCode}}", "c"), "exited 137");
}

#[test]
fn the_monitor_ends_with_its_container() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "c", &[], &image);
    let monitor = monitor_of(&world, "c");
    assert_eq!(fs::read_dir(format!("/proc/{monitor}/task")).unwrap().count(), 1, "one thread");
    world.loment(["stop", "c"]).succeeds();
    eventually("the monitor is gone", || !lives(monitor));
}

#[test]
fn the_monitor_holds_nothing_of_its_starter() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "c", &[], &image);
    let monitor = monitor_of(&world, "c");
    let cwd = fs::read_link(format!("/proc/{monitor}/cwd")).unwrap();
    assert_eq!(cwd.to_str(), Some("/"));
    let ours = fs::read_to_string("/proc/self/stat").unwrap();
    let session = |stat: &str| stat.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap().to_owned();
    let theirs = fs::read_to_string(format!("/proc/{monitor}/stat")).unwrap();
    assert_ne!(session(&ours), session(&theirs), "a session of its own");
}

#[test]
fn signals_to_the_front_end_reach_the_container() {
    let (world, image) = world_with("busybox:latest");
    let script = "trap 'exit 33' TERM; echo ready; while :; do sleep 0.05; done";
    let arguments = ["run", "--rm", "--network", "none", "--name", "c", &image, "sh", "-c", script];
    let mut child = world.command(arguments).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    eventually("it is ready", || world.loment(["logs", "c"]).stdout.contains("ready"));
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(33));
}
