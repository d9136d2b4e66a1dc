//! Pushes, copies and pulls over ways that break.

use std::process::Command;

use loment_testkit::{Fault, FaultyWay, OciRegistry, Patience, Referrers, Registry, World, run};

use crate::ecosystem::configure;
use crate::slow::large;
use crate::world;

const SIZE: usize = 24 << 20;

/// The image there is whole, as skopeo sees it, which verifies every digest.
#[track_caller]
fn is_whole(world: &World, registry: &Registry, name: &str) {
    let dir = format!("dir:{}", world.path(&name.replace(['/', ':'], "-")).display());
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["--insecure-policy", "copy", "--src-tls-verify=false"]);
    run(skopeo.arg(format!("docker://{}", registry.name(name))).arg(dir), Patience::NORMAL).succeeds();
}

fn patches(way: &FaultyWay) -> Vec<String> {
    way.requests().into_iter().filter(|request| request.starts_with("PATCH")).collect()
}

#[test]
fn a_push_that_breaks_off_is_gone_on_with() {
    let (world, to) = (world(), Registry::empty());
    let from = large(&world, SIZE);
    world.loment(["pull", "-q", "--tls-verify=false", &from.name("large:1")]).succeeds();
    // In the middle of its one layer, twice. That registry forgets what was interrupted.
    let way = FaultyWay::to(&to.host(), "PATCH", Fault::Cut(12 << 20), 2);
    let push = ["push", "-q", "--retry", "0", "--tls-verify=false", &from.name("large:1")];
    world.loment([&push[..], &[&way.name("team/large:1")]].concat()).succeeds();
    assert_eq!(patches(&way), ["PATCH"; 4]);
    is_whole(&world, &to, "team/large:1");
    let tagged = to.name("team/large:1");
    world.loment(["pull", "-q", "--tls-verify=false", &tagged]).succeeds();
    assert_eq!(world.inspect("{{.Id}}", &tagged), world.inspect("{{.Id}}", &from.name("large:1")));
}

#[test]
fn a_push_goes_on_where_the_registry_stands() {
    let (world, to) = (world(), OciRegistry::start(Referrers::Kept));
    let from = large(&world, SIZE);
    let image = from.name("large:1");
    world.loment(["pull", "-q", "--tls-verify=false", &image]).succeeds();
    for (name, compression) in [("gzip", "gzip"), ("plain", "none")] {
        let way = FaultyWay::to(&to.host(), "PATCH", Fault::Cut(12 << 20), 1);
        let target = way.name(&format!("{name}:1"));
        let push = ["push", "-q", "--retry", "0", "--tls-verify=false", "--compression-format", compression];
        world.loment([&push[..], &[&image, &target]].concat()).succeeds();
        let patches = patches(&way);
        let first = patches[1].strip_prefix("PATCH ").and_then(|range| range.split('-').next()?.parse().ok());
        assert!(first.is_some_and(|first: u64| first > 8 << 20), "{patches:?}");
        // The digest is of all of it.
        world.loment(["rmi", "--all"]).succeeds();
        world.loment(["pull", "-q", "--tls-verify=false", &target]).succeeds();
        world.loment(["tag", &target, &image]).succeeds();
    }
}

#[test]
fn a_registry_that_is_busy_is_pushed_to_later() {
    let (world, to) = (world(), Registry::empty());
    let from = large(&world, SIZE);
    let image = from.name("large:1");
    world.loment(["pull", "-q", "--tls-verify=false", &image]).succeeds();
    let way = FaultyWay::to(&to.host(), "PATCH", Fault::Busy, 2);
    let push = ["push", "-q", "--retry", "0", "--tls-verify=false", &image];
    world.loment([&push[..], &[&way.name("busy:1")]].concat()).succeeds();
    is_whole(&world, &to, "busy:1");
    // Not for ever.
    let empty = Registry::empty();
    let way = FaultyWay::to(&empty.host(), "PATCH", Fault::Busy, usize::MAX);
    let failed = world.loment([&push[..], &[&way.name("busy:1")]].concat());
    failed.fails_saying(125, &["answered 503"]);
    let failed = patches(&way);
    assert!((2..20).contains(&failed.len()), "{failed:?}");
}

#[test]
fn a_copy_that_breaks_off_goes_on() {
    let world = world();
    let from = large(&world, SIZE);
    let image = from.name("large:1");
    let archive = format!("docker-archive:{}", world.path("large.tar").display());
    world.loment(["image", "copy", "-q", &format!("docker://{image}"), &archive]).succeeds();
    for (source, flags) in [
        (format!("docker://{image}"), &[][..]),
        (format!("docker://{image}"), &["--dest-compress-format", "zstd", "--dest-compress"]),
        (archive, &[]),
    ] {
        for fault in [Fault::Cut(12 << 20), Fault::Busy] {
            let to = Registry::empty();
            let way = FaultyWay::to(&to.host(), "PATCH", fault, 2);
            let target = format!("docker://{}", way.name("copied:1"));
            let copy = [&["image", "copy", "-q"], flags, &[&source, &target]].concat();
            world.loment(copy).succeeds();
            assert!(patches(&way).len() > 2, "{:?}", way.requests());
            is_whole(&world, &to, "copied:1");
            std::fs::remove_dir_all(world.path("copied-1")).expect("skopeo made a directory");
        }
    }
}

#[test]
fn a_layer_goes_on_from_the_next_place_when_a_mirror_dies_in_the_middle() {
    let world = world();
    // In one stream; and where every connection is slow, in parts.
    let full = large(&world, SIZE);
    let mirror = FaultyWay::ending(&full.host(), 10 << 20);
    let behind = FaultyWay::to(&full.host(), "", Fault::Busy, 0);
    let conf = format!(
        "[[registry]]\nprefix = \"images.test\"\nlocation = {:?}\n[[registry.mirror]]\nlocation = {:?}\n",
        behind.host(),
        mirror.host()
    );
    configure(&world, "registries.conf", &conf);
    world.loment(["pull", "-q", "images.test/large:1"]).succeeds();
    assert!(mirror.has_ended());
    // What had come is not asked for again.
    assert!(behind.delivered() < 16 << 20, "{}", behind.delivered());
    world.loment(["system", "check"]).succeeds();
}

#[test]
fn parts_of_a_layer_go_on_from_the_next_place_when_a_mirror_dies() {
    let world = world();
    let full = large(&world, 64 << 20);
    let mirror = FaultyWay::slow(&full.host(), 12 << 20, 30 << 20);
    let conf = format!(
        "[[registry]]\nprefix = \"images.test\"\nlocation = {:?}\n[[registry.mirror]]\nlocation = {:?}\n",
        full.host(),
        mirror.host()
    );
    configure(&world, "registries.conf", &conf);
    world.loment(["pull", "-q", "images.test/large:1"]).succeeds();
    assert!(mirror.has_ended());
    let asked = mirror.requests();
    assert!(asked.iter().any(|request| request.starts_with("GET 1")), "no parts: {asked:?}");
    world.loment(["system", "check"]).succeeds();
}
