//! Other people's engines with our runtime, and with runc as control: what they print and how they end must be the same.

mod docker;
mod events;
mod secrets;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use loment_testkit::{Output, Patience, Terminal, World, busybox_rootfs, run};

use crate::{eventually, world};

/// Root's limits in tests are lower than what Podman and Buildah ask for.
pub(crate) const LIMITS: [&str; 4] = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"];

/// A world with our binary as `loment-runtime` and `crun`, and a root file system.
pub(crate) fn prepared() -> World {
    let world = world();
    for name in ["loment-runtime", "crun"] {
        world.named(name, ["--version"]).succeeds();
    }
    busybox_rootfs(&world.path("rootfs"));
    world
}

/// Our runtime, and the one that it replaces.
pub(crate) fn runtimes(world: &World) -> [String; 2] {
    [
        world.dir().join("loment-runtime").to_str().unwrap().to_owned(),
        which("runc").to_str().unwrap().to_owned(),
    ]
}

pub(crate) fn which(program: &str) -> PathBuf {
    let found = ["/usr/sbin", "/usr/bin"].iter().map(|d| Path::new(d).join(program)).find(|p| p.exists());
    found.unwrap_or_else(|| panic!("{program} is not installed: `cargo xtask test` installs it"))
}

pub(crate) fn command(world: &World, program: &str) -> Command {
    let mut command = Command::new(which(program));
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", world.dir().join("home"));
    command.env("CONTAINERS_CONF", "/dev/null").env("TERM", "xterm").env("LANG", "C.UTF-8").env("TZ", "UTC");
    command.env("XDG_RUNTIME_DIR", world.dir()).current_dir(world.dir().join("work")).stdin(Stdio::null());
    command
}

/// Podman with a store of its own.
pub(crate) struct Podman<'w> {
    world: &'w World,
    runtime: String,
    name: &'static str,
}

impl<'w> Podman<'w> {
    pub(crate) fn new(world: &'w World, runtime: &str, name: &'static str) -> Self {
        let podman = Self { world, runtime: runtime.to_owned(), name };
        let tar = world.path("image.tar");
        let rootfs = world.path("rootfs");
        let mut pack = command(world, "tar");
        run(pack.arg("-C").arg(rootfs).arg("-cf").arg(&tar).arg("."), Patience::NORMAL).succeeds();
        podman.run(&["import", "--quiet", tar.to_str().unwrap(), "image"]).succeeds();
        podman
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(self.world, "podman");
        let dir = |kind: &str| self.world.dir().join(format!("{}-{kind}", self.name));
        command
            .arg("--root")
            .arg(dir("root"))
            .arg("--runroot")
            .arg(dir("run"))
            .arg("--tmpdir")
            .arg(dir("tmp"));
        command.args(["--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
        command.args(["--storage-driver", "overlay", "--runtime", &self.runtime]).args(arguments);
        command
    }

    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        run(&mut self.command(arguments), Patience::NORMAL)
    }

    /// The same with these variables.
    #[track_caller]
    pub(crate) fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
        run(self.command(arguments).envs(variables.iter().copied()), Patience::NORMAL)
    }

    /// `run` or `create` with these flags, and the image and program.
    fn words<'a>(command: &[&'a str], flags: &[&'a str], program: &[&'a str]) -> Vec<&'a str> {
        [command, &["--network", "none"], &LIMITS, flags, &["image"], program].concat()
    }
}

impl Drop for Podman<'_> {
    fn drop(&mut self) {
        // Goes on past failures: whatever is left is found by the search for leftovers.
        for arguments in [&["rm", "--all", "--force", "--time", "0"][..], &["system", "reset", "--force"]] {
            let _ = self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        // Podman keeps its store mounted on itself.
        let store = self.world.dir().join(format!("{}-root/overlay", self.name));
        let _ = Command::new("umount").arg(store).stderr(Stdio::null()).status();
    }
}

/// What a command said and how it ended, for comparison.
fn outcome(output: &Output) -> (i32, String) {
    (output.code, output.stdout.clone())
}

