//! Containers of a machine that is rebooted, or loses its power.
//!
//! Such a test is run again after each boot; a file says how far it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use loment_testkit::{Output, Patience, busybox_rootfs, run};

use crate::groups::{lives, systemctl};
use crate::sessions::{HOME, User};
use crate::{SLEEP, eventually};

const ROOTFS: &str = "/var/lib/loment-fs";
const SHARED: &str = "/var/lib/loment-shared";
const BINARY: &str = "/usr/local/bin/loment";
const UNIT: &str = include_str!("../../../contrib/systemd/loment-boot.service");
const USERS_UNIT: &str = include_str!("../../../contrib/systemd/user/loment-boot.service");

/// Where a test keeps how far it is.
fn stage_file() -> PathBuf {
    let thread = std::thread::current();
    let test = thread.name().and_then(|name| name.rsplit(':').next()).expect("tests are threads with names");
    Path::new("/var/lib").join(format!("loment-stage-{test}"))
}

/// How often this test has had the machine booted.
fn stage() -> u32 {
    assert!(std::env::var_os("LOMENT_VM").is_some(), "run these by `cargo xtask vm-test`");
    fs::read_to_string(stage_file()).map_or(0, |text| text.trim().parse().unwrap())
}

enum Way {
    /// Everything is asked to end.
    Orderly,
    /// As if the power had failed.
    Reset,
}

/// Boots the machine again; the test goes on with the next stage.
fn reboot(way: Way) -> ! {
    fs::write(stage_file(), (stage() + 1).to_string()).unwrap();
    match way {
        Way::Orderly => systemctl(&["reboot"]),
        Way::Reset => {
            // What a test itself wrote is not what may be lost.
            run(Command::new("sync").arg("--file-system").arg(stage_file()), Patience::NORMAL).succeeds();
            fs::write("/proc/sysrq-trigger", "b").unwrap();
        }
    }
    std::thread::sleep(Duration::from_secs(200));
    panic!("the machine does not reboot");
}

fn installed(unit: &str) {
    run(Command::new("install").arg(env!("CARGO_BIN_EXE_loment")).arg(BINARY), Patience::NORMAL).succeeds();
    fs::write("/etc/systemd/system/loment-boot.service", unit).unwrap();
    systemctl(&["enable", "--quiet", "loment-boot.service"]);
    let _ = fs::remove_dir_all(ROOTFS);
    busybox_rootfs(Path::new(ROOTFS));
    fs::create_dir_all(SHARED).unwrap();
}

fn uninstalled() {
    systemctl(&["disable", "--quiet", "loment-boot.service"]);
    for directory in [ROOTFS, SHARED, "/var/lib/loment"] {
        let _ = fs::remove_dir_all(directory);
    }
    fs::remove_file(stage_file()).unwrap();
}

fn loment(arguments: &[&str]) -> Output {
    run(Command::new(BINARY).args(arguments), Patience::NORMAL)
}

fn states() -> Vec<String> {
    let all = loment(&["ps", "--all", "--sort", "names", "--format", "{{.Names}} {{.State}}"]);
    all.succeeds().lines().map(str::to_owned).collect()
}

fn create(name: &str, flags: &[&str], script: &str) {
    let head = ["create", "--network", "none", "--name", name, "--volume", "/var/lib/loment-shared:/shared"];
    loment(&[&head[..], flags, &["--rootfs", ROOTFS, "sh", "-c", script]].concat()).succeeds();
}

/// Nothing of containers that do not run any more.
fn nothing_is_left() {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let ours: Vec<_> = mounts.lines().filter(|l| l.contains("loment/containers")).collect();
    assert!(ours.is_empty(), "{ours:?}");
    loment(&["system", "check"]).succeeds();
    loment(&["rm", "--all", "--force", "--time", "0"]).succeeds();
    assert_eq!(states(), Vec::<String>::new());
    let left = |dir: &str| {
        fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.file_name()).collect::<Vec<_>>()
    };
    eventually("everything is removed", || {
        left("/var/lib/loment/containers").is_empty()
            && left("/var/lib/loment/tombs").is_empty()
            && left("/sys/fs/cgroup").iter().all(|name| !name.to_string_lossy().starts_with("loment-"))
    });
}

