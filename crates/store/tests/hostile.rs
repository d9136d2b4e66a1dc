//! Tars that try to leave their layer, to lie, or to break the reader. Needs root.

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Fixture, Tar, chain, good, item, refused};

#[test]
fn dot_dot_is_refused_by_name() {
    for name in ["../x", "a/../../x", "a/..", "..", "/../x", "./../x"] {
        let message = refused(&Tar::new().file(name, b"x").end());
        assert_eq!(message, format!("layer entry {name:?}: path contains a \"..\" component"));
    }
    assert!(refused(&Tar::new().dir("../x").end()).contains(".."));
    assert!(refused(&Tar::new().symlink("../x", "y").end()).contains(".."));
    assert!(refused(&Tar::new().pax(&[("path", b"a/../../b")]).file("x", b"").end()).contains("a/../../b"));
}

#[test]
fn absolute_paths_are_taken_from_the_layers_root() {
    let (_fixture, layer) =
        good(&Tar::new().file("/etc/x", b"1").file("//etc//./y", b"2").hardlink("/z", "/etc/x").end());
    for path in ["etc/x", "etc/y", "z"] {
        assert!(layer.fs().join(path).exists(), "{path}");
    }
}

#[test]
fn links_cannot_lead_out() {
    let fixture = Fixture::new();
    let outside = fixture.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), b"s").unwrap();
    let target = outside.to_str().unwrap();
    let up = "../".repeat(20);
    let tars = [
        Tar::new().symlink("l", target).file("l/pwned", b"x"),
        Tar::new().symlink("l", &up).symlink("m", &format!("l{target}")).file("m/pwned", b"x"),
        Tar::new().symlink("l", target).dir("l/pwned"),
        Tar::new().symlink("l", target).symlink("l/pwned", "x"),
        Tar::new().symlink("l", target).put(item(b'3', b"l/pwned").device(1, 3), b""),
        Tar::new().symlink("l", target).file("l/.wh.secret", b""),
        Tar::new().symlink("l", target).file("l/.wh..wh..opq", b""),
    ];
    for tar in tars {
        fixture.unpack(&tar.end()).unwrap();
        let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"]);
        assert_eq!(fs::read(outside.join("secret")).unwrap(), b"s");
        assert!(common::xattrs(&outside).is_empty());
    }
}

#[test]
fn hard_links_cannot_reach_out() {
    let fixture = Fixture::new();
    let outside = fixture.dir.path().join("secret");
    fs::write(&outside, b"s").unwrap();
    let outside = outside.to_str().unwrap();
    let up = format!("../../../../../../../../../..{outside}");
    for (target, problem) in
        [(up.as_str(), "leaves the layer"), (outside, "is not in this layer"), ("", "is not in")]
    {
        let tar = Tar::new().pax(&[("linkpath", target.as_bytes())]).hardlink("h", "").end();
        let message = chain(&fixture.unpack(&tar).unwrap_err());
        assert!(
            message.starts_with("layer entry \"h\": hard link target") && message.contains(problem),
            "{message}"
        );
    }
    // Through a link: taken inside the layer, where there is nothing.
    let tar = Tar::new()
        .symlink("l", "/")
        .pax(&[("linkpath", format!("l{outside}").as_bytes())])
        .hardlink("h", "")
        .end();
    assert!(chain(&fixture.unpack(&tar).unwrap_err()).contains("is not in this layer"));
    assert!(refused(&Tar::new().dir("d").hardlink("h", "d").end()).contains("is a directory"));
    assert!(refused(&Tar::new().hardlink("h", "/").end()).contains("is a directory"));
}

#[test]
fn nothing_is_written_through_what_is_there() {
    let fixture = Fixture::new();
    let outside = fixture.dir.path().join("outside");
    fs::write(&outside, b"untouched").unwrap();
    let tar = Tar::new()
        .symlink("link", outside.to_str().unwrap())
        .file("link", b"replaced")
        .put(item(b'4', b"disk").device(7, 0), b"")
        .file("disk", b"replaced")
        .put(item(b'6', b"pipe"), b"")
        .file("pipe", b"replaced")
        .end();
    let layer = fixture.unpack(&tar).unwrap();
    assert_eq!(fs::read(&outside).unwrap(), b"untouched");
    for name in ["link", "disk", "pipe"] {
        assert!(layer.fs().join(name).symlink_metadata().unwrap().is_file(), "{name}");
    }
    layer.verify().unwrap();
}

