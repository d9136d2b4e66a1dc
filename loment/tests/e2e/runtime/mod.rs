//! `loment-runtime`: the command line of an OCI runtime. One file for each feature; here is what they share.

mod checkpoint;
mod descriptors;
mod exec;
mod hooks;
mod lifecycle;
mod limits;
mod log;
mod own_state;
mod pause;
mod queries;
mod schema;
mod terminal;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use loment_testkit::{Output, World, busybox_rootfs};
use serde_json::{Value, json};

/// A bundle whose process is busybox's shell with this script, changed by `edit`.
pub(crate) fn bundle(world: &World, script: &str, edit: impl FnOnce(&mut Value)) -> PathBuf {
    let dir = world.path("bundle");
    fs::create_dir_all(&dir).unwrap();
    if !dir.join("rootfs").exists() {
        busybox_rootfs(&dir.join("rootfs"));
    }
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": ["/bin/sh", "-c", script],
            "env": ["PATH=/bin"],
            "cwd": "/",
        },
        "root": { "path": "rootfs" },
        "hostname": "bundle",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
        ],
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "mount" }, { "type": "uts" }, { "type": "ipc" }, { "type": "network" },
            ],
        },
    });
    edit(&mut config);
    fs::write(dir.join("config.json"), serde_json::to_vec(&config).unwrap()).unwrap();
    dir
}

pub(crate) fn runtime(world: &World, arguments: &[&str]) -> Output {
    let root = world.dir().join("runtime");
    let root = root.to_str().unwrap().to_owned();
    world.named("loment-runtime", [&["--root", root.as_str()], arguments].concat())
}

pub(crate) fn state(world: &World, id: &str) -> String {
    document(world, id)["status"].as_str().unwrap().to_owned()
}

/// `loment-runtime --root … ARGUMENTS`, not started.
pub(crate) fn command(world: &World, arguments: &[&str]) -> Command {
    // The link is made by whoever is first.
    world.named("loment-runtime", ["--version"]).succeeds();
    let mut command = Command::new(world.dir().join("loment-runtime"));
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LANG", "C.UTF-8").env("TZ", "UTC");
    command.current_dir(world.dir().join("work"));
    command.arg("--root").arg(world.dir().join("runtime")).args(arguments);
    command
}

/// The same, run to its end without handing on our streams: a container that outlives the command inherits them.
#[track_caller]
pub(crate) fn silently(world: &World, arguments: &[&str]) -> Output {
    let errors = world.path("errors");
    let file = fs::File::create(&errors).unwrap();
    let mut command = command(world, arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    let status = command.status().unwrap();
    let stderr = fs::read_to_string(errors).unwrap();
    let code = status.code().unwrap_or(-1);
    Output { command: arguments.join(" "), stdout: String::new(), stderr, code }
}

/// A container that is created, and killed and deleted when this is dropped.
pub(crate) struct Guard<'w> {
    world: &'w World,
    pub(crate) id: String,
}

impl<'w> Guard<'w> {
    /// `create`, of this bundle.
    #[track_caller]
    pub(crate) fn create(world: &'w World, test: &str, bundle: &Path) -> Self {
        let guard = Self::of(world, test);
        let output = silently(world, &["create", "--bundle", bundle.to_str().unwrap(), &guard.id]);
        assert_eq!(output.code, 0, "{output}");
        guard
    }

    /// `create` and `start`.
    #[track_caller]
    pub(crate) fn start(world: &'w World, test: &str, bundle: &Path) -> Self {
        let guard = Self::create(world, test, bundle);
        runtime(world, &["start", &guard.id]).succeeds();
        guard
    }

    /// Whatever container gets that id.
    pub(crate) fn of(world: &'w World, test: &str) -> Self {
        Self { world, id: id(test) }
    }

    pub(crate) fn status(&self) -> String {
        state(self.world, &self.id)
    }

    pub(crate) fn pid(&self) -> i64 {
        document(self.world, &self.id)["pid"].as_i64().unwrap()
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let output = command(self.world, &["delete", "--force", &self.id]).output();
        if !std::thread::panicking() {
            let output = output.unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// What `state` prints.
pub(crate) fn document(world: &World, id: &str) -> Value {
    serde_json::from_str(runtime(world, &["state", id]).succeeds()).unwrap()
}

/// Ids are unique on the host, because control groups are.
pub(crate) fn id(test: &str) -> String {
    format!("test-{test}-{}", std::process::id())
}
