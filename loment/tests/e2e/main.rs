//! The binary from outside: what a person types, what is printed, which status comes back, what is left behind.
//!
//! These tests need root and Debian's docker-registry, skopeo and busybox-static; `cargo xtask test` installs them.

mod alone;
mod archives;
mod as_podman;
mod attach;
mod attacks;
mod bad_input;
mod boot;
mod check;
mod checkpoint_archives;
mod choose;
mod clone;
mod commit;
mod completion;
mod configuration;
mod container_mount;
mod copies;
mod copy_flags;
mod cp;
mod diff;
mod docker_flags;
mod doctor;
mod ecosystem;
mod engines;
mod environment;
mod events;
mod exec;
mod explain;
mod faulty;
mod filesystem;
mod flags;
mod foreign;
mod form_trees;
mod forms;
mod further_flags;
mod health;
mod help;
mod hostile;
mod image_lists;
mod image_mounts;
mod import_urls;
mod init;
mod interactive;
mod interop;
mod isolation;
mod kills;
mod lifecycle;
mod limits;
mod list_artifacts;
mod listing;
mod lists;
mod log_drivers;
mod login_shell;
mod logs;
mod logs_of_several;
mod monitor;
mod names;
mod names_of_images;
mod namespaces;
mod notify;
mod oci;
mod old_kernels;
mod older;
mod partial;
mod pods;
mod pull;
mod pull_flags;
mod push;
mod push_all;
mod refused_flags;
mod reset;
mod restart;
mod robustness;
mod rootfs;
mod rootless;
mod runtime;
mod secrets;
mod shared_blobs;
mod signing;
mod skopeo;
mod skopeo_verbs;
mod slow;
mod space;
mod split;
mod starters;
mod stopping;
mod sync_lists;
mod templates;
mod terminal;
mod top_and_stats;
mod unified;
mod update;
mod volumes;
mod waiting;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use loment_testkit::{Fixtures, World, busybox_rootfs};

fn world() -> World {
    World::new(Path::new(env!("CARGO_BIN_EXE_loment")))
}

fn fixtures() -> Fixtures {
    Fixtures::cached(Path::new(env!("CARGO_TARGET_TMPDIR")))
}

/// A world in which `image` has been pulled from a registry that is gone, and the image's name.
#[track_caller]
fn world_with(image: &str) -> (World, String) {
    let world = world();
    let registry = fixtures().serve();
    let name = registry.name(image);
    world.loment(["pull", "--quiet", "--tls-verify=false", &name]).succeeds();
    (world, name)
}

/// A world with a root file system in a directory, which `--rootfs` takes, and its path. Where a function below takes an
/// image, this path will do when the last flag is `--rootfs`.
fn world_over_directory() -> (World, String) {
    let world = world();
    let dir = world.path("fs");
    busybox_rootfs(&dir);
    (world, dir.into_os_string().into_string().expect("our paths are UTF-8"))
}

/// `OUTER… COMMAND`: the same command, environment and directory, started by another program.
fn through(outer: &[&str], command: &Command) -> Command {
    let mut whole = Command::new(outer[0]);
    whole.args(&outer[1..]).arg(command.get_program()).args(command.get_args()).env_clear();
    whole.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(dir) = command.get_current_dir() {
        whole.current_dir(dir);
    }
    whole
}

/// `run --rm FLAGS IMAGE sh -c SCRIPT`, which must succeed; what it prints.
#[track_caller]
fn sh(world: &World, flags: &[&str], image: &str, script: &str) -> String {
    let arguments = [&["run", "--rm", "--network", "none"], flags, &[image, "sh", "-c", script]].concat();
    world.loment(arguments).succeeds().to_owned()
}

/// Starts a container called `name` that runs until it is stopped, and waits until it can be asked to stop.
#[track_caller]
fn sleeper(world: &World, name: &str, flags: &[&str], image: &str) -> String {
    let head = ["run", "--detach", "--network", "none", "--name", name];
    let script = "trap 'exit 0' TERM; : >/dev/shm/ready; while :; do sleep 0.05; done";
    let id = world.loment([&head, flags, &[image, "sh", "-c", script]].concat()).succeeds().to_owned();
    let ready = format!("/proc/{}/root/dev/shm/ready", pid_of(world, name));
    eventually("the container is ready", || Path::new(&ready).exists());
    id
}

/// Waits until `condition` holds.
#[track_caller]
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The container's first process, as the host numbers it.
#[track_caller]
fn pid_of(world: &World, name: &str) -> u32 {
    world.inspect("{{.State.Pid}}", name).parse().expect("a pid is a number")
}

/// The monitor of the container: whose child it is.
#[track_caller]
fn monitor_of(world: &World, name: &str) -> u32 {
    let pid = pid_of(world, name);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the container runs");
    let parent = status.lines().find_map(|l| l.strip_prefix("PPid:")).expect("every process has a parent");
    parent.trim().parse().expect("a pid is a number")
}

/// Whether a process with this number exists and is more than a zombie.
fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}