#[test]
fn podman_runs_containers_as_with_runc() {
    let world = prepared();
    let outcomes = runtimes(&world).map(|runtime| {
        let podman = Podman::new(&world, &runtime, "podman");
        let run = |flags: &[&str], script: &str| {
            outcome(&podman.run(&Podman::words(&["run", "--rm"], flags, &["sh", "-c", script])))
        };
        let status = "grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status";
        vec![
            run(&[], "echo hello; id; exit 3"),
            run(&["--user", "1000:7", "--hostname", "h", "--workdir", "/proc"], "id; hostname; pwd"),
            run(&["--cap-drop", "ALL", "--security-opt", "no-new-privileges"], status),
            run(&[], status),
            run(
                &["--read-only", "--tmpfs", "/t:size=4m"],
                "echo > /x; echo > /t/x && grep ' /t ' /proc/mounts",
            ),
            run(
                &["--memory", "64m", "--pids-limit", "50"],
                "cat /sys/fs/cgroup/*/pids.max /sys/fs/cgroup/pids.max",
            ),
            run(&["--uidmap", "0:100000:1000", "--gidmap", "0:100000:1000"], "cat /proc/self/uid_map; id"),
            run(&["--pid", "host", "--env", "A=b"], "test $$ -gt 1 && echo $A"),
            run(&["--privileged"], "grep Cap /proc/self/status; ls /dev | wc -l"),
            run(&["--ulimit", "core=1:2"], "ulimit -c"),
        ]
    });
    assert_eq!(outcomes[0], outcomes[1]);
    assert_eq!(outcomes[0][0], (3, "hello\nuid=0(root) gid=0(root)\n".into()));
}

