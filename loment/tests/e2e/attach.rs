//! attach, rename, exists.

use std::io::{Read, Write};
use std::process::Stdio;

use crate::{eventually, pid_of, sleeper, world_with};

#[test]
fn a_front_end_takes_part_in_a_container_that_runs() {
    let (world, image) = world_with("busybox:latest");
    let script = "while read line; do echo got $line; echo err >&2; [ $line = end ] && exit 7; done";
    world
        .loment(["run", "-d", "-i", "--network", "none", "--name", "c", &image, "sh", "-c", script])
        .succeeds();
    let attach = |flags: &[&str]| {
        let words = [&["attach"], flags, &["c"]].concat();
        let mut command = world.command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let (mut writer, mut reader) = (attach(&[]), attach(&["--no-stdin"]));
    eventually("both take part", || {
        let events = world.loment([
            "events",
            "--since",
            "1h",
            "--until",
            "0s",
            "--filter",
            "event=attach",
            "--format",
            "{{.Name}}",
        ]);
        events.stdout.lines().count() == 2
    });
    // What this one is given stays with it.
    reader.stdin.take().unwrap().write_all(b"lost\n").unwrap();
    let mut input = writer.stdin.take().unwrap();
    input.write_all(b"one\nend\n").unwrap();
    for child in [&mut writer, &mut reader] {
        let (mut out, mut err) = (String::new(), String::new());
        child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!((out.as_str(), err.as_str()), ("got one\ngot end\n", "err\nerr\n"));
        assert_eq!(child.wait().unwrap().code(), Some(7));
    }
    assert!(world.loment(["attach", "c"]).fails(125).contains("running containers"));
    world.loment(["attach", "nobody"]).fails(125);
    world.loment(["rm", "c"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn every_signal_that_is_meant_for_a_program_reaches_it() {
    let (world, image) = world_with("busybox:latest");
    let script = "for s in ALRM CONT PROF WINCH; do trap \"echo got $s\" $s; done; trap 'exit 3' ABRT; echo ready; while :; do sleep 0.02; done";
    world.loment(["run", "-d", "--network", "none", "--name", "c", &image, "sh", "-c", script]).succeeds();
    eventually("it is ready", || world.loment(["logs", "c"]).stdout.contains("ready"));
    let mut attached =
        world.command(["attach", "c"]).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    eventually("it takes part", || {
        let events = world.loment([
            "events",
            "--since",
            "1h",
            "--until",
            "0s",
            "--filter",
            "event=attach",
            "--format",
            "{{.Name}}",
        ]);
        events.stdout.lines().count() == 1
    });
    let signal = |name: &str| {
        let pid = attached.id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    };
    for name in ["ALRM", "CONT", "PROF"] {
        signal(name);
        eventually(name, || world.loment(["logs", "c"]).stdout.contains(&format!("got {name}")));
    }
    signal("ABRT");
    assert_eq!(attached.wait().unwrap().code(), Some(3));
    assert!(!world.loment(["logs", "c"]).stdout.contains("WINCH"));
    world.loment(["rm", "c"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_container_is_known_by_its_new_name_only() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "web", &["--rm"], &image);
    sleeper(&world, "taken", &[], &image);
    let pid = pid_of(&world, "web");
    assert!(world.loment(["rename", "web", "taken"]).fails(125).contains("taken"));
    world.loment(["rename", "web", "web"]).fails(125);
    world.loment(["rename", "web", "a b"]).fails(125);
    world.loment(["rename", "web", "new"]).succeeds();
    world.loment(["container", "exists", "web"]).fails(1);
    world.loment(["container", "exists", "new"]).succeeds();
    assert_eq!((world.inspect("{{.Name}}", "new"), pid_of(&world, "new")), ("new".to_owned(), pid));
    sleeper(&world, "web", &[], &image);
    // What is removed at its end leaves its new name, not the old one, which is somebody else's.
    world.loment(["stop", "-t", "0", "new"]).succeeds();
    eventually("it is gone", || world.loment(["container", "exists", "new"]).code == 1);
    world.loment(["container", "exists", "web"]).succeeds();
    sleeper(&world, "new", &[], &image);
    let events =
        ["events", "--since", "1h", "--until", "0s", "--filter", "event=died", "--format", "{{.Name}}"];
    assert_eq!(world.loment(events).succeeds(), "new");
    world.loment(["rm", "-f", "-a", "-t", "0"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}
