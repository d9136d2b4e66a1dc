//! Pulls over slow connections.

use std::process::Stdio;

use loment_testkit::{Compression, Config, Entry, Image, Layer, Layout, Registry, SlowWay, Variant, World};

use crate::{eventually, world};

pub(crate) const RATE: u64 = 12 << 20;

/// So many bytes that do not compress.
pub(crate) fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut noise = Vec::with_capacity(size);
    while noise.len() < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        noise.extend_from_slice(&(state >> 16).to_le_bytes()[..4]);
    }
    noise
}

/// A registry with an image whose one layer is that large, and does not compress.
pub(crate) fn large(world: &World, size: usize) -> Registry {
    let layer = Layer::of([Entry::file("noise", noise(size))]);
    let mut layout = Layout::create(&world.path("layout"));
    layout.add("large", &Image::new(Config::shell(), [layer.into()]), Compression::None);
    let registry = Registry::empty();
    layout.push("large", &registry.name("large:1"), Variant::AsIs);
    registry
}

#[test]
fn a_large_layer_over_a_slow_connection_is_fetched_in_parts() {
    let world = world();
    let registry = large(&world, 64 << 20);
    let way = SlowWay::to(&registry, RATE, true);
    world.loment(["pull", "-q", "--tls-verify=false", &way.name("large:1")]).succeeds();
    world.loment(["system", "check"]).succeeds();
    let mut parts = way.ranges();
    assert!(parts.len() > 5 && parts.iter().all(|part| !part.ends_with('-')), "{parts:?}");
    parts.sort();
    parts.dedup();
    assert_eq!(parts.len(), way.ranges().len(), "nothing is fetched twice");
    // A smaller one is not divided, however slow it is.
    let small = large(&world, 24 << 20);
    let way = SlowWay::to(&small, RATE, true);
    world.loment(["pull", "-q", "--tls-verify=false", &way.name("large:1")]).succeeds();
    assert_eq!(way.ranges(), [""; 0]);
}

#[test]
fn a_registry_that_knows_no_parts_delivers_all() {
    let world = world();
    let registry = large(&world, 48 << 20);
    let way = SlowWay::to(&registry, RATE, false);
    world.loment(["pull", "-q", "--tls-verify=false", &way.name("large:1")]).succeeds();
    assert_eq!(way.ranges().len(), 1, "it is asked once");
    world.loment(["system", "check"]).succeeds();
}

#[test]
fn a_pull_that_was_killed_goes_on_where_it_was() {
    let world = world();
    let registry = large(&world, 40 << 20);
    let way = SlowWay::to(&registry, RATE, true);
    let arguments = ["pull", "-q", "--tls-verify=false", &way.name("large:1")];
    let mut first = world.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("half of it has come", || way.delivered() > 20 << 20);
    first.kill().unwrap();
    first.wait().unwrap();
    let (before, asked) = (way.delivered(), way.ranges().len());
    world.loment(arguments).succeeds();
    let more = way.delivered() - before;
    // Parts on their way are lost, and it takes some time to be killed.
    assert!(more < 30 << 20, "{more} bytes came again");
    assert!(way.ranges()[asked].ends_with(&format!("-{}", last_byte(&way))), "{:?}", way.ranges());
    world.loment(["system", "check"]).succeeds();
    assert_eq!(std::fs::read_dir(world.root().join("partial")).unwrap().count(), 0);
}

/// The last byte of the part that ends last.
fn last_byte(way: &SlowWay) -> u64 {
    let ends = way.ranges();
    ends.iter().filter_map(|range| range.split_once('-')?.1.parse().ok()).max().unwrap()
}

#[test]
fn a_beginning_that_is_none_is_thrown_away() {
    let world = world();
    let registry = large(&world, 24 << 20);
    let way = SlowWay::to(&registry, RATE, true);
    let arguments = ["pull", "-q", "--tls-verify=false", &way.name("large:1")];
    let mut first = world.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("some of it has come", || way.delivered() > 12 << 20);
    first.kill().unwrap();
    first.wait().unwrap();
    // As a power cut leaves it.
    let kept = std::fs::read_dir(world.root().join("partial")).unwrap().next().unwrap().unwrap().path();
    let length = std::fs::metadata(&kept).unwrap().len();
    assert!(length > 4 << 20, "{length}");
    std::fs::write(&kept, vec![0; length as usize]).unwrap();
    world.loment(arguments).succeeds();
    world.loment(["system", "check"]).succeeds();
    assert_eq!(std::fs::read_dir(world.root().join("partial")).unwrap().count(), 0);
}

#[test]
fn a_layer_that_had_come_is_not_asked_for_again() {
    let world = world();
    let registry = large(&world, 40 << 20);
    let way = SlowWay::to(&registry, RATE, true);
    let arguments = ["pull", "-q", "--tls-verify=false", &way.name("large:1")];
    let partial = world.root().join("partial");
    let layer = registry.manifest("large", "1")["layers"][0]["digest"].as_str().unwrap().to_owned();
    // All of it, and as much of something else; and more than that.
    let whole = std::fs::read(registry.blob_file(&layer)).unwrap();
    let other = vec![0; whole.len()];
    let more = [&whole[..], b"more"].concat();
    for (bytes, again) in [(&whole, false), (&other, true), (&more, true)] {
        let mut first = world.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let before = way.delivered();
        eventually("some of it has come", || way.delivered() > before + (8 << 20));
        first.kill().unwrap();
        first.wait().unwrap();
        let kept = std::fs::read_dir(&partial).unwrap().next().unwrap().unwrap().path();
        std::fs::write(&kept, bytes).unwrap();
        let before = way.delivered();
        world.loment(arguments).succeeds();
        let came = way.delivered() - before;
        // What was on its way when the first was killed comes, too.
        assert_eq!(came > 32 << 20, again, "{came} bytes came");
        world.loment(["system", "check"]).succeeds();
        assert_eq!(std::fs::read_dir(&partial).unwrap().count(), 0);
        world.loment(["rmi", "--all"]).succeeds();
    }
}
