//! What every kind of entry becomes. Needs root.

mod common;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use common::{FORM, Fixture, Item, Tar, good, item, refused, xattrs};
use loment_store::Form;

/// A version 2 `security.capability` with cap_net_raw permitted and effective (linux/capability.h).
const CAP_NET_RAW: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode()
}

#[test]
fn files_directories_and_links_get_their_attributes() {
    let tar = Tar::new()
        .put(item(b'5', b"./").mode(0o711).owner(3, 4), b"")
        .put(item(b'5', b"bin/").mode(0o1777).mtime(7), b"")
        .put(item(b'0', b"bin/tool").mode(0o4755).owner(1000, 100), b"content")
        .put(item(b'0', b"bin/wide").mode(0o666), b"")
        .put(item(b'0', b"bin/closed").mode(0), b"x")
        .put(item(b'2', b"bin/link").link(b"/etc/passwd").owner(5, 6), b"")
        .put(item(b'1', b"bin/hard").link(b"bin/tool"), b"")
        .put(item(b'1', b"bin/hardlink-to-link").link(b"./bin/link"), b"")
        .put(item(b'6', b"pipe").mode(0o622), b"")
        .put(item(b'3', b"null").mode(0o666).device(1, 3).owner(0, 5), b"")
        .put(item(b'4', b"disk").mode(0o660).device(259, 70_000), b"")
        .end();
    let (_fixture, layer) = good(&tar);
    let fs_dir = layer.fs();
    let at = |name: &str| fs_dir.join(name);
    let root = fs_dir.metadata().unwrap();
    assert_eq!((root.mode(), root.uid(), root.gid(), root.mtime()), (0o40711, 3, 4, 1_000_000_000));
    assert_eq!((mode(&at("bin")), at("bin").metadata().unwrap().mtime()), (0o41777, 7));
    let tool = at("bin/tool").metadata().unwrap();
    assert_eq!((tool.mode(), tool.uid(), tool.gid(), tool.nlink()), (0o104755, 1000, 100, 2));
    assert_eq!(fs::read(at("bin/hard")).unwrap(), b"content");
    assert_eq!(mode(&at("bin/wide")), 0o100666);
    assert_eq!(mode(&at("bin/closed")), 0o100000);
    let link = at("bin/link").symlink_metadata().unwrap();
    assert_eq!((link.uid(), link.gid(), link.mtime(), link.nlink()), (5, 6, 1_000_000_000, 2));
    assert_eq!(fs::read_link(at("bin/hardlink-to-link")).unwrap(), Path::new("/etc/passwd"));
    assert!(at("pipe").metadata().unwrap().file_type().is_fifo());
    assert_eq!(
        (mode(&at("null")), at("null").metadata().unwrap().rdev()),
        (0o20666, rustix::fs::makedev(1, 3))
    );
    assert_eq!(at("disk").metadata().unwrap().rdev(), rustix::fs::makedev(259, 70_000));
    assert_eq!((layer.entries(), layer.size()), (11, tar.len() as u64));
}

#[test]
fn parents_nobody_mentions_are_plain_and_reproducible() {
    let (_fixture, layer) = good(&Tar::new().file("a/b/c", b"x").end());
    for dir in ["", "a", "a/b"] {
        let meta = layer.fs().join(dir).metadata().unwrap();
        assert_eq!((meta.mode(), meta.uid(), meta.mtime()), (0o40755, 0, 0), "{dir:?}");
    }
}

