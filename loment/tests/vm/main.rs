//! What only a machine with systemd, all controllers of control groups and ordinary users can show.
//!
//! These tests are ignored elsewhere: `cargo xtask vm-test` boots such a machine and runs them in it, once for each
//! arrangement of control groups. Those in `v2`, `user` and `sessions` run where there is only the v2 hierarchy, and those in `user` in
//! a login session of an ordinary user. Those in `selinux` run in a boot of their own, the others with AppArmor.

mod apparmor;
mod checkpoint;
mod groups;
mod host;
mod journal;
mod kernel;
mod limits;
mod live;
mod notify;
mod quota;
mod reboots;
mod selinux;
mod sessions;
mod systemd;
mod systemd_inside;
mod user;
mod v2;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use loment_testkit::{Output, Patience, World, busybox_rootfs, run};
use serde_json::{Value, json};

/// A world with a root file system in a directory, which `--rootfs` takes, and its path.
#[track_caller]
fn world() -> (World, String) {
    assert!(std::env::var_os("LOMENT_VM").is_some(), "run these by `cargo xtask vm-test`");
    let world = World::new(Path::new(env!("CARGO_BIN_EXE_loment")));
    let dir = world.path("fs");
    busybox_rootfs(&dir);
    (world, dir.into_os_string().into_string().expect("our paths are UTF-8"))
}

/// A program that runs until it is stopped.
const SLEEP: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

/// Starts a container called `c` that runs until it is stopped, and returns its first process.
#[track_caller]
fn sleeper(world: &World, flags: &[&str], fs: &str) -> u32 {
    let head = ["run", "--detach", "--network", "none", "--name", "c"];
    world.loment([&head, flags, &["--rootfs", fs, "sh", "-c", SLEEP]].concat()).succeeds();
    world.inspect("{{.State.Pid}}", "c").parse().expect("a pid is a number")
}

/// `run --rm FLAGS --rootfs FS sh -c SCRIPT`.
#[track_caller]
fn sh(world: &World, flags: &[&str], fs: &str, script: &str) -> Output {
    let head = ["run", "--rm", "--network", "none"];
    world.loment([&head, flags, &["--rootfs", fs, "sh", "-c", script]].concat())
}

/// The id of the container that [`bundle`] is for; control groups make it unique on the host.
const ID: &str = "vm-bundle";

/// A bundle over that directory whose process is a shell with this script and whose resources are these.
fn bundle(world: &World, fs: &str, script: &str, resources: &Value) -> String {
    let config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": ["/bin/sh", "-c", script],
            "env": ["PATH=/bin"],
            "cwd": "/",
        },
        "root": { "path": fs },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": {
            "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "network" }],
            "resources": resources,
        },
    });
    fs::create_dir_all(world.path("bundle")).expect("make a directory");
    world.write("bundle/config.json", config.to_string());
    world.path("bundle").into_os_string().into_string().expect("our paths are UTF-8")
}

/// Changes the configuration of a [`bundle`].
#[track_caller]
fn configure(bundle: &str, change: impl FnOnce(&mut Value)) {
    let file = format!("{bundle}/config.json");
    let mut config = serde_json::from_slice(&fs::read(&file).expect("a bundle")).expect("JSON");
    change(&mut config);
    fs::write(file, config.to_string()).expect("write a file");
}

/// The host's user that is a container's root after [`map_users`].
const FIRST_USER: u32 = 100_000;

/// Gives a container users of its own, and a directory where they can have devices.
fn map_users(config: &mut Value) {
    let dev = json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"] });
    config["mounts"].as_array_mut().expect("a list").push(dev);
    config["linux"]["namespaces"].as_array_mut().expect("a list").push(json!({ "type": "user" }));
    for kind in ["uidMappings", "gidMappings"] {
        config["linux"][kind] = json!([{ "containerID": 0, "hostID": FIRST_USER, "size": 65536 }]);
    }
}

/// `loment-runtime ARGUMENTS`.
#[track_caller]
fn runtime(world: &World, arguments: &[&str]) -> Output {
    let root = world.dir().join("runtime").into_os_string().into_string().expect("our paths are UTF-8");
    world.named("loment-runtime", [&["--root", root.as_str()], arguments].concat())
}

/// A container of `loment-runtime` that is deleted whatever happens.
struct Running<'w>(&'w World);

impl<'w> Running<'w> {
    /// Starts one over a [`bundle`] that runs until it is stopped.
    #[track_caller]
    fn with(world: &'w World, fs: &str, resources: &Value) -> (Self, u32) {
        Self::over(world, &bundle(world, fs, SLEEP, resources))
    }

    /// Starts one over a bundle, whose program must go on.
    #[track_caller]
    fn over(world: &'w World, dir: &str) -> (Self, u32) {
        let container = Self(world);
        let (output, said) = Self::attempt(world, &["run", "--detach", "--bundle", dir, ID]);
        assert_eq!(output.code, 0, "{output}{said}");
        let state: Value = serde_json::from_str(runtime(world, &["state", ID]).succeeds()).expect("JSON");
        let pid = state["pid"].as_u64().and_then(|p| p.try_into().ok());
        (container, pid.expect("a running container has a pid"))
    }

    /// A command that leaves a container, and its errors. The container inherits our streams; a pipe would stay open.
    #[track_caller]
    fn attempt(world: &World, arguments: &[&str]) -> (Output, String) {
        runtime(world, &["--version"]).succeeds();
        let errors = world.path("errors");
        let mut start = Command::new("sh");
        start
            .args(["-c", "errors=$1; shift; exec \"$@\" >/dev/null 2>\"$errors\" </dev/null", "sh"])
            .arg(&errors);
        start.arg(world.dir().join("loment-runtime"));
        start.arg("--root").arg(world.dir().join("runtime")).args(arguments);
        let output = run(&mut start, Patience::NORMAL);
        (output, fs::read_to_string(errors).expect("the shell has made it"))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let output = runtime(self.0, &["delete", "--force", ID]);
        assert!(output.code == 0 || std::thread::panicking(), "{output}");
    }
}

/// The directory of a process's group for a controller: in its own v1 hierarchy, or in the unified one.
#[track_caller]
fn group(pid: u32, controller: &str) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("the process lives");
    let fields = || text.lines().map(|l| l.splitn(3, ':').collect::<Vec<_>>());
    let below =
        |mount: &str, path: &str| Path::new("/sys/fs/cgroup").join(mount).join(path.trim_start_matches('/'));
    if let Some(v1) = fields().find(|f| f[1].split(',').any(|c| c == controller)) {
        return below(v1[1], v1[2]);
    }
    let v2 = fields().find(|f| f[0] == "0").expect("every process is somewhere");
    below("", v2[2])
}

/// What the first of `files` that exists in the process's group holds.
#[track_caller]
fn setting(pid: u32, controller: &str, files: &[&str]) -> String {
    let dir = group(pid, controller);
    let text = files.iter().find_map(|f| fs::read_to_string(dir.join(f)).ok());
    text.unwrap_or_else(|| panic!("none of {files:?} in {}", dir.display())).trim().to_owned()
}

/// Waits until `condition` holds.
#[track_caller]
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
