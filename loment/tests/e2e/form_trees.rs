//! The images of all tests in both forms: what is mounted of one is, entry by entry, what is mounted of the other.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use loment_testkit::{Patience, Registry, World, digest, run, skip};
use rustix::fs::SeekFrom;

use crate::forms::erofs_tells_holes;
use crate::{fixtures, world};

/// Each with the platform it is asked for, if that is not this machine's.
const IMAGES: [(&str, &str); 12] = [
    ("busybox:plain", ""),
    ("busybox:zstd", ""),
    ("busybox:latest", ""),
    ("busybox:docker", ""),
    ("foreign:latest", "linux/s390x"),
    ("app:latest", ""),
    ("tree:latest", ""),
    ("sparse:latest", ""),
    ("multi:latest", ""),
    ("multi:latest", "linux/arm64"),
    ("multi:docker", ""),
    ("multi:docker", "linux/s390x"),
];

/// What holes are counted in: file systems and images round to other blocks.
const ROUND: u64 = 1 << 20;

/// All that an image says of a path.
#[derive(Debug, PartialEq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    /// Of what is no directory: those are counted in other ways everywhere.
    size: u64,
    links: u64,
    /// The first of the names that this file has.
    first: PathBuf,
    device: u64,
    modified: (i64, i64),
    target: OsString,
    attributes: BTreeMap<OsString, Vec<u8>>,
    content: Vec<String>,
    /// Where data begins and ends; nothing where that is not told.
    data: Vec<(u64, u64)>,
}

fn attributes(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let mut names = vec![0; 1 << 16];
    let length = rustix::fs::llistxattr(path, &mut names[..]).expect("attributes can be listed");
    let names = names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    let read = |name: &[u8]| {
        let (name, mut value) = (OsString::from_vec(name.to_vec()), vec![0; 1 << 16]);
        let length = rustix::fs::lgetxattr(path, &name, &mut value[..]).expect("attributes can be read");
        value.truncate(length);
        (name, value)
    };
    names.map(read).collect()
}

/// Digests of all pieces of a file.
fn content(path: &Path) -> Vec<String> {
    let (mut file, mut digests) = (File::open(path).expect("files can be opened"), Vec::new());
    loop {
        let mut piece = Vec::new();
        match (&mut file).take(ROUND).read_to_end(&mut piece).expect("files can be read") {
            0 => return digests,
            _ => digests.push(digest(&piece)),
        }
    }
}

/// Parts with data, as far as whole pieces of [`ROUND`] show them.
fn data(path: &Path) -> Vec<(u64, u64)> {
    let (file, mut parts, mut at) = (File::open(path).expect("files can be opened"), Vec::new(), 0);
    while let Ok(from) = rustix::fs::seek(&file, SeekFrom::Data(at)) {
        at = rustix::fs::seek(&file, SeekFrom::Hole(from)).expect("data ends");
        let part = (from / ROUND, at.div_ceil(ROUND));
        match parts.last_mut() {
            Some((_, end)) if *end >= part.0 => *end = part.1,
            _ => parts.push(part),
        }
    }
    parts
}

fn look(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let (mut paths, mut pending) = (Vec::new(), vec![root.to_owned()]);
    while let Some(path) = pending.pop() {
        if path.symlink_metadata().expect("it is there").is_dir() {
            let entries = fs::read_dir(&path).expect("directories can be read");
            pending.extend(entries.map(|entry| entry.expect("directories can be read").path()));
        }
        paths.push(path);
    }
    paths.sort();
    let (mut seen, mut firsts) = (BTreeMap::new(), BTreeMap::new());
    for path in paths {
        let meta = path.symlink_metadata().expect("it is there");
        let (kind, name) = (meta.file_type(), path.strip_prefix(root).expect("it is below").to_owned());
        let first: &PathBuf = firsts.entry((meta.dev(), meta.ino())).or_insert_with(|| name.clone());
        let is_node = kind.is_char_device() || kind.is_block_device();
        let one = Seen {
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            size: if kind.is_dir() { 0 } else { meta.size() },
            links: if kind.is_dir() { 0 } else { meta.nlink() },
            first: first.clone(),
            device: if is_node { meta.rdev() } else { 0 },
            // The directory above all layers is made when they are mounted.
            modified: if path == root { (0, 0) } else { (meta.mtime(), meta.mtime_nsec()) },
            target: if kind.is_symlink() { fs::read_link(&path).unwrap().into() } else { OsString::new() },
            attributes: attributes(&path),
            content: if kind.is_file() { content(&path) } else { Vec::new() },
            data: if kind.is_file() && erofs_tells_holes() { data(&path) } else { Vec::new() },
        };
        seen.insert(name, one);
    }
    seen
}

/// An image in one form: its files, as a container has them, in an overlay or a copy.
fn mounted(
    registry: &Registry,
    (form, files): (&str, &str),
    name: &str,
    platform: &str,
) -> BTreeMap<PathBuf, Seen> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later");
    let begin = now.as_secs() as i64 - 1;
    let (world, name): (World, _) = (world(), registry.name(name));
    let (option, files) = (format!("loment.form={form}"), format!("loment.files={files}"));
    let mut pull = vec!["--storage-opt", &option, "pull", "--quiet", "--tls-verify=false"];
    if !platform.is_empty() {
        pull.extend(["--platform", platform]);
    }
    world.loment([&pull[..], &[name.as_str()]].concat()).succeeds();
    for layer in fs::read_dir(world.root().join("layers")).expect("there are layers").flatten() {
        let image = layer.path().join("layer.erofs");
        assert_eq!(image.is_file(), form == "erofs", "{}", image.display());
        if form == "erofs" {
            let fsck = run(Command::new("fsck.erofs").arg(&image), Patience::NORMAL);
            assert_eq!(fsck.code, 0, "{fsck}");
        }
    }
    let create = ["--storage-opt", &files, "create", "--network", "none", "--name", "c", &name, "true"];
    world.loment(create).succeeds();
    let path = world.loment(["mount", "c"]).succeeds().to_owned();
    let mut seen = look(Path::new(&path));
    world.loment(["rm", "--force", "c"]).succeeds();
    for one in seen.values_mut() {
        // What is there to be mounted on was made just now.
        if one.modified.0 >= begin {
            one.modified = (0, 0);
        }
    }
    seen
}

#[track_caller]
fn is_the_same(registry: &Registry, name: &str, platform: &str) {
    let [tree, others @ ..] = [("dir", "overlay"), ("erofs", "overlay"), ("erofs", "copy"), ("dir", "copy")]
        .map(|form| (form, mounted(registry, form, name, platform)));
    let tree = tree.1;
    assert!(tree.len() > 1, "{name}: nothing is in it");
    for (form, other) in others {
        for (path, one) in &tree {
            assert_eq!(other.get(path), Some(one), "{name}, {form:?}: {}", path.display());
        }
        let more: Vec<_> = other.keys().filter(|path| !tree.contains_key(*path)).collect();
        assert!(more.is_empty(), "{name}, {form:?}: {more:?}");
    }
}

#[test]
fn every_image_of_the_tests_is_the_same_in_all_forms() {
    let registry = fixtures().serve();
    for (name, platform) in IMAGES {
        is_the_same(&registry, name, platform);
    }
}

#[test]
fn debian_is_the_same_in_all_forms() {
    match fixtures().debian() {
        Ok(registry) => is_the_same(&registry, "debian:latest", ""),
        Err(reason) => skip("a whole Debian in all forms", &reason),
    }
}
