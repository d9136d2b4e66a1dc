//! Processes killed at bad moments, odd starters, odd files, odd programs: nothing hangs, nothing is left, nothing lies.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use loment_testkit::{Output, Patience, World, run, skip};
use rustix::fs::inotify;
use serde_json::{Value, json};

use crate::runtime::{bundle, runtime};
use crate::{eventually, lives, monitor_of, pid_of, sh, sleeper, through, world, world_over_directory};

/// A front end that is killed when it is dropped.
struct FrontEnd(Child);

impl FrontEnd {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// A front end that writes into nothing.
    fn quiet<S: AsRef<std::ffi::OsStr>>(world: &World, arguments: impl IntoIterator<Item = S>) -> Self {
        Self::start(world.command(arguments).stdout(Stdio::null()))
    }

    /// Kills it so many milliseconds after its start, unless it ends before.
    fn killed_after(mut self, milliseconds: u64) {
        std::thread::sleep(Duration::from_millis(milliseconds));
        drop(self.0.kill());
        drop(self.0.wait());
    }

    #[track_caller]
    fn ends(&mut self) {
        let mut tries = 0;
        while self.0.try_wait().unwrap().is_none() {
            assert!(tries < 3000, "the front end does not end");
            tries += 1;
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for FrontEnd {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Runs something when it is dropped.
pub(crate) struct Guard<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for Guard<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Names in a directory that may not be there.
fn names_in(dir: &Path) -> Vec<String> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Directories of control groups of a container with this id and of its monitor.
fn groups_of(id: &str) -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let parents = names_in(top).into_iter().map(|n| top.join(n)).chain([top.to_owned()]);
    let ours =
        parents.flat_map(|p| [format!("loment-{id}"), format!("loment-{id}-monitor")].map(|n| p.join(n)));
    ours.filter(|p| p.is_dir()).collect()
}

/// Processes in the control groups of the monitor of a container with this id.
fn monitors_of(id: &str) -> Vec<u32> {
    let groups = groups_of(id).into_iter().filter(|p| p.to_string_lossy().ends_with("-monitor"));
    let texts = groups.filter_map(|p| fs::read_to_string(p.join("cgroup.procs")).ok());
    let mut pids: Vec<u32> =
        texts.flat_map(|t| t.lines().filter_map(|l| l.parse().ok()).collect::<Vec<_>>()).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// What is shown of all containers; each must be whole.
#[track_caller]
fn shown(world: &World) -> Vec<String> {
    let output = world.loment(["ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.State}}"]);
    let lines: Vec<_> = output.succeeds().lines().map(str::to_owned).collect();
    for line in &lines {
        let words: Vec<_> = line.split(' ').collect();
        let whole = words.len() == 3 && words[0].len() == 64 && !words[1].is_empty();
        assert!(whole && ["created", "running", "exited"].contains(&words[2]), "half a container: {output}");
    }
    lines
}

#[track_caller]
fn has_no_half_made_directory(world: &World) {
    let containers = world.root().join("containers");
    let half: Vec<_> = names_in(&containers)
        .into_iter()
        .filter(|n| !containers.join(n).join("container.json").exists())
        .collect();
    assert_eq!(half, [""; 0], "directories without a configuration");
}

#[test]
fn exec_statuses_are_right_when_pids_wrap_around() {
    let (world, fs) = world_over_directory();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut version = release.split(['.', '-']).map(|p| p.parse::<u32>().unwrap_or(0));
    if (version.next(), version.next()) < (Some(6), Some(14)) {
        return skip("pids that wrap around", "this kernel has one pid_max for all pid namespaces");
    }
    let script = "set -e; echo 400 >/proc/sys/kernel/pid_max; trap '\"$@\" rm -f -t 0 c >/dev/null' EXIT\n\
                  \"$@\" run -d --network none --name c --rootfs \"$FS\" sleep 1000 >/dev/null; set +e; i=0\n\
                  while [ $i -lt 200 ]; do i=$((i+1))\n\
                  out=$(\"$@\" exec c sh -c 'echo hi; exit 7' 2>&1); status=$?\n\
                  [ \"$out $status\" = 'hi 7' ] || echo \"exec $i: $out, $status\"; done";
    let outer = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "sh"];
    let mut command = through(&outer, &world.command([""; 0]));
    let output = run(command.env("FS", &fs), Patience(Duration::from_secs(150)));
    assert_eq!(output.succeeds(), "", "{output}");
}

#[test]
fn a_front_end_killed_while_it_makes_a_container_leaves_nothing_half_made() {
    let (world, fs) = world_over_directory();
    for verb in [["create"].as_slice(), &["run"], &["run", "-d"], &["run", "--rm"]] {
        for delay in (1..=30).step_by(2) {
            let tail = ["--network", "none", "--name", "c", "--rootfs", &fs, "sleep", "1000"];
            FrontEnd::quiet(&world, [verb, &tail].concat()).killed_after(delay);
            shown(&world);
            has_no_half_made_directory(&world);
            world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
            let again = world.loment([
                "run",
                "--rm",
                "--network",
                "none",
                "--name",
                "c",
                "--rootfs",
                &fs,
                "echo",
                "x",
            ]);
            assert_eq!(again.succeeds(), "x", "{verb:?} killed after {delay} ms: {again}");
            assert_eq!(shown(&world), [""; 0], "{verb:?} killed after {delay} ms");
        }
    }
    eventually("everything is gone", || {
        let left = world.leftovers();
        left.iter().for_each(|path| eprintln!("left: {path}"));
        left.is_empty()
    });
}

#[test]
fn a_monitor_killed_while_it_makes_a_container_does_not_leave_it_up() {
    let (world, fs) = world_over_directory();
    for delay in 0..20 {
        world
            .loment(["create", "--network", "none", "--name", "c", "--rootfs", &fs, "sleep", "1000"])
            .succeeds();
        let id = world.inspect("{{.Id}}", "c");
        let mut start = FrontEnd::quiet(&world, ["start", "c"]);
        let mut monitor = None;
        for _ in 0..20_000 {
            monitor = monitors_of(&id).first().copied();
            if monitor.is_some() || start.0.try_wait().unwrap().is_some() {
                break;
            }
        }
        std::thread::sleep(Duration::from_micros(400 * delay));
        if let Some(pid) = monitor {
            drop(Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status());
            eventually("the monitor is gone", || !lives(pid));
        }
        start.ends();
        eventually("it is shown as running only when it does", || {
            let state = world.inspect("{{.State.Status}} {{.State.Pid}}", "c");
            let (status, pid) = state.split_once(' ').unwrap();
            status != "running" || pid.parse().is_ok_and(|p| p != 0 && lives(p))
        });
        world.loment(["start", "c"]).succeeds();
        assert_eq!(world.inspect("{{.State.Status}}", "c"), "running", "killed after {delay} × 400 µs");
        world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
        eventually("its control groups are gone", || groups_of(&id).is_empty());
        assert_eq!(world.leftovers(), [""; 0], "killed after {delay} × 400 µs");
    }
}

#[test]
fn rm_without_force_never_removes_what_is_being_started() {
    let (world, fs) = world_over_directory();
    for i in 0..30_u64 {
        world
            .loment(["create", "--network", "none", "--name", "c", "--rootfs", &fs, "sleep", "1000"])
            .succeeds();
        let id = world.inspect("{{.Id}}", "c");
        let (start, rm) = std::thread::scope(|scope| {
            let start = scope.spawn(|| world.loment(["start", "c"]));
            std::thread::sleep(Duration::from_millis(i % 15));
            let rm = world.loment(["rm", "c"]);
            (start.join().unwrap(), rm)
        });
        assert!(start.code != 0 || rm.code == 2, "one must win:\n{start}\n{rm}");
        if rm.code == 0 {
            assert_eq!(shown(&world), [""; 0]);
            eventually("nothing of it is left", || groups_of(&id).is_empty() && world.leftovers().is_empty());
        } else {
            rm.fails(2);
            start.succeeds();
            assert!(lives(pid_of(&world, "c")));
            world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
        }
    }
}

#[test]
fn a_start_whose_front_end_was_killed_can_be_repeated() {
    let (world, fs) = world_over_directory();
    for delay in (0..30).step_by(2) {
        world
            .loment(["create", "--network", "none", "--name", "c", "--rootfs", &fs, "sleep", "1000"])
            .succeeds();
        let id = world.inspect("{{.Id}}", "c");
        FrontEnd::quiet(&world, ["start", "c"]).killed_after(delay);
        world.loment(["start", "c"]).succeeds();
        assert_eq!(world.inspect("{{.State.Status}}", "c"), "running", "killed after {delay} ms");
        let monitor = monitor_of(&world, "c");
        // Workers come and go.
        eventually("there is one monitor", || monitors_of(&id) == [monitor]);
        world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    }
}

#[test]
fn a_starter_that_ignores_its_children_does_not_matter() {
    let (world, fs) = world_over_directory();
    let ignoring = |arguments: &[&str]| {
        let command = through(&["env", "--ignore-signal=CHLD"], &world.command(arguments));
        run(&mut { command }, Patience::NORMAL)
    };
    if ignoring(&["--version"]).code != 0 {
        return skip("a starter that ignores SIGCHLD", "env has no --ignore-signal");
    }
    let minds_its_children = |output: &Output| {
        let ignored = output.stdout.trim().strip_prefix("SigIgn:\t").map(|n| u64::from_str_radix(n, 16));
        ignored.is_some_and(|n| n.is_ok_and(|n| n & (1 << 16) == 0))
    };
    let cidfile = world.path("cid");
    let _kill = Guard(|| {
        // A monitor that never hears of the end of its container would stay.
        let pids = monitors_of(&fs::read_to_string(&cidfile).unwrap_or_default());
        pids.iter().for_each(|pid| drop(Command::new("kill").args(["-9", &pid.to_string()]).status()));
    });
    let head = [
        "run",
        "--rm",
        "--network",
        "none",
        "--cidfile",
        cidfile.to_str().unwrap(),
        "--rootfs",
        &fs,
        "sh",
        "-c",
    ];
    let output = ignoring(&[head.as_slice(), &["sleep 0; grep SigIgn /proc/self/status; exit 3"]].concat());
    output.fails(3);
    assert!(minds_its_children(&output), "{output}");
    ignoring(&["run", "-d", "--network", "none", "--name", "c", "--rootfs", &fs, "sleep", "1000"]).succeeds();
    let output = ignoring(&["exec", "c", "sh", "-c", "sleep 0; grep SigIgn /proc/self/status; exit 4"]);
    output.fails(4);
    assert!(minds_its_children(&output), "{output}");
    ignoring(&["stop", "-t", "0", "c"]).succeeds();
    assert_eq!(ignoring(&["wait", "c"]).succeeds(), "137");
}

#[test]
fn a_truncated_state_can_be_listed_and_removed() {
    let (world, fs) = world_over_directory();
    for keep in [0, 1, 40] {
        for running in [false, true] {
            let program: &[&str] = if running { &["sleep", "1000"] } else { &["true"] };
            let head = ["run", "-d", "--network", "none", "--name", "c", "--rootfs", &fs];
            let id = world.loment([&head, program].concat()).succeeds().to_owned();
            let pid = if running { pid_of(&world, "c") } else { 0 };
            if !running {
                world.loment(["wait", "c"]).succeeds();
            }
            let file = world.root().join("containers").join(&id).join("state.json");
            let whole = fs::read(&file).unwrap();
            fs::write(&file, &whole[..keep]).unwrap();
            let output = world.loment(["ps", "-a", "--format", "{{.Names}}"]);
            assert_eq!(output.succeeds(), "c", "{keep} bytes kept, running: {running}");
            let removed = world.loment(["rm", "-f", "-t", "0", "c"]);
            if removed.code != 0 {
                // So that nothing is left behind by this test.
                fs::write(&file, &whole).unwrap();
            }
            removed.succeeds();
            assert_eq!(shown(&world), [""; 0]);
            assert_eq!(world.leftovers(), [""; 0]);
            eventually("its process and groups are gone", || !lives(pid) && groups_of(&id).is_empty());
        }
    }
}

#[test]
fn a_dangling_link_in_the_place_of_resolv_conf_is_no_obstacle() {
    let (world, fs) = world_over_directory();
    for target in
        ["../run/systemd/resolve/stub-resolv.conf", "/run/systemd/resolve/stub-resolv.conf", "nowhere"]
    {
        for name in ["resolv.conf", "hosts", "hostname"] {
            let link = Path::new(&fs).join("etc").join(name);
            drop(fs::remove_file(&link));
            symlink(target, &link).unwrap();
            let script = format!("cat /etc/{name} >/dev/null && echo read");
            assert_eq!(sh(&world, &["--rootfs"], &fs, &script), "read", "{name} leads to {target}");
            fs::remove_file(&link).unwrap();
        }
    }
}

#[test]
fn the_runtime_takes_a_long_root_and_a_long_id() {
    let world = world();
    let root = world.path(&"r".repeat(100)).join("s".repeat(60));
    let dir = bundle(&world, "trap 'exit 0' TERM; while :; do sleep 0.05; done", |_| ());
    let id = format!("{:0>64}", std::process::id());
    runtime(&world, &["--version"]).succeeds();
    let run_quietly = |arguments: &[&str]| {
        let mut inner = Command::new(world.dir().join("loment-runtime"));
        inner.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").arg("--root").arg(&root).args(arguments);
        // The container inherits our streams; a pipe would stay open.
        let outer =
            ["sh", "-c", "exec \"$@\" >\"$0\" 2>&1 </dev/null", &world.path("said").display().to_string()]
                .map(str::to_owned);
        let output = run(&mut through(&outer.each_ref().map(String::as_str), &inner), Patience::NORMAL);
        let said = fs::read_to_string(world.path("said")).unwrap_or_default();
        assert_eq!(output.code, 0, "{arguments:?}: {said}");
        said
    };
    let status = || serde_json::from_str::<Value>(&run_quietly(&["state", &id])).unwrap()["status"].clone();
    run_quietly(&["create", "--bundle", dir.to_str().unwrap(), &id]);
    let guard = Guard(|| {
        drop(run(
            Command::new(world.dir().join("loment-runtime"))
                .arg("--root")
                .arg(&root)
                .args(["delete", "--force", &id]),
            Patience::NORMAL,
        ))
    });
    assert_eq!(status(), json!("created"));
    run_quietly(&["start", &id]);
    assert_eq!(status(), json!("running"));
    run_quietly(&["kill", &id, "KILL"]);
    eventually("it stops", || status() == json!("stopped"));
    run_quietly(&["delete", &id]);
    drop(guard);
}

/// Whether a file is opened, whoever does it.
struct Watch(std::os::fd::OwnedFd);

impl Watch {
    fn on(path: &Path) -> Self {
        let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&fd, path, inotify::WatchFlags::OPEN).unwrap();
        Self(fd)
    }

    fn was_opened(&self) -> bool {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        inotify::Reader::new(&self.0, &mut buffer).next().is_ok()
    }
}

#[test]
fn a_passwd_that_is_no_file_is_never_opened() {
    for kind in ["fifo", "device", "socket", "link out", "directory"] {
        let (world, fs) = world_over_directory();
        let passwd = Path::new(&fs).join("etc/passwd");
        let outside = PathBuf::from(world.write("outside", "evil:x:0:0::/:/bin/sh\n"));
        fs::remove_file(&passwd).unwrap();
        let mut watched = passwd.clone();
        let _socket;
        match kind {
            "fifo" => drop(run(Command::new("mkfifo").arg(&passwd), Patience::NORMAL)),
            "device" => drop(run(Command::new("mknod").arg(&passwd).args(["c", "1", "3"]), Patience::NORMAL)),
            "socket" => _socket = std::os::unix::net::UnixListener::bind(&passwd).unwrap(),
            "directory" => fs::create_dir(&passwd).unwrap(),
            _ => {
                symlink(format!("..{}{}", "/..".repeat(8), outside.display()), &passwd).unwrap();
                watched = outside;
            }
        }
        let watch = Watch::on(&watched);
        let uid = ["grep", "^Uid", "/proc/self/status"];
        let over = |flags: &[&str]| {
            world.loment([&["run", "--rm", "--network", "none"], flags, &["--rootfs", &fs], &uid].concat())
        };
        for flags in [[].as_slice(), &["-u", "0"], &["-u", "0:0"]] {
            assert_eq!(over(flags).succeeds(), "Uid:\t0\t0\t0\t0", "{kind} {flags:?}");
        }
        for user in ["evil", "app", "nobody"] {
            let output: Output = over(&["-u", user]);
            assert!(output.code != 0 && output.stdout.is_empty(), "{kind}: {output}");
        }
        sleeper(&world, "c", &["--rootfs"], &fs);
        assert_eq!(
            world.loment([&["exec", "-u", "0", "c"], uid.as_slice()].concat()).succeeds(),
            "Uid:\t0\t0\t0\t0"
        );
        assert_ne!(world.loment([&["exec", "-u", "evil", "c"], uid.as_slice()].concat()).code, 0);
        assert!(!watch.was_opened(), "{kind}");
    }
}

#[test]
fn a_front_end_that_does_not_read_does_not_keep_a_container_from_stopping() {
    let (world, fs) = world_over_directory();
    let run = ["run", "--network", "none", "--name", "c", "--log-opt", "max-size=1m", "--rootfs", &fs, "yes"];
    let mut front_end = FrontEnd::start(world.command(run).stdout(Stdio::piped()));
    eventually("it runs", || world.loment(["ps", "-q"]).stdout.lines().count() == 1);
    // A pipe is full after 64 KiB; then the front end writes no more.
    let written = || {
        let io = fs::read_to_string(format!("/proc/{}/io", front_end.0.id())).unwrap_or_default();
        io.lines().find_map(|l| l.strip_prefix("wchar: ")).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0)
    };
    eventually("the pipe is full", || written() >= 65_536);
    assert_eq!(world.loment(["stop", "-t", "1", "c"]).succeeds(), "c");
    assert!(world.inspect("{{.State.Status}}", "c") == "exited");
    // Who reads again gets the rest and the end.
    let mut stdout = front_end.0.stdout.take().unwrap();
    std::thread::spawn(move || stdout.read_to_end(&mut Vec::new()));
    front_end.ends();
}

#[test]
fn a_front_end_whose_reader_has_gone_ends() {
    let (world, fs) = world_over_directory();
    for flags in [[].as_slice(), &["--rm"]] {
        let head = ["run", "--network", "none", "--name", "c", "--log-opt", "max-size=1m"];
        let command = world.command([&head, flags, &["--rootfs", &fs, "yes"]].concat());
        let outer = ["sh", "-c", "\"$@\" 2>/dev/null | head -n 1", "sh"];
        assert_eq!(run(&mut through(&outer, &command), Patience::NORMAL).succeeds(), "y");
        world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    }
}

#[test]
fn the_mask_of_the_starter_does_not_reach_the_container() {
    let (world, fs) = world_over_directory();
    // A directory of the user's own is not given a working directory that it does not have.
    let overlaid = format!("{fs}:O");
    let volume = format!("{}:/volume/made", world.dir().display());
    // What is mounted there makes it.
    let made = format!("{}:/made/here/mounted", world.dir().display());
    let script =
        "umask; stat -c '%a %n' /etc/hosts /etc/resolv.conf /etc/hostname /made /made/here /volume /";
    let wanted = "0022\n644 /etc/hosts\n644 /etc/resolv.conf\n644 /etc/hostname\n755 /made\n755 /made/here\n\
                  755 /volume\n755 /";
    let flags = ["run", "--rm", "--network", "none", "-w", "/made/here", "-v", &volume, "-v", &made];
    for mask in ["077", "0", "0777"] {
        let command =
            world.command([&flags, ["--rootfs", &overlaid, "sh", "-c", script].as_slice()].concat());
        let outer = format!("umask {mask}; exec \"$@\"");
        let output = run(&mut through(&["sh", "-c", &outer, "sh"], &command), Patience::NORMAL);
        assert_eq!(output.succeeds(), wanted, "umask {mask}");
    }
}

#[test]
fn the_size_of_a_log_holds_without_line_ends() {
    let (world, fs) = world_over_directory();
    for byte in ["\\r", "x"] {
        let script = format!("head -c 5000000 /dev/zero | tr '\\0' '{byte}'");
        let head = ["run", "-d", "--network", "none", "--name", "c", "--log-opt", "max-size=100k"];
        let id = world.loment([&head, ["--rootfs", &fs, "sh", "-c", &script].as_slice()].concat());
        let dir = world.root().join("containers").join(id.succeeds());
        world.loment(["wait", "c"]).succeeds();
        let logs = names_in(&dir).into_iter().filter(|n| n.starts_with("ctr.log"));
        let size: u64 = logs.map(|n| fs::metadata(dir.join(n)).unwrap().len()).sum();
        assert!(size > 0 && size < 300_000, "{size} bytes of log");
        world.loment(["logs", "c"]).succeeds();
        world.loment(["rm", "c"]).succeeds();
    }
}

#[test]
fn a_container_frozen_from_outside_can_be_removed() {
    let (world, fs) = world_over_directory();
    for (prefix, mounts, file, frozen, thawed) in [
        (":freezer:", ["/sys/fs/cgroup/freezer", "/nowhere"], "freezer.state", "FROZEN", "THAWED"),
        ("0::", ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"], "cgroup.freeze", "1", "0"),
    ] {
        let id = sleeper(&world, "c", &["--rootfs"], &fs);
        let pid = pid_of(&world, "c");
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let path = groups.lines().find_map(|l| l.split_once(prefix).map(|(_, path)| path.to_owned()));
        let place = path.and_then(|p| {
            mounts.iter().map(|m| PathBuf::from(format!("{m}{p}/{file}"))).find(|f| f.exists())
        });
        if let Some(place) = place {
            assert!(place.to_string_lossy().contains(&id), "a group of its own: {}", place.display());
            // Should it not be removed, what cleans up after this test must be able to.
            let _thaw = Guard(|| drop(fs::write(&place, thawed)));
            fs::write(&place, frozen).unwrap();
            world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
            assert!(!lives(pid));
            eventually("its control groups are gone", || groups_of(&id).is_empty());
        } else {
            skip(file, "this machine has no such control groups");
            world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
        }
    }
}

#[test]
fn a_user_gets_capabilities_that_were_added_and_no_others() {
    let (world, fs) = world_over_directory();
    let script = "grep -E 'Cap(Inh|Prm|Eff|Amb)' /proc/self/status | cut -f2 | sort -u";
    let of = |flags: &[&str]| sh(&world, &[flags, &["--rootfs"]].concat(), &fs, script);
    let bind_service = "0000000000000400";
    assert_eq!(of(&["-u", "1000"]), "0000000000000000");
    assert_eq!(of(&["-u", "1000", "--cap-add", "NET_BIND_SERVICE"]), bind_service);
    assert_eq!(of(&["-u", "1000", "--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE"]), bind_service);
    assert_eq!(of(&["-u", "1000", "--cap-drop", "NET_BIND_SERVICE"]), "0000000000000000");
}

#[test]
fn a_monitor_stays_in_the_groups_of_its_starter_where_that_is_wanted() {
    let (world, fs) = world_over_directory();
    let id = sleeper(&world, "c", &["--cgroups=no-conmon", "--rootfs"], &fs);
    let groups = |pid: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        text.lines().filter(|l| l.starts_with("0::") || l.contains(":name=systemd:")).collect::<String>()
    };
    assert_eq!(groups(&monitor_of(&world, "c").to_string()), groups("self"));
    assert!(groups_of(&id).iter().all(|group| !group.to_string_lossy().contains("-monitor")));
    assert_ne!(groups(&pid_of(&world, "c").to_string()), groups("self"));
    world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    eventually("its control groups are gone", || groups_of(&id).is_empty());
    let words = ["create", "--network", "none", "--cgroups", "some", "--rootfs", &fs, "true"];
    world.loment(words).fails_saying(125, &["some", "use enabled, no-conmon, split or disabled"]);
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_class_of_caches_is_that_of_a_machine_that_has_some() {
    let (world, fs) = world_over_directory();
    let words = ["run", "--rm", "--network", "none", "--rdt-class", "some", "--rootfs", &fs, "true"];
    // No machine has a class of that name unless somebody made it.
    let output = world.loment(words);
    let said = output.fails(125);
    assert!(
        said.contains("resctrl file system") || said.contains("class \"some\" does not exist"),
        "{output}"
    );
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn the_monitor_has_a_control_group_of_its_own_which_goes_with_the_container() {
    let (world, fs) = world_over_directory();
    let id = sleeper(&world, "c", &["--rootfs"], &fs);
    let monitor = monitor_of(&world, "c");
    assert_eq!(monitors_of(&id), [monitor]);
    let groups = fs::read_to_string(format!("/proc/{monitor}/cgroup")).unwrap();
    let tracking: Vec<_> =
        groups.lines().filter(|l| l.starts_with("0::") || l.contains(":name=systemd:")).collect();
    let own = format!("/loment-{id}-monitor");
    assert!(!tracking.is_empty() && tracking.iter().all(|l| l.ends_with(&own)), "{groups}");
    let container = fs::read_to_string(format!("/proc/{}/cgroup", pid_of(&world, "c"))).unwrap();
    assert!(!container.contains("-monitor"), "{container}");
    world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    eventually("its control groups are gone", || groups_of(&id).is_empty());
    // Neither does one that ends by itself leave any.
    let id = world.loment(["run", "-d", "--network", "none", "--rm", "--rootfs", &fs, "true"]);
    eventually("its control groups are gone", || groups_of(id.succeeds()).is_empty());
}
