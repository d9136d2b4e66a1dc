//! Directories a layer only implies look as the layers below say, seen through a real overlay. Needs root.

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use common::{Fixture, Tar, View, describe, good, image, item, lower_dirs, shown};
use loment_store::{Durability, Layer, Limits, Rootfs};

/// A container of layers, the lowest first.
struct Container {
    fixture: Fixture,
    rootfs: Rootfs,
}

fn container(tars: &[Tar]) -> Container {
    let fixture = Fixture::new();
    let tars: Vec<_> = tars.iter().map(|tar| Tar(tar.0.clone()).end()).collect();
    let record = image(&fixture, &tars);
    let create = |store: &loment_store::Store, id| {
        store.create_rootfs(id, &record.id, Durability::None, Limits::default(), None).unwrap()
    };
    let rootfs = create(&fixture.store, "ctr");
    // A copy of all files looks the same; mount(8) has one page for the names of layers.
    let copy = create(&fixture.store.with_copies(true), "copy");
    if tars.len() < 10 {
        assert_eq!(describe(&copy.upper, false), shown(&rootfs));
    }
    Container { fixture, rootfs }
}

impl Container {
    /// What a shell prints in the mounted container; a mount namespace of its own leaves nothing behind.
    fn sh(&self, script: &str) -> String {
        let target = self.fixture.dir.path().join("merged");
        fs::create_dir_all(&target).unwrap();
        let (prepare, lower) = lower_dirs(&self.rootfs.lower, self.fixture.dir.path());
        let mount =
            r#"mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" "$4"; cd "$4"; eval "$5""#;
        let mount = &(prepare + mount);
        let output = Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh", "-ec", mount, "sh", &lower.join(":")])
            .args([&self.rootfs.upper, &self.rootfs.work, &target])
            .arg(script)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Mode, owner and modification time of a path.
    fn stat(&self, path: &str) -> String {
        self.sh(&format!("stat -c '%a %u:%g %Y' '{path}'"))
    }

    /// What the store put into the writable layer.
    fn made(&self) -> Vec<PathBuf> {
        let mut made = Vec::new();
        let mut pending = vec![self.rootfs.upper.clone()];
        while let Some(dir) = pending.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                pending.push(entry.unwrap().path());
                made.push(pending[pending.len() - 1].strip_prefix(&self.rootfs.upper).unwrap().to_owned());
            }
        }
        made.sort();
        made
    }

    #[track_caller]
    fn made_is(&self, expected: &[&str]) {
        assert_eq!(self.made(), expected.iter().map(PathBuf::from).collect::<Vec<_>>());
    }
}

/// A layer that describes directories with attributes nobody would make up.
fn described(paths: &[&str]) -> Tar {
    paths.iter().fold(Tar::new(), |tar, path| {
        tar.put(item(b'5', path.as_bytes()).mode(0o1777).owner(7, 8).mtime(1234), b"")
    })
}

const DESCRIBED: &str = "1777 7:8 1234";
/// A directory no layer describes.
const FIXED: &str = "755 0:0 0";

fn implied_of(fixture: &Fixture, layer: &Layer) -> serde_json::Value {
    let text = fs::read(fixture.layer_dir(layer).join("layer.json")).unwrap();
    serde_json::from_slice::<serde_json::Value>(&text).unwrap()["implied"].take()
}

#[test]
fn the_layers_document_names_what_the_tar_only_implies() {
    let tar = Tar::new()
        .put(item(b'0', b"b%ar \xff/deep/file"), b"x")
        .file("a/later/file", b"x")
        .dir("a/later")
        .file("gone/sub/file", b"x")
        .file("gone", b"a file now")
        .file("opaque/.wh..wh..opq", b"")
        .file("anew/file", b"x")
        .file(".wh.anew", b"")
        .file("through/.wh.x", b"")
        .end();
    let (fixture, layer) = good(&tar);
    let expected = serde_json::json!(["a", "b%25ar%20%FF", "b%25ar%20%FF/deep", "through"]);
    assert_eq!(implied_of(&fixture, &layer), expected);
}

#[test]
fn an_image_that_describes_everything_costs_nothing() {
    let container = container(&[described(&["tmp"]), Tar::new().dir("tmp").file("tmp/x", b"x")]);
    container.made_is(&[]);
    let store = &container.fixture.store;
    for layer in store.layers_of(&store.images().unwrap()[0].image).unwrap() {
        assert!(implied_of(&container.fixture, &layer).is_null());
    }
}

