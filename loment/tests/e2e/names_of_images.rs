//! `tag`, `untag`, `history` and `image exists`.

use crate::world_with;

#[test]
fn an_image_is_found_by_every_name_it_has() {
    let (world, image) = world_with("busybox:latest");
    let names = ["work:1", "registry.example:5000/team/work", "docker.io/library/work:2"];
    world.loment([&["tag", &image], names.as_slice()].concat()).succeeds();
    let id = world.inspect("{{.Id}}", &image);
    for name in names {
        assert_eq!(world.inspect("{{.Id}}", name), id, "{name}");
        assert_eq!(world.loment(["image", "exists", name]).code, 0, "{name}");
    }
    assert_eq!(world.loment(["image", "exists", "work:3"]).code, 1);
    let listed = world.loment(["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    let mut listed: Vec<_> = listed.succeeds().lines().collect();
    listed.sort_unstable();
    let mut expected = [
        &image,
        "docker.io/library/work:1",
        "docker.io/library/work:2",
        "registry.example:5000/team/work:latest",
    ];
    expected.sort_unstable();
    assert_eq!(listed, expected);
    // As `podman` a short name is one of this machine.
    world
        .named("podman", ["--root", &root(&world), "--runroot", &runroot(&world), "tag", &image, "own"])
        .succeeds();
    assert_eq!(world.inspect("{{.Id}}", "localhost/own:latest"), id);
    // Some names go, or none: one that is not the image's spoils it.
    world
        .loment(["untag", &image, "work:1", "nonesuch"])
        .fails_saying(125, &["nonesuch", "has no such name"]);
    assert_eq!(world.loment(["image", "exists", "work:1"]).code, 0);
    world.loment(["untag", &image, "work:1"]).succeeds();
    assert_eq!(world.loment(["image", "exists", "work:1"]).code, 1);
    world.loment(["untag", &id]).succeeds();
    let dangling = world.loment(["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert_eq!(dangling.succeeds(), "<none>:<none>");
    world.loment(["tag", &id, "back:1"]).succeeds();
    assert_eq!(world.inspect("{{.Id}}", "back:1"), id);
}

fn root(world: &loment_testkit::World) -> String {
    world.root().display().to_string()
}

fn runroot(world: &loment_testkit::World) -> String {
    world.runroot().display().to_string()
}

#[test]
fn names_that_are_none_are_refused() {
    let (world, image) = world_with("busybox:latest");
    world.loment(["tag", "nonesuch", "x"]).fails_saying(125, &["nonesuch: image not known"]);
    world.loment(["tag", &image, "UPPER"]).fails_saying(125, &["UPPER", "lowercase"]);
    let digest = format!("x@sha256:{}", "0".repeat(64));
    world.loment(["tag", &image, &digest]).fails_saying(125, &["a digest names one image only"]);
    world.loment(["untag", "nonesuch"]).fails_saying(125, &["nonesuch: image not known"]);
}

#[test]
fn history_has_a_row_for_each_step() {
    let (world, image) = world_with("tree:latest");
    let output = world.loment(["history", &image]);
    let lines: Vec<_> = output.succeeds().lines().collect();
    let columns: Vec<_> = lines[0].split("  ").map(str::trim).filter(|c| !c.is_empty()).collect();
    assert_eq!(columns, ["ID", "CREATED", "CREATED BY", "SIZE", "COMMENT"]);
    // One for each layer: the image says nothing of its steps.
    let layers = world.inspect("{{len .RootFS.Layers}}", &image).parse::<usize>().unwrap();
    assert_eq!(lines.len(), 1 + layers);
    let id = world.inspect("{{.Id}}", &image);
    let ids = world.loment(["history", "-q", "--no-trunc", &image]);
    assert_eq!(ids.succeeds(), id + &"\n<missing>".repeat(layers - 1));
    let sizes = world.loment(["history", "--human=false", "--format", "{{.Size}}", &image]);
    let sum: u64 = sizes.succeeds().lines().map(|size| size.parse::<u64>().unwrap()).sum();
    let all = world.loment(["images", "--format", "{{.VirtualSize}}", &image]);
    assert_eq!(all.succeeds(), sum.to_string());
    world.loment(["history", "nonesuch"]).fails_saying(125, &["nonesuch: image not known"]);
}
