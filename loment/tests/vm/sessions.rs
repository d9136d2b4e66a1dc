//! An ordinary user logs in and out, seen by the administrator.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use loment_testkit::{Output, Patience, busybox_rootfs, run};

use crate::groups::{lives, systemctl};
use crate::{SLEEP, eventually};

pub(crate) const HOME: &str = "/home/user";
const DROP_IN: &str = "/etc/systemd/system/user@.service.d/loment-test.conf";

/// The machine's user, without containers before and after.
pub(crate) struct User {
    binary: PathBuf,
    rootfs: String,
}

impl User {
    fn new() -> Self {
        assert!(std::env::var_os("LOMENT_VM").is_some(), "run these by `cargo xtask vm-test`");
        let user = Self::at(env!("CARGO_BIN_EXE_loment"));
        user.prepare();
        user
    }

    /// The same, who has been here before and calls loment by that name.
    pub(crate) fn at(binary: &str) -> Self {
        Self { binary: binary.into(), rootfs: format!("{HOME}/fs") }
    }

    /// Makes the root file system of the user's containers.
    pub(crate) fn prepare(&self) {
        busybox_rootfs(Path::new(&self.rootfs));
        run(Command::new("chown").args(["--recursive", "user:user", &self.rootfs]), Patience::NORMAL)
            .succeeds();
    }

    pub(crate) fn rootfs(&self) -> &str {
        &self.rootfs
    }

    /// `loment ARGUMENTS` in a session of its own, which ends with it.
    pub(crate) fn loment(&self, arguments: &[&str]) -> Output {
        let binary = self.binary.to_str().expect("our paths are UTF-8");
        self.run(&[&[binary], arguments].concat())
    }

    /// The same of any command.
    pub(crate) fn run(&self, command_line: &[&str]) -> Output {
        let mut command = Command::new("systemd-run");
        command.args(["--quiet", "--pipe", "--wait", "--collect", "--uid=user", "--property=PAMName=login"]);
        command.args(["--working-directory=/home/user", "--"]).args(command_line);
        run(&mut command, Patience::NORMAL)
    }

    /// Starts a container that goes on; what was said besides.
    fn start(&self, name: &str) -> String {
        let head = ["run", "--detach", "--network", "none", "--name", name, "--rootfs", &self.rootfs];
        let output = self.loment(&[&head[..], &["sh", "-c", SLEEP]].concat());
        output.succeeds();
        output.stderr
    }

    fn inspect(&self, template: &str, name: &str) -> String {
        self.loment(&["inspect", "--format", template, name]).succeeds().to_owned()
    }

    pub(crate) fn pid(&self, name: &str) -> u32 {
        self.inspect("{{.State.Pid}}", name).parse().unwrap()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let removed = self.loment(&["rm", "--all", "--force", "--time", "0"]);
        let _ = fs::remove_file(DROP_IN);
        drop(Command::new("loginctl").args(["disable-linger", "user"]).status());
        let _ = fs::remove_dir_all(Path::new(HOME).join(".local"));
        let _ = fs::remove_dir_all(&self.rootfs);
        assert!(removed.code == 0 || std::thread::panicking(), "{removed}");
    }
}

fn state() -> String {
    let mut show = Command::new("loginctl");
    let output = run(show.args(["show-user", "--value", "--property", "State", "user"]), Patience::NORMAL);
    output.stdout.trim().to_owned()
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn containers_of_a_user_who_lingers_outlive_logging_out() {
    let user = User::new();
    run(Command::new("loginctl").args(["enable-linger", "user"]), Patience::NORMAL).succeeds();
    assert_eq!(user.start("c"), "", "nothing has to be said");
    let pid = user.pid("c");
    eventually("nobody is logged in", || state() == "lingering");
    assert!(lives(pid));
    assert_eq!(user.loment(&["exec", "c", "echo", "still"]).succeeds(), "still");
    assert_eq!(user.inspect("{{.State.Status}}", "c"), "running");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn containers_of_a_user_who_does_not_linger_end_and_it_is_said_before() {
    let user = User::new();
    let said = user.start("c");
    assert!(said.contains("`loginctl enable-linger user`"), "{said}");
    assert_eq!(user.start("other"), "", "it is said once");
    let pid = user.pid("c");
    eventually("systemd has ended it", || !lives(pid));
    // Its monitor has had the time to write how it ended.
    assert_eq!(user.inspect("{{.State.Status}} {{.State.ExitCode}}", "c"), "exited 0");
    user.loment(&["start", "c"]).succeeds();
    assert_eq!(user.inspect("{{.State.Status}}", "c"), "running");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn what_the_administrator_delegates_can_be_limited_and_nothing_else() {
    let user = User::new();
    let show = ["--rootfs", &user.rootfs, "sh", "-c", "cd /sys/fs/cgroup; cat cpu.max cpuset.cpus"];
    let limits = ["run", "--rm", "--network", "none", "--cpus", "0.5", "--cpuset-cpus", "1"];
    for (controllers, is_enough) in [("memory pids", false), ("cpu cpuset io memory pids", true)] {
        fs::create_dir_all(Path::new(DROP_IN).parent().unwrap()).unwrap();
        fs::write(DROP_IN, format!("[Service]\nDelegate=\nDelegate={controllers}\n")).unwrap();
        systemctl(&["daemon-reload"]);
        systemctl(&["stop", "user@1000.service"]);
        let output = user.loment(&[&limits[..], &show].concat());
        match is_enough {
            true => assert_eq!(output.succeeds(), "50000 100000\n1"),
            false => output.fails_saying(125, &["--cpus", "cpu cgroup controller was not", "Delegate="]),
        }
        let output =
            user.loment(&["run", "--rm", "--network", "none", "--rootfs", &user.rootfs, "echo", "usual"]);
        assert_eq!(output.succeeds(), "usual");
    }
}
