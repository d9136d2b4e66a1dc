//! Pulls over slow connections.

use loment_testkit::{Compression, Config, Entry, Image, Layer, Layout, Registry, SlowWay, Variant, World};

use crate::world;

const RATE: u64 = 12 << 20;

/// A registry with an image whose one layer is that large, and does not compress.
fn large(world: &World, size: usize) -> Registry {
    let mut state = 1_u64;
    let mut noise = Vec::with_capacity(size);
    while noise.len() < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        noise.extend_from_slice(&(state >> 16).to_le_bytes()[..4]);
    }
    let layer = Layer::of([Entry::file("noise", noise)]);
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
    // One that is not slow is left alone.
    let (world, quick) = (self::world(), SlowWay::to(&registry, 1 << 40, true));
    world.loment(["pull", "-q", "--tls-verify=false", &quick.name("large:1")]).succeeds();
    if !quick.ranges().is_empty() {
        eprintln!("the machine was slow: {:?}", quick.ranges());
    }
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
