//! `push --all` and `image copy --all` of what the store has: indexes with all their images.

use std::process::Command;

use loment_testkit::{Compression, Config, Entry, Image, Layer, Layout, Patience, Registry, World, run};
use serde_json::Value;

use crate::{fixtures, world};

/// `skopeo ARGUMENTS`, which must succeed; what it prints.
#[track_caller]
fn skopeo(arguments: &[&str]) -> String {
    let mut skopeo = Command::new("skopeo");
    run(skopeo.arg("--insecure-policy").args(arguments), Patience::NORMAL).succeeds().to_owned()
}

/// What skopeo finds in a place, byte by byte.
#[track_caller]
fn raw(place: &str) -> String {
    let tls: &[&str] = if place.starts_with("docker:") { &["--tls-verify=false"] } else { &[] };
    skopeo(&[&["inspect", "--raw"], tls, &[place]].concat())
}

fn platforms(index: &str) -> Vec<String> {
    let index: Value = serde_json::from_str(index).unwrap();
    let entries = index["manifests"].as_array().unwrap().iter();
    entries.map(|entry| entry["platform"]["architecture"].as_str().unwrap().to_owned()).collect()
}

/// Pulls an image for each of some architectures, the one for this machine last; their ids.
#[track_caller]
fn pull_all(world: &World, image: &str) -> Vec<String> {
    let pull = |architecture: &str| {
        let platform = format!("linux/{architecture}");
        world.loment(["pull", "--quiet", "--platform", &platform, image]).succeeds().to_owned()
    };
    ["arm64", "s390x", "amd64"].map(pull).into()
}

/// A layout with an index of three images called `localhost/app:1`.
fn index(world: &World, compression: Compression) -> String {
    let image = |architecture: &str| {
        let layer = Layer::of([Entry::file("architecture", architecture)]);
        Image::new(Config::shell(), [layer.into()]).on("linux", architecture)
    };
    let mut layout = Layout::create(&world.path("layout"));
    layout.add_index("localhost/app:1", &["arm64", "s390x", "amd64"].map(image), compression, false);
    format!("oci:{}:localhost/app:1", layout.dir().display())
}

#[test]
fn an_index_goes_out_with_all_its_images() {
    let (world, registry, other) = (world(), fixtures().serve_copy(), Registry::empty());
    let layout = index(&world, Compression::Gzip);
    let own = format!("docker://{}", registry.name("multi:oci"));
    skopeo(&["copy", "--quiet", "--all", "--dest-tls-verify=false", &layout, &own]);
    for (tag, flags) in [("oci", &[][..]), ("docker", &["--compression-format", "gzip"])] {
        let image = registry.name(&format!("multi:{tag}"));
        let ids = pull_all(&world, &image);
        // Where the layers are, nothing changes.
        let (copy, file) = (registry.name(&format!("copied:{tag}")), world.write("digest", ""));
        world.loment(["push", "--quiet", "--all", "--digestfile", &file, &image, &copy]).succeeds();
        let digest = registry.digest_of("multi", tag);
        assert_eq!(
            (registry.digest_of("copied", tag), std::fs::read_to_string(&file).unwrap()),
            (digest.clone(), digest)
        );
        assert_eq!(raw(&format!("docker://{copy}")), raw(&format!("docker://{image}")));
        // Elsewhere they are compressed anew, and the index lists what the images have become.
        let (place, name) =
            (format!("docker://{}", other.name(&format!("a:{tag}"))), other.name(&format!("a:{tag}")));
        world.loment([&["push", "--quiet", "--all"], flags, &[&image, &place]].concat()).succeeds();
        let index = raw(&place);
        assert_eq!(platforms(&index), platforms(&raw(&format!("docker://{image}"))));
        let all = format!("dir:{}", world.path(&format!("all-{tag}")).display());
        skopeo(&["copy", "--quiet", "--all", "--src-tls-verify=false", &place, &all]);
        assert_eq!(raw(&all), index);
        let again = other.name(&format!("a:again-{tag}"));
        world
            .loment([
                "image",
                "copy",
                "--quiet",
                "--all",
                &format!("containers-storage:{image}"),
                &format!("docker://{again}"),
            ])
            .succeeds();
        assert_eq!(raw(&format!("docker://{again}")), index);
        world.loment(["rmi", "--all", "--force"]).succeeds();
        assert_eq!(pull_all(&world, &name), ids);
        world.loment(["rmi", "--all", "--force"]).succeeds();
    }
}

