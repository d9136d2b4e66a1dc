//! What is told of what happens: by whom, in which words, to whom.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use loment_testkit::{Faults, World};
use serde_json::Value;

use crate::{eventually, sleeper, world_over_directory, world_with};

/// What was told so far, of each event what a template makes of it.
#[track_caller]
fn told(world: &World, flags: &[&str], template: &str) -> Vec<String> {
    let arguments = [&["events", "--stream=false", "--format", template], flags].concat();
    world.loment(arguments).succeeds().lines().map(str::to_owned).collect()
}

/// `events` that goes on until it is dropped.
struct Follower {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Follower {
    fn new(world: &World, flags: &[&str]) -> Self {
        let arguments = [&["events"], flags].concat();
        let mut child = world.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        // It has begun when it waits, which it does in poll(2).
        let waits = || std::fs::read_to_string(format!("/proc/{}/syscall", child.id())).unwrap_or_default();
        eventually("it waits", || ["7 ", "271 "].iter().any(|call| waits().starts_with(call)));
        Self { child, lines }
    }

    fn next(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_containers_life_is_told_once() {
    let (world, rootfs) = world_over_directory();
    let run = ["run", "--rm", "--network", "none", "--name", "a", "--label", "x=y", "--rootfs", &rootfs];
    world.loment([&run[..], &["sh", "-c", "exit 3"]].concat()).fails(3);
    let a = told(&world, &["--filter", "container=a"], "{{.Type}} {{.Status}} {{.Name}} {{.Attributes.x}}");
    let words = ["create", "init", "start", "attach", "died", "remove"];
    assert_eq!(a, words.map(|word| format!("container {word} a y")));
    let died = told(&world, &["--filter", "event=die"], "{{.ContainerExitCode}}");
    assert_eq!(died, ["3"]);

    sleeper(&world, "next", &["--rootfs"], &rootfs);
    world.loment(["exec", "next", "sh", "-c", "exit 4"]).fails(4);
    world.loment(["kill", "--signal", "URG", "next"]).succeeds();
    world.loment(["stop", "next"]).succeeds();
    world.loment(["start", "next"]).succeeds();
    world.loment(["kill", "next"]).succeeds();
    world.loment(["rm", "next"]).succeeds();
    let b = told(&world, &["--filter", "container=next"], "{{.Status}}");
    let expected = [
        "create",
        "init",
        "start",
        "exec",
        "exec_died",
        "kill",
        "died",
        "cleanup",
        "stop",
        "init",
        "start",
        "kill",
        "died",
        "cleanup",
        "remove",
    ];
    assert_eq!(b, expected);
    let codes = told(&world, &["--filter", "event=exec_died"], "{{.ContainerExitCode}}");
    assert_eq!(codes, ["4"]);
}

#[test]
fn a_start_that_fails_is_no_start() {
    let (world, rootfs) = world_over_directory();
    world.loment(["run", "--name", "a", "--network", "none", "--rootfs", &rootfs, "/nowhere"]).fails(127);
    assert_eq!(told(&world, &[], "{{.Status}}"), ["create", "cleanup"]);
}

#[test]
fn who_attaches_later_is_told_of_too() {
    let (world, rootfs) = world_over_directory();
    world.loment(["create", "--name", "a", "--network", "none", "--rootfs", &rootfs, "true"]).succeeds();
    world.loment(["start", "--attach", "a"]).succeeds();
    let statuses = told(&world, &["--filter", "event=start", "--filter", "event=attach"], "{{.Status}}");
    assert_eq!(statuses, ["start", "attach"]);
}

#[test]
fn images_are_told_of_with_their_names() {
    let (world, image) = world_with("busybox:latest");
    let id = world.loment(["image", "inspect", "--format", "{{.Id}}", &image]).succeeds().to_owned();
    let tar = world.path("saved.tar").display().to_string();
    let dir = format!("dir:{}", world.path("pushed").display());
    world.loment(["save", "--quiet", "--output", &tar, &image]).succeeds();
    world.loment(["push", "--quiet", &image, &dir]).succeeds();
    world.loment(["tag", &image, "localhost/b:1"]).succeeds();
    world.loment(["untag", &image, &image]).succeeds();
    world.loment(["rmi", "localhost/b:1"]).succeeds();
    world.loment(["load", "--quiet", "--input", &tar]).succeeds();
    world.loment(["pull", "--quiet", "localhost:1/nothing:1"]).fails(125);
    let lines = told(&world, &["--filter", "type=image"], "{{.Status}} {{.ID}} {{.Name}}");
    let expected = [
        format!("pull {id} {image}"),
        format!("save {id} {tar}"),
        format!("push {id} {dir}"),
        format!("tag {id} localhost/b:1"),
        format!("untag {id} {image}"),
        format!("untag {id} localhost/b:1"),
        format!("remove {id} {id}"),
        format!("loadfromarchive {id} {tar}"),
        "pull-error  localhost:1/nothing:1".to_owned(),
    ];
    assert_eq!(lines, expected);
    let error = told(&world, &["--filter", "event=pull-error"], "{{.Error}}");
    assert_eq!(error, ["pinging container registry localhost:1: connection refused"]);
    world
        .loment(["events", "--since", "one day"])
        .fails_saying(125, &["failed to parse event filters", "one day"]);
    // The newest name goes first, and a tag is told of as it was typed.
    world.loment(["tag", &image, "z.example/y"]).succeeds();
    world.loment(["tag", &image, "a.example/y"]).succeeds();
    world.loment(["rmi", "--force", &id]).succeeds();
    let lines = told(&world, &["--filter", "type=image"], "{{.Status}} {{.Name}}");
    let last = ["tag z.example/y", "tag a.example/y", "untag a.example/y:latest", "untag z.example/y:latest"];
    assert_eq!(lines[lines.len() - 6..lines.len() - 2], last, "{lines:?}");
}

#[test]
fn what_is_pruned_is_told() {
    let (world, image) = world_with("busybox:latest");
    world.loment(["create", "--network", "none", "--name", "a", &image, "true"]).succeeds();
    world.loment(["system", "prune", "--all", "--force"]).succeeds();
    let lines = told(&world, &["--since", "10m"], "{{.Type}} {{.Status}}");
    let expected = [
        "image pull",
        "container create",
        "container remove",
        "container prune",
        "image untag",
        "image remove",
        "image prune",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_follower_hears_of_what_is_wanted_when_it_happens() {
    let (world, rootfs) = world_over_directory();
    world.loment(["create", "--name", "before", "--network", "none", "--rootfs", &rootfs, "true"]).succeeds();
    let mut all = Follower::new(&world, &["--format", "{{.Status}} {{.Name}}"]);
    let filters = ["--filter", "event=died", "--filter", "event=start", "--filter", "label=wanted"];
    let mut some = Follower::new(&world, &[&filters[..], &["--format", "json"]].concat());
    let mut since = Follower::new(&world, &["--since", "1h", "--format", "{{.Status}} {{.Name}}"]);
    for (name, label) in [("a", "no"), ("b", "wanted=1")] {
        let run = ["run", "--rm", "--network", "none", "--name", name, "--label", label, "--rootfs", &rootfs];
        world.loment([&run[..], &["true"]].concat()).succeeds();
    }
    for name in ["a", "b"] {
        for status in ["create", "init", "start", "attach", "died", "remove"] {
            assert_eq!(all.next(), format!("{status} {name}\n"));
        }
    }
    for status in ["start", "died"] {
        let event: Value = serde_json::from_str(&some.next()).unwrap();
        assert_eq!((&event["Status"], &event["Name"]), (&status.into(), &"b".into()));
        assert!(event["timeNano"].is_i64() && event["time"].is_i64() && event["Attributes"]["wanted"] == "1");
    }
    assert_eq!(since.next(), "create before\n");
    assert_eq!(since.next(), "create a\n");
}

#[test]
fn times_are_limits_of_what_is_shown() {
    let (world, rootfs) = world_over_directory();
    let create = |name| {
        world.loment(["create", "--name", name, "--network", "none", "--rootfs", &rootfs, "true"]).succeeds();
    };
    create("a");
    let at = told(&world, &[], "{{.TimeNano}}")[0].clone();
    let seconds = format!("{}.{}", &at[..at.len() - 9], &at[at.len() - 9..]);
    let moment = rfc3339(&seconds);
    create("b");
    for time in [&seconds, &moment] {
        assert_eq!(told(&world, &["--since", time], "{{.Name}}"), ["b"], "{time}");
    }
    assert_eq!(told(&world, &["--since", "1h"], "{{.Name}}"), ["a", "b"]);
    // What is past ends by itself.
    let until = world.loment(["events", "--until", "-1s", "--format", "{{.Name}}"]);
    assert_eq!(until.succeeds(), "");
    let since = world.loment(["events", "--since", "1h", "--until", "0s", "--format", "{{.Name}}"]);
    assert_eq!(since.succeeds(), "a\nb");
    // And what is to come when it has.
    let later = world.loment(["events", "--since", "1h", "--until", "300ms", "--format", "{{.Name}}"]);
    assert_eq!(later.succeeds(), "a\nb");
    // For Docker, ten minutes are always ago.
    let docker = world.persona("docker", ["events", "--since", "20m", "--until", "10m"]);
    assert_eq!(docker.succeeds(), "");
    world.loment(["events", "--since", "soon"]).fails_saying(125, &["soon"]);
    world.loment(["events", "--filter", "colour=red"]).fails_saying(125, &["colour", "container"]);
}

/// Seconds since 1970 as date(1) writes them.
fn rfc3339(seconds: &str) -> String {
    let mut date = std::process::Command::new("date");
    date.args(["--utc", "--date", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%S.%NZ"]);
    String::from_utf8(date.output().unwrap().stdout).unwrap().trim().to_owned()
}

#[test]
fn docker_hears_its_own_words() {
    let (world, image) = world_with("busybox:latest");
    world
        .loment([
            "run",
            "--rm",
            "--network",
            "none",
            "--name",
            "a",
            "--label",
            "x=y",
            "-v",
            "v:/v:ro",
            &image,
            "true",
        ])
        .succeeds();
    sleeper(&world, "b", &[], &image);
    world.loment(["exec", "b", "echo", "hello"]).succeeds();
    world.loment(["kill", "b"]).succeeds();
    let docker = |flags: &[&str]| {
        let arguments = [&["events", "--since", "1h", "--until", "0s"], flags].concat();
        world.persona("docker", arguments).succeeds().to_owned()
    };
    let actions = docker(&["--filter", "container=a", "--format", "{{.Action}}"]);
    assert_eq!(actions, "create\nstart\nattach\ndie\ndestroy");
    // Volumes of containers are told of to it only.
    let of_volume = ["--filter", "volume=v", "--format", "{{.Action}} {{json .Actor.Attributes}}"];
    let id = docker(&["--filter", "container=a", "--filter", "event=die", "--format", "{{.ID}}"]);
    let (mount, unmount) = (
        format!(
            r#"{{"container":"{id}","destination":"/v","driver":"local","propagation":"","read/write":"false"}}"#
        ),
        format!(r#"{{"container":"{id}","driver":"local"}}"#),
    );
    let all = docker(&of_volume);
    let lines: Vec<_> = all.lines().skip(1).collect();
    assert_eq!(lines, [format!("mount {mount}"), format!("unmount {unmount}")], "{all}");
    assert_eq!(told(&world, &["--filter", "volume=v"], "{{.Status}}"), ["create"]);
    let json: Value = serde_json::from_str(&docker(&[
        "--filter",
        "container=a",
        "--filter",
        "event=die",
        "--format",
        "json",
    ]))
    .unwrap();
    assert_eq!(json["Actor"]["Attributes"]["exitCode"], "0");
    assert_eq!(json["Actor"]["Attributes"]["x"], "y");
    assert_eq!(json["scope"], "local");
    let exec =
        docker(&["--filter", "container=b", "--filter", "event=exec_start", "--format", "{{.Action}}"]);
    assert_eq!(exec, "exec_start: echo hello");
    let kill = docker(&["--filter", "event=kill", "--format", "{{.Actor.Attributes.signal}}"]);
    assert_eq!(kill, "9");
    let line = docker(&["--filter", "event=pull"]);
    assert!(line.contains("Z image pull ") && line.contains("(name="), "{line}");
}

#[test]
fn nobody_is_told_when_nobody_is_to_be() {
    let (world, rootfs) = world_over_directory();
    let run = ["run", "--rm", "--network", "none", "--rootfs", &rootfs, "true"];
    world.loment([&["--events-backend", "none"][..], &run].concat()).succeeds();
    assert!(!world.root().join("events").exists());
    let none = world.loment(["--events-backend", "none", "events"]);
    assert_eq!(none.fails(125), "Error: cannot read events with the \"none\" backend");
    world.loment(["--events-backend", "journald", "ps"]).fails_saying(125, &["journal"]);
    world.loment(["--events-backend", "smoke", "ps"]).fails_saying(125, &["smoke", "file"]);
    let logger = |flags: &[&str]| {
        let arguments = [flags, &["info", "--format", "{{.host.eventLogger}}"]].concat();
        world.loment(arguments).succeeds().to_owned()
    };
    assert_eq!(logger(&[]), "file");
    assert_eq!(logger(&["--events-backend=none"]), "none");
    let conf = world.write("containers.conf", "[engine]\nevents_logger = \"none\"\n");
    let mut configured = world.command(run);
    configured.env("CONTAINERS_CONF", &conf);
    loment_testkit::run(&mut configured, loment_testkit::Patience::NORMAL).succeeds();
    assert!(!world.root().join("events").exists());
    world.loment(["system", "events", "--stream=false"]).succeeds();
}

#[test]
fn events_are_limited_in_size() {
    let (world, rootfs) = world_over_directory();
    let conf = world.write("containers.conf", "[engine]\nevents_logfile_max_size = \"2k\"\n");
    for _ in 0..6 {
        let mut run = world.command(["run", "--rm", "--network", "none", "--rootfs", &rootfs, "true"]);
        run.env("CONTAINERS_CONF", &conf);
        loment_testkit::run(&mut run, loment_testkit::Patience::NORMAL).succeeds();
    }
    assert!(world.root().join("events/log.1").exists());
    assert_eq!(told(&world, &["--filter", "event=remove"], "{{.Status}}").len(), 6, "young ones are kept");
}

#[test]
fn events_are_kept_where_they_are_wanted() {
    let (world, rootfs) = world_over_directory();
    let file = world.path("kept/all");
    let text = format!("[engine]\nevents_logfile_path = {file:?}\nevents_logfile_max_size = 0\n");
    let conf = world.write("containers.conf", &text);
    let configured = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        command.env("CONTAINERS_CONF", &conf);
        loment_testkit::run(&mut command, loment_testkit::Patience::NORMAL).succeeds().to_owned()
    };
    configured(&["run", "--rm", "--network", "none", "--rootfs", &rootfs, "true"]);
    // The monitor writes there, too.
    let told = configured(&["events", "--stream=false", "--format", "{{.Status}}"]);
    assert_eq!(told.lines().last(), Some("remove"), "{told}");
    assert!(std::fs::read_to_string(&file).unwrap().contains("died"));
    assert!(!world.root().join("events").exists());
    let conf = world.write("containers.conf", "[engine]\nevents_logfile_path = \"here\"\n");
    let mut events = world.command(["events", "--stream=false"]);
    events.env("CONTAINERS_CONF", &conf);
    let refused = loment_testkit::run(&mut events, loment_testkit::Patience::NORMAL);
    refused.fails_saying(125, &["events_logfile_path", "absolute"]);
}

/// Whenever a command is killed: what was told can be read, and nothing that was done is told twice.
#[test]
fn a_kill_leaves_what_can_be_read() {
    let (world, rootfs) = world_over_directory();
    let faults = Faults::below([world.root()]);
    for nth in 1.. {
        let name = format!("c{nth}");
        let mut create =
            world.command(["create", "--name", &name, "--network", "none", "--rootfs", &rootfs, "true"]);
        let stopped = faults.kill_before(nth, &mut create);
        let filter = format!("container={name}");
        let told = told(&world, &["--filter", &filter], "{{.Status}}");
        let there = world.loment(["inspect", &name]).code == 0;
        assert!(told.len() <= usize::from(there), "{:?}", stopped.before);
        if stopped.code.is_some() {
            assert_eq!(told, ["create"]);
            break;
        }
    }
}
