//! One binary, many names.

use crate::{sleeper, world, world_with};

#[test]
fn podman_and_docker_are_the_same_commands() {
    let world = world();
    for name in ["podman", "docker", "loment"] {
        let output = world.named(name, ["--version"]);
        assert!(output.succeeds().starts_with(name), "{output}");
        let help = world.named(name, ["--help"]);
        assert!(help.succeeds().contains("run"), "{help}");
    }
}

#[test]
fn docker_shows_documents_as_docker_does() {
    let (world, image) = world_with("busybox:latest");
    let (root, run) = (world.root(), world.runroot());
    let globals = ["--root", root.to_str().unwrap(), "--runroot", run.to_str().unwrap()];
    let docker = |arguments: &[&str]| world.named("docker", [&globals, arguments].concat());
    docker(&["create", "--network", "none", "--name", "c", &image, "true"]).succeeds();
    assert_eq!(docker(&["inspect", "--format", "{{.Name}}", "c"]).succeeds(), "/c");
    assert_eq!(world.inspect("{{.Name}}", "c"), "c");
    let id = docker(&["images", "-q", "--no-trunc"]);
    assert!(id.succeeds().starts_with("sha256:"), "{id}");
}

#[test]
fn the_long_forms_work_too() {
    let (world, image) = world_with("busybox:latest");
    assert_eq!(
        world.loment(["container", "run", "--rm", "--network", "none", &image, "echo", "x"]).succeeds(),
        "x"
    );
    assert_eq!(world.loment(["image", "ls", "-q"]).succeeds(), world.loment(["images", "-q"]).succeeds());
    assert_eq!(world.loment(["container", "ls", "-aq"]).succeeds(), "");
    // Each group has its own words, and they mean its own things.
    let other = world.loment(["image", "run", &image]);
    assert!(other.fails(125).starts_with("Error: unrecognized command `loment image run`"), "{other}");
    let near = world.loment(["image", "inspct", &image]);
    assert!(near.fails(125).contains("\tinspect\n"), "{near}");
    sleeper(&world, "c", &[], &image);
    world.loment(["image", "inspect", "c"]).fails_saying(125, &["c: image not known"]);
    world.loment(["container", "inspect", &image]).fails_saying(125, &["no such container"]);
    assert_eq!(world.loment(["container", "inspect", "--format", "{{.Name}}", "c"]).succeeds(), "c");
    let id = world.loment(["image", "inspect", "--format", "{{.Id}}", &image]);
    assert!(id.succeeds().starts_with(|c: char| c.is_ascii_hexdigit()), "{id}");
    world.loment(["rm", "--force", "c"]).succeeds();
    world.loment(["image", "rm", &image]).succeeds();
}
