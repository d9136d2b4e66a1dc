//! What layers show, with other owners.

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use common::{Fixture, Tar, image, item, xattrs};
use loment_store::{Content, Durability, Error, Form, LeftoverKind, Limits, Owners, Shifted};
use loment_sys::ids::{IdMap, IdRange};

fn owners(ranges: &[[u32; 3]]) -> Owners {
    let range = |&[inside, outside, size]: &[u32; 3]| IdRange { inside, outside, size };
    let map = IdMap::new(ranges.iter().map(range).collect());
    Owners { users: map.clone(), groups: map }
}

fn shifted(fixture: &Fixture, id: &str, content: Content) -> Shifted {
    fixture.store.shifted_rootfs(id, content).unwrap().unwrap()
}

/// Layers with everything that hides something below.
fn layers() -> Vec<Vec<u8>> {
    let below = Tar::new()
        .put(item(b'5', b"d").mode(0o2750).owner(5, 6).mtime(1000), b"")
        .put(item(b'5', b"own").mode(0o2750).owner(5, 6).mtime(1000), b"")
        .put(item(b'0', b"d/file").mode(0o4755).owner(7, 8).mtime(2000), b"content")
        .hardlink("d/again", "d/file")
        .put(item(b'2', b"d/link").owner(9, 9).link(b"file"), b"")
        .put(item(b'6', b"d/pipe").mode(0o640).owner(3, 4), b"")
        .pax(&[("SCHILY.xattr.user.mark", b"value")])
        .file("d/attr", b"x")
        .file("d/gone", b"gone")
        .file("covered/below", b"below")
        .file("replaced/below", b"below")
        .file("other", b"below")
        .end();
    let above = Tar::new()
        .file("d/.wh.gone", b"")
        .file("covered/.wh..wh..opq", b"")
        .file("covered/above", b"above")
        .file("replaced", b"a file")
        .file("other", b"above")
        .file("d/new", b"new")
        .end();
    vec![below, above]
}

#[test]
fn a_tree_shows_what_layers_show_with_other_owners() {
    let fixture = Fixture::with_form(Form::Dir);
    let image = image(&fixture, &layers()).id;
    let owners = owners(&[[0, 100_000, 5], [5, 300_000, 1000]]);
    let create = |id: &str| {
        let (store, owners) = (&fixture.store, Some(owners.clone()));
        store.create_rootfs(id, &image, Durability::None, Limits::default(), owners).unwrap()
    };
    let rootfs = create("ctr");
    // Of a directory that a layer implies, the one above all of them has what one below says.
    let owner = |path: &Path| fs::metadata(path).map(|meta| (meta.uid(), meta.gid())).unwrap();
    assert_eq!(owner(&rootfs.upper), (100_000, 100_000));
    assert_eq!(owner(&rootfs.upper.join("d")), (300_000, 300_001));
    for content in [Content::Copied, Content::OfLayers] {
        let tree = shifted(&fixture, "ctr", content);
        assert_eq!(tree.lower.len(), 1);
        let root = &tree.lower[0];
        let stat = |path: &str| fs::symlink_metadata(root.join(path)).unwrap();
        let owner = |path: &str| (stat(path).uid(), stat(path).gid());
        assert_eq!((owner(""), owner("own")), ((100_000, 100_000), (300_000, 300_001)));
        assert_eq!((owner("d/file"), owner("d/link")), ((300_002, 300_003), (300_004, 300_004)));
        assert_eq!(owner("d/pipe"), (100_003, 100_004));
        assert_eq!((stat("own").mode() & 0o7777, stat("own").mtime()), (0o2750, 1000));
        assert_eq!((stat("d/file").mode() & 0o7777, stat("d/file").mtime()), (0o4755, 2000));
        assert_eq!((stat("d/file").ino(), stat("d/file").nlink()), (stat("d/again").ino(), 2));
        assert_eq!(fs::read_link(root.join("d/link")).unwrap(), Path::new("file"));
        assert_eq!(xattrs(&root.join("d/attr"))["user.mark"], b"value");
        for gone in ["d/gone", "covered/below", "replaced/below", "d/.wh.gone", "covered/.wh..wh..opq"] {
            assert!(!root.join(gone).exists(), "{gone}");
        }
        assert!(root.join("covered/above").exists() && root.join("proc").is_dir());
        assert_eq!(stat("other").len(), 5);
        if content == Content::Copied {
            assert!(tree.data.is_empty());
            assert_eq!(fs::read(root.join("d/again")).unwrap(), b"content");
            assert_eq!(fs::read(root.join("other")).unwrap(), b"above");
        } else {
            // The first layer that has it is the one that shows it.
            assert_eq!(tree.data.len(), 2);
            assert_eq!(fs::read(tree.data[0].join("other")).unwrap(), b"above");
            // By the first of its names.
            assert_eq!(xattrs(&root.join("d/file"))["user.overlay.redirect"], b"/d/again");
            assert_eq!(stat("d/file").len(), 7);
            assert_eq!(stat("d/file").blocks() * 512 / 4096, 0, "it has no content");
        }
        // Who has the same owners has the same tree.
        create("other");
        assert_eq!(shifted(&fixture, "other", content), tree);
    }
}

#[test]
fn trees_go_when_no_container_has_them() {
    let fixture = Fixture::with_form(Form::Dir);
    let image = image(&fixture, &layers()).id;
    let create = |id: &str, ranges: &[[u32; 3]]| {
        let owners = Some(owners(ranges));
        fixture.store.create_rootfs(id, &image, Durability::Full, Limits::default(), owners).unwrap();
        shifted(&fixture, id, Content::OfLayers).lower.remove(0)
    };
    let (one, two) = (create("one", &[[0, 1000, 50]]), create("two", &[[0, 2000, 50]]));
    fixture.store.gc().unwrap();
    assert!(one.exists() && two.exists());
    let usage = || fixture.store.other_usage(&Default::default(), &Default::default()).unwrap();
    let before = usage();
    fixture.store.remove_container("one").unwrap();
    let leftovers = fixture.store.check(true).unwrap().leftovers;
    let left: Vec<_> = leftovers.iter().filter(|left| left.kind == LeftoverKind::Shifted).collect();
    assert_eq!(left.iter().map(|left| &left.path).collect::<Vec<_>>(), [&one]);
    assert!(usage().left_over > before.left_over && fixture.store.leftovers_usage().unwrap() > 0);
    fixture.store.gc().unwrap();
    assert!(!one.exists() && two.exists());
}

#[test]
fn an_owner_whom_nobody_outside_could_stand_for_is_an_error() {
    let fixture = Fixture::with_form(Form::Dir);
    let image = image(&fixture, &layers()).id;
    let create = |id: &str, ranges: &[[u32; 3]]| {
        let owners = Some(owners(ranges));
        fixture.store.create_rootfs(id, &image, Durability::None, Limits::default(), owners)?;
        fixture.store.shifted_rootfs(id, Content::OfLayers)
    };
    let root = create("some", &[[0, 1000, 5]]).unwrap().unwrap().lower.remove(0);
    assert_eq!(
        fs::symlink_metadata(root.join("d/file")).unwrap().uid(),
        0,
        "whom the container does not have"
    );
    let error = create("all", &[[0, 0, 5]]).unwrap_err();
    assert!(matches!(&error, Error::NoOwner { uid: 5, gid: 6, .. }), "{error}");
    assert!(error.to_string().contains("--uidmap"), "{error}");
    assert_eq!(fs::read_dir(fixture.store.root().join("staging")).unwrap().count(), 0);
}
