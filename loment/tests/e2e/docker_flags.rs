//! Flags that Docker's commands about images have beside Podman's: `--platform`, `push --all-tags`; and Podman's for Docker's sake.

use std::fs;

use loment_testkit::{Patience, Registry, World, run_with_input};
use serde_json::Value;

use crate::{fixtures, world};

const LIST: &str = "localhost/list:1";

/// A world with an image for this machine, another one for arm64 and a list of both; the names of the images.
fn world_with_two() -> (World, Registry, [String; 2]) {
    let (world, registry) = (world(), fixtures().serve_copy());
    let [ours, theirs] = ["busybox:latest", "multi:latest"].map(|name| registry.name(name));
    world.loment(["pull", "--quiet", &ours]).succeeds();
    world.loment(["pull", "--quiet", "--platform", "linux/arm64", &theirs]).succeeds();
    world.loment(["manifest", "create", LIST, &ours, &theirs]).succeeds();
    (world, registry, [ours, theirs])
}

const AMD: [&str; 2] = ["--platform", "linux/amd64"];
const ARM: [&str; 2] = ["--platform", "linux/arm64"];

#[test]
fn a_platform_that_an_image_is_not_for_is_an_error_that_names_its_own() {
    let (world, registry, [ours, theirs]) = world_with_two();
    let (archive, there) = (world.path("saved").display().to_string(), registry.name("pushed:1"));
    let remove = ["rmi", "--platform", "linux/amd64", "--ignore"];
    for command in [
        &["history"][..],
        &["image", "inspect"],
        &["save", "--quiet", "--output", &archive],
        &["push", "--quiet"],
        &remove[..1],
    ] {
        let to = if command[0] == "push" { &[there.as_str()][..] } else { &[] };
        for (flags, image, own) in
            [(AMD, &theirs, "it is for linux/arm64"), (ARM, &ours, "it is for linux/amd64")]
        {
            let words = [command, &flags, &[image.as_str()], to].concat();
            world.loment(words).fails_saying(125, &[own, "not for linux/", image]);
        }
        let bad = [command, &["--platform", "a/b/c/d", &theirs], to].concat();
        world.loment(bad).fails_saying(125, &["--platform"]);
        let right = [command, &ARM, &[theirs.as_str()], to].concat();
        if command[0] != "rmi" {
            world.loment(right).succeeds();
        }
    }
    assert_eq!(registry.digest_of("pushed", "1").len(), 71);
    assert!(fs::exists(&archive).unwrap());
    world.loment([&remove[..], &["nonesuch"]].concat()).succeeds();
    world.loment(["rmi", "--all", "--platform", "linux/amd64"]).fails(125);
    world.loment([&["rmi"], &ARM[..], &[LIST]].concat()).fails_saying(125, &["manifest remove"]);
    world.loment(["manifest", "rm", LIST]).succeeds();
    world.loment([&["rmi"], &ARM[..], &[&theirs]].concat()).succeeds();
    world.loment(["image", "exists", &theirs]).fails(1);
    world.loment(["image", "exists", &ours]).succeeds();
}

#[test]
fn a_platform_chooses_among_the_images_of_a_list() {
    let (world, registry, _) = world_with_two();
    let architecture = |words: &[&str]| {
        let inspect = ["image", "inspect", "--format", "{{.Architecture}}"];
        world.loment([&inspect[..], words].concat()).succeeds().to_owned()
    };
    assert_eq!(architecture(&[LIST]), "amd64");
    assert_eq!(architecture(&["--platform", "linux/arm64", LIST]), "arm64");
    // Of a place, too.
    let multi = format!("docker://{}", registry.name("multi:latest"));
    assert_eq!(architecture(&["--platform", "linux/s390x", &multi]), "s390x");
    let config = ["image", "inspect", "--config", "--platform", "linux/s390x", &multi];
    assert!(world.loment(config).succeeds().contains("s390x"));
    let id =
        |platform: &str| world.loment(["history", "-q", "--platform", platform, LIST]).succeeds().to_owned();
    assert_ne!(id("linux/amd64"), id("linux/arm64"));
    world.loment(["history", "--platform", "linux/s390x", LIST]).fails_saying(125, &["none for linux/s390x"]);
    let (archive, there) = (world.path("saved").display().to_string(), registry.name("pushed:1"));
    let save = ["save", "--quiet", "--platform", "linux/arm64", "--output", &archive, LIST];
    world.loment(save).succeeds();
    world.loment(["push", "--quiet", "--platform", "linux/arm64", LIST, &there]).succeeds();
    assert_eq!(architecture(&["--no-tags", &format!("docker://{there}")]), "arm64");
    world.loment(["manifest", "rm", LIST]).succeeds();
    world.loment(["rmi", "--all"]).succeeds();
    world.loment(["load", "--quiet", "--input", &archive]).succeeds();
    assert_eq!(architecture(&[LIST]), "arm64");
}