#[test]
fn an_implied_directory_looks_as_the_layer_below_says() {
    let container = container(&[described(&["tmp"]).file("tmp/low", b"1"), Tar::new().file("tmp/x", b"2")]);
    assert_eq!(container.stat("tmp"), DESCRIBED);
    assert_eq!(container.sh("cat tmp/low tmp/x"), "12", "what both layers have there is still merged");
    container.made_is(&["tmp"]);
    // Writing, removing and making anew work as on any overlay.
    let script = "touch tmp/new; rm tmp/low tmp/x; ls tmp; rm -r tmp; mkdir tmp; ls -A tmp";
    assert_eq!(container.sh(script), "new");
    // The layer itself, which other images share, is as it was.
    assert_eq!(
        describe(&View::of(&container.rootfs.lower[0]).path, false)[0].split(' ').nth(1),
        Some("40755")
    );
}

#[test]
fn the_topmost_description_counts() {
    let other = || Tar::new().put(item(b'5', b"tmp").mode(0o700).owner(1, 2).mtime(99), b"");
    let imply = || Tar::new().file("tmp/x", b"x");
    let above = container(&[described(&["tmp"]), imply(), other()]);
    assert_eq!(above.stat("tmp"), "700 1:2 99");
    above.made_is(&[]);
    let between = container(&[described(&["tmp"]), other(), imply(), imply()]);
    assert_eq!(between.stat("tmp"), "700 1:2 99");
    let own = container(&[described(&["tmp"]), imply().put(item(b'5', b"tmp").mode(0o700).mtime(9), b"")]);
    assert_eq!(own.stat("tmp"), "700 0:0 9");
    own.made_is(&[]);
}

#[test]
fn a_layer_that_comes_twice_is_mounted_once() {
    let (first, second) =
        (|| Tar::new().file("f", b"1").file(".wh.g", b""), Tar::new().file("f", b"2").file("g", b"2"));
    let container = container(&[first(), Tar::new(), second, Tar::new(), first(), Tar::new()]);
    assert_eq!(container.rootfs.lower.len(), 3);
    assert_eq!(container.sh("ls; cat f"), "f\n1");
}

#[test]
fn a_directory_nobody_describes_stays_as_it_is() {
    let container = container(&[Tar::new().file("tmp/a", b"a"), Tar::new().file("tmp/x", b"x")]);
    assert_eq!(container.stat("tmp"), FIXED);
    container.made_is(&[]);
}

#[test]
fn nothing_is_inherited_through_an_opaque_directory() {
    let low = || described(&["srv", "srv/tmp"]);
    let imply = || Tar::new().file("srv/tmp/x", b"x");
    let opaque =
        || Tar::new().put(item(b'5', b"srv").mode(0o700).mtime(5), b"").file("srv/.wh..wh..opq", b"");
    for layers in [vec![low(), opaque(), imply()], vec![low(), Tar([opaque().0, imply().0].concat())]] {
        let container = container(&layers);
        assert_eq!(container.stat("srv/tmp"), FIXED);
        assert_eq!(container.stat("srv"), "700 0:0 5");
    }
    // The mark on the directory itself, with and without an entry for it.
    let marked = Tar::new().file("srv/tmp/.wh..wh..opq", b"");
    let container = container(&[low(), marked, imply()]);
    assert_eq!((container.stat("srv/tmp"), container.stat("srv")), (FIXED.into(), DESCRIBED.into()));
}

#[test]
fn an_opaque_root_ends_the_search() {
    let top = Tar::new().file("tmp/x", b"x");
    let container = container(&[described(&["tmp"]), Tar::new().file(".wh..wh..opq", b""), top]);
    assert_eq!(container.stat("tmp"), FIXED);
    container.made_is(&[]);
}

#[test]
fn what_is_removed_and_made_anew_inherits_nothing() {
    let low = || described(&["tmp", "tmp/sub"]);
    let remove = || Tar::new().file(".wh.tmp", b"");
    let imply = || Tar::new().file("tmp/sub/x", b"x");
    for layers in [vec![low(), remove(), imply()], vec![low(), Tar([imply().0, remove().0].concat())]] {
        let container = container(&layers);
        assert_eq!((container.stat("tmp"), container.stat("tmp/sub")), (FIXED.into(), FIXED.into()));
        container.made_is(&[]);
    }
    // Only the inner one was removed.
    let container = container(&[low(), Tar::new().file("tmp/.wh.sub", b""), imply()]);
    assert_eq!((container.stat("tmp"), container.stat("tmp/sub")), (DESCRIBED.into(), FIXED.into()));
}

#[test]
fn what_is_no_directory_neither_gives_nor_gets_attributes() {
    let low = || described(&["tmp", "target"]);
    let imply = || Tar::new().file("tmp/x", b"x");
    for between in [Tar::new().file("tmp", b"a file"), Tar::new().symlink("tmp", "target")] {
        let covered = container(&[low(), imply(), Tar(between.0.clone())]);
        covered.made_is(&[]);
        let covering = container(&[low(), between, imply()]);
        assert_eq!(covering.stat("tmp"), FIXED);
        covering.made_is(&[]);
    }
    let removed = container(&[low(), imply(), Tar::new().file(".wh.tmp", b"")]);
    assert_eq!(removed.sh("ls"), "target");
    removed.made_is(&[]);
}