#[test]
fn pax_records_override_the_header() {
    let long = "é/".repeat(300) + "end";
    let tar = Tar::new()
        .pax(&[
            ("path", long.as_bytes()),
            ("uid", b"3000000"),
            ("gid", b"3000001"),
            ("mtime", b"-1.25"),
            ("SCHILY.xattr.user.note", b"a\0=\nb"),
            ("SCHILY.xattr.security.capability", CAP_NET_RAW),
            ("SCHILY.xattr.security.selinux", b"system_u:object_r:bin_t:s0"),
        ])
        .put(item(b'0', b"short"), b"content")
        .pax(&[("linkpath", long.as_bytes()), ("path", b"hard")])
        .put(item(b'1', b"x").link(b"y"), b"")
        .pax(&[("size", b"3")])
        .put_sized(item(b'0', b"three"), 0, b"abc")
        .end();
    let (_fixture, layer) = good(&tar);
    let path = layer.fs().join(&long);
    let meta = path.metadata().unwrap();
    assert_eq!(
        (meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec()),
        (3_000_000, 3_000_001, -2, 750_000_000)
    );
    let attributes = xattrs(&path);
    assert_eq!(attributes["user.note"], b"a\0=\nb");
    assert_eq!(attributes["security.capability"], CAP_NET_RAW);
    assert!(!attributes.contains_key("security.selinux"), "labels of another host's policy are not kept");
    assert_eq!(layer.fs().join("hard").metadata().unwrap().ino(), meta.ino());
    assert_eq!(fs::read(layer.fs().join("three")).unwrap(), b"abc");
}

/// As containers/storage has it (`createTarFile`). An EROFS image has one time for each file.
#[test]
fn the_time_of_last_access_is_the_tars_and_not_before_the_last_change() {
    let mut gnu = tar::Header::new_gnu();
    gnu.as_old_mut().name[..3].copy_from_slice(b"gnu");
    gnu.set_mode(0o644);
    gnu.set_uid(0);
    gnu.set_gid(0);
    gnu.set_mtime(5);
    gnu.as_gnu_mut().unwrap().atime.copy_from_slice(b"00000000013\0");
    let timed = |name: &[u8]| item(b'0', name).mtime(5);
    let tar = Tar::new()
        .pax(&[("atime", b"10.000000007"), ("ctime", b"12")])
        .put(timed(b"file"), b"x")
        .pax(&[("atime", b"11")])
        .put(item(b'2', b"link").link(b"file").mtime(5), b"")
        .pax(&[("atime", b"12")])
        .put(item(b'5', b"dir").mtime(5), b"")
        .pax(&[("atime", b"3")])
        .put(timed(b"before"), b"x")
        .pax(&[("atime", b"soon")])
        .put(timed(b"unreadable"), b"x")
        .put(timed(b"none"), b"x")
        .put(Item { header: gnu }, b"x")
        .end();
    let fixture = Fixture::new();
    // Not read by anybody, which would be an access.
    let layer = fixture.unpack(&tar).unwrap();
    let times = [
        ("file", (10, 7)),
        ("link", (11, 0)),
        ("dir", (12, 0)),
        ("before", (5, 0)),
        ("unreadable", (5, 0)),
        ("none", (5, 0)),
        ("gnu", (11, 0)),
    ];
    for (name, time) in times {
        let meta = layer.fs().join(name).symlink_metadata().unwrap();
        let expected = if FORM == Form::Dir { time } else { (5, 0) };
        assert_eq!((meta.atime(), meta.atime_nsec(), meta.mtime()), (expected.0, expected.1, 5), "{name}");
    }
}

#[test]
fn capabilities_survive_a_foreign_owner_and_set_id_bits() {
    let tar = Tar::new()
        .pax(&[("SCHILY.xattr.security.capability", CAP_NET_RAW)])
        .put(item(b'0', b"ping").mode(0o6755).owner(7, 8), b"elf")
        .end();
    let (_fixture, layer) = good(&tar);
    assert_eq!(mode(&layer.fs().join("ping")), 0o106755);
    assert_eq!(xattrs(&layer.fs().join("ping"))["security.capability"], CAP_NET_RAW);
}

#[test]
fn attributes_reach_directories_and_links_too() {
    let tar = Tar::new()
        .pax(&[("SCHILY.xattr.user.d", b"1"), ("mtime", b"5.000000007")])
        .put(item(b'5', b"dir").mode(0o2750), b"")
        .file("dir/later", b"")
        .pax(&[("SCHILY.xattr.trusted.l", b"2"), ("mtime", b"6.000000008")])
        .put(item(b'2', b"link").link(b"dir"), b"")
        .end();
    let (_fixture, layer) = good(&tar);
    let (dir, link) = (layer.fs().join("dir"), layer.fs().join("link"));
    assert_eq!((mode(&dir), dir.metadata().unwrap().mtime_nsec()), (0o42750, 7));
    assert_eq!(xattrs(&dir)["user.d"], b"1");
    assert_eq!(link.symlink_metadata().unwrap().mtime_nsec(), 8);
    assert_eq!(xattrs(&link)["trusted.l"], b"2");
    let later = layer.fs().join("dir/later").metadata().unwrap();
    assert_eq!(later.gid(), 0, "nothing inherits a group from a directory of the layer");
}