#[test]
fn podman_manages_a_container_as_with_runc() {
    let world = prepared();
    let outcomes = runtimes(&world).map(|runtime| {
        let podman = Podman::new(&world, &runtime, "podman");
        let flags = ["--name", "c", "--health-cmd", "echo well", "--health-interval", "disable"];
        let script = "trap 'exit 5' TERM; while :; do sleep 0.05; done";
        let status = || podman.run(&["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "c"]);
        podman.run(&Podman::words(&["create"], &flags, &["sh", "-c", script])).succeeds();
        let steps: &[&[&str]] = &[
            &["start", "c"],
            &["exec", "c", "sh", "-c", "echo in; exit 4"],
            &[
                "exec",
                "--user",
                "5:6",
                "--workdir",
                "/proc",
                "--env",
                "A=b",
                "c",
                "sh",
                "-c",
                "id; pwd; echo $A",
            ],
            &["exec", "--privileged", "c", "grep", "CapEff", "/proc/self/status"],
            &["exec", "c", "/no/such"],
            &["exec", "--detach", "c", "sleep", "100"],
            &["healthcheck", "run", "c"],
            &["pause", "c"],
            &["exec", "c", "true"],
            &["unpause", "c"],
            &["restart", "--time", "5", "c"],
            &["stop", "--time", "5", "c"],
            &["start", "c"],
            &["kill", "--signal", "KILL", "c"],
        ];
        let mut all = Vec::new();
        for step in steps {
            let output = podman.run(step);
            // Ids differ from run to run.
            let said = if output.stdout.len() > 60 { String::new() } else { output.stdout.clone() };
            all.push((output.code, said));
            // Podman says "stopped" until it has cleaned up.
            let (code, said) = outcome(&status());
            all.push((code, said.replace("stopped", "exited")));
        }
        eventually("it is gone", || status().stdout.contains("exited"));
        all.push(outcome(&status()));
        all.push(outcome(&podman.run(&["rm", "c"])));
        all.push(outcome(&podman.run(&["logs", "c"])));
        all
    });
    assert_eq!(outcomes[0], outcomes[1]);
    assert_eq!(outcomes[0][2], (4, "in\n".into()));
}

#[test]
fn podman_understands_why_a_program_could_not_be_run() {
    let world = prepared();
    for runtime in runtimes(&world) {
        let podman = Podman::new(&world, &runtime, "podman");
        let words = |program| Podman::words(&["run", "--rm"], &[], program);
        podman.run(&words(&["/no/such"])).fails_saying(127, &["o such file or directory"]);
        podman.run(&words(&["/bin"])).fails_saying(126, &["ermission denied"]);
    }
}

/// Podman asks for it by an annotation of crun's, which runc does not know.
#[test]
fn podman_keeps_the_groups_of_its_caller() {
    let world = prepared();
    let [ours, _] = runtimes(&world);
    let podman = Podman::new(&world, &ours, "podman");
    let member = |words: &[&str]| {
        run(&mut crate::through(&["setpriv", "--groups", "42,43"], &podman.command(words)), Patience::NORMAL)
    };
    let keep = ["--group-add", "keep-groups"];
    let output = member(&Podman::words(&["run", "--rm"], &keep, &["grep", "Groups", "/proc/self/status"]));
    assert_eq!(output.succeeds().trim(), "Groups:\t42 43");
    let flags = ["--name", "c", "--group-add", "keep-groups"];
    let script = "trap 'exit 5' TERM; while :; do sleep 0.05; done";
    podman.run(&Podman::words(&["run", "--detach"], &flags, &["sh", "-c", script])).succeeds();
    let output = member(&["exec", "c", "grep", "Groups", "/proc/self/status"]);
    assert_eq!(output.succeeds().trim(), "Groups:\t42 43");
}

#[test]
fn podman_gives_a_terminal() {
    let world = prepared();
    let [ours, _] = runtimes(&world);
    let podman = Podman::new(&world, &ours, "podman");
    let words = Podman::words(&["run", "--rm", "-it"], &["--env", "PS1=ready> "], &["sh"]);
    let mut terminal = Terminal::start(&podman.command(&words));
    terminal.shows("ready> ");
    terminal.types("tty\n");
    terminal.shows("/dev/pts/0");
    terminal.types("exit 6\n");
    assert_eq!(terminal.ends(), 6);
}

#[test]
fn podman_runs_a_container_without_control_groups() {
    let world = prepared();
    // Podman believes only a runtime of that name to be able to.
    let podman = Podman::new(&world, world.dir().join("crun").to_str().unwrap(), "podman");
    let words = Podman::words(&["run", "--rm"], &["--cgroups", "disabled"], &["cat", "/proc/self/cgroup"]);
    let output = podman.run(&words);
    assert!(!output.succeeds().contains("libpod"), "{output}");
}

/// Buildah with a store of its own.
fn buildah(world: &World, arguments: &[&str]) -> Command {
    let mut command = command(world, "buildah");
    command.arg("--root").arg(world.dir().join("buildah-root"));
    command.arg("--runroot").arg(world.dir().join("buildah-run")).args(["--storage-driver", "vfs"]);
    command.args(arguments);
    command
}

#[test]
fn buildah_builds_as_with_runc() {
    let world = prepared();
    world.write(
        "Containerfile",
        "FROM scratch\nADD rootfs /\nRUN echo built > /x; id\nRUN cat /x; hostname localhost; exit 7\n",
    );
    let outcomes = runtimes(&world).map(|runtime| {
        let buildah = |arguments: &[&str]| run(&mut buildah(&world, arguments), Patience::NORMAL);
        let flags = ["--runtime", runtime.as_str(), "--isolation", "oci", "--network", "none"];
        let container = buildah(&["from", "scratch"]).succeeds().to_owned();
        buildah(&["copy", "--quiet", &container, "rootfs", "/"]).succeeds();
        let ran = buildah(&[&["run"], &flags[..], &[&container, "sh", "-c", "id; pwd; exit 5"]].concat());
        let built = buildah(
            &[&["build", "--no-cache"], &flags[..], &LIMITS, &["--file", "Containerfile", "."]].concat(),
        );
        buildah(&["rm", &container]).succeeds();
        let lines: Vec<String> =
            built.stdout.lines().filter(|l| !l.contains("-->")).map(str::to_owned).collect();
        (outcome(&ran), built.code, lines)
    });
    assert_eq!(outcomes[0], outcomes[1]);
    assert_eq!(outcomes[0].0, (5, "uid=0(root) gid=0(root) groups=0(root)\n/\n".into()));
    let _ = run(&mut buildah(&world, &["rmi", "--all", "--force"]), Patience::NORMAL);
}

/// A containerd of our own, ended when this is dropped.
struct Containerd<'w> {
    world: &'w World,
    child: Child,
}

impl<'w> Containerd<'w> {
    fn start(world: &'w World) -> Self {
        let dir = world.dir().join("containerd");
        std::fs::create_dir(&dir).unwrap();
        let path = |name: &str| dir.join(name).display().to_string();
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n",
            path("root"),
            path("state"),
            path("s"),
            path("t")
        );
        std::fs::write(dir.join("config.toml"), config).unwrap();
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let mut command = command(world, "containerd");
        let child =
            command.arg("--config").arg(dir.join("config.toml")).stdout(Stdio::null()).stderr(log).spawn();
        let containerd = Self { world, child: child.unwrap() };
        let ready = || containerd.ctr(&["version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        eventually("containerd answers", || ready().unwrap().success());
        containerd
    }

    fn ctr(&self, arguments: &[&str]) -> Command {
        let mut command = command(self.world, "ctr");
        command.arg("--address").arg(self.world.dir().join("containerd/s")).args(arguments);
        command
    }

    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        run(&mut self.ctr(arguments), Patience::NORMAL)
    }
}

/// Asks a daemon of ours to end, and sees to it.
fn end(daemon: &mut Child) {
    let pid = rustix::process::Pid::from_child(daemon);
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    let end = Instant::now() + Duration::from_secs(20);
    while daemon.try_wait().is_ok_and(|s| s.is_none()) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = daemon.kill();
    let _ = daemon.wait();
}

impl Drop for Containerd<'_> {
    fn drop(&mut self) {
        for arguments in [&["task", "rm", "--force", "c"][..], &["container", "rm", "c"]] {
            let _ = self.ctr(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        end(&mut self.child);
    }
}

#[test]
fn containerd_manages_a_container_as_with_runc() {
    let world = prepared();
    let containerd = Containerd::start(&world);
    let rootfs = world.path("rootfs").to_str().unwrap().to_owned();
    let root = world.dir().join("containerd/runtime").to_str().unwrap().to_owned();
    let outcomes = runtimes(&world).map(|runtime| {
        let runtime =
            ["--runc-binary", &runtime, "--runc-root", &root, "--env", "PATH=/bin", "--rootfs", &rootfs];
        let mut all = Vec::new();
        let mut step = |arguments: &[&str]| {
            let output = containerd.run(arguments);
            // Process numbers and times differ.
            let said =
                output.stdout.split_whitespace().filter(|w| !w.starts_with(|c: char| c.is_ascii_digit()));
            all.push((arguments.join(" "), output.code, said.map(str::to_owned).collect::<Vec<_>>()));
        };
        let run = |flags: &[&'static str], program: &[&'static str]| -> Vec<String> {
            [&["run"], flags, &runtime, &["c"], program].concat().into_iter().map(str::to_owned).collect()
        };
        let start = |flags: &[&'static str], program: &[&'static str]| {
            let words = run(flags, program);
            let output = containerd.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
            (output.code, output.stdout)
        };
        let ran = start(&["--rm"], &["sh", "-c", "id; pwd; exit 4"]);
        let missing = start(&["--rm"], &["/no/such"]).0;
        let script = "trap 'exit 5' TERM; while :; do sleep 0.05; done";
        let background = start(&["--detach"], &["sh", "-c", script]);
        for arguments in [
            &["task", "ls"][..],
            &["task", "exec", "--exec-id", "e", "c", "sh", "-c", "echo in; exit 3"],
            &["task", "pause", "c"],
            &["task", "ls"],
            &["task", "resume", "c"],
            &["task", "kill", "--signal", "TERM", "c"],
        ] {
            step(arguments);
        }
        eventually("it stops", || containerd.run(&["task", "ls"]).stdout.contains("STOPPED"));
        for arguments in [&["task", "kill", "c"][..], &["task", "rm", "c"], &["container", "rm", "c"]] {
            step(arguments);
        }
        (ran, missing, background, all)
    });
    assert_eq!(outcomes[0], outcomes[1]);
    assert_eq!(outcomes[0].0, (4, "uid=0(root) gid=0(root)\n/\n".into()));
}

#[test]
fn conmon_supervises_a_container_as_with_runc() {
    let world = prepared();
    let outcomes = runtimes(&world).map(|runtime| {
        let bundle = crate::runtime::bundle(&world, "echo out; echo err >&2; exit 5", |_| ());
        let (id, exits) = (crate::runtime::id("conmon"), world.path("exits"));
        std::fs::create_dir_all(&exits).unwrap();
        let (log, pid) = (world.path("log"), world.path("pid"));
        let root = world.dir().join("conmon-root");
        let mut conmon = command(&world, "conmon");
        conmon.args([
            "--api-version",
            "1",
            "--cid",
            &id,
            "--cuuid",
            &id,
            "--name",
            "c",
            "--runtime",
            &runtime,
        ]);
        conmon.arg("--runtime-arg").arg("--root").arg("--runtime-arg").arg(&root);
        conmon.arg("--bundle").arg(&bundle).arg("--container-pidfile").arg(&pid);
        conmon
            .arg("--exit-dir")
            .arg(&exits)
            .arg("--log-path")
            .arg(&log)
            .arg("--socket-dir-path")
            .arg(world.dir());
        run(&mut conmon, Patience::NORMAL).succeeds();
        eventually("it is created", || pid.exists());
        let own = |arguments: &[&str]| {
            let mut command = Command::new(&runtime);
            run(command.arg("--root").arg(&root).args(arguments), Patience::NORMAL)
        };
        own(&["start", &id]).succeeds();
        let file = exits.join(&id);
        eventually("it ends", || file.exists());
        let status = std::fs::read_to_string(&file).unwrap();
        let words = |line: &str| line.split(' ').skip(1).map(str::to_owned).collect::<Vec<_>>();
        let mut logged: Vec<_> = std::fs::read_to_string(&log).unwrap().lines().map(words).collect();
        logged.sort();
        own(&["delete", &id]).succeeds();
        for path in [&log, &pid, &file] {
            std::fs::remove_file(path).unwrap();
        }
        (status, logged)
    });
    assert_eq!(outcomes[0], outcomes[1]);
    assert_eq!(outcomes[0].0, "5");
}
