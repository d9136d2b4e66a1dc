//! `top`, `stats` and `port`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use loment_testkit::{Output, World};
use serde_json::Value;

use crate::{eventually, pid_of, sh, sleeper, world_over_directory, world_with};

/// The rows of a table, without its headings.
fn rows(output: &Output) -> Vec<Vec<String>> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    output.succeeds().lines().skip(1).map(words).collect()
}

#[test]
fn top_shows_processes_as_the_container_numbers_them() {
    let (world, image) = world_with("busybox:latest");
    let flags = ["--user", "1000:7", "--cap-add", "CAP_NET_RAW"];
    sleeper(&world, "c", &flags, &image);
    world.loment(["exec", "--detach", "--user", "0", "c", "sleep", "1000"]).succeeds();
    let top = |columns: &[&str]| world.loment([&["top", "c"], columns].concat());
    eventually("both are there", || rows(&top(&["pid,comm"])).iter().any(|row| row[1] == "sleep"));
    let heading = top(&[]).stdout.lines().next().unwrap().to_owned();
    let words: Vec<_> = heading.split_whitespace().collect();
    assert_eq!(words, ["USER", "PID", "PPID", "%CPU", "ELAPSED", "TTY", "TIME", "COMMAND"]);
    let first = rows(&top(&["pid", "ppid", "hpid", "user,group", "state"])).remove(0);
    assert_eq!(first[..2], ["1", "0"]);
    assert_eq!(first[2], pid_of(&world, "c").to_string());
    // The image has a name for that number.
    assert_eq!(first[3..5], ["app", "7"]);
    let users: Vec<_> =
        rows(&top(&["user", "huser", "pgid"])).into_iter().map(|row| row[..2].to_vec()).collect();
    assert!(users.contains(&vec!["root".into(), "root".into()]), "{users:?}");
    // Each of both columns once, whatever it is called.
    assert_eq!(top(&["pid,%p", "pid"]).stdout.lines().next(), Some("PID"));
    let all = "args capamb capbnd capeff capinh capprm comm etime group groups hgroup hgroups hpid huser label nice pcpu pgid pid \
               ppid rgroup rss ruser seccomp state stime time tty user vsz";
    for column in all.split_whitespace() {
        let output = top(&[column]);
        assert!(output.succeeds().lines().count() >= 3, "{output}");
    }
    assert_eq!(rows(&top(&["seccomp", "capeff", "capamb"]))[0], ["filter", "NET_RAW", "NET_RAW"]);
    // What is no column is for the container's own ps.
    let own = top(&["-o", "pid,args"]);
    assert!(own.succeeds().contains("ps -o pid,args"), "{own}");
    let docker = world.persona("docker", ["top", "c"]);
    assert!(docker.stdout.starts_with("UID "), "{docker}");
    assert_eq!(rows(&docker)[0][1], pid_of(&world, "c").to_string());
    assert_eq!(world.loment(["top", "--latest", "comm"]).stdout.lines().next(), Some("COMMAND"));
    world.loment(["pause", "c"]).succeeds();
    assert_eq!(rows(&top(&["pid"]))[0], ["1"]);
    world.loment(["unpause", "c"]).succeeds();
    world.loment(["stop", "c"]).succeeds();
    top(&[]).fails_saying(125, &["top can only be used on running containers", "exited"]);
    world.loment(["top"]).fails_saying(125, &["you must provide the name or id of a running container"]);
    world.loment(["top", "nobody"]).fails_saying(125, &["no such container"]);
}

#[test]
fn top_knows_the_users_of_a_user_namespace() {
    let (world, image) = world_with("busybox:latest");
    let flags = ["--uidmap", "0:100000:1000", "--gidmap", "0:100000:1000", "--user", "5"];
    sleeper(&world, "c", &flags, &image);
    let row = rows(&world.loment(["top", "c", "user", "huser", "rgroup", "hgroup"])).remove(0);
    assert_eq!(row[1], "100005");
    assert_eq!((row[0].as_str(), row[2].as_str(), row[3].as_str()), ("5", "root", "100000"), "{row:?}");
}

#[test]
fn names_of_programs_do_not_change_the_table_or_the_terminal() {
    let (world, image) = world_with("busybox:latest");
    let (script, name) = ("while :; do sleep 1; done", "a\x1b[2Jb\tc\nd");
    let run = ["run", "--detach", "--network", "none", "--name", "c", &image, "sh", "-c", script, name];
    world.loment(run).succeeds();
    let output = world.loment(["top", "c", "pid,ppid,args"]);
    let own = output.succeeds().lines().filter(|line| line.contains("sh -c"));
    assert_eq!(own.count(), 1, "{output}");
    assert!(output.stdout.contains("a?[2Jb?c?d"), "{output}");
    assert!(!output.stdout.contains('\x1b') && !output.stdout.contains('\t'), "{output}");
}

/// `stats --no-stream --format json` of one container.
fn figures(world: &World, name: &str) -> Value {
    let output = world.loment(["stats", "--no-stream", "--format", "json", name]);
    serde_json::from_str::<Value>(output.succeeds()).unwrap()[0].clone()
}

