//! An image with everything a layer can hold, and what a container must see of it.

use crate::fixtures::busybox_layer;
use crate::layer::{Entry, Layer, RawLayer};
use crate::{Config, Image, digest};

/// A question to a container and its answer.
#[derive(Clone, Debug)]
pub struct Expected {
    /// A shell command of busybox.
    pub command: String,
    /// What it prints.
    pub prints: String,
}

const LARGE: usize = 24 << 20;
/// Offsets of `/sparse` between which there is nothing.
pub const HOLES: [u64; 2] = [1 << 20, SPARSE_AT];
const SPARSE: u64 = 256 << 20;
const SPARSE_AT: u64 = 200 << 20;

/// A name of 255 bytes.
fn long_name() -> String {
    "n".repeat(255)
}

/// A path of more than 1000 bytes in parts of at most 120.
fn long_path() -> String {
    let part = "langer-verzeichnisname-".repeat(5);
    let mut path = String::from("names");
    for i in 0..9 {
        path.push_str(&format!("/{i}-{part}"));
    }
    path
}

/// Bytes that do not compress, the same each time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A `security.capability` value, revision 2: permitted and effective.
fn file_capability(bit: u32) -> Vec<u8> {
    const REVISION_2_EFFECTIVE: u32 = 0x0200_0001;
    let words = [REVISION_2_EFFECTIVE, 1 << bit, 0, 0, 0];
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

fn first() -> RawLayer {
    let busybox = std::fs::read("/bin/busybox").expect("read /bin/busybox");
    Layer::of([
        Entry::dir("gone"),
        Entry::file("gone/file", "old"),
        Entry::file("gone/kept", "kept"),
        Entry::dir("gone-dir"),
        Entry::file("gone-dir/a", "a"),
        Entry::dir("gone-dir/sub"),
        Entry::file("gone-dir/sub/b", "b"),
        Entry::dir("opaque"),
        Entry::file("opaque/old1", "1"),
        Entry::dir("opaque/old2"),
        Entry::file("opaque/old2/deep", "2"),
        Entry::file("replaced", "old content"),
        Entry::file("file-to-dir", "a file"),
        Entry::dir("dir-to-file"),
        Entry::file("dir-to-file/inside", "x"),
        Entry::dir("link-to-dir-target"),
        Entry::symlink("link-to-dir", "link-to-dir-target"),
        Entry::file("again", "first"),
        Entry::dir("attrs"),
        Entry::file("attrs/suid", busybox.clone()).mode(0o4755),
        Entry::file("attrs/sgid", "x").mode(0o2755).owner(0, 1000),
        Entry::dir("attrs/sticky").mode(0o1777),
        Entry::file("attrs/busybox-capable", busybox)
            .mode(0o755)
            .xattr("security.capability", &file_capability(10)),
        Entry::file("attrs/xattr", "x").xattr("user.loment.test", b"value \x00\xff of bytes"),
        Entry::file("attrs/owned", "x").owner(123_456, 654_321).mode(0o640).mtime(1_234_567_890),
        Entry::char_device("attrs/null", 1, 3),
        Entry::block_device("attrs/loop", 7, 0),
        Entry::fifo("attrs/fifo"),
        Entry::file("attrs/one", "linked"),
        Entry::hardlink("attrs/two", "attrs/one"),
        Entry::symlink("attrs/dangling", "/does/not/exist"),
        Entry::symlink("attrs/relative", "../replaced"),
    ])
    .into()
}

fn names() -> RawLayer {
    let path = long_path();
    let mut entries = vec![Entry::dir("names"), Entry::file("names/größe-日本語-ñ", "utf-8")];
    entries.push(Entry::file("names/with space and 'quote'", "space"));
    entries.push(Entry::file(&format!("names/{}", long_name()), "255"));
    let mut dir = String::from("names");
    for part in path.split('/').skip(1) {
        dir = format!("{dir}/{part}");
        entries.push(Entry::dir(&dir));
    }
    entries.push(Entry::file(&format!("{path}/file"), "deep"));
    entries.push(Entry::symlink("names/link", &format!("/{path}/file")));
    Layer::of(entries).with(Entry::file("large", noise(LARGE))).into()
}

fn second() -> RawLayer {
    Layer::of([
        Entry::whiteout("gone/file"),
        Entry::whiteout("gone-dir"),
        Entry::whiteout("never-was"),
        Entry::dir("opaque"),
        Entry::opaque("opaque"),
        Entry::file("opaque/new", "new"),
        Entry::file("replaced", "new content"),
        Entry::dir("file-to-dir"),
        Entry::file("file-to-dir/inside", "y"),
        Entry::file("dir-to-file", "a file now"),
        Entry::whiteout("again"),
    ])
    .into()
}

fn third() -> RawLayer {
    Layer::of([
        Entry::file("again", "third"),
        Entry::dir("gone-dir").mode(0o700),
        Entry::file("gone-dir/c", "c"),
        Entry::dir("link-to-dir"),
        Entry::file("link-to-dir/now-a-dir", "z"),
    ])
    .into()
}

/// Five layers over busybox.
pub fn tree_image() -> Image {
    Image::new(Config::shell(), [busybox_layer(), first(), names(), second(), third()])
}

/// A file with holes in GNU's form, which umoci cannot read: hence not part of [`tree_image`].
pub(crate) fn sparse_image() -> Image {
    let layer = Layer::new().with_sparse("sparse", SPARSE, &[(0, b"start"), (SPARSE_AT, b"middle")]);
    Image::new(Config::shell(), [busybox_layer(), layer.into()])
}

/// What must hold in a container of `sparse:latest`, whose `/sparse` has holes from the first to the last of [`HOLES`].
pub fn sparse_expectations() -> Vec<Expected> {
    let pairs = [
        ("stat -c %s /sparse", "268435456"),
        ("head -c 5 /sparse", "start"),
        ("dd if=/sparse bs=1048576 skip=200 count=1 2>/dev/null | head -c 6", "middle"),
    ];
    pairs.map(|(c, p)| Expected { command: c.to_owned(), prints: p.to_owned() }).into()
}

/// What must hold in a container of [`tree_image`].
pub fn tree_expectations() -> Vec<Expected> {
    let path = long_path();
    let long = long_name();
    let large = digest(&noise(LARGE));
    let large = large.trim_start_matches("sha256:");
    let pairs: Vec<(String, String)> = [
        ("ls -A /gone", "kept"),
        ("ls -A /gone-dir", "c"),
        ("stat -c %a /gone-dir", "700"),
        ("ls -A /opaque", "new"),
        ("cat /replaced", "new content"),
        ("cat /file-to-dir/inside", "y"),
        ("cat /dir-to-file", "a file now"),
        ("cat /again", "third"),
        ("ls -A /link-to-dir", "now-a-dir"),
        ("stat -c %F /link-to-dir", "directory"),
        ("ls -A /link-to-dir-target | wc -l", "0"),
        ("stat -c %a /attrs/suid", "4755"),
        ("stat -c '%a %g' /attrs/sgid", "2755 1000"),
        ("stat -c %a /attrs/sticky", "1777"),
        ("stat -c '%u %g %a %Y' /attrs/owned", "123456 654321 640 1234567890"),
        ("stat -c '%F %t %T' /attrs/null", "character special file 1 3"),
        ("stat -c '%F %t %T' /attrs/loop", "block special file 7 0"),
        ("stat -c %F /attrs/fifo", "fifo"),
        ("stat -c %h /attrs/one /attrs/two", "2\n2"),
        ("test /attrs/one -ef /attrs/two && echo same", "same"),
        ("readlink /attrs/dangling", "/does/not/exist"),
        ("cat /attrs/relative", "new content"),
        ("cat /names/größe-日本語-ñ", "utf-8"),
        ("cat \"/names/with space and 'quote'\"", "space"),
        ("cat /names/link", "deep"),
        ("ls -A / | grep -c '^\\.wh\\.'", "0"),
    ]
    .iter()
    .map(|(c, p)| ((*c).to_owned(), (*p).to_owned()))
    .chain([
        (format!("cat /names/{long}"), "255".to_owned()),
        (format!("cat /{path}/file"), "deep".to_owned()),
        ("sha256sum /large | cut -d' ' -f1".to_owned(), large.to_owned()),
    ])
    .collect();
    pairs.into_iter().map(|(command, prints)| Expected { command, prints }).collect()
}
