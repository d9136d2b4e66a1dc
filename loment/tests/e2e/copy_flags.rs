//! Flags of skopeo's `copy` and `sync` that say how something is copied, with the real skopeo beside.

use std::fs;
use std::process::Command;

use loment_testkit::{
    Compression, Config, Entry, Image, Layer, Layout, Output, Patience, Registry, SlowWay, Variant, World,
    run,
};
use serde_json::Value;

use crate::pull_flags::moody;
use crate::{fixtures, world};

#[track_caller]
fn skopeo(arguments: &[&str]) -> String {
    let mut skopeo = Command::new("/usr/bin/skopeo");
    run(skopeo.arg("--insecure-policy").args(arguments), Patience::NORMAL).succeeds().to_owned()
}

fn path(world: &World, name: &str) -> String {
    world.path(name).display().to_string()
}

/// The names that a docker-archive's only image has.
#[track_caller]
fn repo_tags(file: &str) -> Value {
    let mut tar = Command::new("tar");
    let manifest = run(tar.args(["-xOf", file, "manifest.json"]), Patience::NORMAL);
    let manifest: Value = serde_json::from_str(manifest.succeeds()).unwrap();
    manifest[0]["RepoTags"].clone()
}

#[test]
fn an_image_gets_further_names_in_a_docker_archive() {
    let (world, registry) = (world(), fixtures().serve());
    let image = format!("docker://{}", registry.name("busybox:latest"));
    let (ours, theirs) = (path(&world, "ours.tar"), path(&world, "theirs.tar"));
    let tags = ["--additional-tag", "a:1,localhost/b:2", "--additional-tag=c:latest"];
    let head = ["copy", "--quiet", "--src-tls-verify=false"];
    let to = |file: &str| format!("docker-archive:{file}:app:1");
    world.named("skopeo", [&head[..], &tags, &[&image, &to(&ours)]].concat()).succeeds();
    skopeo(&[&head[..], &tags, &[&image, &to(&theirs)]].concat());
    let all =
        ["docker.io/library/app:1", "docker.io/library/a:1", "localhost/b:2", "docker.io/library/c:latest"];
    assert_eq!(repo_tags(&ours), Value::from(all.to_vec()));
    // Its order is another one each time.
    for tag in all {
        assert!(repo_tags(&theirs).as_array().unwrap().contains(&tag.into()), "{tag}");
    }
    // From the store, too; and no other place has several names.
    let archive = format!("docker-archive:{ours}");
    world.loment(["pull", "--quiet", &archive]).succeeds();
    let again = path(&world, "again.tar");
    let copy = ["image", "copy", "-q", "--additional-tag", "x:1", "containers-storage:app:1", &to(&again)];
    world.loment(copy).succeeds();
    assert_eq!(repo_tags(&again), Value::from(vec!["docker.io/library/app:1", "docker.io/library/x:1"]));
    let dir = format!("dir:{}", path(&world, "dir"));
    let copy = |tag: &str, to: &str| world.loment(["image", "copy", "--additional-tag", tag, &archive, to]);
    copy("x:1", &dir).fails_saying(125, &["\"x:1\"", "only docker-archive: has"]);
    let digest = format!("x@sha256:{}", "1".repeat(64));
    let bad = path(&world, "bad.tar");
    copy(&digest, &to(&bad)).fails_saying(125, &["tags only, no digests"]);
    assert!(!fs::exists(world.path("dir")).unwrap() && !fs::exists(&bad).unwrap());
}

/// Media types and digests of the layers of a layout's only image.
#[track_caller]
fn layers(layout: &str) -> Vec<(String, String)> {
    let manifest: Value =
        serde_json::from_str(&skopeo(&["inspect", "--raw", &format!("oci:{layout}")])).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers.map(|layer| (text(&layer["mediaType"]), text(&layer["digest"]))).collect()
}

#[test]
fn layers_that_are_not_compressed_stay_so_in_a_layout_that_accepts_them() {
    let (world, registry) = (world(), fixtures().serve());
    let image = registry.name("app:latest");
    world.loment(["pull", "--quiet", &image]).succeeds();
    let archive = format!("docker-archive:{}", path(&world, "app.tar"));
    let stored = format!("containers-storage:{image}");
    world.loment(["image", "copy", "-q", &stored, &archive]).succeeds();
    let accept = "--dest-oci-accept-uncompressed-layers";
    let theirs = path(&world, "theirs");
    skopeo(&["copy", "--quiet", accept, &archive, &format!("oci:{theirs}")]);
    for (at, from) in [&archive, &stored].into_iter().enumerate() {
        let (plain, gzip) = (path(&world, &format!("plain{at}")), path(&world, &format!("gzip{at}")));
        world.loment(["image", "copy", "-q", accept, from, &format!("oci:{plain}")]).succeeds();
        // skopeo calls them gzip, which they are not.
        let digests = |layout| layers(layout).into_iter().map(|(_, digest)| digest).collect::<Vec<_>>();
        assert_eq!(digests(&plain), digests(&theirs), "{from}");
        assert!(layers(&plain).iter().all(|(kind, _)| kind.ends_with(".tar")), "{from}");
        world.loment(["image", "copy", "-q", from, &format!("oci:{gzip}")]).succeeds();
        assert!(layers(&gzip).iter().all(|(kind, _)| kind.ends_with("+gzip")), "{from}");
    }
}

