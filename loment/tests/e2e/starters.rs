//! What a container must not inherit from whoever starts it.

use std::process::{Command, Stdio};

use loment_testkit::{Output, Patience, run};
use serde_json::{Value, json};

use crate::runtime::{bundle, id, runtime, state};
use crate::{eventually, through, world, world_over_directory};

/// Ignores SIGHUP, SIGPIPE and the two signals that the C library keeps for itself, then becomes a program. The system call is
/// made directly, because the C library refuses to set those two.
const IGNORING: [&str; 3] = [
    "perl",
    "-e",
    "use POSIX; $n = (uname())[4] eq 'x86_64' ? 13 : 134; \
     for (1, 13, 32, 33) { $a = pack('Q4', 1, 0, 0, 0); syscall($n, $_ + 0, $a, 0, 8) == 0 or die \"$_: $!\" } \
     exec @ARGV or die",
];

/// What is ignored and what is blocked, as the program itself sees it. (A shell ignores signals of its own accord.)
const LOOK: [&str; 4] = ["/bin/grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"];
const NOTHING: &str = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000";

#[track_caller]
fn ignoring(command: &Command) -> Output {
    run(&mut through(&IGNORING, command), Patience::NORMAL)
}

#[test]
fn no_signal_is_ignored_because_a_starter_ignores_it() {
    let (world, fs) = world_over_directory();
    let mut look = Command::new(LOOK[0]);
    look.args(&LOOK[1..]).env("PATH", "/usr/bin:/bin");
    let seen = ignoring(&look).succeeds().to_owned();
    assert!(seen.ends_with("SigIgn:\t0000000180001001"), "the starter ignores nothing: {seen}");
    let loment = |arguments: &[&str]| ignoring(&world.command(arguments));
    for flags in [&[][..], &["--init"]] {
        let head = ["run", "--rm", "--network", "none"];
        let output = loment(&[&head, flags, &["--rootfs", &fs], &LOOK].concat());
        assert_eq!(output.succeeds(), NOTHING, "{flags:?}");
    }
    loment(&["run", "-d", "--network", "none", "--name", "c", "--rootfs", &fs, "sleep", "1000"]).succeeds();
    assert_eq!(loment(&[&["exec", "c"], &LOOK[..]].concat()).succeeds(), NOTHING);
}

#[test]
fn nor_by_the_runtime() {
    let world = world();
    let (dir, id) = (bundle(&world, "", |config| config["process"]["args"] = json!(LOOK)), id("ignoring"));
    let root = world.dir().join("runtime");
    // Makes the link by which the binary is called.
    world.named("loment-runtime", ["--version"]).succeeds();
    let command = |arguments: &[&str]| {
        let mut command = Command::new(world.dir().join("loment-runtime"));
        command.env("PATH", "/usr/bin:/bin").arg("--root").arg(&root).args(arguments);
        command
    };
    let bundle_flag = ["--bundle", dir.to_str().unwrap()];
    assert_eq!(ignoring(&command(&[&["run"], &bundle_flag[..], &[&id]].concat())).succeeds(), NOTHING);
    bundle_that_sleeps(&dir);
    let mut detached = through(&IGNORING, &command(&[&["run", "-d"], &bundle_flag[..], &[&id]].concat()));
    let null = || Stdio::null();
    assert!(detached.stdin(null()).stdout(null()).stderr(null()).status().unwrap().success());
    eventually("it runs", || state(&world, &id) == "running");
    assert_eq!(ignoring(&command(&[&["exec", id.as_str()], &LOOK[..]].concat())).succeeds(), NOTHING);
    runtime(&world, &["delete", "--force", &id]).succeeds();
}

/// Gives the bundle another program.
fn bundle_that_sleeps(dir: &std::path::Path) {
    let path = dir.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["process"]["args"] = json!(["/bin/sleep", "1000"]);
    std::fs::write(path, config.to_string()).unwrap();
}