#[test]
fn a_file_hard_linked_before_is_not_changed_by_a_later_one() {
    let (_fixture, layer) = good(&Tar::new().file("a", b"one").hardlink("b", "a").file("b", b"two").end());
    assert_eq!(fs::read(layer.fs().join("a")).unwrap(), b"one");
}

#[test]
fn parents_must_be_directories() {
    let message = refused(&Tar::new().file("f", b"").file("f/x", b"").end());
    assert_eq!(message, "layer entry \"f/x\": parent \"f\" is not a directory");
    assert!(
        refused(&Tar::new().symlink("a", "b").symlink("b", "a").file("a/x", b"").end())
            .contains("too many levels")
    );
    assert!(refused(&Tar::new().file("./", b"").end()).contains("root of a layer must be a directory"));
    assert!(refused(&Tar::new().symlink("/", "x").end()).contains("root of a layer must be a directory"));
}

#[test]
fn long_names_are_refused_by_name() {
    let component = "c".repeat(256);
    let message = refused(&Tar::new().pax(&[("path", component.as_bytes())]).file("x", b"").end());
    assert_eq!(message, format!("layer entry {component:?}: a path component is longer than 255 bytes"));
    let path = "p/".repeat(2100);
    assert!(
        refused(&Tar::new().pax(&[("path", path.as_bytes())]).file("x", b"").end())
            .contains("longer than 4096")
    );
    // Deeper through a link than any path could say.
    let deep = "d/".repeat(1500);
    let tar = Tar::new()
        .pax(&[("path", deep.as_bytes())])
        .dir("x")
        .pax(&[("linkpath", deep.as_bytes())])
        .symlink("l", "")
        .pax(&[("path", format!("l/{deep}").as_bytes())])
        .file("x", b"")
        .end();
    assert!(refused(&tar).contains("longer than 4096"));
}

#[test]
fn owners_and_devices_that_wrap_around_are_refused() {
    let message = refused(&Tar::new().pax(&[("uid", b"4294967295")]).file("f", b"").end());
    assert_eq!(message, "layer entry \"f\": owner 4294967295 is not a valid id");
    assert!(
        refused(&Tar::new().pax(&[("gid", b"4294967296")]).file("f", b"").end()).contains("not a valid id")
    );
    let message = refused(&Tar::new().put(item(b'3', b"d").device(0o20000, 1), b"").end());
    assert_eq!(message, "layer entry \"d\": device number 8192:1 is out of range");
}

#[test]
fn attributes_of_the_overlay_are_refused() {
    for name in [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "trusted.overlay.metacopy",
        "user.overlay.opaque",
    ] {
        let key = format!("SCHILY.xattr.{name}");
        let message = refused(&Tar::new().pax(&[(&key, b"/etc")]).dir("d").end());
        assert_eq!(
            message,
            format!("layer entry \"d\": extended attribute {name:?} is reserved for the overlay file system")
        );
    }
}

#[test]
fn truncation_anywhere_is_an_error() {
    let tar = Tar::new()
        .pax(&[("path", b"name")])
        .file("x", &[7; 1500])
        .dir("d")
        .put(item(b'L', b"././@LongLink"), b"long\0")
        .file("y", b"")
        .0;
    let boundaries = [0, 1024 + 512 + 2048 - 512, 1024 + 512 + 1536, 1024 + 512 + 1536 + 512];
    for length in (0..tar.len()).step_by(100).chain([512, 1024, 1536, 2048]) {
        let fixture = Fixture::new();
        let result = fixture.unpack(&tar[..length]);
        assert!(result.is_err() || boundaries.contains(&length), "cut at {length}");
        if let Err(error) = result {
            assert!(chain(&error).contains("truncated"), "{}", chain(&error));
            assert_eq!(fixture.leftovers(), Vec::<PathBuf>::new());
        }
    }
}

