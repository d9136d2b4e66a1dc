//! Pushes, copies and pulls over ways that break.

use std::process::{Command, Stdio};

use loment_testkit::{Fault, FaultyWay, OciRegistry, Patience, Referrers, Registry, SlowWay, World, run};

use crate::ecosystem::configure;
use crate::slow::{RATE, large};
use crate::{eventually, fixtures, world};

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
fn what_is_small_is_sent_as_a_whole() {
    let (world, from, to) = (world(), fixtures().serve(), Registry::empty());
    let image = from.name("busybox:latest");
    world.loment(["pull", "-q", &image]).succeeds();
    let count = |way: &FaultyWay, method: &str| {
        way.requests().iter().filter(|request| request.split(' ').next() == Some(method)).count()
    };
    let layers = from.manifest("busybox", "latest")["layers"].as_array().unwrap().len();
    let way = FaultyWay::to(&to.host(), "", Fault::Busy, 0);
    world.loment(["push", "-q", &image, &way.name("pushed:1")]).succeeds();
    // Each blob is begun and ended; the configuration comes with its end. The manifest is put, too.
    let counts = ["POST", "PATCH", "PUT"].map(|method| count(&way, method));
    assert_eq!(counts, [layers + 1, layers, layers + 2], "{:?}", way.requests());
    let way = FaultyWay::to(&to.host(), "", Fault::Busy, 0);
    let target = format!("docker://{}", way.name("copied:1"));
    world.loment(["image", "copy", "-q", &format!("docker://{image}"), &target]).succeeds();
    assert_eq!(count(&way, "PATCH"), layers, "{:?}", way.requests());
    for name in ["pushed:1", "copied:1"] {
        is_whole(&world, &to, name);
    }
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
    // All in one; then in parts, from the start.
    let patches = patches(&way);
    assert!(patches[0] == "PATCH" && patches[1].starts_with("PATCH 0-"), "{patches:?}");
    is_whole(&world, &to, "team/large:1");
    let tagged = to.name("team/large:1");
    world.loment(["pull", "-q", "--tls-verify=false", &tagged]).succeeds();
    assert_eq!(world.inspect("{{.Id}}", &tagged), world.inspect("{{.Id}}", &from.name("large:1")));
}

