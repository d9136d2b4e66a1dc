//! Docker's daemon, with its own containerd, beside nothing of the host's: data of its own, no bridge, no packet filter.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use loment_testkit::{Output, Patience, World, run};

use super::{command, outcome, prepared, runtimes};
use crate::eventually;

/// A daemon that is ended, with its containers, when this is dropped.
struct Docker<'w> {
    world: &'w World,
    child: Child,
}

impl<'w> Docker<'w> {
    /// With our runtime as `ours`; or the daemon's last words, where it cannot run.
    fn start(world: &'w World, ours: &str) -> Result<Self, String> {
        let path = |name: &str| world.dir().join("dockerd").join(name).display().to_string();
        std::fs::create_dir(path("")).unwrap();
        std::fs::write(path("daemon.json"), "{}").unwrap();
        let log = std::fs::File::create(path("log")).unwrap();
        let mut daemon = command(world, "dockerd");
        for (flag, name) in [
            ("--data-root", "data"),
            ("--exec-root", "exec"),
            ("--pidfile", "pid"),
            ("--config-file", "daemon.json"),
        ] {
            daemon.arg(flag).arg(path(name));
        }
        daemon.arg("--host").arg(format!("unix://{}", path("sock")));
        daemon.args(["--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]);
        daemon.args(["--ip-masq=false", "--storage-driver", "vfs", "--group", "root"]);
        daemon.arg("--add-runtime").arg(format!("ours={ours}"));
        let child = daemon.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut docker = Self { world, child };
        let end = Instant::now() + Duration::from_secs(60);
        while !docker.client(&["version"]).output().unwrap().status.success() {
            if docker.child.try_wait().unwrap().is_some() || Instant::now() > end {
                let log = std::fs::read_to_string(path("log")).unwrap_or_default();
                return Err(log.lines().last().unwrap_or("it says nothing").to_owned());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(docker)
    }

    fn client(&self, arguments: &[&str]) -> Command {
        let mut client = command(self.world, "docker");
        client
            .arg("--host")
            .arg(format!("unix://{}/dockerd/sock", self.world.dir().display()))
            .args(arguments);
        client
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Output {
        run(&mut self.client(arguments), Patience::NORMAL)
    }
}

impl Drop for Docker<'_> {
    fn drop(&mut self) {
        if let Ok(list) = self.client(&["ps", "--all", "--quiet"]).output() {
            let list = String::from_utf8_lossy(&list.stdout).into_owned();
            for id in list.lines() {
                let _ = self.client(&["rm", "--force", id]).output();
            }
        }
        super::end(&mut self.child);
    }
}

#[test]
fn docker_manages_containers_as_with_runc() {
    let world = prepared();
    let [ours, _] = runtimes(&world);
    let docker = match Docker::start(&world, &ours) {
        Ok(docker) => docker,
        Err(said) => {
            println!("skipped: Docker's daemon, because it does not start here: {said}");
            return;
        }
    };
    let tar = world.path("image.tar");
    let mut pack = command(&world, "tar");
    run(pack.arg("-C").arg(world.path("rootfs")).arg("-cf").arg(&tar).arg("."), Patience::NORMAL).succeeds();
    docker.run(&["import", tar.to_str().unwrap(), "image"]).succeeds();
    let outcomes = ["ours", "runc"].map(|runtime| {
        let words = |command: &[&'static str], flags: &[&'static str], program: &[&'static str]| {
            [command, &["--runtime", runtime, "--network", "none"], flags, &["image"], program].concat()
        };
        let start = |flags: &[&'static str], program: &[&'static str]| {
            outcome(&docker.run(&words(&["run", "--rm"], flags, program)))
        };
        let status = "grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status";
        let ran = [
            start(&[], &["sh", "-c", "echo hello; id; exit 3"]),
            start(
                &["--user", "1000:7", "--hostname", "h", "--workdir", "/proc"],
                &["sh", "-c", "id; hostname; pwd"],
            ),
            start(&[], &["sh", "-c", status]),
            start(&["--cap-drop", "ALL", "--security-opt", "no-new-privileges"], &["sh", "-c", status]),
            start(
                &["--read-only", "--tmpfs", "/tmp"],
                &["sh", "-c", "touch /x 2>/dev/null || touch /tmp/x && echo yes"],
            ),
            start(&["--tty"], &["sh", "-c", "test -t 0 && echo terminal; exit 4"]),
            start(&["--memory", "64m", "--pids-limit", "50"], &["cat", "/sys/fs/cgroup/pids/pids.max"]),
            start(&[], &["/no/such"]),
            start(&[], &["no-such"]),
            start(&[], &["/etc"]),
        ];
        docker
            .run(&words(&["run", "--detach", "--name", "dock"], &["--memory", "64m"], &["sleep", "1000"]))
            .succeeds();
        let steps = [
            &["exec", "dock", "sh", "-c", "id; ls /proc/self/fd; exit 6"][..],
            &["exec", "dock", "/no/such"],
            &["pause", "dock"],
            &["inspect", "--format", "{{.State.Status}}", "dock"],
            &["unpause", "dock"],
            &["update", "--pids-limit", "60", "dock"],
            &["stop", "--time", "0", "dock"],
            &["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "dock"],
            &["start", "dock"],
            &["kill", "dock"],
            &["rm", "--force", "dock"],
        ];
        let step = |arguments| {
            let (code, said) = outcome(&docker.run(arguments));
            // What cannot be run each says in its own words.
            (arguments, code, if code == 126 { String::new() } else { said })
        };
        (ran, steps.map(step))
    });
    assert_eq!(outcomes[0], outcomes[1]);
    assert_eq!(outcomes[0].0[0], (3, "hello\nuid=0(root) gid=0(root) groups=0(root)\n".into()));
    assert_eq!(outcomes[0].0[7].0, 127);
    drop(docker);
    eventually("its mounts are gone", || {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        !mounts.contains(world.dir().to_str().unwrap())
    });
}

#[test]
fn docker_and_we_load_what_the_other_saves() {
    let world = prepared();
    let [ours, _] = runtimes(&world);
    let docker = match Docker::start(&world, &ours) {
        Ok(docker) => docker,
        Err(said) => {
            println!("skipped: Docker's daemon, because it does not start here: {said}");
            return;
        }
    };
    let path = |name: &str| world.path(name).display().to_string();
    let mut pack = command(&world, "tar");
    run(pack.args(["-C", &path("rootfs"), "-cf", &path("image.tar"), "."]), Patience::NORMAL).succeeds();
    docker.run(&["import", &path("image.tar"), "image:1"]).succeeds();
    let id = docker.run(&["inspect", "--format", "{{.Id}}", "image:1"]).succeeds().to_owned();
    docker.run(&["save", "--output", &path("theirs.tar"), "image:1"]).succeeds();
    assert_eq!(
        world.persona("docker", ["load", "-i", &path("theirs.tar")]).succeeds(),
        "Loaded image: image:1"
    );
    assert_eq!(world.persona("docker", ["inspect", "--format", "{{.Id}}", "image:1"]).succeeds(), id);
    docker.run(&["rmi", "image:1"]).succeeds();
    world.persona("docker", ["save", "-o", &path("ours.tar"), "image:1"]).succeeds();
    assert_eq!(docker.run(&["load", "--input", &path("ours.tar")]).succeeds(), "Loaded image: image:1");
    assert_eq!(docker.run(&["inspect", "--format", "{{.Id}}", "image:1"]).succeeds(), id);
    // The daemon itself as a place.
    docker.run(&["rmi", "image:1"]).succeeds();
    let host = format!("unix://{}/dockerd/sock", world.dir().display());
    let copy = |arguments: &[&str]| world.loment([&["image", "copy", "--quiet"], arguments].concat());
    let store = "containers-storage:docker.io/library/image:1";
    copy(&["--dest-daemon-host", &host, store, "docker-daemon:image:2"]).succeeds();
    assert_eq!(docker.run(&["inspect", "--format", "{{.Id}}", "image:2"]).succeeds(), id);
    let layout = format!("oci:{}:x", path("layout"));
    copy(&["--src-daemon-host", &host, "docker-daemon:image:2", &layout]).succeeds();
    assert_eq!(world.loment(["pull", "--quiet", &layout]).succeeds(), id.trim_start_matches("sha256:"));
    copy(&["--dest-daemon-host", &host, &layout, "docker-daemon:image:3"]).succeeds();
    assert_eq!(docker.run(&["inspect", "--format", "{{.Id}}", "image:3"]).succeeds(), id);
    let none = copy(&["--src-daemon-host", &host, "docker-daemon:none:1", &layout]);
    none.fails_saying(125, &["none:1"]);
}