const BOOTED: [&str; 7] = [
    "after running",
    "always running",
    "base running",
    "failing exited",
    "never exited",
    "stopped exited",
    "unless running",
];

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn what_is_to_run_runs_after_a_reboot_and_a_loss_of_power_in_its_order() {
    let order = Path::new(SHARED).join("order");
    match stage() {
        0 => {
            installed(UNIT);
            let healthy = ["--health-cmd", "test -e /shared/ready", "--health-interval", "1s"];
            create("base", &healthy, &format!("sleep 2; touch /shared/ready; {SLEEP}"));
            let script = format!("test -e /shared/ready && echo healthy >>/shared/order; {SLEEP}");
            create("after", &["--restart", "always", "--requires", "base:healthy"], &script);
            create("always", &["--restart", "always"], SLEEP);
            for (name, policy) in [
                ("unless", "unless-stopped"),
                ("stopped", "unless-stopped"),
                ("failing", "on-failure"),
                ("never", "no"),
            ] {
                create(name, &["--restart", policy], SLEEP);
                loment(&["start", name]).succeeds();
            }
            loment(&["stop", "--time", "0", "stopped"]).succeeds();
            reboot(Way::Orderly)
        }
        1 | 2 => {
            systemctl(&["is-active", "--quiet", "loment-boot.service"]);
            assert_eq!(states(), BOOTED);
            assert_eq!(fs::read_to_string(&order).unwrap(), "healthy\n");
            fs::remove_file(&order).unwrap();
            fs::remove_file(Path::new(SHARED).join("ready")).unwrap();
            // Stopping what has started them does not end them.
            systemctl(&["stop", "loment-boot.service"]);
            assert_eq!(states(), BOOTED);
            assert_eq!(loment(&["exec", "always", "echo", "in"]).succeeds(), "in");
            reboot(Way::Reset)
        }
        3 => {
            assert_eq!(states(), BOOTED);
            assert_eq!(loment(&["start", "never"]).succeeds(), "never");
            assert_eq!(loment(&["inspect", "--format", "{{.State.Status}}", "never"]).succeeds(), "running");
            loment(&["rm", "stopped"]).succeeds();
            nothing_is_left();
            uninstalled();
        }
        other => panic!("stage {other}"),
    }
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn containers_of_a_user_who_lingers_run_after_a_reboot() {
    let user = User::at(BINARY);
    match stage() {
        0 => {
            installed(
                "[Service]\nType=oneshot\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n",
            );
            user.prepare();
            run(Command::new("loginctl").args(["enable-linger", "user"]), Patience::NORMAL).succeeds();
            let units = Path::new(HOME).join(".config/systemd/user");
            let make = format!(
                "mkdir -p {0}/default.target.wants && ln -sf ../loment-boot.service {0}/default.target.wants/",
                units.display()
            );
            user.run(&["sh", "-c", &make]).succeeds();
            fs::write(units.join("loment-boot.service"), USERS_UNIT).unwrap();
            for (name, policy) in [("always", "always"), ("unless", "unless-stopped"), ("never", "no")] {
                let flags = ["run", "--detach", "--network", "none", "--restart", policy, "--name", name];
                user.loment(
                    &[&flags[..], &["-m", "64m", "--rootfs", user.rootfs(), "sh", "-c", SLEEP]].concat(),
                )
                .succeeds();
            }
            std::mem::forget(user);
            reboot(Way::Orderly)
        }
        stage @ (1 | 2) => {
            let list = ["ps", "--all", "--sort", "names", "--format", "{{.Names}} {{.State}}"];
            eventually("they are started", || {
                user.loment(&list).succeeds() == "always running\nnever exited\nunless running"
            });
            let pid = user.pid("always");
            assert!(lives(pid));
            let memory = crate::setting(pid, "memory", &["memory.max"]);
            assert_eq!(memory, (64 << 20).to_string());
            if stage == 1 {
                std::mem::forget(user);
                reboot(Way::Reset)
            }
            user.loment(&["start", "never"]).succeeds();
            user.loment(&["rm", "--all", "--force", "--time", "0"]).succeeds();
            assert_eq!(user.loment(&["ps", "--all", "--quiet"]).succeeds(), "");
            fs::remove_dir_all(Path::new(HOME).join(".config")).unwrap();
            uninstalled();
        }
        other => panic!("stage {other}"),
    }
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn what_ends_while_the_machine_shuts_down_is_started_by_the_next_boot() {
    let starts = |name: &str| {
        let text = fs::read_to_string(Path::new(SHARED).join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    const MANAGERS: [&str; 2] = ["cgroupfs", "systemd"];
    match stage() {
        0 => {
            installed(UNIT);
            for manager in MANAGERS {
                let volume = format!("{SHARED}:/shared");
                let head =
                    ["--cgroup-manager", manager, "run", "--detach", "--network", "none", "--name", manager];
                let flags = ["--restart", "always", "--volume", &volume, "--rootfs", ROOTFS, "sh", "-c"];
                let script = format!("cat /proc/sys/kernel/random/boot_id >>/shared/{manager}; {SLEEP}");
                loment(&[&head[..], &flags, &[&script]].concat()).succeeds();
            }
            eventually("both run", || MANAGERS.iter().all(|name| starts(name).len() == 1));
            reboot(Way::Orderly)
        }
        1 => {
            let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
            for name in MANAGERS {
                eventually("it runs again", || starts(name).last().is_some_and(|last| last == boot.trim()));
                assert_eq!(starts(name).len(), 2, "{name}: {:?}", starts(name));
                let counted = loment(&["inspect", "--format", "{{.State.Status}} {{.RestartCount}}", name]);
                assert_eq!(counted.succeeds(), "running 0", "{name}");
            }
            nothing_is_left();
            uninstalled();
        }
        other => panic!("stage {other}"),
    }
}

const ARCHIVE: &str = "/var/lib/loment-image.tar";

/// A number that nobody knows before.
fn random(below: u64) -> u64 {
    let mut bytes = [0; 8];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").unwrap(), &mut bytes).unwrap();
    u64::from_ne_bytes(bytes) % below
}

/// Work without end, of all kinds.
fn work() {
    let run = "run --network none";
    let lives = format!("{run} --rm shell sh -c 'echo x >/x'");
    let mut scripts = vec![
        format!("while :; do $L {lives}; done"),
        format!("while :; do $L {run} --name n --replace shell sh -c 'echo y >/y'; $L rm n; done"),
        format!(
            "while :; do $L {run} --detach --name d --restart always shell sleep 100; $L rm -f -t 0 d; done"
        ),
        format!(
            "while :; do $L volume create v; $L {run} --rm -v v:/bin shell sh -c 'echo z >/bin/z'; $L volume rm v; done"
        ),
        format!(
            "while :; do $L load -q -i {ARCHIVE}; $L run --network none --rm other true; $L rmi other; done"
        ),
        "while :; do $L exec always sh -c 'echo e >>/e'; $L commit -q always made; $L rmi made; done"
            .to_owned(),
    ];
    scripts.push("while :; do $L pod create --network none p; $L run --pod p --rm shell true; $L pod rm -f -t 0 p; done".to_owned());
    for script in scripts {
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).env("L", BINARY);
        shell.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        shell.stderr(std::process::Stdio::null());
        drop(shell.spawn().unwrap());
    }
}

/// Whatever was going on, the next boot finds nothing that has to be repaired.
fn is_sound() {
    for question in [
        &["system", "check"][..],
        &["ps", "--all"],
        &["images", "--all"],
        &["volume", "ls"],
        &["pod", "ps"],
        &["system", "df", "--verbose"],
        &["info"],
    ] {
        let answer = loment(question);
        assert!(answer.code == 0 && !answer.stderr.contains("amaged"), "{question:?}: {answer}");
    }
    for line in states() {
        let state = line.rsplit(' ').next().unwrap();
        let runs = ["always ", "d "].iter().any(|name| line.starts_with(name));
        assert!(["created", "exited"].contains(&state) || (runs && state == "running"), "{line}");
    }
    assert!(states().contains(&"always running".to_owned()), "{:?}", states());
    let seen = loment(&["exec", "always", "sh", "-c", "echo in >>/e; tail -n 1 /e"]);
    assert_eq!(seen.succeeds(), "in");
    let head = ["run", "--rm", "--network", "none"];
    assert_eq!(loment(&[&head[..], &["shell", "echo", "ran"]].concat()).succeeds(), "ran");
    loment(&["load", "-q", "-i", ARCHIVE]).succeeds();
    assert_eq!(loment(&[&head[..], &["other", "echo", "ran"]].concat()).succeeds(), "ran");
    for name in ["v", "p"] {
        // Either it is there, all of it, or it is not.
        let kind = if name == "v" { "volume" } else { "pod" };
        if loment(&[kind, "exists", name]).code == 0 {
            loment(&[kind, "inspect", name]).succeeds();
        }
    }
}

/// As if the power had failed, at any moment.
#[test]
#[ignore = "run by cargo xtask vm-test"]
fn nothing_has_to_be_repaired_whatever_the_power_failed_in_the_middle_of() {
    const RESETS: u32 = 4;
    let stage = stage();
    match stage {
        0 => {
            installed(UNIT);
            let tar = "/var/lib/loment-fs.tar";
            run(Command::new("tar").args(["-C", ROOTFS, "-cf", tar, "."]), Patience::NORMAL).succeeds();
            loment(&["import", "-q", tar, "other"]).succeeds();
            loment(&["save", "-q", "-o", ARCHIVE, "other"]).succeeds();
            loment(&["rmi", "other"]).succeeds();
            loment(&["import", "-q", "-c", "CMD sleep 1000", tar, "shell"]).succeeds();
            let run = ["run", "--detach", "--network", "none", "--restart", "always", "--name", "always"];
            loment(&[&run[..], &["shell", "sh", "-c", SLEEP]].concat()).succeeds();
        }
        _ => {
            systemctl(&["is-active", "--quiet", "loment-boot.service"]);
            is_sound();
        }
    }
    if stage < RESETS {
        fs::write(stage_file(), (stage + 1).to_string()).unwrap();
        // Only what was there before the work is known to be on the disk.
        run(&mut Command::new("sync"), Patience::NORMAL).succeeds();
        work();
        std::thread::sleep(Duration::from_millis(500 + random(15_000)));
        fs::write("/proc/sysrq-trigger", "b").unwrap();
        std::thread::sleep(Duration::from_secs(200));
        panic!("the machine does not reboot");
    }
    loment(&["pod", "rm", "--all", "--force", "--time", "0"]).succeeds();
    nothing_is_left();
    loment(&["volume", "rm", "--all", "--force"]).succeeds();
    loment(&["rmi", "--all", "--force"]).succeeds();
    loment(&["system", "check"]).succeeds();
    uninstalled();
}