#[test]
fn gnu_long_names_and_links() {
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(255));
    let with_nul = |text: &str| [text.as_bytes(), b"\0"].concat();
    let tar = Tar::new()
        .put(item(b'L', b"././@LongLink"), &with_nul(&long))
        .put(item(b'0', b"cut"), b"x")
        .put(item(b'K', b"././@LongLink"), &with_nul(&long))
        .put(item(b'1', b"hard").link(b"cut"), b"")
        .end();
    let (_fixture, layer) = good(&tar);
    assert_eq!(fs::read(layer.fs().join(&long)).unwrap(), b"x");
    assert_eq!(layer.fs().join("hard").metadata().unwrap().nlink(), 2);
}

#[test]
fn names_are_bytes() {
    let name = b"caf\xe9 \x01\xff";
    let (_fixture, layer) = good(&Tar::new().put(item(b'0', name), b"x").end());
    let entry = fs::read_dir(layer.fs()).unwrap().next().unwrap().unwrap();
    assert_eq!(entry.file_name().as_bytes(), name);
}

#[test]
fn zeros_become_holes() {
    let mut content = vec![0; 8 << 20];
    content[..5].copy_from_slice(b"start");
    content[5 << 20..(5 << 20) + 3].copy_from_slice(b"mid");
    let (_fixture, layer) = good(&Tar::new().file("image", &content).file("zero", &vec![0; 1 << 20]).end());
    let meta = layer.fs().join("image").metadata().unwrap();
    assert_eq!(meta.len(), 8 << 20);
    let used = layer.disk_used("image") + layer.disk_used("zero");
    assert!(used < 1 << 20, "{used} bytes");
    let file = fs::File::open(layer.fs().join("image")).unwrap();
    let hole = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(0)).unwrap();
    assert!(hole <= 64 << 10, "programs see it: {hole}");
    assert!(fs::read(layer.fs().join("image")).unwrap() == content);
    assert_eq!(fs::read(layer.fs().join("zero")).unwrap(), vec![0; 1 << 20]);
}

#[test]
fn old_gnu_sparse_with_extension_blocks() {
    // 30 extents of 512 bytes, 4 KiB apart, in a file of 200 KiB.
    let slot = |n: u64| format!("{:011o}\0{:011o}\0", n * 4096, 512).into_bytes();
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..6].copy_from_slice(b"sparse");
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(30 * 512);
    {
        let bytes = header.as_mut_bytes();
        bytes[156] = b'S';
        for n in 0..4 {
            bytes[386 + 24 * n..386 + 24 * (n + 1)].copy_from_slice(&slot(n as u64));
        }
        bytes[482] = 1;
        bytes[483..495].copy_from_slice(format!("{:011o}\0", 200 << 10).as_bytes());
    }
    header.set_cksum();
    let mut tar = Tar::new();
    tar.0.extend_from_slice(header.as_bytes());
    for (from, to, more) in [(4, 25, 1), (25, 30, 0)] {
        let mut block: Vec<u8> = (from..to).flat_map(slot).collect();
        block.resize(512, 0);
        block[504] = more;
        tar.0.extend_from_slice(&block);
    }
    let data: Vec<u8> = (0..30u8).flat_map(|n| [n + 1; 512]).collect();
    let (_fixture, layer) = good(&tar.data(&data).file("after", b"x").end());
    let file = fs::read(layer.fs().join("sparse")).unwrap();
    assert_eq!(file.len(), 200 << 10);
    for n in 0..30 {
        assert!(file[n * 4096..n * 4096 + 512].iter().all(|&b| b == n as u8 + 1));
        assert!(file[n * 4096 + 512..(n + 1) * 4096].iter().all(|&b| b == 0));
    }
}

