//! Containers with a copy of all files of their image, where an overlay cannot keep changes. Needs root.

mod common;

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;

use common::{Fixture, Tar, describe, image, item, shown};
use loment_store::{Change, ChangeKind, Durability, Form, Limits, Lower};

/// Two layers with all that a layer can say.
fn layers() -> [Vec<u8>; 2] {
    let big: Vec<u8> = (0..600_000u32).flat_map(|n| n.to_le_bytes()).collect();
    let mut holes = vec![0; 3 << 20];
    holes[1 << 20] = 1;
    holes[(3 << 20) - 5] = 2;
    let lower = Tar::new()
        .put(item(b'5', b"./").mode(0o750).owner(3, 4).mtime(99), b"")
        .file("removed", b"1")
        .file("changed", b"1")
        .file("opaque/old", b"1")
        .file("merged/old", b"1")
        .file("recreated/old", b"1")
        .file("empty", b"")
        .put(item(b'0', b"big").mode(0o4755).owner(1000, 1001).mtime(1234), &big)
        .put(item(b'0', b"holes"), &holes)
        .hardlink("linked/twice", "big")
        .hardlink("linked/thrice", "big")
        .symlink("link", "/no/such/place")
        .put(item(b'3', b"dev/zero").device(1, 5).mode(0o666), b"")
        .put(item(b'4', b"dev/disk").device(259, 70000).mode(0o660), b"")
        .put(item(b'6', b"pipe").mode(0o622), b"")
        .pax(&[("SCHILY.xattr.user.colour", b"red"), ("SCHILY.xattr.trusted.mark", b"1")])
        .file("attributes", b"x")
        .pax(&[("SCHILY.xattr.security.capability", b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0")])
        .file("able", b"x")
        .put(item(b'5', b"sticky").mode(0o1777), b"")
        .file("other/type", b"1");
    let upper = Tar::new()
        .file(".wh.removed", b"")
        .file("changed", b"22")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/new", b"2")
        .file("merged/new", b"2")
        .file("recreated/new", b"2")
        .file(".wh.recreated", b"")
        .file("linked/.wh.twice", b"")
        .file("other", b"a file now");
    [lower.end(), upper.end()]
}

#[test]
fn a_copy_is_what_an_overlay_shows() {
    for form in [Form::Dir, Form::Erofs] {
        let fixture = Fixture::with_form(form);
        let image = image(&fixture, &layers());
        let create = |id: &str, copies| {
            let store = fixture.store.with_copies(copies);
            store.create_rootfs(id, &image.id, Durability::Full, Limits::default(), None).unwrap()
        };
        let (overlay, copy) = (create("overlay", false), create("copy", true));
        assert!(copy.whole && !overlay.whole);
        assert_eq!(fixture.store.rootfs("copy").unwrap().unwrap(), copy, "also for who makes none");
        assert_eq!(describe(&copy.upper, false), shown(&overlay), "{form:?}");
        let root = |path: &Path| fs::metadata(path).map(|m| (m.mode(), m.uid(), m.gid())).unwrap();
        assert_eq!(root(&copy.upper), root(&overlay.upper));
        let blocks = fs::metadata(copy.upper.join("holes")).unwrap().blocks();
        assert!(blocks * 512 < 1 << 20, "{blocks} blocks");
        let format = fs::read_to_string(fixture.store.root().join("FORMAT")).unwrap();
        assert!(format.contains("copies"), "{format}");
        // An image as it is, too.
        let top = fixture.dir.path().join("top");
        fs::create_dir(&top).unwrap();
        let view = fixture.store.with_copies(true).image_view(&image.id, &top, None).unwrap();
        assert_eq!(view, [Lower::Dir(top.clone())]);
        assert!(top.join("merged/old").exists() && !top.join("proc").exists());
    }
}

#[test]
fn what_is_changed_in_a_copy_is_found_by_looks() {
    let fixture = Fixture::with_form(Form::Erofs);
    let image = image(&fixture, &layers());
    let store = fixture.store.with_copies(true);
    let copy = store.create_rootfs("c", &image.id, Durability::None, Limits::default(), None).unwrap();
    let changes = || fixture.store.changes_of_container("c").unwrap().unwrap();
    assert_eq!(changes(), []);
    let inside = |path: &str| copy.upper.join(path);
    fs::write(inside("merged/added"), "x").unwrap();
    fs::File::options().write(true).open(inside("big")).unwrap().write_all_at(b"other", 7).unwrap();
    fs::set_permissions(inside("empty"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_dir_all(inside("opaque")).unwrap();
    fs::remove_file(inside("link")).unwrap();
    std::os::unix::fs::symlink("elsewhere", inside("link")).unwrap();
    let change = |kind, path: &str| Change { kind, path: path.into() };
    use ChangeKind::{Added, Changed, Deleted};
    // Both names of a file that was written to.
    let expected = [
        change(Changed, "/big"),
        change(Changed, "/empty"),
        change(Changed, "/link"),
        change(Changed, "/linked"),
        change(Changed, "/linked/thrice"),
        change(Changed, "/merged"),
        change(Added, "/merged/added"),
        change(Deleted, "/opaque"),
    ];
    assert_eq!(changes(), expected);
}

#[test]
fn a_layer_that_cannot_be_read_is_named() {
    let fixture = Fixture::with_form(Form::Erofs);
    let image = image(&fixture, &layers());
    let file = fixture.store.layer(&image.layers[0]).unwrap().unwrap().lower();
    let Lower::Erofs { file, .. } = file else { panic!("{file:?}") };
    let image_file = fs::File::options().write(true).open(&file).unwrap();
    image_file.set_len(8192).unwrap();
    let store = fixture.store.with_copies(true);
    let error = store.create_rootfs("c", &image.id, Durability::None, Limits::default(), None).unwrap_err();
    assert!(common::chain(&error).contains("its image has another size"), "{error}");
    assert!(Path::new(&file).exists());
}

#[test]
fn whatever_is_done_to_a_copy_is_found() {
    let fixture = Fixture::with_form(Form::Erofs);
    let image = image(&fixture, &layers());
    let store = fixture.store.with_copies(true);
    let copy = store.create_rootfs("c", &image.id, Durability::None, Limits::default(), None).unwrap();
    let changed = || -> Vec<String> {
        let changes = fixture.store.changes_of_container("c").unwrap().unwrap();
        changes.into_iter().map(|change| String::from_utf8(change.path).unwrap()).collect()
    };
    let set = |path: &str| {
        rustix::fs::setxattr(copy.upper.join(path), "user.new", b"x", rustix::fs::XattrFlags::empty())
            .unwrap();
    };
    set("attributes");
    set("sticky");
    assert_eq!(changed(), ["/attributes", "/sticky"]);
    // A socket is no file, and is not opened.
    let empty = copy.upper.join("empty");
    fs::remove_file(&empty).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(&empty).unwrap();
    fs::set_permissions(&empty, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(changed(), ["/attributes", "/empty", "/sticky"]);
    // Times that the file system cannot keep are no change.
    let (old, now) = (std::time::UNIX_EPOCH, std::time::SystemTime::now());
    fs::File::options().write(true).open(copy.upper.join("big")).unwrap().set_modified(old).unwrap();
    assert_eq!(changed(), ["/attributes", "/big", "/empty", "/linked", "/linked/thrice", "/sticky"]);
    let mark = fixture.store.container_dir("c").unwrap().join("copied");
    // The clock of files goes in steps.
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::File::options().write(true).open(&mark).unwrap().set_modified(now).unwrap();
    assert_eq!(changed(), ["/empty"], "what is older than the mark is as it was");
}

#[test]
fn deep_trees_and_files_with_many_names_are_copied() {
    let deep = |n: u32| format!("{n}/{}", "d/".repeat(1500));
    let mut tar = Tar::new().file("first", b"content");
    for n in 0..3 {
        tar = tar.pax(&[("path", format!("{}file", deep(n)).as_bytes())]).file("x", b"y");
    }
    for n in 0..3000 {
        tar = tar.hardlink(&format!("many/{n}"), "first");
    }
    let fixture = Fixture::with_form(Form::Erofs);
    let image = image(&fixture, &[tar.end()]);
    let store = fixture.store.with_copies(true);
    let copy = store.create_rootfs("c", &image.id, Durability::None, Limits::default(), None).unwrap();
    for n in 0..3 {
        assert!(copy.upper.join(deep(n)).join("file").exists());
    }
    assert_eq!(fs::metadata(copy.upper.join("first")).unwrap().nlink(), 3001);
    assert_eq!(fixture.store.changes_of_container("c").unwrap().unwrap(), []);
}
