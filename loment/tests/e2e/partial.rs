//! Beginnings of layers, which are kept for the next attempt: they take no room that is needed, are counted, and go.

use std::fs;
use std::process::{Command, Stdio};

use loment_testkit::{
    Compression, Config, Entry, Image, Layer, Layout, Patience, Registry, SlowWay, Variant, World, run,
};
use serde_json::Value;

use crate::bad_input::Small;
use crate::slow::{RATE, large, noise};
use crate::{eventually, world};

fn kept(world: &World) -> usize {
    fs::read_dir(world.root().join("partial")).map_or(0, Iterator::count)
}

/// Pulls into a store on a disk of that size.
fn on_small_disk(world: &World, size: &str, image: &str) {
    let small = world.path("small");
    fs::create_dir_all(&small).unwrap();
    let mounted = Small::mount(&small, size);
    let root = small.join("root");
    let loment = |arguments: &[&str]| {
        let mut command = world.bare();
        command.arg("--root").arg(&root).arg("--runroot").arg(world.path("small-run"));
        run(command.args(["--storage-opt", "loment.form=dir"]).args(arguments), Patience::NORMAL)
    };
    // Of another image, whose pull broke off.
    loment(&["images"]).succeeds();
    fs::create_dir_all(root.join("partial")).unwrap();
    fs::write(root.join("partial/sha256%3A00"), vec![1; 8 << 20]).unwrap();
    loment(&["pull", "-q", "--tls-verify=false", image]).succeeds();
    loment(&["system", "check", "--quick"]).succeeds();
    let left = fs::read_dir(root.join("partial")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name != "sha256%3A00"));
    drop(mounted);
}

#[test]
fn it_is_not_kept_where_the_image_alone_has_room() {
    let world = world();
    on_small_disk(&world, "62m", &large(&world, 40 << 20).name("large:1"));
    on_small_disk(&world, "44m", &large(&world, 40 << 20).name("large:1"));
}

/// More than was thought.
#[test]
fn it_is_given_up_when_the_disk_is_full() {
    let world = world();
    let text = b"what compresses well ".repeat(3 << 20);
    let layer = Layer::of([Entry::file("noise", noise(10 << 20)), Entry::file("text", text)]);
    let mut layout = Layout::create(&world.path("layout"));
    layout.add("more", &Image::new(Config::shell(), [layer.into()]), Compression::Gzip);
    let registry = Registry::empty();
    layout.push("more", &registry.name("more:1"), Variant::AsIs);
    on_small_disk(&world, "86m", &registry.name("more:1"));
    on_small_disk(&world, "78m", &registry.name("more:1"));
}

#[test]
fn it_is_counted_and_pruned_but_not_while_it_grows() {
    let world = world();
    let registry = large(&world, 40 << 20);
    let way = SlowWay::to(&registry, RATE, true);
    let name = way.name("large:1");
    let pull = || {
        let mut command: Command = world.command(["pull", "-q", "--tls-verify=false", &name]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let df = || -> Value {
        let text = world.loment(["system", "df", "--format", "json"]).succeeds().to_owned();
        serde_json::from_str::<Value>(&text).unwrap()[0].clone()
    };
    let mut first = pull();
    eventually("half of it has come", || way.delivered() > 20 << 20);
    world.loment(["image", "prune", "--force"]).succeeds();
    assert_eq!(kept(&world), 1, "it was removed under the hands of who writes it");
    first.kill().unwrap();
    first.wait().unwrap();
    let usage = df();
    assert!(usage["RawSize"].as_u64() > Some(8 << 20), "{usage}");
    assert_eq!(usage["RawSize"], usage["RawReclaimable"]);
    let before = world.loment(["image", "prune", "--force"]);
    assert_eq!(before.code, 0, "{before}");
    assert_eq!(kept(&world), 0);
    let usage = df();
    assert_eq!((&usage["RawSize"], &usage["RawReclaimable"]), (&0.into(), &0.into()));
    // And again, for all that is not used.
    let (mut second, delivered) = (pull(), way.delivered());
    eventually("some of it has come", || way.delivered() > delivered + (12 << 20));
    second.kill().unwrap();
    second.wait().unwrap();
    assert_eq!(kept(&world), 1);
    world.loment(["system", "prune", "--force"]).succeeds();
    assert_eq!(kept(&world), 0);
}
