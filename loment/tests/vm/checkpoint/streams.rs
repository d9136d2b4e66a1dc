//! Streams and terminals of a restored container.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use loment_testkit::receive_descriptor;
use serde_json::json;

use super::Case;
use crate::eventually;

/// Says what it has counted.
const TALK: &str = "i=0; trap 'echo bye; exit 7' TERM; while :; do i=$((i+1)); echo line $i; sleep 0.1; done";

/// The number in a line of [`TALK`].
fn number(line: Option<std::io::Result<String>>) -> u32 {
    let line = line.expect("there is more to come").unwrap();
    line.trim().strip_prefix("line ").unwrap_or_else(|| panic!("{line:?}")).parse().unwrap()
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn pipes_are_replaced_by_those_of_whoever_restores() {
    let c = Case::new("pipes");
    let dir = c.bundle(TALK, |_| {});
    let mut run = c.ours(&["run", "--detach", "--bundle", &dir, &c.id]);
    let mut run = run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
    assert!(run.wait().unwrap().success());
    assert_eq!(number(lines.next()), 1);
    c.save(&[]);
    let last = lines.map(|l| number(Some(l))).last().unwrap_or(1);
    let mut restore = c.restoring(&[]);
    let mut restore =
        restore.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(restore.stdout.take().unwrap()).lines();
    assert!(restore.wait().unwrap().success());
    assert_eq!(number(lines.next()), last + 1);
    c.quietly_read(&["kill", &c.id, "TERM"]).succeeds();
    // The pipe ends with the container.
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(rest.last().unwrap(), "bye");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn in_the_foreground_the_programs_status_is_handed_on_and_nothing_is_left() {
    let c = Case::new("fore");
    let dir = c.bundle(TALK, |_| {});
    let mut run = c.ours(&["run", "--detach", "--bundle", &dir, &c.id]);
    let run = run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(run.success());
    eventually("it runs", || c.status() == "running");
    c.save(&["--leave-running"]);
    c.quietly_read(&["delete", "--force", &c.id]).succeeds();
    let images = c.path("images");
    for keep in [true, false] {
        let flags: &[&str] = if keep { &["--keep"] } else { &[] };
        let restore = ["restore", "--image-path", &images, "--bundle", &dir];
        let mut restore = c.ours(&[&restore, flags, &[&c.id]].concat());
        let mut restore = restore.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let runs = || c.quietly_read(&["state", &c.id]).stdout.contains("\"running\"");
        eventually("it runs again", runs);
        // Handed on to the container.
        let pid = rustix::process::Pid::from_child(&restore);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert_eq!(restore.wait().unwrap().code(), Some(7), "{}", c.logs());
        if keep {
            assert_eq!(c.status(), "stopped");
            c.quietly_read(&["delete", &c.id]).succeeds();
        }
        c.is_gone();
    }
}

/// Reads from a terminal until it has shown this.
#[track_caller]
fn shows(terminal: &mut File, text: &str) {
    let (mut seen, mut part) = (Vec::new(), [0; 1000]);
    while !String::from_utf8_lossy(&seen).contains(text) {
        let n =
            terminal.read(&mut part).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&seen)));
        seen.extend_from_slice(&part[..n]);
    }
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_terminal_is_sent_to_the_console_socket_again() {
    let c = Case::new("tty");
    let script = "while read line; do last=$here; here=$line; echo \"<$last $line>\"; done";
    let dir = c.bundle(script, |config| config["process"]["terminal"] = json!(true));
    let socket = c.path("console.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let run = c.ours(&["run", "--detach", "--bundle", &dir, "--console-socket", &socket, &c.id]);
    c.quietly(&mut { run }).succeeds();
    let (_, mut terminal) = receive_descriptor(&listener);
    terminal.write_all(b"one\n").unwrap();
    shows(&mut terminal, "< one>");
    c.save(&[]);
    drop(terminal);
    c.quietly(&mut c.restoring(&["--console-socket", &socket])).succeeds();
    let (name, mut terminal) = receive_descriptor(&listener);
    assert_eq!(name, "/dev/ptmx");
    terminal.write_all(b"two\n").unwrap();
    // It knows what it was told before.
    shows(&mut terminal, "<one two>");
}
