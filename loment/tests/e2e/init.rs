//! `init`: containers that are ready for their programs.

use std::process::Command;

use loment_testkit::World;

use crate::{eventually, lives, monitor_of, pid_of, world_over_directory};

fn status(world: &World, name: &str) -> String {
    world.inspect("{{.State.Status}}", name)
}

/// A container that has been prepared: its program writes to its log and to a file, and ends with status 3.
fn prepared(world: &World, image: &str, flags: &[&str]) {
    let head = ["create", "--name", "c", "--network", "none"];
    let script = "echo ran; echo x >/ran; exit 3";
    world.loment([&head, flags, &["--rootfs", image, "sh", "-c", script]].concat()).succeeds();
    assert_eq!(world.loment(["init", "c"]).succeeds(), "c");
}

#[test]
fn what_is_prepared_is_there_and_its_program_runs_when_it_is_started() {
    let (world, image) = world_over_directory();
    prepared(&world, &image, &["--hostname", "inside"]);
    assert_eq!(status(&world, "c"), "initialized");
    let pid = pid_of(&world, "c");
    assert!(pid > 0 && lives(pid));
    assert!(!std::path::Path::new(&image).join("ran").exists());
    // It has its namespaces, its group and its files already.
    let uts = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/uts")).unwrap();
    assert_ne!(uts(&pid.to_string()), uts("self"));
    assert_eq!(world.loment(["ps", "--quiet"]).succeeds(), "");
    assert!(world.loment(["ps", "--all"]).succeeds().contains("Initialized"));
    assert_ne!(world.loment(["ps", "--all", "--quiet", "--filter", "status=initialized"]).succeeds(), "");
    assert_eq!(world.loment(["wait", "--condition", "initialized", "c"]).succeeds(), "-1");
    for (words, told) in [
        (&["init", "c"][..], "has already been created"),
        (&["exec", "c", "true"], "initialized"),
        (&["pause", "c"], "initialized"),
        (&["kill", "c"], "can only kill running containers"),
    ] {
        let refused = world.loment(words);
        assert!(refused.code != 0 && refused.stderr.contains(told), "{words:?}: {}", refused.stderr);
    }
    let output = world.loment(["start", "--attach", "c"]);
    assert_eq!((output.code, output.stdout.trim()), (3, "ran"));
    assert!(std::path::Path::new(&image).join("ran").exists());
    assert_eq!(status(&world, "c"), "exited");
    assert_eq!(world.loment(["logs", "c"]).succeeds(), "ran");
    let events = world.loment(["events", "--stream=false", "--format", "{{.Status}}"]);
    let events: Vec<&str> =
        events.succeeds().lines().filter(|e| ["init", "start", "attach", "died"].contains(e)).collect();
    assert_eq!(events, ["init", "start", "attach", "died"]);
    // One that has ended is prepared again.
    assert_eq!(world.loment(["init", "--all"]).succeeds().len(), 64);
    assert_eq!(status(&world, "c"), "initialized");
    assert_eq!(world.loment(["start", "c"]).succeeds(), "c");
    assert_eq!(world.loment(["wait", "c"]).succeeds(), "3");
}

#[test]
fn what_is_prepared_can_be_stopped_and_removed() {
    let (world, image) = world_over_directory();
    prepared(&world, &image, &[]);
    let pid = pid_of(&world, "c");
    world.loment(["stop", "c"]).succeeds();
    assert_eq!((status(&world, "c").as_str(), lives(pid)), ("created", false));
    world.loment(["init", "c"]).succeeds();
    let pid = pid_of(&world, "c");
    world.loment(["rm", "c"]).succeeds();
    assert!(!lives(pid));
    world.loment(["inspect", "c"]).fails_saying(125, &["c"]);
}

#[test]
fn what_cannot_be_prepared_stays_as_it_was() {
    let (world, image) = world_over_directory();
    world.loment(["create", "--name", "c", "--network", "none", "--rootfs", &image, "/nowhere"]).succeeds();
    world.loment(["init", "c"]).fails_saying(127, &["/nowhere"]);
    assert_eq!(status(&world, "c"), "created");
    // A program that is found and cannot be run is only seen at the start.
    let program = std::path::Path::new(&image).join("bad");
    std::fs::write(&program, "no program").unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    world.loment(["create", "--name", "d", "--network", "none", "--rootfs", &image, "/bad"]).succeeds();
    world.loment(["init", "d"]).succeeds();
    world.loment(["start", "d"]).fails_saying(125, &["/bad"]);
    eventually("nothing is left of it", || status(&world, "d") == "created");
}

#[test]
fn when_its_monitor_is_killed_it_is_as_if_it_never_was_prepared() {
    let (world, image) = world_over_directory();
    prepared(&world, &image, &[]);
    let (pid, monitor) = (pid_of(&world, "c"), monitor_of(&world, "c"));
    assert!(Command::new("kill").args(["-9", &monitor.to_string()]).status().unwrap().success());
    eventually("it ends with its monitor", || !lives(pid));
    assert_eq!(status(&world, "c"), "created");
    let output = world.loment(["start", "--attach", "c"]);
    assert_eq!((output.code, output.stdout.trim()), (3, "ran"));
    world.loment(["rm", "c"]).succeeds();
}

#[test]
fn two_who_start_what_is_prepared_start_it_once() {
    let (world, image) = world_over_directory();
    let head = ["create", "--name", "c", "--network", "none", "--rootfs", image.as_str()];
    world.loment([&head[..], &["sh", "-c", "echo x >>/ran; sleep 0.3"]].concat()).succeeds();
    world.loment(["init", "c"]).succeeds();
    let mut starts: Vec<_> = (0..4).map(|_| world.command(["start", "c"]).spawn().unwrap()).collect();
    for start in &mut starts {
        assert!(start.wait().unwrap().success());
    }
    world.loment(["wait", "c"]).succeeds();
    assert_eq!(std::fs::read_to_string(std::path::Path::new(&image).join("ran")).unwrap(), "x\n");
}