#[test]
fn plain_layers_keep_an_index_as_it_is_everywhere() {
    let (world, registry) = (world(), Registry::empty());
    let from = index(&world, Compression::None);
    pull_all(&world, &from);
    let path = |name: &str| world.path(name).display().to_string();
    let own = "containers-storage:localhost/app:1";
    for place in [
        format!("docker://{}", registry.name("app:1")),
        format!("dir:{}", path("dir")),
        format!("oci:{}:app", path("oci")),
        format!("oci-archive:{}:app", path("archive.tar")),
    ] {
        let copy = ["image", "copy", "--quiet", "--all", "--dest-decompress", own, &place];
        world.loment(copy).succeeds();
        assert_eq!(raw(&place), raw(&from), "{place}");
    }
    // The index alone, for who has the rest.
    let place = format!("docker://{}", registry.name("app:2"));
    world.loment(["image", "copy", "--quiet", "--multi-arch", "index-only", own, &place]).succeeds();
    assert_eq!(raw(&place), raw(&from));
    // Where one image has room, and where there is no index.
    let archive = format!("docker-archive:{}:app:1", path("docker.tar"));
    world.loment(["push", "--all", "localhost/app:1", &archive]).fails(125);
    let within = ["image", "copy", "--all", own, "containers-storage:localhost/other:1"];
    world.loment(within).fails_saying(125, &["copying an index within the store"]);
    let single = format!("oci:{}:single", path("single"));
    let first = format!("dir:{}", path("first"));
    skopeo(&["copy", "--quiet", &from, &first]);
    let id = world.loment(["pull", "--quiet", &first]).succeeds().to_owned();
    world.loment(["untag", "localhost/app:1"]).succeeds();
    world.loment(["push", "--quiet", "--all", &id, &single]).succeeds();
    assert!(raw(&single).contains("image.manifest.v1+json"));
}

#[test]
fn images_that_an_index_lacks_are_named() {
    let (world, registry) = (world(), fixtures().serve_copy());
    let (image, copy) = (registry.name("multi:docker"), registry.name("copied:1"));
    let ids = pull_all(&world, &image);
    world.loment(["rmi", &ids[0]]).succeeds();
    let index: Value = serde_json::from_str(&raw(&format!("docker://{image}"))).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    let lost = entries.iter().find(|entry| entry["platform"]["architecture"] == "arm64").unwrap();
    let lost = format!("{} (linux/arm64)", lost["digest"].as_str().unwrap());
    let push = world.loment(["push", "--all", &image, &copy]);
    push.fails_saying(125, &[&image, "only 2 of 3", &lost]);
    let own = format!("containers-storage:{image}");
    let copied = world.loment(["image", "copy", "--all", &own, &format!("docker://{copy}")]);
    copied.fails_saying(125, &[&image, "only 2 of 3", &lost]);
    let tags = world.loment(["search", "--list-tags", &registry.name("copied")]);
    assert_ne!(tags.code, 0, "{tags}");
    // What builders attest is listed, too, and never pulled.
    let attested = registry.name("multi:latest");
    pull_all(&world, &attested);
    let push = world.loment(["push", "--all", &attested, &copy]);
    let command = format!("image copy --all docker://{attested} ");
    push.fails_saying(
        125,
        &["only 3 of 6", "(unknown/unknown)", "3 of these are what a builder attests", &command],
    );
    // As it says.
    let complete = registry.name("complete:1");
    let (from, to) = (format!("docker://{attested}"), format!("docker://{complete}"));
    world.loment(["image", "copy", "--quiet", "--all", &from, &to]).succeeds();
    assert_eq!(raw(&to), raw(&from));
    // Without the flag it is one image.
    world.loment(["push", "--quiet", &image, &copy]).succeeds();
}

#[test]
fn a_list_made_here_goes_out_under_its_own_name() {
    let (world, registry) = (world(), fixtures().serve_copy());
    let (image, list) = (registry.name("multi:docker"), registry.name("team/list:1"));
    let ids = pull_all(&world, &image);
    world.loment(["manifest", "create", &list]).succeeds();
    for id in &ids {
        world.loment(["manifest", "add", &list, id]).succeeds();
    }
    world.loment(["push", "--quiet", "--all", &list]).succeeds();
    let index = raw(&format!("docker://{list}"));
    assert_eq!(platforms(&index), ["arm64", "s390x", "amd64"]);
    // It is what is here, byte by byte: the registry has the layers.
    let id = world.loment(["images", "--no-trunc", "--format", "{{.Repository}} {{.ID}}"]);
    let id =
        id.succeeds().lines().find_map(|line| line.strip_prefix(&format!("{} ", registry.name("team/list"))));
    assert_eq!(id.unwrap().trim_start_matches("sha256:"), &registry.digest_of("team/list", "1")[7..]);
    // With an image that is only described, it is not all here.
    let foreign = format!("docker://{}", registry.name("app:latest"));
    world.loment(["manifest", "add", &list, &foreign]).succeeds();
    let digest = registry.digest_of("app", "latest");
    world.loment(["push", "--all", &list]).fails_saying(125, &["only 3 of 4", &digest]);
}
