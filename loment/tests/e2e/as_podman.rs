//! What Podman's own tests want of it, found by running them.

use std::fs;

use crate::{world_over_directory, world_with};

#[test]
fn results_go_where_that_is_wanted() {
    let (world, image) = world_over_directory();
    let made = ["--network", "none", "--name", "c", "--rootfs", &image, "true"];
    let out = world.path("out");
    let to = ["--out", out.to_str().unwrap(), "create"];
    assert_eq!(world.loment([&to[..], &made].concat()).succeeds(), "");
    assert_eq!(fs::read_to_string(&out).unwrap().trim(), world.inspect("{{.ID}}", "c"));
    assert_eq!(world.loment(["--noout", "rm", "c"]).succeeds(), "");
    world.loment(["--out", "/no/such/out", "version"]).fails_saying(125, &["/no/such/out"]);
    assert!(world.loment(["ps", "--out"]).fails(125).contains("--out"));
}

#[test]
fn flags_of_every_command_may_stand_behind_it() {
    let (world, image) = world_over_directory();
    world
        .loment([
            "create",
            "--log-level",
            "debug",
            "--events-backend=none",
            "--network",
            "none",
            "--name",
            "c",
            "--rootfs",
            &image,
            "ls",
            "--root",
        ])
        .succeeds();
    assert_eq!(world.inspect("{{.Args}}", "c"), "[--root]");
    assert_eq!(world.loment(["events", "--stream=false"]).succeeds(), "");
    world.loment(["ps", "--events-backend", "paper"]).fails_saying(125, &["paper"]);
    assert!(world.loment(["ps", "--nonesuch"]).fails(125).contains("--nonesuch"));
    world.persona("docker", ["ps", "--log-level", "debug"]).fails(125);
}

#[test]
fn who_gives_no_command_is_told_so() {
    let world = world_over_directory().0;
    for (program, status) in [("podman", 125), ("docker", 0)] {
        let said = |words: &[&str]| {
            let output = world.persona(program, words.iter().copied());
            if status == 0 { output.succeeds().to_owned() } else { output.fails(status).to_owned() }
        };
        assert_eq!(said(&[]).contains("missing command 'podman COMMAND'"), status == 125);
        assert_eq!(said(&["image"]).contains("missing command 'podman image COMMAND'"), status == 125);
    }
}

#[test]
fn containers_have_names_and_files_of_their_ids_as_with_podman() {
    let (world, image) = world_over_directory();
    let file = world.write(
        "cid",
        "something else, which is longer than an id can be, and all of it has to go away again",
    );
    let make = |program: &str, name: &str| {
        world.persona(
            program,
            ["create", "--network", "none", "--cidfile", &file, "--name", name, "--rootfs", &image, "true"],
        )
    };
    make("podman", "/a").succeeds();
    assert_eq!(fs::read_to_string(&file).unwrap(), world.inspect("{{.Id}}", "a"));
    make("docker", "b").fails_saying(125, &["exists"]);
    make("podman", "a/b").fails_saying(125, &["a/b"]);
    assert_eq!(world.loment(["rm", "--force", "--time", "-1", "a"]).succeeds(), "a");
}

#[test]
fn only_privileged_containers_know_who_they_are() {
    let (world, image) = world_over_directory();
    let size = |flags: &[&str]| {
        let head = ["run", "--rm", "--network", "none"];
        let tail = ["--rootfs", image.as_str(), "sh", "-c", "wc -c </run/.containerenv"];
        world.loment([&head, flags, &tail].concat()).succeeds().trim().to_owned()
    };
    assert_eq!(size(&[]), "0");
    assert_ne!(size(&["--privileged"]), "0");
}

#[test]
fn what_follows_a_flag_is_its_value_whatever_it_looks_like() {
    let (world, image) = world_with("busybox:latest");
    world
        .loment([
            "create",
            "--network",
            "none",
            "--name",
            "c",
            "--label",
            "--x=y",
            "-e",
            "-z",
            &image,
            "true",
        ])
        .succeeds();
    assert_eq!(world.inspect("{{index .Config.Labels \"--x\"}}", "c"), "y");
    assert_eq!(
        world.loment(["history", "--format", "--{{.Comment}}--", &image]).succeeds().lines().next(),
        Some("----")
    );
}

#[test]
fn names_that_are_gone_stay_known_after_those_that_are_there() {
    let (world, image) = world_with("busybox:latest");
    let history = || world.loment(["images", "--format", "{{.History}}", &image]).succeeds().to_owned();
    let first = history();
    world.loment(["tag", &image, "localhost/one"]).succeeds();
    world.loment(["rmi", "localhost/one"]).succeeds();
    assert_eq!(history(), format!("{first}, localhost/one:latest"));
    world.loment(["rmi", "--force", "localhost/none"]).succeeds();
    world.loment(["rmi", "localhost/none"]).fails(1);
    world.loment(["untag", &image, "localhost/none"]).fails_saying(125, &["localhost/none", "tag not known"]);
    let tags = world.loment(["history", "--format", "{{.Tags}}", &image]).succeeds().to_owned();
    assert!(tags.starts_with(&format!("[{image}]")), "{tags}");
    let json = world.loment(["history", "--format", "json", &image]).succeeds().to_owned();
    assert!(json.contains("\"id\"") && json.contains("\"created\""), "{json}");
}
