//! `image diff`, in both forms of layers and beside Podman's.

use std::process::Command;

use loment_testkit::{
    Compression, Config, Entry, Image, Layer, Layout, Output, Patience, RawLayer, World, run,
};

use crate::engines::command;
use crate::world;

const FORMS: [&str; 2] = ["loment.form=erofs", "loment.form=dir"];

/// An image with a layer of each kind of change, one of only its first layer, and one that has nothing of them.
fn images() -> [(&'static str, Image); 3] {
    let base: RawLayer = Layer::of([
        Entry::dir("d"),
        Entry::file("d/changed", "old"),
        Entry::file("d/deleted", "old"),
        Entry::dir("empty"),
        Entry::dir("etc"),
        Entry::file("etc/hosts", "old"),
        Entry::dir("gone"),
        Entry::file("gone/1", "1"),
        Entry::symlink("link", "d"),
        Entry::dir("opaque"),
        Entry::file("opaque/old", "old"),
        Entry::dir("quiet"),
        Entry::file("quiet/same", "same"),
        Entry::dir("was-directory"),
        Entry::file("was-directory/1", "1"),
        Entry::file("was-file", "file"),
    ])
    .into();
    let top = Layer::of([
        Entry::file("d/changed", "new, and longer"),
        Entry::whiteout("d/deleted"),
        Entry::file("d/é<&>\u{1b}\n", "new"),
        Entry::dir("dir"),
        Entry::dir("dir/deep"),
        Entry::file("dir/deep/file", "new"),
        Entry::file("etc/hosts", "new one"),
        Entry::whiteout("gone"),
        Entry::symlink("link", "opaque"),
        Entry::opaque("opaque"),
        Entry::file("opaque/new", "new"),
        // Only implied, by something deeper: it changes because of that, not by how it looks.
        Entry::file("quiet/new", "new"),
        Entry::file("was-directory", "file"),
        Entry::dir("was-file"),
        Entry::file("was-file/1", "1"),
    ]);
    let other = Layer::of([Entry::dir("d"), Entry::file("d/changed", "old"), Entry::file("other", "other")]);
    [
        ("both:1", Image::new(Config::shell(), [base.clone(), top.into()])),
        ("base:1", Image::new(Config::shell(), [base])),
        ("other:1", Image::new(Config::shell(), [other.into()])),
    ]
}

const CHANGES: &str = "C /d
C /d/changed
D /d/deleted
A /d/é<&>\\x1b\\x0a
A /dir
A /dir/deep
A /dir/deep/file
C /etc
D /gone
C /link
C /opaque
A /opaque/new
D /opaque/old
C /quiet
A /quiet/new
C /was-directory
C /was-file
A /was-file/1";

/// Where they are, to be pulled from by anybody.
fn layout(world: &World) -> String {
    let mut layout = Layout::create(&world.path("layout"));
    for (name, image) in images() {
        layout.add(name, &image, Compression::None);
    }
    format!("oci:{}", world.path("layout").display())
}

/// Names that only this store has.
fn pulled(world: &World, form: &str) {
    let from = layout(world);
    for (name, _) in images() {
        let (place, to) = (format!("{from}:{name}"), format!("localhost/{name}"));
        let id = world.loment(["--storage-opt", form, "pull", "--quiet", &place]).succeeds().to_owned();
        world.loment(["tag", &id, &to]).succeeds();
    }
}

#[test]
fn an_image_is_compared_with_the_layers_below_or_with_another() {
    for form in FORMS {
        let world = world();
        pulled(&world, form);
        let diff = |arguments: &[&str]| world.loment([&["image", "diff"], arguments].concat());
        // The parent of /etc/hosts is shown, itself it is not.
        assert_eq!(diff(&["localhost/both:1"]).succeeds(), CHANGES, "{form}");
        assert_eq!(diff(&["localhost/both:1", "localhost/base:1"]).succeeds(), CHANGES, "{form}");
        let back = diff(&["localhost/base:1", "localhost/both:1"]);
        let lines: Vec<_> = back.succeeds().lines().collect();
        for line in ["A /d/deleted", "D /dir", "A /gone", "A /gone/1", "D /opaque/new", "A /was-directory/1"]
        {
            assert!(lines.contains(&line), "{form}: {line} is not in {back}");
        }
        assert_eq!(diff(&["localhost/both:1", "localhost/both:1"]).succeeds(), "", "{form}");
        let single = diff(&["localhost/other:1"]);
        assert_eq!(single.succeeds(), "A /d\nA /d/changed\nA /other", "{form}");
        // Nothing in common: what looks the same is the same.
        let other = diff(&["localhost/other:1", "localhost/base:1"]);
        let lines: Vec<_> = other.succeeds().lines().collect();
        assert_eq!(lines[..3], ["C /d", "D /d/deleted", "D /empty"], "{form}: {other}");
        assert!(lines.contains(&"A /other") && lines.contains(&"D /gone"), "{form}: {other}");
        let json = diff(&["--format", "json", "localhost/other:1"]);
        let document = "{\n     \"added\": [\n          \"/d\",\n          \"/d/changed\",\n          \"/other\"\n     ]\n}";
        assert_eq!(json.succeeds(), document, "{form}");
        let json = diff(&["--format", "json", "localhost/both:1"]);
        let document: serde_json::Value = serde_json::from_str(json.succeeds()).unwrap();
        assert_eq!(document["added"][0], "/d/é<&>\u{1b}\n", "{form}");
        assert_eq!(document["deleted"], serde_json::json!(["/d/deleted", "/gone", "/opaque/old"]), "{form}");
        diff(&["--format", "yaml", "localhost/both:1"])
            .fails_saying(125, &["only supported value for '--format' is 'json'"]);
        diff(&["nonesuch"]).fails_saying(125, &["nonesuch: image not known"]);
    }
}

/// `podman ARGUMENTS` in a store of its own.
fn podman(world: &World, arguments: &[&str]) -> Output {
    let mut podman: Command = command(world, "podman");
    for (flag, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
        podman.arg(flag).arg(world.dir().join(format!("podman-{name}")));
    }
    podman.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
    run(podman.args(arguments), Patience::NORMAL)
}

/// Podman has no order, and shows names as they are.
fn sorted(lines: &str) -> Vec<String> {
    let mut lines: Vec<_> = lines.replace("\\x1b\\x0a", "\u{1b}\n").lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn podman_sees_the_same_changes() {
    let world = world();
    pulled(&world, FORMS[0]);
    let archive = world.path("all.tar").display().to_string();
    let names = ["localhost/both:1", "localhost/base:1", "localhost/other:1"];
    world.loment([&["save", "--quiet", "-m", "--output", &archive], &names[..]].concat()).succeeds();
    podman(&world, &["load", "--quiet", "--input", &archive]).succeeds();
    for pair in [&names[..1], &names[..2], &[names[2], names[1]], &[names[1]]] {
        let arguments = [&["image", "diff"], pair].concat();
        let (ours, theirs) = (world.loment(arguments.clone()), podman(&world, &arguments));
        assert_eq!(sorted(ours.succeeds()), sorted(theirs.succeeds()), "{pair:?}");
    }
}