#[test]
fn implied_directories_below_each_other() {
    let low = described(&["a", "a/b", "a/b/c", "a-z", "a/b/other"]);
    let middle = Tar::new().put(item(b'5', b"a/b").mode(0o2750).owner(3, 4).mtime(77), b"");
    let top = Tar::new().file("a/b/c/d/x", b"x").file("a-z/x", b"x");
    let nested = container(&[low, middle, top]);
    for path in ["a", "a/b/c", "a-z", "a/b/other"] {
        assert_eq!(nested.stat(path), DESCRIBED, "{path}");
    }
    assert_eq!(nested.stat("a/b"), "2750 3:4 77");
    assert_eq!(nested.stat("a/b/c/d"), FIXED);
    nested.made_is(&["a", "a/b", "a/b/c", "a-z"]);
}

#[test]
fn a_parent_made_for_the_way_looks_as_before() {
    let low = || described(&["a", "a/b"]);
    let parent = |mode| item(b'5', b"a").mode(mode).owner(1, 2).mtime(55);
    let top =
        Tar::new().file("a/b/x", b"x").pax(&[("SCHILY.xattr.user.kept", b"1")]).put(parent(0o2770), b"");
    let described_above = container(&[low(), top]);
    assert_eq!(described_above.stat("a"), "2770 1:2 55");
    assert_eq!(described_above.stat("a/b"), DESCRIBED);
    assert_eq!(described_above.sh("getfattr --only-values -n user.kept a"), "1");
}

#[test]
fn extended_attributes_are_kept_but_not_those_of_the_overlay() {
    let acl = [2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 4, 0, 0, 0, 255, 255, 255, 255, 32, 0, 0, 0];
    let acl = [&acl[..], &[255; 4]].concat();
    let records: [(&str, &[u8]); 4] = [
        ("SCHILY.xattr.user.empty", b""),
        ("SCHILY.xattr.user.text", b"a \xff"),
        ("SCHILY.xattr.trusted.own", b"root's"),
        ("SCHILY.xattr.system.posix_acl_default", &acl),
    ];
    // Opaque, which the container's must not be: the layer between stays visible.
    let low = described(&[]).pax(&records).put(item(b'5', b"d").mode(0o700), b"");
    let low = low.file("d/.wh..wh..opq", b"").file("d/low", b"x").dir("d/sub");
    let container = container(&[low, Tar::new().file("d/x", b"x").file("d/sub/x", b"x")]);
    let dumped = "getfattr -d -m - -e hex d | grep -v -e '^#' -e acl -e '^$'";
    assert_eq!(container.sh(dumped), "trusted.own=0x726f6f742773\nuser.empty=0x\nuser.text=0x6120ff");
    let acl_of = |path: &str| container.sh(&format!("getfattr -d -m acl {path} | grep -c acl_ || :"));
    assert_eq!((acl_of("d").as_str(), acl_of("d/sub").as_str()), ("1", "0"));
    assert_eq!(container.sh("ls d"), "low\nsub\nx");
    assert_eq!(container.stat("d/sub"), "755 0:0 1000000000");
}

#[test]
fn names_that_are_not_text_inherit_too() {
    let name = b"d\xff %2F";
    let low = Tar::new().put(item(b'5', name).mode(0o711), b"");
    let top = Tar::new().put(item(b'0', b"d\xff %2F/x"), b"x");
    assert_eq!(container(&[low, top]).sh("stat -c %a d*"), "711");
}

#[test]
fn many_layers_and_long_ways_do_not_need_many_descriptors() {
    let path = |depth: usize| vec!["d"; depth].join("/");
    let long = path(45);
    let low = (1..=45).fold(Tar::new(), |tar, n| tar.put(item(b'5', path(n).as_bytes()).mode(0o711), b""));
    let mut layers = vec![low];
    layers.extend((0..60).map(|n| Tar::new().file(&format!("{long}/{n}"), b"x")));
    let container = container(&layers);
    assert_eq!(container.made().len(), 45);
    let upper = container.rootfs.upper.join(long);
    assert_eq!(upper.metadata().unwrap().mode() & 0o7777, 0o711);
}

#[test]
fn a_layer_of_an_older_store_is_taken_as_it_is() {
    let container = container(&[described(&["tmp"]), Tar::new().file("tmp/x", b"x")]);
    let store = &container.fixture.store;
    let image = &store.images().unwrap()[0].image;
    for layer in store.layers_of(image).unwrap() {
        let path = container.fixture.layer_dir(&layer).join("layer.json");
        let mut document: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        document.as_object_mut().unwrap().remove("implied");
        fs::write(&path, document.to_string()).unwrap();
    }
    let rootfs = store.create_rootfs("other", &image.id, Durability::None, Limits::default(), None).unwrap();
    assert_eq!(fs::read_dir(rootfs.upper).unwrap().count(), 0);
}