#[test]
fn malformed_headers_are_errors() {
    let mut flipped = Tar::new().file("f", b"x").end();
    flipped[0] ^= 1;
    assert!(refused(&flipped).contains("checksum"));
    let mut number = item(b'0', b"f");
    number.header.as_old_mut().uid.copy_from_slice(b"999999 \0");
    assert!(refused(&Tar::new().put(number, b"").end()).contains("field uid"));
    let mut lone = Tar::new().file("f", b"").0;
    lone.resize(lone.len() + 512, 0);
    lone.extend(Tar::new().file("g", b"").end());
    assert!(refused(&lone).contains("single zero block"));
    assert!(
        refused(&Tar::new().put(item(b'V', b"label"), b"").end()).contains("entry type 'V' is not supported")
    );
    assert!(refused(&Tar::new().put(item(b'x', b"x"), b"12 path=a\n").file("f", b"").end()).contains("PAX"));
    assert!(
        refused(&Tar::new().pax(&[("size", b"18446744073709551615")]).file("f", b"").end()).contains("size")
    );
    let huge = Tar::new().put_sized(item(b'L', b"x"), 1 << 30, b"");
    assert!(refused(&huge.end()).contains("larger than 1 MiB"));
    assert!(refused(&Tar::new().file("", b"").end()).contains("path is empty"));
}

#[test]
fn sparse_maps_that_lie_are_errors() {
    let maps: [&[u8]; 6] = [b"0,6", b"4,5,0,0", b"9999,5", b"0,2,1,3", b"0,5,", b"18446744073709551615,5"];
    for map in maps {
        let tar = Tar::new()
            .pax(&[("GNU.sparse.size", b"10000"), ("GNU.sparse.map", map)])
            .file("f", b"abcde")
            .end();
        assert!(refused(&tar).contains("sparse map is malformed"), "{}", String::from_utf8_lossy(map));
    }
    let in_data: [&[u8]; 4] = [b"1\n0\n", b"99999999999\n", b"x\n", b"1\n0\n5"];
    for map in in_data {
        let records: [(&str, &[u8]); 3] =
            [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"9")];
        assert!(refused(&Tar::new().pax(&records).file("f", map).end()).contains("malformed"));
    }
    let tar = Tar::new()
        .pax(&[("GNU.sparse.size", b"9000000000000000000"), ("GNU.sparse.map", b"0,1")])
        .file("f", b"a");
    assert!(refused(&tar.end()).contains("layer entry \"f\": cannot set the size of"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    /// Broken bytes anywhere: an answer, never a panic, never something outside.
    #[test]
    fn damaged_tars_are_refused_or_regenerated(
        damage in proptest::collection::vec((0usize..6000, proptest::num::u8::ANY), 1..6),
    ) {
        let mut tar = Tar::new()
            .dir("d")
            .pax(&[("path", b"d/name"), ("mtime", b"1.5")])
            .file("x", &[1; 700])
            .symlink("d/l", "name")
            .hardlink("h", "d/name")
            .file(".wh.gone", b"")
            .put(item(b'3', b"dev").device(1, 3), b"")
            .end();
        for (at, byte) in damage {
            let at = at % tar.len();
            tar[at] = byte;
            // Repaired checksums let the damage through to the fields.
            let block = at / 512 * 512;
            let header = &mut tar[block..block + 512];
            if &header[257..262] == b"ustar" {
                header[148..156].fill(b' ');
                let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
                header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        let fixture = Fixture::new();
        match fixture.unpack(&tar) {
            Ok(layer) => layer.verify().unwrap(),
            Err(_) => proptest::prop_assert_eq!(fixture.leftovers(), Vec::<PathBuf>::new()),
        }
        let names: Vec<_> = fs::read_dir(fixture.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        proptest::prop_assert_eq!(names.len(), 2);
    }
}
