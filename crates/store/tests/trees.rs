//! Whole trees packed by GNU tar come back the same. Needs root.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use common::{describe, good};
use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

/// Packs a directory with GNU tar, which is essential in Debian.
fn pack(root: &Path, format: &[&str]) -> Vec<u8> {
    let output = Command::new("tar")
        .args(["--numeric-owner", "--sort=name"])
        .args(format)
        .args(["-c", "."])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn set_times(path: &Path, seconds: i64, nanos: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

#[test]
fn sparse_files_of_gnu_tar_in_every_format() {
    let tree = tempfile::tempdir().unwrap();
    let path = tree.path().join("sparse");
    let file = fs::File::create(&path).unwrap();
    use std::os::unix::fs::FileExt;
    for n in 0..100u64 {
        file.write_all_at(format!("data {n}").as_bytes(), n * 100_000).unwrap();
    }
    file.set_len(20_000_000).unwrap();
    drop(file);
    set_times(&path, 1_000_000_000, 0);
    set_times(tree.path(), 1_000_000_000, 0);
    for format in ["--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0", "--format=gnu"] {
        let tar = pack(
            tree.path(),
            &["--sparse", if format == "--format=gnu" { "--format=gnu" } else { "--format=posix" }, format],
        );
        assert!(tar.len() < 1_000_000, "{format}: not packed as sparse");
        let (_fixture, layer) = good(&tar);
        assert_eq!(describe(&layer.fs(), true), describe(tree.path(), true), "{format}");
        let used = layer.disk_used("sparse");
        assert!(used < 1_000_000, "{format}: {used} bytes used");
    }
}

/// One thing in a random tree.
#[derive(Debug, Clone)]
enum Node {
    File { content: Vec<u8>, holes: bool },
    Dir,
    Symlink(Vec<u8>),
    Fifo,
    Device(u32, u32),
    HardLink(prop::sample::Index),
}

#[derive(Debug, Clone)]
struct Thing {
    parent: prop::sample::Index,
    name: Vec<u8>,
    node: Node,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    xattr: Option<Vec<u8>>,
}

fn things() -> impl Strategy<Value = Vec<Thing>> {
    let byte = (1u8..=255).prop_filter("no slash", |&b| b != b'/');
    let name = prop::collection::vec(byte.clone(), 1..120)
        .prop_filter("a name, not a whiteout", |n| n != b"." && n != b".." && !n.starts_with(b".wh."));
    let node = prop_oneof![
        4 => (prop::collection::vec(any::<u8>(), 0..3000), any::<bool>())
            .prop_map(|(content, holes)| Node::File { content, holes }),
        3 => Just(Node::Dir),
        1 => prop::collection::vec(byte, 1..150).prop_map(Node::Symlink),
        1 => Just(Node::Fifo),
        1 => (1u32..4096, 0u32..1 << 20).prop_map(|(a, b)| Node::Device(a, b)),
        1 => any::<prop::sample::Index>().prop_map(Node::HardLink),
    ];
    let thing = (
        any::<prop::sample::Index>(),
        name,
        node,
        0u32..0o10000,
        (0u32..70_000, 0u32..70_000),
        (0i64..1 << 34, 0i64..1_000_000_000),
        prop::option::of(prop::collection::vec(any::<u8>(), 0..50)),
    );
    let thing = thing.prop_map(|(parent, name, node, mode, owner, mtime, xattr)| Thing {
        parent,
        name,
        node,
        mode,
        owner,
        mtime,
        xattr,
    });
    prop::collection::vec(thing, 0..25)
}

fn build(root: &Path, things: &[Thing]) {
    let (mut dirs, mut files) = (vec![root.to_path_buf()], Vec::new());
    let mut finish = Vec::new();
    for thing in things {
        let path = dirs[thing.parent.index(dirs.len())].join(OsStr::from_bytes(&thing.name));
        if path.symlink_metadata().is_ok() || path.as_os_str().len() > 3000 {
            continue;
        }
        let (mut xattr, mut mode) = (true, true);
        match &thing.node {
            Node::File { content, holes } => {
                let mut bytes = content.clone();
                if *holes {
                    bytes.extend(vec![0; 200_000]);
                    bytes.extend_from_slice(content);
                }
                fs::write(&path, bytes).unwrap();
                files.push(path.clone());
            }
            Node::Dir => {
                fs::create_dir(&path).unwrap();
                dirs.push(path.clone());
            }
            Node::Symlink(target) => {
                symlink(OsStr::from_bytes(target), &path).unwrap();
                (xattr, mode) = (false, false);
            }
            Node::Fifo => {
                rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
                xattr = false;
            }
            Node::Device(major, minor) => {
                let device = rustix::fs::makedev(*major, *minor);
                rustix::fs::mknodat(CWD, &path, FileType::CharacterDevice, Mode::RUSR, device).unwrap();
                xattr = false;
            }
            Node::HardLink(target) => {
                if !files.is_empty() {
                    fs::hard_link(&files[target.index(files.len())], &path).unwrap();
                }
                continue;
            }
        }
        finish.push((path, thing, xattr, mode));
    }
    for (path, thing, xattr, mode) in finish.into_iter().rev() {
        std::os::unix::fs::lchown(&path, Some(thing.owner.0), Some(thing.owner.1)).unwrap();
        if mode {
            fs::set_permissions(&path, fs::Permissions::from_mode(thing.mode)).unwrap();
        }
        if let (true, Some(value)) = (xattr, &thing.xattr) {
            rustix::fs::lsetxattr(&path, "user.random", value, XattrFlags::empty()).unwrap();
        }
        set_times(&path, thing.mtime.0, thing.mtime.1);
    }
    set_times(root, 1, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn random_trees_come_back_the_same(things in things()) {
        let tree = tempfile::tempdir().unwrap();
        build(tree.path(), &things);
        let tar = pack(tree.path(), &["--format=posix", "--xattrs", "--xattrs-include=*"]);
        let (_fixture, layer) = good(&tar);
        prop_assert_eq!(describe(&layer.fs(), true), describe(tree.path(), true));
    }
}
