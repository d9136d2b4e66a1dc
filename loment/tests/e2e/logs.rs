//! What a container wrote.

use std::process::Stdio;

use loment_testkit::{Patience, run};

use crate::{eventually, world_with};

#[test]
fn logs_keep_both_streams_apart() {
    let (world, image) = world_with("busybox:latest");
    world
        .loment([
            "run",
            "-d",
            "--network",
            "none",
            "--name",
            "c",
            &image,
            "sh",
            "-c",
            "echo out; echo err >&2",
        ])
        .succeeds();
    world.loment(["wait", "c"]).succeeds();
    let output = world.loment(["logs", "c"]);
    assert_eq!((output.succeeds(), output.stderr.as_str()), ("out", "err\n"));
    let attached = world.loment(["run", "--network", "none", "--name", "a", &image, "echo", "seen twice"]);
    assert_eq!(attached.succeeds(), "seen twice");
    assert_eq!(world.loment(["logs", "a"]).succeeds(), "seen twice");
}

#[test]
fn tail_counts_lines_from_the_end() {
    let (world, image) = world_with("busybox:latest");
    world.loment(["run", "--network", "none", "--name", "c", &image, "seq", "1000"]).succeeds();
    assert_eq!(world.loment(["logs", "--tail", "3", "c"]).succeeds(), "998\n999\n1000");
    assert_eq!(world.loment(["logs", "--tail", "0", "c"]).succeeds(), "");
    assert_eq!(world.loment(["logs", "--tail", "5000", "c"]).succeeds().lines().count(), 1000);
    assert_eq!(world.loment(["logs", "c"]).succeeds().lines().count(), 1000);
}

#[test]
fn timestamps_are_rfc_3339() {
    let (world, image) = world_with("busybox:latest");
    world.loment(["run", "--network", "none", "--name", "c", &image, "echo", "hello"]).succeeds();
    let output = world.loment(["logs", "-t", "c"]);
    let (time, text) = output.succeeds().split_once(' ').unwrap();
    assert_eq!(text, "hello");
    assert!(time.len() >= 20 && time.as_bytes()[4] == b'-' && time.as_bytes()[10] == b'T', "{time}");
}

#[test]
fn follow_shows_what_comes_and_ends_with_the_container() {
    let (world, image) = world_with("busybox:latest");
    let script = "for i in 1 2 3 4 5; do echo line $i; sleep 0.1; done";
    world.loment(["run", "-d", "--network", "none", "--name", "c", &image, "sh", "-c", script]).succeeds();
    let output = world.loment(["logs", "-f", "c"]);
    assert_eq!(output.succeeds(), "line 1\nline 2\nline 3\nline 4\nline 5");
    assert_eq!(world.loment(["logs", "--follow", "--tail", "1", "c"]).succeeds(), "line 5");
}

#[test]
fn lines_without_an_end_and_long_lines_are_whole() {
    let (world, image) = world_with("busybox:latest");
    let script = "printf 'no end'; sleep 0.2; printf ' of line'";
    world.loment(["run", "--network", "none", "--name", "c", &image, "sh", "-c", script]).succeeds();
    assert_eq!(world.loment(["logs", "c"]).succeeds(), "no end of line");
    let long = "head -c 300000 /dev/zero | tr '\\0' x; echo";
    world.loment(["run", "--network", "none", "--name", "l", &image, "sh", "-c", long]).succeeds();
    let output = world.loment(["logs", "l"]);
    assert_eq!(output.succeeds().len(), 300_000);
    assert!(output.stdout.trim_end().bytes().all(|b| b == b'x'));
}

#[test]
fn a_log_is_rotated_at_its_size() {
    let (world, image) = world_with("busybox:latest");
    let arguments =
        ["run", "--network", "none", "--name", "c", "--log-opt", "max-size=64k", &image, "seq", "50000"];
    run(world.command(arguments).stdout(Stdio::null()), Patience::NORMAL).succeeds();
    let path = world.inspect("{{.HostConfig.LogConfig.Path}}", "c");
    let size = std::fs::metadata(&path).unwrap().len();
    assert!(size <= 64 << 10, "{path} has {size} bytes");
    let output = world.loment(["logs", "c"]);
    let lines: Vec<u32> = output.succeeds().lines().map(|l| l.parse().unwrap()).collect();
    assert_eq!(lines.last(), Some(&50_000));
    assert!(lines.windows(2).all(|w| w[1] == w[0] + 1), "lines are missing in between");
}

#[test]
fn a_slow_reader_loses_nothing_and_stops_nobody() {
    let (world, image) = world_with("busybox:latest");
    world.loment(["run", "-d", "--network", "none", "--name", "c", &image, "seq", "200000"]).succeeds();
    assert_eq!(world.loment(["wait", "c"]).succeeds(), "0");
    eventually("all is logged", || world.loment(["logs", "--tail", "1", "c"]).stdout == "200000\n");
    assert_eq!(world.loment(["logs", "c"]).succeeds().lines().count(), 200_000);
}
