//! Indexes with all their images, with gzip and with zstd: skopeo, Podman and Buildah know them in every place but docker-archive:,
//! where nobody has them.

use loment_testkit::{Compression, Config, Entry, Image, Layer, Layout, Registry, World};

use super::{Program, forget, path, raw, theirs};
use crate::world;

const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

/// Where an index may be, and what has a name there.
const TRANSPORTS: [&str; 4] = ["docker", "dir", "oci", "oci-archive"];

fn place(transport: &str, registry: &Registry, file: &str) -> String {
    match transport {
        "docker" => format!("docker://{}", registry.name(&format!("{file}:1"))),
        // Relative: Podman and Buildah make names of paths, and those must be lower case.
        "dir" => format!("dir:{file}-{transport}"),
        _ => format!("{transport}:{file}-{transport}:localhost/app:1"),
    }
}

/// An index with plain layers, and in two other places the same with gzip and zstd.
fn sources(world: &World) -> Vec<(&'static str, String)> {
    let image = |architecture: &str| {
        let layer = Layer::of([Entry::file("architecture", architecture)]);
        Image::new(Config::shell(), [layer.into()]).on("linux", architecture)
    };
    let mut layout = Layout::create(&world.path("layout"));
    layout.add_index("x", &ARCHITECTURES.map(image), Compression::None, false);
    let from = format!("oci:{}:x", layout.dir().display());
    let compressed = |compression: &'static str| {
        let to = format!("dir:{}", path(world, compression));
        let flags = ["--all", "--dest-compress-format", compression];
        world.loment([&["image", "copy", "--quiet"], &flags[..], &[&from, &to]].concat()).succeeds();
        (compression, to)
    };
    ["gzip", "zstd"].map(compressed).into()
}

/// The ids of an index's images, as we pull them.
#[track_caller]
fn ids(world: &World, place: &str) -> Vec<String> {
    let pull = |architecture: &str| {
        let platform = format!("linux/{architecture}");
        let pulled = world.loment(["pull", "--quiet", "--platform", &platform, place]);
        pulled.succeeds().to_owned()
    };
    let ids = ARCHITECTURES.iter().map(|architecture| pull(architecture)).collect();
    forget(world);
    ids
}

/// What a copy of ours to a directory has for its manifest.
#[track_caller]
fn copied(world: &World, place: &str, to: &str) -> String {
    let to = format!("dir:{}", path(world, to));
    world.loment(["image", "copy", "--quiet", "--all", place, &to]).succeeds();
    raw(world, &[], &to)
}

fn indexes(program: Program) {
    let world = world();
    let run = |arguments: &[&str]| theirs(&world, program, arguments);
    for (compression, from) in sources(&world) {
        let registry = Registry::empty();
        let (index, known) = (raw(&world, &[], &from), ids(&world, &from));
        assert!(index.contains("vnd.oci.image.index.v1+json") && known[0] != known[1], "{index}");
        for transport in TRANSPORTS {
            let what = format!("{transport}-{compression}");
            let (our_place, their_place) = (
                place(transport, &registry, &format!("ours-{compression}")),
                place(transport, &registry, &format!("theirs-{compression}")),
            );
            world.loment(["image", "copy", "--quiet", "--all", &from, &our_place]).succeeds();
            assert_eq!(raw(&world, &[], &our_place), index, "{what}");
            match program {
                Program::Skopeo => {
                    let read = format!("dir:{}", path(&world, &format!("read-{what}")));
                    let tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
                    let copy = [&["copy", "--quiet", "--all"], &tls[..]].concat();
                    run(&[&copy[..], &[&our_place, &read]].concat()).succeeds();
                    assert_eq!(raw(&world, &[], &read), index, "{what}");
                    run(&[&copy[..], &[&read, &their_place]].concat()).succeeds();
                    assert_eq!(raw(&world, &[], &their_place), index, "{what}");
                }
                Program::Podman | Program::Buildah => {
                    let pulled = run(&["pull", "--quiet", "--tls-verify=false", &our_place]);
                    assert_eq!(pulled.succeeds().trim_start_matches("sha256:"), known[0], "{what}: {pulled}");
                    let list = format!("localhost/list-{what}");
                    run(&["manifest", "create", &list]).succeeds();
                    run(&["manifest", "add", "--all", "--tls-verify=false", &list, &our_place]).succeeds();
                    let push = ["manifest", "push", "--all", "--tls-verify=false", &list, &their_place];
                    run(&push).succeeds();
                    run(&["manifest", "rm", &list]).succeeds();
                    run(&["rmi", "--all", "--force"]).succeeds();
                }
            }
            assert_eq!(ids(&world, &our_place), known, "{what}");
            assert_eq!(ids(&world, &their_place), known, "{what}");
            let again = copied(&world, &their_place, &format!("again-{what}"));
            assert_eq!(again, raw(&world, &[], &their_place), "{what}");
        }
        // There is one image only in each of these.
        let archive = "docker-archive:many.tar:localhost/app:1";
        let refused = world.loment(["image", "copy", "--quiet", "--all", &from, archive]);
        assert_eq!(refused.code, 125, "{refused}");
        if program == Program::Skopeo {
            run(&["copy", "--quiet", "--all", &from, archive]).fails(1);
        }
    }
}

#[test]
fn skopeo_and_we_read_indexes_of_the_other() {
    indexes(Program::Skopeo);
}

#[test]
fn podman_and_we_read_indexes_of_the_other() {
    indexes(Program::Podman);
}

#[test]
fn buildah_and_we_read_indexes_of_the_other() {
    indexes(Program::Buildah);
}
