//! Where it is said which processes a container has, what it is labelled with, and who runs it.

use std::fs;

use crate::{monitor_of, pid_of, sh, world_with};

#[test]
fn the_numbers_of_its_processes_are_written_each_time_it_starts() {
    let (world, image) = world_with("busybox:latest");
    let (own, monitor) = (world.path("pid"), world.path("monitor-pid"));
    // Relative to where the command is given.
    let flags =
        ["create", "--name", "c", "--network", "none", "--pidfile", "pid", "--conmon-pidfile", "monitor-pid"];
    world.loment([&flags[..], &[&image, "sleep", "600"]].concat()).succeeds();
    assert!(!own.exists() && !monitor.exists());
    for _ in 0..2 {
        world.loment(["start", "c"]).succeeds();
        let read = |path| fs::read_to_string(path).unwrap();
        assert_eq!(read(&own), pid_of(&world, "c").to_string());
        assert_eq!(read(&monitor), monitor_of(&world, "c").to_string());
        world.loment(["kill", "c"]).succeeds();
        world.loment(["wait", "c"]).succeeds();
    }
    assert_eq!(
        world.inspect("{{.PidFile}} {{.ConmonPidFile}}", "c"),
        format!("{} {}", own.display(), monitor.display())
    );
    let words = ["run", "--rm", "--network", "none", "--pidfile", "/nowhere/pid", &image, "true"];
    world.loment(words).fails_saying(125, &["/nowhere/pid"]);
    world.loment(["rm", "c"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn labels_come_from_files_and_flags() {
    let (world, image) = world_with("busybox:latest");
    let one = world.write("one", "# not this\na=1\n\n  b=x y = z \nc\n");
    let other = world.write("other", "a=2\n");
    let head = ["create", "--name", "c", "--network", "none", "--label-file", &one, "--label-file", &other];
    world.loment([&head[..], &["-l", "c=flag", &image]].concat()).succeeds();
    assert_eq!(world.inspect("{{json .Config.Labels}}", "c"), r#"{"a":"2","b":"x y = z ","c":"flag"}"#);
    let bad = world.write("bad", "a b=c\n");
    for (file, why) in [("/nowhere", "/nowhere"), (bad.as_str(), "white spaces")] {
        world.loment(["create", "--network", "none", "--label-file", file, &image]).fails_saying(125, &[why]);
    }
}

#[test]
fn names_of_other_runtimes_mean_this_one() {
    let (world, image) = world_with("busybox:latest");
    for name in ["loment", "oci", "crun", "runc", "default", "io.containerd.runc.v2"] {
        assert_eq!(sh(&world, &["--runtime", name, "--isolation", "default"], &image, "echo ran"), "ran");
    }
    assert_eq!(sh(&world, &["--isolation=process"], &image, "echo ran"), "ran");
}
