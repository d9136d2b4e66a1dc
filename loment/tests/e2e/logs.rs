//! What a container wrote.

use std::io::Write;
use std::process::Stdio;

use loment_testkit::{Output, Patience, World, run};

use crate::{eventually, world_over_directory, world_with};

/// Runs a script in which `"$@"` is the command.
fn through_shell(world: &World, script: &str, arguments: &[&str]) -> Output {
    let command = world.command(arguments);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(command.get_program()).args(command.get_args());
    shell.env_clear().envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
    run(&mut shell, Patience::NORMAL)
}

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

/// F4: a last line without an end was not counted.
#[test]
fn the_last_line_counts_without_an_end() {
    let (world, fs) = world_over_directory();
    let script = "printf 'a\\nb\\nno end'";
    world.loment(["run", "--network", "none", "--name", "c", "--rootfs", &fs, "sh", "-c", script]).succeeds();
    for (tail, shown) in [("1", "no end"), ("2", "b\nno end"), ("9", "a\nb\nno end")] {
        assert_eq!(world.loment(["logs", "--tail", tail, "c"]).succeeds(), shown);
    }
}

#[test]
fn the_order_of_both_streams_is_kept() {
    let (world, fs) = world_over_directory();
    let script = "for i in 1 2 3; do echo out $i; sleep 0.05; echo err $i >&2; sleep 0.05; done";
    world.loment(["run", "--network", "none", "--name", "c", "--rootfs", &fs, "sh", "-c", script]).succeeds();
    let both = through_shell(&world, "\"$@\" 2>&1", &["logs", "c"]).succeeds().to_owned();
    assert_eq!(both, "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3");
}

/// F3: the whole log was read into memory.
#[test]
fn a_large_log_is_read_within_little_memory() {
    let (world, fs) = world_over_directory();
    world.loment(["create", "--network", "none", "--name", "c", "--rootfs", &fs, "true"]).succeeds();
    let path = world.inspect("{{.LogPath}}", "c");
    let mut log = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    const LINES: u64 = 400_000;
    for i in 0..LINES {
        writeln!(log, "2026-01-01T00:00:{:02}.{:09}Z stdout F line {i:<60}", i / 20_000, i % 20_000).unwrap();
    }
    drop(log);
    for (arguments, lines) in [
        (vec!["logs", "c"], LINES),
        (vec!["logs", "--tail", "200000", "c"], 200_000),
        (vec!["logs", "--since", "2026-01-01T00:00:19Z", "c"], 20_000),
    ] {
        // The limit is in KiB, and is one of all memory that can be written.
        let script = "ulimit -d 20480; \"$@\" | tail -n 1; \"$@\" | wc -l";
        let output = through_shell(&world, script, &arguments);
        assert_eq!(output.succeeds(), format!("line {:<60}\n{lines}", LINES - 1), "{arguments:?}");
    }
}
