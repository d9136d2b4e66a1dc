//! Whiteouts in overlay form, checked by mounting them. Needs root.

mod common;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use common::{Tar, good, item, lower_dirs, refused, xattrs};

fn is_whiteout(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.file_type().is_char_device() && meta.rdev() == 0)
}

fn is_opaque(path: &Path) -> bool {
    xattrs(path).get("trusted.overlay.opaque").is_some_and(|value| value == b"y")
}

#[test]
fn whiteouts_become_devices_and_opaque_marks_attributes() {
    let tar = Tar::new()
        .file("dir/.wh.gone", b"")
        .file(".wh.top", b"")
        .file("later/.wh..wh..opq", b"")
        .put(item(b'5', b"later").mode(0o700), b"")
        .file("later/new", b"x")
        .end();
    let (_fixture, layer) = good(&tar);
    let at = |name: &str| layer.fs().join(name);
    assert!(is_whiteout(&at("dir/gone")) && is_whiteout(&at("top")));
    assert!(is_opaque(&at("later")) && !is_opaque(&at("dir")));
    assert_eq!(at("later").metadata().unwrap().mode(), 0o40700);
}

#[test]
fn whiteouts_apply_to_lower_layers_in_any_order() {
    let entries: [fn(Tar) -> Tar; 6] = [
        |tar| tar.file(".wh.file", b""),
        |tar| tar.file("file", b"new"),
        |tar| tar.file(".wh.dir", b""),
        |tar| tar.dir("dir").file("dir/new", b"x"),
        |tar| tar.file(".wh.implied", b""),
        |tar| tar.file("implied/new", b"x"),
    ];
    for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]] {
        let tar = order.into_iter().fold(Tar::new(), |tar, n| entries[n](tar)).end();
        let (_fixture, layer) = good(&tar);
        assert_eq!(fs::read(layer.fs().join("file")).unwrap(), b"new");
        for dir in ["dir", "implied"] {
            assert!(layer.fs().join(dir).join("new").exists());
            assert!(is_opaque(&layer.fs().join(dir)), "what a lower {dir} holds is gone");
        }
    }
}

#[test]
fn a_device_zero_is_a_whiteout_because_nothing_else_can_be_told_from_it() {
    let tar = Tar::new()
        .put(item(b'3', b"a"), b"")
        .file("b", b"x")
        .put(item(b'3', b"b"), b"")
        .put(item(b'3', b"c"), b"")
        .file("c", b"x")
        .end();
    let (_fixture, layer) = good(&tar);
    assert!(is_whiteout(&layer.fs().join("a")) && is_whiteout(&layer.fs().join("b")));
    assert_eq!(fs::read(layer.fs().join("c")).unwrap(), b"x");
}

#[test]
fn bookkeeping_of_aufs_is_ignored_but_stays_in_the_tar() {
    let tar =
        Tar::new().file(".wh..wh.aufs", b"content").file(".wh..wh.plnk/1.2", b"x").file("f", b"x").end();
    let (_fixture, layer) = good(&tar);
    assert_eq!(fs::read_dir(layer.fs()).unwrap().count(), 1);
}

#[test]
fn a_whiteout_with_content_keeps_it_in_the_tar_only() {
    let (_fixture, layer) = good(&Tar::new().file(".wh.f", &[7; 5000]).end());
    assert!(is_whiteout(&layer.fs().join("f")));
}

#[test]
fn whiteouts_below_something_replaced_go_with_it() {
    let tar = Tar::new().file("d/.wh.x", b"").file("d/.wh..wh..opq", b"").file("d", b"file").dir("d").end();
    let (_fixture, layer) = good(&tar);
    assert!(!layer.fs().join("d/x").exists() && !is_opaque(&layer.fs().join("d")));
}

#[test]
fn names_that_are_no_names_are_refused() {
    for name in [".wh.", ".wh..", ".wh...", "a/.wh...", ".wh.a/b", ".wh.a/.wh.b", ".wh.a/.wh..wh..opq"] {
        let message = refused(&Tar::new().file(name, b"").end());
        assert!(message.contains(&format!("{name:?}: not a valid whiteout name")), "{message}");
    }
}

#[test]
fn overlayfs_merges_layers_as_the_tars_say() {
    let fixture = common::Fixture::new();
    let lower = Tar::new()
        .file("removed", b"1")
        .file("changed", b"1")
        .file("opaque/old", b"1")
        .file("merged/old", b"1")
        .file("recreated/old", b"1")
        .end();
    let upper = Tar::new()
        .file(".wh.removed", b"")
        .file("changed", b"2")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/new", b"2")
        .file("merged/new", b"2")
        .file("recreated/new", b"2")
        .file(".wh.recreated", b"")
        .end();
    let (lower, upper) = (fixture.unpack(&lower).unwrap(), fixture.unpack(&upper).unwrap());
    // A mount namespace of its own, so nothing is left behind even when this fails.
    let (prepare, dirs) = lower_dirs(&[upper.lower(), lower.lower()], fixture.dir.path());
    let script =
        r#"mount -t overlay overlay -o "lowerdir=$1" "$2"; cd "$2"; find . -type f | sort; cat changed"#;
    let target = fixture.dir.path().join("merged");
    fs::create_dir(&target).unwrap();
    let output = std::process::Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-ec", &(prepare + script), "sh", &dirs.join(":")])
        .arg(target)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let expected = "./changed\n./merged/new\n./merged/old\n./opaque/new\n./recreated/new\n2";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}
