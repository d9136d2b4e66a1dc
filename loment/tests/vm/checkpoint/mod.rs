//! `loment-runtime checkpoint` and `restore`, with Debian's CRIU, and Debian's runc as a control. `LOMENT_TEST_CRIU` names
//! another CRIU. What is said where there is no usable one is in the end-to-end tests.

mod archives;
mod engine;
mod flags;
mod lazy;
mod life;
mod named;
mod network;
mod peers;
mod pods;
mod streams;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use loment_testkit::{Output, World};
use serde_json::{Value, json};

use crate::{eventually, world};

/// Counts as long as it runs, in a directory from outside.
const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i >/out/count; sleep 0.1; done";

/// A container that is saved and restored, and deleted whatever happens.
struct Case {
    world: World,
    fs: String,
    id: String,
}

impl Case {
    #[track_caller]
    fn new(test: &str) -> Self {
        let (world, fs) = world();
        fs::create_dir(world.path("out")).unwrap();
        // The link is made by whoever is first.
        world.named("loment-runtime", ["--version"]).succeeds();
        Self { world, fs, id: format!("saved-{test}-{}", std::process::id()) }
    }

    /// A bundle whose process is a shell with this script.
    fn bundle(&self, script: &str, edit: impl FnOnce(&mut Value)) -> String {
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": { "uid": 0, "gid": 0 },
                "args": ["/bin/sh", "-c", script],
                "env": ["PATH=/bin"],
                "cwd": "/",
            },
            "root": { "path": self.fs },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
                { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                  "options": ["newinstance", "ptmxmode=0666", "mode=0620"] },
                { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"] },
                { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"] },
                { "destination": "/out", "type": "bind", "source": self.path("out"), "options": ["bind"] },
            ],
            "linux": {
                "namespaces": [
                    { "type": "pid" }, { "type": "mount" }, { "type": "uts" }, { "type": "ipc" }, { "type": "network" },
                    { "type": "cgroup" },
                ],
                "maskedPaths": ["/proc/keys", "/proc/acpi", "/sys/firmware"],
                "readonlyPaths": ["/proc/sys"],
                "resources": { "pids": { "limit": 50 } },
            },
        });
        edit(&mut config);
        fs::create_dir_all(self.world.path("bundle")).unwrap();
        self.world.write("bundle/config.json", config.to_string());
        self.path("bundle")
    }

    fn path(&self, name: &str) -> String {
        self.world.path(name).into_os_string().into_string().expect("our paths are UTF-8")
    }

    /// `loment-runtime ARGUMENTS`, not started.
    fn ours(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.world.dir().join("loment-runtime"));
        command.arg("--root").arg(self.world.dir().join("runtime"));
        if let Some(criu) = other_criu() {
            command.arg("--criu").arg(criu);
        }
        command.args(arguments).env_remove("NOTIFY_SOCKET").current_dir(self.world.dir());
        command
    }

    /// `runc ARGUMENTS`, not started.
    fn runc(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("runc");
        command.arg("--root").arg(self.world.dir().join("runc")).args(arguments);
        if let Some(dir) = other_criu().as_deref().and_then(std::path::Path::parent) {
            let path = std::env::var("PATH").unwrap_or_default();
            command.env("PATH", format!("{}:{path}", dir.display()));
        }
        command.env_remove("NOTIFY_SOCKET").current_dir(self.world.dir());
        command
    }

    /// Runs it to its end without handing on our streams: a container that outlives it inherits them.
    #[track_caller]
    fn quietly(&self, command: &mut Command) -> Output {
        let errors = self.world.path("errors");
        let file = File::create(&errors).unwrap();
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file.try_clone().unwrap());
        let code = status.status().unwrap().code().unwrap_or(-1);
        let stderr = fs::read_to_string(errors).unwrap();
        Output { command: format!("{command:?}"), stdout: String::new(), stderr, code }
    }

    /// What CRIU says went wrong, for a test that fails.
    fn logs(&self) -> String {
        let logs = ["images/dump.log", "images/restore.log", "pre/dump.log"];
        let text = logs.iter().filter_map(|log| fs::read_to_string(self.world.path(log)).ok());
        let lines: Vec<String> =
            text.flat_map(|t| t.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    /// Starts one of that bundle in the background, without streams.
    #[track_caller]
    fn start(&self, bundle: &str) {
        // A stream that is a file of the host's cannot be saved.
        let mut run = self.ours(&["run", "--detach", "--bundle", bundle, &self.id]);
        let run = run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(run.status().unwrap().success());
    }

    #[track_caller]
    fn save(&self, flags: &[&str]) {
        let images = self.path("images");
        let words = [&["checkpoint", "--image-path", &images], flags, &[&self.id]].concat();
        let output = self.quietly(&mut self.ours(&words));
        assert_eq!(output.code, 0, "{output}\n{}", self.logs());
    }

    /// `restore FLAGS` of the images in the background, not started.
    fn restoring(&self, flags: &[&str]) -> Command {
        let (images, bundle) = (self.path("images"), self.path("bundle"));
        let words = ["restore", "--detach", "--image-path", &images, "--bundle", &bundle];
        self.ours(&[&words, flags, &[&self.id]].concat())
    }

    #[track_caller]
    fn restore(&self, flags: &[&str]) {
        let errors = File::create(self.world.path("errors")).unwrap();
        let mut command = self.restoring(flags);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let status = command.status().unwrap();
        let said = fs::read_to_string(self.world.path("errors")).unwrap();
        assert!(status.success(), "{said}\n{}", self.logs());
    }

    #[track_caller]
    fn document(&self) -> Value {
        let output = self.quietly_read(&["state", &self.id]);
        serde_json::from_str(output.succeeds()).unwrap()
    }

    /// What a command of ours prints.
    fn quietly_read(&self, arguments: &[&str]) -> Output {
        loment_testkit::run(&mut self.ours(arguments), loment_testkit::Patience::NORMAL)
    }

    #[track_caller]
    fn status(&self) -> String {
        self.document()["status"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn pid(&self) -> u32 {
        self.document()["pid"].as_u64().unwrap().try_into().unwrap()
    }

    /// How far the container has counted.
    fn count(&self) -> u64 {
        let path = self.world.path("out/count");
        let read = || fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        (0..100)
            .find_map(|_| {
                read().or_else(|| {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    None
                })
            })
            .unwrap_or(0)
    }

    /// Waits until it has counted on, which takes it some time, and not begun anew.
    #[track_caller]
    fn counts_from(&self, before: u64) {
        eventually("it counts on", || self.count() > before + 3);
        assert!(self.count() < before + 1000);
    }

    /// Nothing of the container is there.
    #[track_caller]
    fn is_gone(&self) {
        self.quietly_read(&["state", &self.id]).fails_saying(1, &["does not exist"]);
        assert!(!self.world.dir().join("runtime").join(&self.id).exists());
        let groups = fs::read_dir("/sys/fs/cgroup").unwrap().map(|e| e.unwrap().path());
        let name = format!("loment-{}", self.id);
        let left: Vec<PathBuf> = groups.map(|g| g.join(&name)).filter(|g| g.exists()).collect();
        assert!(left.is_empty() && !PathBuf::from("/sys/fs/cgroup").join(name).exists(), "{left:?}");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.world.dir().to_str().unwrap()), "{mounts}");
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        let ours = self.quietly_read(&["delete", "--force", &self.id]);
        // There is mostly none of these.
        drop(self.quietly_read(&[
            "--root",
            &self.path("other"),
            "delete",
            "--force",
            &format!("{}-other", self.id),
        ]));
        drop(self.runc(&["delete", "--force", &self.id]).output());
        assert!(ours.code == 0 || std::thread::panicking(), "{ours}");
    }
}

fn other_criu() -> Option<PathBuf> {
    std::env::var_os("LOMENT_TEST_CRIU").map(PathBuf::from)
}

/// Whether the kernel has what CRIU calls by that name.
fn kernel_has(feature: &str) -> bool {
    let mut check = Command::new(other_criu().unwrap_or("criu".into()));
    check.args(["check", "--feature", feature]).output().is_ok_and(|output| output.status.success())
}