#[test]
fn stats_show_what_a_container_uses() {
    let (world, image) = world_with("busybox:latest");
    let flags = ["--memory", "64m", "--name", "c", "--network", "none", "--detach"];
    let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; dd if=/dev/zero of=/dev/shm/x bs=1M count=20; sleep 1000; :";
    world.loment([&["run"], &flags[..], &[&image, "sh", "-c", script]].concat()).succeeds();
    let field = |template: &str| -> f64 {
        world.loment(["stats", "--no-stream", "--format", template, "c"]).succeeds().parse().unwrap()
    };
    eventually("memory is used", || field("{{.MemPerc | printf \"%.4s\"}}") > 25.0);
    eventually("the processes are counted", || field("{{.PIDs}}") == 2.0);
    assert_eq!(field("{{.MemLimit}}"), f64::from(64 << 20));
    assert!(field("{{.CPUNano}}") > 1e6 && field("{{.AvgCPU}}") > 0.0);
    let document = figures(&world, "c");
    let keys = [
        "avg_cpu",
        "block_io",
        "cpu_percent",
        "cpu_time",
        "id",
        "mem_percent",
        "mem_usage",
        "name",
        "net_io",
        "pids",
    ];
    assert_eq!(document.as_object().unwrap().keys().collect::<Vec<_>>(), keys);
    assert!(document["mem_usage"].as_str().unwrap().ends_with(" / 67.11MB"), "{document}");
    assert_eq!(document["pids"], "2");
    let table = world.loment(["stats", "--no-stream"]);
    let heading = "ID NAME CPU % MEM USAGE / LIMIT MEM % NET IO BLOCK IO PIDS CPU TIME AVG CPU %";
    let words = table.stdout.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words, heading);
    let docker = world.persona("docker", ["stats", "--no-stream", "--format", "json"]);
    let line: Value = serde_json::from_str(docker.succeeds()).unwrap();
    let keys = ["BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs"];
    assert_eq!(line.as_object().unwrap().keys().collect::<Vec<_>>(), keys);
    assert!(line["MemUsage"].as_str().unwrap().ends_with(" / 64MiB"), "{line}");
    let template = "table {{.Name}}\\t{{.MemUsageBytes}}";
    let chosen = world.loment(["stats", "--no-stream", "--format", template, "c"]);
    assert_eq!(chosen.stdout.lines().next().unwrap().split("  ").next(), Some("NAME"));
    world.loment(["stop", "--time", "0", "c"]).succeeds();
    // One that does not run uses nothing, and is shown to those who ask.
    assert_eq!(world.loment(["stats", "--no-stream"]).stdout.lines().count(), 1);
    assert_eq!(rows(&world.loment(["stats", "--no-stream", "--all", "--no-trunc"]))[0][0].len(), 64);
    assert_eq!(figures(&world, "c")["mem_usage"], "0B / 0B");
    for (arguments, words) in [
        (&["--all", "c"][..], &["--all, --latest and containers cannot be used together"][..]),
        (&["--interval", "0"], &["invalid interval, must be a positive number greater zero"]),
        (&["--interval", "-1"], &["invalid interval"]),
        (&["nobody"], &["no such container"]),
    ] {
        world.loment([&["stats", "--no-stream"], arguments].concat()).fails_saying(125, words);
    }
}

#[test]
fn stats_go_on_until_nobody_reads() {
    let (world, rootfs) = world_over_directory();
    sleeper(&world, "c", &["--rootfs"], &rootfs);
    let arguments = ["stats", "--interval", "1", "--format", "{{.Name}}", "c"];
    let mut child = world.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        assert_eq!(lines.next().unwrap().unwrap(), "\x1b[2J\x1b[1;1Hc");
    }
    drop(lines);
    assert!(child.wait().unwrap().success());
    let arguments = ["stats", "--no-reset", "--interval", "1", "--format", "{{.Name}}", "c"];
    let mut child = world.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        assert_eq!(lines.next().unwrap().unwrap(), "c");
    }
    drop(lines);
    child.wait().unwrap();
}

#[test]
fn no_port_is_handed_on() {
    let (world, rootfs) = world_over_directory();
    sleeper(&world, "c", &["--rootfs"], &rootfs);
    for arguments in [&["c"][..], &["c", "80"], &["c", "53/udp"], &["--all"], &["--latest"], &["-l", "80"]] {
        assert_eq!(world.loment([&["port"], arguments].concat()).succeeds(), "", "{arguments:?}");
    }
    world
        .persona("docker", ["port", "c", "80"])
        .fails_saying(125, &["no public port '80/tcp' published for c"]);
    for (arguments, words) in [
        (&[][..], "you must supply a running container name or id"),
        (&["--all", "c"], "no arguments are needed with --all"),
        (&["--all", "--latest"], "--all and --latest cannot be used together"),
        (&["c", "web"], "invalid port \"web\""),
        (&["nobody"], "no such container"),
    ] {
        world.loment([&["port"], arguments].concat()).fails_saying(125, &[words]);
    }
    assert!(sh(&world, &["--rootfs"], &rootfs, "true").is_empty());
}