/// How many layers were sent, and how many were there.
#[track_caller]
fn sent_and_there(copied: &Output) -> (usize, usize) {
    copied.succeeds();
    let blobs = copied.stderr.lines().filter(|line| line.starts_with("Copying blob "));
    let (there, sent): (Vec<_>, Vec<_>) = blobs.partition(|line| line.ends_with("already exists"));
    (sent.len(), there.len())
}

#[test]
fn layers_that_a_registry_has_are_not_sent_when_their_digests_are_computed_before() {
    let (world, from, to) = (world(), fixtures().serve(), Registry::empty());
    let image = from.name("app:latest");
    let (remote, there) = (format!("docker://{image}"), format!("docker://{}", to.name("app:1")));
    let copy = |world: &World, flags: &[&str], source: &str| {
        let zstd = ["image", "copy", "--dest-compress-format", "zstd"];
        sent_and_there(&world.loment([&zstd, flags, &[source, &there]].concat()))
    };
    let first = ["--dest-precompute-digests"];
    let (sent, 0 | 1) = copy(&world, &first, &remote) else { panic!("nothing was there") };
    assert!(sent > 1);
    let digest = to.digest_of("app", "1");
    let (0, _) = copy(&world, &first, &remote) else { panic!("all is there") };
    assert_eq!(to.digest_of("app", "1"), digest);
    // Without it they are compressed on the way.
    assert!(copy(&world, &[], &remote).0 > 1);
    // Another store does not know what its layers become, either.
    let other = crate::world();
    other.loment(["pull", "--quiet", &image]).succeeds();
    let stored = format!("containers-storage:{image}");
    let (0, _) = copy(&other, &first, &stored) else { panic!("all is there") };
}

#[test]
fn as_many_layers_as_one_likes_are_copied_at_once() {
    let (world, registry) = (world(), Registry::empty());
    let mut layout = Layout::create(&world.path("layout"));
    let layers = (0..8).map(|n| Layer::of([Entry::file(&format!("f{n}"), vec![n; 256 << 10])]).into());
    layout.add("many", &Image::new(Config::shell(), layers), Compression::None);
    layout.push("many", &registry.name("many:1"), Variant::AsIs);
    let connections = |count: &str| {
        let way = SlowWay::to(&registry, 2 << 20, true);
        let (from, to) = (format!("docker://{}", way.name("many:1")), path(&world, &format!("dir{count}")));
        let copy = ["image", "copy", "-q", "--src-tls-verify=false", "--image-parallel-copies", count];
        world.loment([&copy[..], &[&from, &format!("dir:{to}")]].concat()).succeeds();
        way.connections()
    };
    let (one, eight) = (connections("1"), connections("8"));
    assert!(one < eight, "{one} with one at a time, {eight} with eight");
    connections("0");
}

#[test]
fn the_wait_before_another_try_can_be_said() {
    let (world, registry) = (world(), fixtures().serve());
    let port = registry.host().rsplit_once(':').unwrap().1.to_owned();
    let dir = |name: &str| format!("dir:{}", path(&world, name));
    let image = |refused| format!("docker://{}/busybox:latest", moody(&port, refused));
    // With waits that grow this would be a matter of hours.
    let again = ["--retry-times", "40", "--retry-delay", "10ms"];
    world.loment([&["image", "copy", "-q"], &again[..], &[&image(40), &dir("copied")]].concat()).succeeds();
    world.loment([&["image", "inspect", "--raw"], &again[..], &[&image(40)]].concat()).succeeds();
    let sync = ["image", "sync", "--src", "docker", "--dest", "dir"];
    let from = format!("{}/busybox:latest", moody(&port, 40));
    world.loment([&sync, &again[..], &[&from, &path(&world, "synced")]].concat()).succeeds();
    world.loment(["image", "copy", "--retry-delay", "soon", "dir:a", "dir:b"]).fails(125);
}

#[test]
fn the_digest_of_each_image_that_was_synced_is_written_down() {
    let (world, registry) = (world(), fixtures().serve());
    let (all, file) = (path(&world, "all"), path(&world, "digests"));
    let sync = ["image", "sync", "--src", "docker", "--dest", "dir", "--digestfile", &file];
    let from = registry.name("busybox");
    world.loment([&sync[..], &["--dry-run", &from, &all]].concat()).succeeds();
    assert!(!fs::exists(&file).unwrap());
    world.loment([&sync[..], &[&from, &all]].concat()).succeeds();
    let text = fs::read_to_string(&file).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable_by_key(|line| line.rsplit(':').next());
    let line = |tag| format!("{} dir:{all}/busybox:{tag}", registry.digest_of("busybox", tag));
    assert_eq!(lines, ["docker", "latest", "plain", "zstd"].map(line));
}
