//! `tag`, `untag`, `history` and `image exists`.

use std::collections::HashSet;
use std::fs;

use loment_testkit::{Entry, Layer};

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
    world.loment(["untag", &image, "work:1", "nonesuch"]).fails_saying(125, &["nonesuch", "tag not known"]);
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

#[test]
fn a_beginning_of_several_ids_is_a_name_if_there_is_one() {
    let (world, image) = world_with("busybox:latest");
    let short_names = |location: &str| {
        let conf = world.dir().join("home/.config/containers/registries.conf");
        fs::create_dir_all(conf.parent().unwrap()).unwrap();
        fs::write(&conf, format!("[[registry]]\nprefix = \"docker.io\"\nlocation = {location:?}\n")).unwrap();
    };
    // Nobody listens there.
    short_names("127.0.0.1:1");
    // Of seventeen images two begin alike.
    let mut seen = HashSet::new();
    let digit = loop {
        let tar =
            world.write("layer.tar", Layer::of([Entry::file("n", seen.len().to_string())]).into_bytes());
        let id =
            world.loment(["import", "--quiet", &tar]).succeeds().trim_start_matches("sha256:").to_owned();
        if !seen.insert(id[..1].to_owned()) {
            break id[..1].to_owned();
        }
    };
    let run = |policy: &str| {
        let policy = format!("--pull={policy}");
        world.loment(["run", "--rm", "--network", "none", &policy, &digit, "echo", "hi"])
    };
    let several = "more than one image id starts with this";
    world.loment(["image", "inspect", &digit]).fails_saying(125, &[several]);
    run("never").fails_saying(125, &[several]);
    for policy in ["missing", "newer"] {
        run(policy).fails_saying(125, &[several, "no image of this name can be had", "connection refused"]);
    }
    let registry = loment_testkit::Registry::empty();
    let there = registry.name(&format!("library/{digit}:latest"));
    world.loment(["push", "--quiet", &image, &there]).succeeds();
    short_names(&registry.host());
    let name = format!("docker.io/library/{digit}:latest");
    for policy in ["missing", "newer"] {
        assert_eq!(run(policy).succeeds(), "hi", "{policy}");
        // Now it is a name here, which goes before ids.
        assert_eq!(run("never").succeeds(), "hi");
        world.loment(["rmi", &name]).succeeds();
    }
    assert_eq!(world.loment(["pull", "--quiet", &digit]).succeeds(), world.inspect("{{.Id}}", &image));
    assert_eq!(world.loment(["image", "exists", &name]).code, 0);
    // What is found by its id is that, and not asked for by it.
    short_names("127.0.0.1:1");
    let id = world.inspect("{{.Id}}", &image);
    let newer = world.loment(["pull", "--quiet", "--policy", "newer", &id[..12]]);
    assert_eq!(newer.succeeds(), id);
}