#[test]
fn pax_sparse_in_all_three_versions() {
    let check = |tar: Vec<u8>| {
        let (_fixture, layer) = good(&tar);
        let file = fs::read(layer.fs().join("real")).unwrap();
        assert_eq!(file.len(), 10_000);
        assert_eq!((&file[4096..4099], &file[8000..8002]), (&b"abc"[..], &b"de"[..]));
        assert_eq!(file.iter().filter(|&&b| b != 0).count(), 5);
    };
    check(
        Tar::new()
            .pax(&[
                ("GNU.sparse.size", b"10000"),
                ("GNU.sparse.numblocks", b"2"),
                ("GNU.sparse.offset", b"4096"),
                ("GNU.sparse.numbytes", b"3"),
                ("GNU.sparse.offset", b"8000"),
                ("GNU.sparse.numbytes", b"2"),
            ])
            .file("real", b"abcde")
            .end(),
    );
    check(
        Tar::new()
            .pax(&[
                ("GNU.sparse.size", b"10000"),
                ("GNU.sparse.numblocks", b"2"),
                ("GNU.sparse.map", b"4096,3,8000,2"),
                ("GNU.sparse.name", b"real"),
            ])
            .file("GNUSparseFile.0/real", b"abcde")
            .end(),
    );
    let mut data = b"2\n4096\n3\n8000\n2\n".to_vec();
    data.resize(512, 0);
    data.extend_from_slice(b"abcde");
    check(
        Tar::new()
            .pax(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", b"real"),
                ("GNU.sparse.realsize", b"10000"),
            ])
            .file("GNUSparseFile.0/real", &data)
            .end(),
    );
}

#[test]
fn the_last_of_several_entries_wins_and_the_tar_is_still_exact() {
    let tar = Tar::new()
        .file("f", b"first")
        .file("f", b"second, longer")
        .file("d", b"a file")
        .dir("d")
        .file("d/inner", b"lost")
        .dir("d/deep")
        .file("d/deep/er", b"lost too")
        .file("d", b"a file again")
        .file("f", b"third")
        .symlink("l", "f")
        .file("l", b"not through the link")
        .hardlink("h", "f")
        .file("f", b"fourth")
        .dir("keep")
        .file("keep/child", b"stays")
        .put(item(b'5', b"keep").mode(0o700), b"")
        .end();
    let (_fixture, layer) = good(&tar);
    let read = |name: &str| fs::read_to_string(layer.fs().join(name)).unwrap();
    assert_eq!(
        (read("f"), read("d"), read("l")),
        ("fourth".into(), "a file again".into(), "not through the link".into())
    );
    assert_eq!((read("h"), read("keep/child")), ("third".into(), "stays".into()));
    assert_eq!(mode(&layer.fs().join("keep")), 0o40700);
}

#[test]
fn a_hard_link_to_itself_changes_nothing() {
    let (_fixture, layer) = good(&Tar::new().file("f", b"x").hardlink("./f", "/f").end());
    assert_eq!(fs::read(layer.fs().join("f")).unwrap(), b"x");
}

#[test]
fn a_replaced_hard_link_target_is_found_where_it_was() {
    let message = refused(&Tar::new().dir("d").file("d/f", b"x").hardlink("d", "d/f").end());
    assert!(message.contains("hard link target \"d/f\" is not in this layer"), "{message}");
}

#[test]
fn links_on_the_way_are_followed_inside_the_layer() {
    let tar = Tar::new()
        .dir("usr/lib")
        .symlink("lib", "usr/lib")
        .symlink("abs", "/usr/lib")
        .symlink("up", "../../../usr")
        .file("lib/one", b"1")
        .file("abs/two", b"2")
        .file("up/lib/three", b"3")
        .hardlink("lib/four", "abs/one")
        .symlink("new", "made/on/demand")
        .file("new/five", b"5")
        .end();
    let (_fixture, layer) = good(&tar);
    let lib = layer.fs().join("usr/lib");
    for (name, content) in [("one", "1"), ("two", "2"), ("three", "3"), ("four", "1")] {
        assert_eq!(fs::read_to_string(lib.join(name)).unwrap(), content);
    }
    assert_eq!(fs::read(layer.fs().join("made/on/demand/five")).unwrap(), b"5");
}