#[test]
fn a_push_over_a_way_that_breaks_again_and_again_ends_well() {
    let world = world();
    let from = large(&world, 12 << 20);
    let image = from.name("large:1");
    world.loment(["pull", "-q", "--tls-verify=false", &image]).succeeds();
    let push = ["push", "-q", "--retry", "0", "--tls-verify=false", "--compression-format", "none", &image];
    // Debian's loses all of a layer each time: more often than there are tries.
    let to = Registry::empty();
    let way = FaultyWay::breaking(&to.host(), 8 << 20, 7);
    world.loment([&push[..], &[&way.name("often:1")]].concat()).succeeds();
    assert_eq!(way.breaks_left(), 0);
    is_whole(&world, &to, "often:1");
    // No connection lasts.
    let to = Registry::empty();
    let way = FaultyWay::to(&to.host(), "PATCH", Fault::Cut(3 << 20), usize::MAX);
    world.loment([&push[..], &[&way.name("short:1")]].concat()).succeeds();
    is_whole(&world, &to, "short:1");
    // One that keeps what it got.
    let to = OciRegistry::start(Referrers::Kept);
    let way = FaultyWay::breaking(&to.host(), 3 << 20, usize::MAX);
    world.loment([&push[..], &[&way.name("kept:1")]].concat()).succeeds();
    world.loment(["pull", "-q", "--tls-verify=false", &format!("{}/kept:1", to.host())]).succeeds();
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
fn a_copy_that_goes_on_does_not_read_all_of_it_again() {
    let world = world();
    let (from, to) = (large(&world, SIZE), OciRegistry::start(Referrers::Kept));
    let source = FaultyWay::ending(&from.host(), u64::MAX);
    // The configuration may come first, which is not cut.
    let way = FaultyWay::to(&to.host(), "PATCH", Fault::Cut(12 << 20), 2);
    let [source_name, target] = [&source, &way].map(|way| format!("docker://{}", way.name("large:1")));
    world.loment(["image", "copy", "-q", &source_name, &target]).succeeds();
    let start = |request: &String| request.strip_prefix("GET ")?.split('-').next()?.parse::<u64>().ok();
    let starts: Vec<u64> = source.requests().iter().filter_map(start).collect();
    assert!(!starts.is_empty() && starts.iter().all(|start| *start >= 8 << 20), "{starts:?}");
    world.loment(["pull", "-q", "--tls-verify=false", &format!("{}/large:1", to.host())]).succeeds();
    world.loment(["system", "check"]).succeeds();
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

#[test]
fn a_beginning_stays_while_the_rest_cannot_be_had() {
    let world = world();
    let full = large(&world, 40 << 20);
    let slow = SlowWay::to(&full, RATE, true);
    let pull = |name: &str| ["pull", "-q", "--retry", "0", "--tls-verify=false", name].map(str::to_owned);
    let mut first = world.command(pull(&slow.name("large:1")));
    let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("half of it has come", || slow.delivered() > 20 << 20);
    first.kill().unwrap();
    first.wait().unwrap();
    let kept = || -> u64 {
        let entries = std::fs::read_dir(world.root().join("partial")).unwrap();
        entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    };
    let before = kept();
    assert!(before > 8 << 20, "{before}");
    // One that gives the manifest and the configuration, and nothing after that.
    let whole = FaultyWay::ending(&full.host(), u64::MAX);
    let manifest = format!("docker://{}", whole.name("large:1"));
    world.loment(["image", "inspect", "--raw", "--tls-verify=false", &manifest]).succeeds();
    let way = FaultyWay::ending(&full.host(), whole.delivered() + 1);
    let failed = world.loment(pull(&way.name("large:1")));
    assert_eq!(failed.code, 125, "{failed}");
    assert!(
        way.requests().iter().any(|request| request.starts_with("GET 1") || request.starts_with("GET 2")),
        "{:?}",
        way.requests()
    );
    assert_eq!(kept(), before);
    let fast = FaultyWay::ending(&full.host(), u64::MAX);
    world.loment(pull(&fast.name("large:1"))).succeeds();
    assert!(fast.delivered() < (40 << 20) - before + (1 << 20), "{}", fast.delivered());
}

#[test]
fn a_mount_that_fails_is_an_upload() {
    let world = world();
    let (full, to) = (large(&world, SIZE), Registry::empty());
    let (image, base) = (full.name("large:1"), to.name("one:1"));
    world.loment(["pull", "-q", "--tls-verify=false", &image]).succeeds();
    // As often as one request is tried.
    let way = FaultyWay::to(&to.host(), "POST", Fault::Busy, 0);
    for name in [&base, &way.name("one:1")] {
        world.loment(["push", "-q", "--tls-verify=false", &image, name]).succeeds();
    }
    let busy = FaultyWay::to(&to.host(), "POST", Fault::Busy, 5);
    let known = busy.name("one:1");
    world.loment(["pull", "-q", "--tls-verify=false", &known]).succeeds();
    let push = ["push", "-q", "--retry", "0", "--tls-verify=false", &known, &busy.name("two:1")];
    world.loment(push).succeeds();
    is_whole(&world, &to, "two:1");
}

#[test]
fn a_pull_is_tried_again_with_mirrors_too() {
    let world = world();
    let full = large(&world, 1 << 20);
    let behind = FaultyWay::to(&full.host(), "GET", Fault::Busy, 8);
    let conf = format!(
        "[[registry]]\nprefix = \"images.test\"\nlocation = {:?}\n[[registry.mirror]]\nlocation = \"127.0.0.1:1\"\n",
        behind.host(),
    );
    configure(&world, "registries.conf", &conf);
    let pull = ["pull", "-q", "--retry", "3", "--retry-delay", "10ms", "images.test/large:1"];
    world.loment(pull).succeeds();
}

#[test]
fn a_mirror_with_other_bytes_is_not_the_last_word() {
    let world = world();
    let full = large(&world, SIZE);
    let layer = full.manifest("large", "1")["layers"][0]["digest"].as_str().unwrap().to_owned();
    let damaged = Registry::serve_copy(full.storage());
    let mut bytes = std::fs::read(damaged.blob_file(&layer)).unwrap();
    let middle = bytes.len() * 3 / 4;
    bytes[middle] ^= 1;
    std::fs::write(damaged.blob_file(&layer), bytes).unwrap();
    // One after the other delivers a part of it; and one alone delivers all of it.
    for first in [Some(10 << 20), None] {
        let dying = first.map(|after| FaultyWay::ending(&full.host(), after));
        let mirrors = dying.iter().map(FaultyWay::host).chain([damaged.host()]);
        let mirrors: String =
            mirrors.map(|host| format!("[[registry.mirror]]\nlocation = {host:?}\n")).collect();
        let conf =
            |last: &str| format!("[[registry]]\nprefix = \"images.test\"\nlocation = {last:?}\n{mirrors}");
        configure(&world, "registries.conf", &conf(&full.host()));
        world.loment(["pull", "-q", "--retry", "0", "images.test/large:1"]).succeeds();
        world.loment(["system", "check"]).succeeds();
        let copy = format!("oci:{}:x", world.path("copied").display());
        world.loment(["image", "copy", "-q", "docker://images.test/large:1", &copy]).succeeds();
        world.loment(["rmi", "--all"]).succeeds();
        // Nobody has the right ones any more.
        if first.is_none() {
            configure(&world, "registries.conf", &conf(&damaged.host()));
            let failed = world.loment(["pull", "-q", "--retry", "0", "images.test/large:1"]);
            failed.fails_saying(125, &[&layer[..20]]);
            assert_eq!(world.loment(["images", "--quiet"]).succeeds(), "");
        }
    }
}
