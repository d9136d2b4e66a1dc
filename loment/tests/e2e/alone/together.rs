//! Many commands at the same time: the work is done once, and nobody takes away what another is about to use.

use std::process::{Child, Command, Stdio};

use loment_testkit::{Compression, Config, Entry, Image, Layer, Layout, Registry, Variant, World};

use crate::{fixtures, world, world_with};

/// A registry with `many:1`, an image of six layers.
fn registry(world: &World) -> Registry {
    let registry = Registry::empty();
    let layers = (0..6u8).map(|n| Layer::of([Entry::file(&format!("file{n}"), vec![n; 300_000])]).into());
    let mut layout = Layout::create(&world.path("layout"));
    layout.add("x", &Image::new(Config::shell(), layers), Compression::Gzip);
    layout.push("x", &registry.name("many:1"), Variant::AsIs);
    registry
}

fn start(world: &World, arguments: &[&str]) -> Child {
    let mut command: Command = world.command(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for its end: the status and what it complained about.
#[track_caller]
fn end(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[track_caller]
fn is_whole(world: &World) {
    world.loment(["system", "check"]).succeeds();
}

#[test]
fn eight_processes_pull_an_image_and_every_layer_is_fetched_once() {
    for form in ["loment.form=dir", "loment.form=erofs"] {
        let world = world();
        let registry = registry(&world);
        let name = registry.name("many:1");
        let pulls: Vec<_> =
            (0..8).map(|_| start(&world, &["--storage-opt", form, "pull", "--quiet", &name])).collect();
        for pull in pulls {
            assert_eq!(end(pull), (Some(0), String::new()));
        }
        let manifest = registry.manifest("many", "1");
        let layers = manifest["layers"].as_array().unwrap();
        for layer in layers {
            assert_eq!(registry.gets(layer["digest"].as_str().unwrap()), 1, "{layer}");
        }
        assert_eq!(std::fs::read_dir(world.root().join("layers")).unwrap().count(), layers.len());
        is_whole(&world);
        assert_eq!(world.leftovers(), [""; 0]);
    }
}

#[test]
fn a_removal_takes_nothing_from_a_pull() {
    let world = world();
    let registry = registry(&world);
    let name = registry.name("many:1");
    for _ in 0..15 {
        let mut pull = start(&world, &["pull", "--quiet", &name]);
        while pull.try_wait().unwrap().is_none() {
            let (code, complaint) = end(start(&world, &["rmi", "--all", "--force"]));
            assert_eq!((code, complaint.as_str()), (Some(0), ""));
        }
        assert_eq!(end(pull), (Some(0), String::new()));
        is_whole(&world);
    }
    world.loment(["rmi", "--all"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_prune_takes_nothing_from_a_container_that_starts() {
    let (world, image) = world_with("busybox:latest");
    // Served again: the image comes back when it has been pruned.
    let registry = fixtures().serve();
    let again = registry.name("busybox:latest");
    world.loment(["tag", &image, &again]).succeeds();
    for _ in 0..15 {
        let run = ["run", "--rm", "--quiet", "--network", "none", &again, "true"];
        let mut runs: Vec<_> = (0..2).map(|_| start(&world, &run)).collect();
        while runs.iter_mut().any(|run| run.try_wait().unwrap().is_none()) {
            let (code, complaint) = end(start(&world, &["image", "prune", "--all", "--force"]));
            assert_eq!((code, complaint.as_str()), (Some(0), ""));
        }
        for run in runs {
            assert_eq!(end(run), (Some(0), String::new()));
        }
        is_whole(&world);
    }
    world.loment(["image", "prune", "--all", "--force"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}