#[test]
fn a_link_that_becomes_a_directory_is_no_longer_followed() {
    let tar = Tar::new().dir("a").symlink("l", "a").file("l/one", b"1").dir("l").file("l/two", b"2").end();
    let (_fixture, layer) = good(&tar);
    assert!(layer.fs().join("a/one").exists() && layer.fs().join("l/two").exists());
    assert!(!layer.fs().join("a/two").exists());
}

#[test]
fn directories_deeper_than_the_open_ones_are_reached_again() {
    let deep = (0..300).map(|n| format!("{n:03}")).collect::<Vec<_>>();
    let mut tar = Tar::new();
    for depth in (1..=300).chain((1..=300).rev().step_by(7)) {
        let path = deep[..depth].join("/") + "/f";
        tar = tar.pax(&[("path", path.as_bytes())]).put(item(b'0', b"x"), path.as_bytes());
    }
    let (fixture, layer) = good(&tar.end());
    assert!(layer.fs().join(deep.join("/")).join("f").exists());
    assert_eq!(fixture.store.gc().unwrap().layers, 1);
    assert_eq!(fixture.leftovers(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_directory_in_the_old_manner_ends_in_a_slash() {
    let (_fixture, layer) = good(&Tar::new().put(item(0, b"old/"), b"").put(item(0, b"file"), b"x").end());
    assert!(layer.fs().join("old").is_dir() && layer.fs().join("file").is_file());
}

#[test]
fn entries_without_content_have_none_whatever_they_say() {
    // As Go reads them; another reading would see other entries (CVE-2025-62518).
    let tar = Tar::new()
        .put_sized(item(b'5', b"dir"), 512, b"")
        .put_sized(item(b'2', b"link").link(b"x"), 1024, b"")
        .file("file", b"content")
        .end();
    let (_fixture, layer) = good(&tar);
    assert_eq!(fs::read(layer.fs().join("file")).unwrap(), b"content");
}

#[test]
fn what_follows_the_end_belongs_to_the_identity_only() {
    let mut tar = Tar::new().file("f", b"x").end();
    tar.extend_from_slice(&Tar::new().file("hidden", b"y").end());
    tar.extend_from_slice(b"and an odd tail");
    let (_fixture, layer) = good(&tar);
    assert_eq!(fs::read_dir(layer.fs()).unwrap().count(), 1);
    // Writers that leave the end mark out exist.
    good(&Tar::new().file("f", b"x").0);
    // And those that leave out the padding of the last file, too.
    for missing in [1, 100, 511] {
        let tar = Tar::new().dir("d").file("d/f", b"x").0;
        let (_fixture, layer) = good(&tar[..tar.len() - missing]);
        assert_eq!(fs::read(layer.fs().join("d/f")).unwrap(), b"x");
    }
    good(&[]);
    good(&[0; 512]);
}

#[test]
fn global_headers_and_unknown_records_are_ignored() {
    let tar = Tar::new()
        .put(item(b'g', b"pax_global_header"), b"52 comment=0123456789012345678901234567890123456789\n")
        .pax(&[("VENDOR.key", b"value"), ("atime", b"1.5")])
        .file("f", b"x")
        .end();
    let (_fixture, layer) = good(&tar);
    assert_eq!(layer.entries(), 1);
}

#[test]
fn nothing_depends_on_the_umask_or_on_the_stores_own_directory() {
    let tar = Tar::new()
        .put(item(b'5', b"d").mode(0o777), b"")
        .put(item(b'0', b"d/f").mode(0o666), b"x")
        .put(item(b'6', b"implied/pipe").mode(0o622), b"")
        .end();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let fixture = common::Fixture::new();
    // Everything made in a set-group-id directory inherits its group, and directories inherit the bit.
    for dir in ["leases", "staging"] {
        let dir = fixture.store.root().join(dir);
        std::os::unix::fs::chown(&dir, Some(0), Some(77)).unwrap();
        fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o2700)).unwrap();
    }
    let layer = fixture.unpack(&tar).unwrap();
    let fs_dir = layer.fs();
    for (path, expected) in
        [("", 0o40755), ("d", 0o40777), ("d/f", 0o100666), ("implied", 0o40755), ("implied/pipe", 0o10622)]
    {
        let meta = fs_dir.join(path).metadata().unwrap();
        assert_eq!((meta.mode(), meta.uid(), meta.gid()), (expected, 0, 0), "{path:?}");
    }
}
