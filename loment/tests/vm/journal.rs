//! Containers whose output goes to a real journal.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use loment_testkit::{Output, Patience, World, run};
use serde_json::Value;

use crate::{eventually, world};

/// Runs a script in a container with that name, whose output the journal gets.
fn container(world: &World, fs: &str, name: &str, flags: &[&str], script: &str) -> Output {
    let head = ["run", "--network", "none", "--name", name, "--log-driver", "journald"];
    world.loment([&head[..], flags, &["--rootfs", fs, "sh", "-c", script]].concat())
}

/// What the journal has of a container, oldest first, once its `number` messages are there. The name is used once in a boot.
#[track_caller]
fn messages(name: &str, number: usize) -> Vec<Value> {
    let read = || {
        let mut command = Command::new("journalctl");
        command.args(["--quiet", "--all", "--output", "json", &format!("CONTAINER_NAME={name}")]);
        let output = run(&mut command, Patience::NORMAL);
        output.succeeds().lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    eventually("the journal has all of it", || read().len() == number);
    read()
}

/// A field, which is a list of bytes if it is no text.
fn bytes(message: &Value, field: &str) -> Vec<u8> {
    match &message[field] {
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Array(bytes) => bytes.iter().map(|b| b.as_u64().unwrap() as u8).collect(),
        other => panic!("{field}: {other}"),
    }
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_message_has_its_priority_and_says_whose_it_is() {
    let (world, fs) = world();
    let chosen =
        ["--log-opt", "tag=a tag", "--log-opt", "labels=tier", "--log-opt", "label=EXTRA={{.Name}}!"];
    let flags = [&["--label", "tier=front"][..], &chosen].concat();
    let script =
        "echo out; sleep 0.3; echo err >&2; sleep 0.3; printf 'a\\377b\\n'; sleep 0.3; printf 'no end'";
    container(&world, &fs, "whose", &flags, script).succeeds();
    let id = world.inspect("{{.Id}}", "whose");
    let found = messages("whose", 4);
    let said: Vec<_> = found.iter().map(|m| (bytes(m, "MESSAGE"), m["PRIORITY"].as_str().unwrap())).collect();
    let expected = [(&b"out"[..], "6"), (b"err", "3"), (b"a\xffb", "6"), (b"no end", "6")];
    assert_eq!(said, expected.map(|(text, priority)| (text.to_vec(), priority)));
    for message in &found {
        for (field, value) in [
            ("CONTAINER_ID", &id[..12]),
            ("CONTAINER_ID_FULL", &id),
            ("CONTAINER_NAME", "whose"),
            ("CONTAINER_TAG", "a tag"),
            ("SYSLOG_IDENTIFIER", "a tag"),
            ("TIER", "front"),
            ("EXTRA", "whose!"),
            ("_TRANSPORT", "journal"),
            ("_UID", "0"),
        ] {
            assert_eq!(message[field], value, "{message}");
        }
        assert!(message.get("CONTAINER_PARTIAL_MESSAGE").is_none(), "{message}");
    }
    let logs = world.loment(["logs", "--tail", "2", "whose"]);
    assert!(logs.succeeds().starts_with('a') && logs.stdout.ends_with("b\nno end\n"), "{logs}");
    let logs = world.loment(["logs", "whose"]);
    assert!(logs.succeeds().starts_with("out\na"), "{logs}");
    assert_eq!(logs.stderr, "err\n");
    world.loment(["rm", "whose"]).succeeds();
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn long_lines_come_in_parts_and_are_one_again_when_they_are_read() {
    let (world, fs) = world();
    let script = "yes 0123456789abcdef | tr -d '\\n' | head -c 1000000; echo; yes x | tr -d '\\n' | head -c 16384; echo";
    container(&world, &fs, "long", &[], script).succeeds();
    let parts = 1_000_000_usize.div_ceil(16 * 1024);
    let found = messages("long", parts + 1);
    for (n, message) in found.iter().enumerate() {
        let is_partial = message.get("CONTAINER_PARTIAL_MESSAGE").is_some_and(|value| value == "true");
        assert_eq!(is_partial, n + 1 < parts, "message {n}");
    }
    let logs = world.loment(["logs", "long"]);
    let lines: Vec<&str> = logs.succeeds().lines().collect();
    assert_eq!(lines.iter().map(|line| line.len()).collect::<Vec<_>>(), [1_000_000, 16384]);
    assert!(lines[0].starts_with("0123456789abcdef0123") && lines[1].bytes().all(|b| b == b'x'));
    world.loment(["rm", "long"]).succeeds();
}

/// The journal takes what is too large for a datagram as a sealed file.
#[test]
#[ignore = "run by cargo xtask vm-test"]
fn messages_with_more_fields_than_a_datagram_holds_arrive_whole() {
    let (world, fs) = world();
    let large = "v".repeat(100_000);
    let variables = ["ONE", "TWO", "THREE", "FOUR", "FIVE"].map(|name| format!("{name}={large}"));
    let flags: Vec<&str> = variables.iter().flat_map(|variable| ["--env", variable]).collect();
    let chosen = ["--log-opt", "env=ONE,TWO,THREE,FOUR,FIVE"];
    let script = "echo first; echo second >&2; printf 'with a\\tthird'";
    container(&world, &fs, "large", &[&flags[..], &chosen].concat(), script).succeeds();
    let found = messages("large", 3);
    for message in &found {
        for name in ["ONE", "TWO", "THREE", "FOUR", "FIVE"] {
            assert_eq!(bytes(message, name).len(), large.len());
        }
    }
    let logs = world.loment(["logs", "large"]);
    assert_eq!((logs.succeeds(), logs.stderr.as_str()), ("first\nwith a\tthird", "second\n"));
    world.loment(["rm", "large"]).succeeds();
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn logs_follow_what_the_journal_gets() {
    let (world, fs) = world();
    let script = "echo begin; until [ -e /tmp/go ]; do sleep 0.1; done; seq 1000; echo end";
    container(&world, &fs, "followed", &["--detach", "--tmpfs", "/tmp"], script).succeeds();
    let mut follow = world.command(["logs", "--follow", "followed"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("begin"));
    world.loment(["exec", "followed", "touch", "/tmp/go"]).succeeds();
    let rest: Vec<String> = lines.collect();
    assert!(follow.wait().unwrap().success());
    let numbers = (1..=1000).map(|n| n.to_string());
    assert_eq!(rest, numbers.chain(["end".to_owned()]).collect::<Vec<_>>());
    let tail = world.loment(["logs", "--tail", "3", "followed"]);
    assert_eq!(tail.succeeds(), "999\n1000\nend");
    let until = world.loment(["logs", "--since", "1h", "--until", "0s", "followed"]);
    assert_eq!(until.succeeds().lines().count(), 1002);
    world.loment(["rm", "followed"]).succeeds();
}

/// The journal, while it does nothing.
struct Still(String);

impl Still {
    fn new() -> Self {
        let mut show = Command::new("systemctl");
        show.args(["show", "--value", "--property", "MainPID", "systemd-journald.service"]);
        let still = Self(run(&mut show, Patience::NORMAL).succeeds().to_owned());
        run(Command::new("kill").args(["-STOP", &still.0]), Patience::NORMAL).succeeds();
        still
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        drop(Command::new("kill").args(["-CONT", &self.0]).status());
    }
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_journal_that_stands_still_is_waited_for_unless_that_was_not_wanted() {
    let (world, fs) = world();
    let script = "seq -w 1 20000";
    let still = Still::new();
    let flags = ["--log-opt", "mode=non-blocking", "--log-opt", "max-buffer-size=100k"];
    // It comes to its end, and what did not fit is lost.
    container(&world, &fs, "lossy", &flags, script).succeeds();
    container(&world, &fs, "waiting", &["--detach"], script).succeeds();
    let top = || world.loment(["top", "waiting", "comm"]).stdout;
    eventually("it writes", || top().contains("seq"));
    drop(still);
    assert_eq!(world.loment(["wait", "waiting"]).succeeds(), "0");
    let expected: Vec<String> = (1..=20000).map(|n| format!("{n:05}")).collect();
    let read = |name: &str| world.loment(["logs", name]).succeeds().to_owned();
    eventually("the journal has all of it", || read("waiting").lines().count() == expected.len());
    assert_eq!(read("waiting").lines().collect::<Vec<_>>(), expected);
    let lossy = read("lossy");
    let kept: Vec<&str> = lossy.lines().collect();
    assert!(!kept.is_empty() && kept.len() < expected.len(), "{}", kept.len());
    assert!(kept.is_sorted() && kept.iter().all(|line| line.len() == 5), "whole lines, in order");
    world.loment(["rm", "lossy", "waiting"]).succeeds();
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_goes_on_writing_when_the_journal_was_started_again() {
    let (world, fs) = world();
    let script = "echo before; until [ -e /tmp/go ]; do sleep 0.1; done; echo after";
    container(&world, &fs, "again", &["--detach", "--tmpfs", "/tmp"], script).succeeds();
    messages("again", 1);
    for unit in ["systemd-journald.service", "systemd-journald.socket"] {
        crate::groups::systemctl(&["restart", unit]);
    }
    crate::groups::systemctl(&["start", "systemd-journald.service"]);
    world.loment(["exec", "again", "touch", "/tmp/go"]).succeeds();
    assert_eq!(world.loment(["wait", "again"]).succeeds(), "0");
    let said: Vec<_> = messages("again", 2).iter().map(|m| bytes(m, "MESSAGE")).collect();
    assert_eq!(said, [b"before".to_vec(), b"after".to_vec()]);
    world.loment(["rm", "again"]).succeeds();
}
