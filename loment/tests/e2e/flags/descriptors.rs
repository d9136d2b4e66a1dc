//! Descriptors of the caller's.

use std::process::Command;

use loment_testkit::{Output, Patience, run};

use crate::{eventually, sleeper, through, world_over_directory, world_with};

/// `run FLAGS … SCRIPT` by a shell that opens things first.
#[track_caller]
fn with(open: &str, command: &Command) -> Output {
    run(&mut through(&["/bin/sh", "-c", &format!("{open}; exec \"$@\""), "sh"], command), Patience::NORMAL)
}

const LIST: &str = "cd /proc/self/fd && for n in 3 4 5 6 7 8 9; do test -e $n && echo -n \"$n \"; done; true";

#[test]
fn descriptors_are_handed_on_as_asked_for() {
    let (world, image) = world_with("busybox:latest");
    let (one, other) = (world.write("one", "one"), world.write("other", "other"));
    let open = format!("exec 3<{one} 4<{other} 5<{one} 7<{other}");
    let said = |flags: &[&str], script: &str| {
        let words = [&["run", "--rm", "--network", "none"], flags, &[&image, "sh", "-c", script]].concat();
        with(&open, &world.command(words)).succeeds().to_owned()
    };
    // Without being asked, none.
    assert_eq!(said(&[], LIST), "");
    assert_eq!(
        said(&["--preserve-fds", "2"], "cat <&3; cat <&4; test -e /proc/self/fd/5 || echo -n ' no 5'"),
        "oneother no 5"
    );
    assert_eq!(said(&["--preserve-fds=3", "--init"], LIST), "3 4 5 ");
    assert_eq!(said(&["--preserve-fd", "7,4"], &format!("cat <&7; {LIST}")), "other4 7 ");
    // With the streams of the caller, too.
    assert_eq!(said(&["--preserve-fd", "5", "--log-driver", "passthrough"], "cat <&5"), "one");
    let refused = |flags: &[&str], words: &[&str]| {
        let typed = [&["run", "--rm", "--network", "none"], flags, &[&image, "true"]].concat();
        with("exec 3<&- 4<&-", &world.command(typed)).fails_saying(125, words);
    };
    refused(&["--preserve-fds", "2"], &["file descriptor 3 is not available"]);
    refused(&["--preserve-fd", "0"], &["--preserve-fd"]);
    refused(&["--preserve-fds", "100000"], &["--preserve-fds"]);
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_program_that_is_started_again_has_them_again() {
    let (world, fs) = world_over_directory();
    let log = world.write("log", "");
    let words = [
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "c",
        "--restart",
        "on-failure:2",
        "--preserve-fds",
        "1",
        "--rootfs",
        &fs,
        "sh",
        "-c",
        "echo ran >&3; exit 1",
    ];
    with(&format!("exec 3>>{log}"), &world.command(words)).succeeds();
    eventually("it has run three times", || std::fs::read_to_string(&log).unwrap() == "ran\nran\nran\n");
    world.loment(["rm", "-f", "c"]).succeeds();
}

#[test]
fn a_program_that_is_run_later_has_those_that_are_handed_on() {
    let (world, fs) = world_over_directory();
    sleeper(&world, "c", &["--rootfs"], &fs);
    let (one, other) = (world.write("one", "one"), world.write("other", "other"));
    let open = format!("exec 3<{one} 4<{other} 5<{one} 7<{other}");
    let said = |flags: &[&str], script: &str| {
        let words = [&["exec"], flags, &["c", "sh", "-c", script]].concat();
        with(&open, &world.command(words)).succeeds().to_owned()
    };
    assert_eq!(said(&[], LIST), "");
    assert_eq!(said(&["--preserve-fds", "2"], &format!("cat <&3; cat <&4; {LIST}")), "oneother3 4 ");
    assert_eq!(said(&["--preserve-fd", "7,4"], &format!("cat <&7; {LIST}")), "other4 7 ");
    // Also beside a request that is too long for a packet.
    let long = format!("LONG={}", "x".repeat(100_000));
    assert_eq!(said(&["--preserve-fds", "1", "--env", &long], "cat <&3; echo ${#LONG}"), "one100000");
    let refused = ["exec", "--preserve-fds", "70", "c", "true"];
    let many = "i=3; while [ $i -lt 73 ]; do eval \"exec $i</dev/null\"; i=$((i+1)); done";
    let bash = |script: &str, command: &Command| {
        run(
            &mut through(&["/bin/bash", "-c", &format!("{script}; exec \"$@\""), "sh"], command),
            Patience::NORMAL,
        )
    };
    bash(many, &world.command(refused)).fails_saying(125, &["at most 63"]);
    world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
}

/// What a program finds of sockets it is to listen on, and whether it is the one that is named.
const LISTENS: &str = "echo \"$LISTEN_FDS $LISTEN_FDNAMES\"; [ \"$LISTEN_PID\" = $$ ] && echo mine; cat <&3; cat <&4; \
                       test -e /proc/self/fd/5 || echo ' no 5'";

#[test]
fn sockets_of_socket_activation_are_the_programs() {
    let (world, image) = world_with("busybox:latest");
    let (one, other) = (world.write("one", "one"), world.write("other", "other"));
    let open =
        format!("exec 3<{one} 4<{other} 5<{one}; export LISTEN_FDS=2 LISTEN_FDNAMES=a:b LISTEN_PID=$$");
    let said = |flags: &[&str]| {
        let words = [&["run", "--rm", "--network", "none"], flags, &[&image, "sh", "-c", LISTENS]].concat();
        with(&open, &world.command(words)).succeeds().to_owned()
    };
    let all = "2 a:b\nmine\noneother no 5";
    assert_eq!(said(&[]), all);
    // Its number is another one there.
    assert_eq!(said(&["--init"]), all);
    assert_eq!(said(&["--pid", "host"]), all);
    let words = ["create", "--network", "none", "--name", "c", &image, "sh", "-c", LISTENS];
    world.loment(words).succeeds();
    assert_eq!(with(&open, &world.command(["start", "-a", "c"])).succeeds(), all);
    world.loment(["rm", "c"]).succeeds();

    let run = |open: &str, flags: &[&str], script: &str| {
        let words = [&["run", "--rm", "--network", "none"], flags, &[&image, "sh", "-c", script]].concat();
        with(open, &world.command(words))
    };
    let none = "echo -n \"$LISTEN_FDS$LISTEN_PID\"; test -e /proc/self/fd/3 && echo -n 3; true";
    // They are another process's.
    assert_eq!(run(&format!("{open}; LISTEN_PID=1"), &[], none).succeeds(), "");
    let chosen = run(&open, &["--preserve-fds", "1"], none);
    assert_eq!(chosen.succeeds(), "3");
    assert!(chosen.stderr.contains("LISTEN_FDS is ignored"), "{chosen}");
    run("exec 3<&- 4<&-; export LISTEN_FDS=2", &[], none).fails_saying(125, &["LISTEN_FDS is 2", "not all"]);
    run("export LISTEN_FDS=many", &[], none).fails_saying(125, &["LISTEN_FDS", "number"]);
    assert_eq!(world.leftovers(), [""; 0]);
}
