//! Terminals: sent to a socket, or shown on ours.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

use loment_testkit::{Terminal, World, receive_descriptor};
use serde_json::json;

use super::{Guard, bundle, command, id, runtime, silently};
use crate::world;

fn with_terminal(world: &World, script: &str) -> std::path::PathBuf {
    bundle(world, script, |c| {
        c["process"]["terminal"] = json!(true);
        c["process"]["env"] = json!(["PATH=/bin", "PS1=ready> "]);
        let pts = json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["newinstance", "ptmxmode=0666"]});
        c["mounts"].as_array_mut().unwrap().push(pts);
    })
}

/// What is written to a terminal until those who have it open are gone.
fn read_all(mut terminal: File) -> String {
    let (mut seen, mut part) = (Vec::new(), [0; 1000]);
    while let Ok(n @ 1..) = terminal.read(&mut part) {
        seen.extend_from_slice(&part[..n]);
    }
    String::from_utf8(seen).unwrap()
}

#[test]
fn a_terminal_is_sent_to_the_console_socket() {
    let world = world();
    let dir = with_terminal(&world, "read line; tty; echo got $line");
    let socket = world.path("console.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let c = Guard::of(&world, "console");
    let (bundle, socket) = (dir.to_str().unwrap(), socket.to_str().unwrap());
    let output = silently(&world, &["create", "--bundle", bundle, "--console-socket", socket, &c.id]);
    assert_eq!(output.code, 0, "{output}");
    let (name, mut terminal) = receive_descriptor(&listener);
    assert_eq!(name, "/dev/ptmx");
    runtime(&world, &["start", &c.id]).succeeds();
    terminal.write_all(b"word\n").unwrap();
    let seen = read_all(terminal);
    assert!(seen.contains("/dev/pts/0\r\n") && seen.contains("got word\r\n"), "{seen}");
}

#[test]
fn the_terminal_of_exec_is_sent_to_its_socket() {
    let world = world();
    let dir = with_terminal(&world, "sleep 60");
    let socket = world.path("console.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let c = Guard::of(&world, "exec-console");
    let (bundle, socket) = (dir.to_str().unwrap(), socket.to_str().unwrap());
    silently(&world, &["create", "--bundle", bundle, "--console-socket", socket, &c.id]);
    let _first = receive_descriptor(&listener);
    runtime(&world, &["start", &c.id]).succeeds();
    let exec = ["exec", "-t", "-d", "--console-socket", socket, &c.id, "/bin/sh", "-c", "tty; echo done"];
    let output = silently(&world, &exec);
    assert_eq!(output.code, 0, "{output}");
    let seen = read_all(receive_descriptor(&listener).1);
    assert!(seen.contains("/dev/pts/1\r\n") && seen.contains("done\r\n"), "{seen}");
}

#[test]
fn a_terminal_nobody_would_have_is_refused() {
    let world = world();
    let dir = with_terminal(&world, "true");
    let (bundle_path, id) = (dir.to_str().unwrap().to_owned(), id("nobody"));
    for command in [&["create"][..], &["run", "--detach"]] {
        let output = silently(&world, &[command, &["--bundle", &bundle_path, &id]].concat());
        output.fails_saying(1, &["cannot allocate tty if runc will detach without setting console socket"]);
    }
    let socket = ["--console-socket", "/no/such.sock"];
    let output = silently(&world, &[&["create", "--bundle", &bundle_path][..], &socket, &[&id]].concat());
    output.fails_saying(1, &["console socket /no/such.sock", "No such file or directory"]);
    bundle(&world, "true", |_| ());
    let output = silently(&world, &[&["create", "--bundle", &bundle_path][..], &socket, &[&id]].concat());
    output.fails_saying(1, &["cannot use console socket if runc will not detach or allocate tty"]);
    runtime(&world, &["state", &id]).fails(1);
}

#[test]
fn run_in_the_foreground_shows_the_terminal_on_ours() {
    let world = world();
    let dir = with_terminal(&world, "exec sh");
    let id = id("attached");
    let mut terminal = Terminal::start(&command(&world, &["run", "--bundle", dir.to_str().unwrap(), &id]));
    terminal.shows("ready> ");
    terminal.types("tty; stty size\n");
    terminal.shows("/dev/pts/0");
    terminal.shows("24 80");
    terminal.resize(41, 123);
    terminal.types("sleep 0.3; stty size\n");
    terminal.shows("41 123");
    // A key that means a signal goes to the program.
    terminal.types("sleep 1000\n");
    terminal.shows("sleep 1000");
    std::thread::sleep(std::time::Duration::from_millis(200));
    terminal.types("\x03");
    terminal.types("echo status $?\n");
    terminal.shows("status 130");
    terminal.types("exit 5\n");
    assert_eq!(terminal.ends(), 5);
    runtime(&world, &["state", &id]).fails(1);
}

#[test]
fn exec_in_the_foreground_has_a_terminal_when_it_is_asked_for() {
    let world = world();
    let dir = bundle(&world, "sleep 60", |c| {
        let pts = json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts"});
        c["mounts"].as_array_mut().unwrap().push(pts);
    });
    let c = Guard::start(&world, "exec-tty", &dir);
    let mut terminal =
        Terminal::start(&command(&world, &["exec", "-t", &c.id, "/bin/sh", "-c", "tty; exit 3"]));
    terminal.shows("/dev/pts/0");
    assert_eq!(terminal.ends(), 3);
}