#[test]
fn what_is_loaded_is_for_the_platform_that_was_named() {
    let (world, registry) = (world(), fixtures().serve());
    let path = |name: &str| world.path(name).display().to_string();
    let (all, one) = (path("all.tar"), path("one.tar"));
    let multi = format!("docker://{}", registry.name("multi:latest"));
    let copy = |flag: [&str; 2], to: &str| {
        world.loment([&["image", "copy", "--quiet"], &flag[..], &[&multi, to]].concat()).succeeds();
    };
    copy(["--multi-arch", "all"], &format!("oci-archive:{all}:localhost/all:1"));
    copy(ARM, &format!("docker-archive:{one}:localhost/one:1"));
    let load = |platform: &str, file: &str| world.loment(["load", "-q", "--platform", platform, "-i", file]);
    load("linux/s390x", &all).succeeds();
    assert_eq!(world.inspect("{{.Architecture}}", "localhost/all:1"), "s390x");
    load("linux/amd64", &one).fails_saying(125, &["no image for platform linux/amd64", "linux/arm64"]);
    world.loment(["image", "exists", "localhost/one:1"]).fails(1);
    load("linux/arm64", &one).succeeds();
    // From standard input, too.
    let bytes = fs::read(&one).unwrap();
    let mut command = world.command(["load", "-q", "--platform", "linux/amd64"]);
    run_with_input(&mut command, &bytes, Patience::NORMAL).fails(125);
    load("x/y/z/a", &one).fails_saying(125, &["--platform"]);
}

#[test]
fn all_tags_of_a_repository_are_pushed() {
    let (world, from, to) = (world(), fixtures().serve(), Registry::empty());
    world.loment(["pull", "--quiet", "--all-tags", &from.name("busybox")]).succeeds();
    for tag in ["latest", "zstd", "docker"] {
        let name = format!("team/mine:{tag}");
        world.loment(["tag", &from.name(&format!("busybox:{tag}")), &to.name(&name)]).succeeds();
    }
    let list = to.name("team/mine:list");
    world.loment(["manifest", "create", &list, &from.name("busybox:latest")]).succeeds();
    world.loment(["tag", &from.name("busybox:plain"), &to.name("team/mine2:other")]).succeeds();
    let pushed = world.loment(["push", "--all-tags", &to.name("team/mine")]);
    pushed.succeeds();
    for tag in ["latest", "zstd", "docker", "list"] {
        let line = format!("Pushing {}:{tag}...\n", to.name("team/mine"));
        assert!(pushed.stderr.contains(&line), "{pushed}");
    }
    let tags = world.loment(["image", "list-tags", &format!("docker://{}", to.name("team/mine"))]);
    let tags: Value = serde_json::from_str(tags.succeeds()).unwrap();
    let mut tags: Vec<_> = tags["Tags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    tags.sort_unstable();
    assert_eq!(tags, ["docker", "latest", "list", "zstd"]);
    assert_eq!(to.digest_of("team/mine", "zstd").len(), 71);
    let push = |name: &str| world.loment(["push", "-a", &to.name(name)]);
    push("team/mine:zstd").fails_saying(125, &["leave out the tag"]);
    push("team/none").fails_saying(125, &["image not known"]);
    world.loment(["push", "-a", &to.name("team/mine"), "dir:/x"]).fails(125);
}

#[test]
fn compress_is_for_directories_and_trust_for_nobody() {
    let (world, registry) = (world(), fixtures().serve());
    let image = registry.name("busybox:plain");
    world.loment(["pull", "--quiet", &image]).succeeds();
    let dir = world.path("dir");
    let to = format!("dir:{}", dir.display());
    world.loment(["push", "--quiet", "--compress", "--disable-content-trust", &image, &to]).succeeds();
    let manifest: Value = serde_json::from_slice(&fs::read(dir.join("manifest.json")).unwrap()).unwrap();
    let layer = &manifest["layers"][0];
    assert!(layer["mediaType"].as_str().unwrap().ends_with("gzip"), "{manifest}");
    let blob = layer["digest"].as_str().unwrap().trim_start_matches("sha256:");
    assert!(fs::read(dir.join(blob)).unwrap().starts_with(&[0x1f, 0x8b]));
    // Nobody listens there.
    let push = ["push", "--compress", &image, "docker://127.0.0.1:9/x:1"];
    world.loment(push).fails_saying(125, &["--compress can only be set for dir: destinations"]);
    world.loment(["push", "--compress=false", "--disable-content-trust=false", &image, &to]).succeeds();
}
