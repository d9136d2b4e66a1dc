//! `logs` of more than one container, and how lines are shown.

use loment_testkit::{Terminal, World};

use crate::world_over_directory;

/// Runs a script in a container with that name.
fn container(world: &World, fs: &str, name: &str, flags: &[&str], script: &str) {
    let head = ["run", "--network", "none", "--name", name];
    world.loment([&head, flags, &["--rootfs", fs, "sh", "-c", script]].concat()).succeeds();
}

#[test]
fn lines_of_several_containers_are_in_the_order_of_their_times() {
    let (world, fs) = world_over_directory();
    for (name, delay) in [("a", "0"), ("b", "0.1")] {
        let script = format!("sleep {delay}; for i in 1 2 3; do echo $i of {name}; sleep 0.2; done");
        container(&world, &fs, name, &["-d"], &script);
    }
    let expected = "a 1 of a\nb 1 of b\na 2 of a\nb 2 of b\na 3 of a\nb 3 of b";
    let mut shown: Vec<_> =
        world.loment(["logs", "-f", "-n", "a", "b"]).succeeds().lines().map(str::to_owned).collect();
    // The machine may be slow: what was followed is complete, what was read at once is in order.
    shown.sort();
    let mut lines: Vec<_> = expected.lines().collect();
    lines.sort_unstable();
    assert_eq!(shown, lines);
    let id = world.inspect("{{.Id}}", "a");
    let output = world.loment(["logs", "--tail", "1", "a", "b"]);
    assert_eq!(
        output.succeeds().lines().find(|l| l.ends_with("of a")),
        Some(format!("{} 3 of a", &id[..12]).as_str())
    );
    let times = world.loment(["logs", "-t", "-n", "a", "b"]);
    let times: Vec<_> = times.succeeds().lines().map(|l| l.split(' ').nth(1).unwrap()).collect();
    assert!(times.len() == 6 && times.is_sorted(), "{times:?}");
    // Names are for several only, as with Podman.
    assert_eq!(world.loment(["logs", "-n", "--tail", "1", "a"]).succeeds(), "3 of a");
    assert_eq!(world.loment(["logs", "--latest", "--tail", "1"]).succeeds(), "3 of b");
    world
        .loment(["logs", "--latest", "a"])
        .fails_saying(125, &["--latest and containers cannot be used together"]);
    world.loment(["logs"]).fails_saying(125, &["specify at least one container name or ID to log"]);
}

#[test]
fn a_line_without_an_end_is_not_continued_by_another_container() {
    let (world, fs) = world_over_directory();
    container(&world, &fs, "a", &[], "printf begun");
    container(&world, &fs, "b", &[], "echo whole");
    assert_eq!(world.loment(["logs", "-n", "a", "b"]).succeeds(), "a begun\nb whole");
}

#[test]
fn colours_are_for_terminals() {
    let (world, fs) = world_over_directory();
    container(&world, &fs, "a", &[], "echo red");
    container(&world, &fs, "b", &[], "echo green");
    let arguments = ["logs", "--color", "-n", "a", "b"];
    assert_eq!(world.loment(arguments).succeeds(), "a red\nb green");
    let terminal = Terminal::start(&world.command(arguments));
    terminal.shows("\x1b[37ma red\x1b[0m");
    terminal.shows("\x1b[31mb green\x1b[0m");
}

#[test]
fn details_are_what_was_chosen() {
    let (world, fs) = world_over_directory();
    let flags = ["--label", "tier=front end", "--log-opt", "labels=tier", "-e", "A=1", "--log-opt", "env=A"];
    container(&world, &fs, "a", &flags, "echo text");
    assert_eq!(world.loment(["logs", "--details", "a"]).succeeds(), "A=1,tier=front+end text");
    assert_eq!(world.loment(["logs", "a"]).succeeds(), "text");
}

#[test]
fn following_ends_at_the_moment_that_was_given() {
    let (world, fs) = world_over_directory();
    container(&world, &fs, "a", &["-d"], "while :; do echo tick; sleep 0.1; done");
    let output = world.loment(["logs", "-f", "--until", "1s", "a"]);
    assert!(output.succeeds().lines().all(|l| l == "tick"));
    // For Docker such a time is in the past.
    let docker = ["logs", "-f", "--until", "1h", "a"];
    assert_eq!(world.persona("docker", docker).succeeds(), "");
    assert_eq!(
        world.loment(["logs", "--since", "2026-01-01", "--until", "2026-01-02T00:00", "a"]).succeeds(),
        ""
    );
    world
        .loment(["logs", "--since", "soon", "a"])
        .fails_saying(125, &["invalid time \"soon\": use 2026-01-31T12:00:00Z"]);
    world.loment(["rm", "-f", "-t", "0", "a"]).succeeds();
}
