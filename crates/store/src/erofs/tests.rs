//! Images by themselves: checked by erofs-utils and read by the kernel. Needs root.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::{Command, Stdio};

use super::content::Piece;
use super::format::{DirBlocks, Dirent, FileKind};
use super::read::Image;
use super::write::{Attributes, Directory, Writer};
use super::xattr;

fn attributes(mode: u32, xattrs: &[(&std::ffi::CStr, &[u8])]) -> Attributes {
    let xattrs: Vec<_> = xattrs.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
    let xattrs = xattr::encode(FileKind::Directory, &mut 0, &xattrs, false).unwrap();
    Attributes { mode, uid: 70_000, gid: 7, mtime: (-5, 123_456_789), xattrs }
}

/// Sizes around every border: nothing, inline or not, whole blocks, searched for zeros.
const SIZES: [usize; 14] =
    [0, 1, 2000, 4000, 4031, 4032, 4033, 4095, 4096, 4097, 10_000, 131_071, 131_072, 300_001];

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n * 31 + n / 251 + 1) as u8 | 1).collect()
}

/// Content with a hole in front, one in the middle and one at the end.
fn holes() -> Vec<u8> {
    let mut bytes = vec![0; 2_000_000];
    bytes[500_000..500_003].copy_from_slice(b"abc");
    bytes[1_200_000..1_300_000].copy_from_slice(&content(100_000));
    bytes
}

fn image(path: &Path) {
    let mut writer = Writer::new(File::create_new(path).unwrap()).unwrap();
    let plain = attributes(0o640, &[]);
    let mut names: Vec<(Vec<u8>, u64, FileKind)> = Vec::new();
    for size in SIZES {
        let bytes = content(size);
        let mut content = writer.content(size as u64, false).unwrap();
        bytes.chunks(777).for_each(|part| content.write(&mut writer.out, part).unwrap());
        let stored: u64 = content.pieces.iter().map(length).sum();
        let (nid, tail) = writer.file(&plain, content).unwrap();
        assert_eq!(size as u64 - stored, if tail.is_some() { size as u64 % 4096 } else { 0 });
        names.push((format!("file-{size}").into_bytes(), nid, FileKind::File));
    }
    let bytes = holes();
    let mut content = writer.content(bytes.len() as u64, false).unwrap();
    bytes.chunks(50_000).for_each(|part| content.write(&mut writer.out, part).unwrap());
    assert_eq!(content.pieces.iter().map(length).sum::<u64>(), 2_000_000);
    names.push((b"holes".to_vec(), writer.file(&plain, content).unwrap().0, FileKind::File));

    let mut content = writer.content(1 << 40, true).unwrap();
    content.seek((1 << 40) - 2);
    content.write(&mut writer.out, b"z").unwrap();
    names.push((b"sparse".to_vec(), writer.file(&plain, content).unwrap().0, FileKind::File));

    let big = [1; 60_000];
    let many = attributes(0o777, &[(c"user.big", &big), (c"trusted.t", b"1"), (c"security.x", b"")]);
    let empty = writer.content(0, false).unwrap();
    let nid = writer.file(&many, empty).unwrap().0;
    writer.set_links(nid, 2).unwrap();
    let early = names[1].1;
    writer.set_links(early, 2001).unwrap();
    names.push((b"attributes".to_vec(), nid, FileKind::File));
    names.push((b"second name".to_vec(), nid, FileKind::File));
    names.push((b"link".to_vec(), writer.symlink(&plain, b"file-1").unwrap(), FileKind::Symlink));
    names.push((b"long".to_vec(), writer.symlink(&plain, &[b'x'; 4095]).unwrap(), FileKind::Symlink));
    for (name, kind, device) in [
        ("null", FileKind::CharDevice, (1, 3)),
        ("whiteout", FileKind::CharDevice, (0, 0)),
        ("disk", FileKind::BlockDevice, (4095, (1 << 20) - 1)),
        ("pipe", FileKind::Fifo, (0, 0)),
    ] {
        names.push((name.into(), writer.node(kind, &plain, device).unwrap(), kind));
    }
    let file = names[1].1;
    let mut sub: Vec<_> =
        (0..2000).map(|n| (format!("{n:0100}").into_bytes(), file, FileKind::File)).collect();
    let dots = |up| [(b".".to_vec(), up, FileKind::Directory), (b"..".to_vec(), 0, FileKind::Directory)];
    names.extend(dots(0));
    names.extend([b"sub".to_vec(), b"!first".to_vec()].map(|name| (name, 1, FileKind::Directory)));
    sub.extend(dots(1));
    names.sort();
    sub.sort();
    let listings = [names, sub];
    let directories: Vec<_> = listings
        .iter()
        .map(|names| Directory {
            attributes: attributes(0o1755, &[(c"user.d", b"dir")]),
            size: DirBlocks::size(names.iter().map(|(name, ..)| name.len())),
            links: 2,
        })
        .collect();
    let spots = writer.place(&directories).unwrap();
    let entries = |index: usize| {
        listings[index].iter().map(|(name, nid, kind)| {
            let nid = if *kind == FileKind::Directory { spots[*nid as usize].nid() } else { *nid };
            Dirent { name, nid, kind: *kind }
        })
    };
    writer.finish(&directories, &spots, entries, [7; 16]).unwrap();
}

fn length(piece: &Piece) -> u64 {
    match piece {
        Piece::Extent { count, .. } | Piece::Zeros { count } => *count,
    }
}

#[test]
fn the_kernel_reads_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let (file, second) = (dir.path().join("image"), dir.path().join("again"));
    image(&file);
    image(&second);
    assert!(fs::read(&file).unwrap() == fs::read(&second).unwrap(), "the same tree gives the same bytes");
    let fsck = Command::new("fsck.erofs").arg(&file).output().unwrap();
    assert!(fsck.status.success(), "{}", String::from_utf8_lossy(&fsck.stdout));
    let target = dir.path().join("mounted");
    fs::create_dir(&target).unwrap();
    let mut child = Command::new("unshare")
        .args([
            "-m",
            "--propagation",
            "private",
            "sh",
            "-ec",
            "mount -t erofs -o loop,ro \"$@\"; echo; exec cat",
        ])
        .arg("sh")
        .args([&file, &target])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).expect("the image is mounted");
    check(&Path::new(&format!("/proc/{}/root", child.id())).join(target.strip_prefix("/").unwrap()));
    drop(child.stdin.take());
    child.wait().unwrap();
}

fn check(root: &Path) {
    for size in SIZES {
        let path = root.join(format!("file-{size}"));
        assert!(fs::read(&path).unwrap() == content(size), "{size}");
        let meta = path.metadata().unwrap();
        let links = if size == 1 { 2001 } else { 1 };
        assert_eq!((meta.mode(), meta.uid(), meta.gid(), meta.nlink()), (0o100640, 70_000, 7, links));
        assert_eq!((meta.mtime(), meta.mtime_nsec()), (-5, 123_456_789));
    }
    assert!(fs::read(root.join("holes")).unwrap() == holes());
    let mut sparse = File::open(root.join("sparse")).unwrap();
    assert_eq!(sparse.metadata().unwrap().len(), 1 << 40);
    assert!(rustix::fs::seek(&sparse, rustix::fs::SeekFrom::Data(0)).unwrap() > (1 << 40) - (32 << 20));
    sparse.seek(SeekFrom::End(-3)).unwrap();
    let mut end = Vec::new();
    std::io::Read::read_to_end(&mut sparse, &mut end).unwrap();
    assert_eq!(end, b"\0z\0");
    let mut value = vec![0; 70_000];
    let length = rustix::fs::lgetxattr(root.join("attributes"), c"user.big", &mut value[..]).unwrap();
    assert!(value[..length] == [1; 60_000]);
    assert_eq!(rustix::fs::lgetxattr(root.join("second name"), c"trusted.t", &mut value[..]).unwrap(), 1);
    assert_eq!(rustix::fs::lgetxattr(root, c"user.d", &mut value[..]).unwrap(), 3);
    assert_eq!(root.join("second name").metadata().unwrap().nlink(), 2);
    assert_eq!(fs::read_link(root.join("link")).unwrap(), Path::new("file-1"));
    assert_eq!(fs::read_link(root.join("long")).unwrap().as_os_str().len(), 4095);
    let rdev = |name: &str| root.join(name).symlink_metadata().unwrap().rdev();
    assert_eq!((rdev("null"), rdev("whiteout")), (rustix::fs::makedev(1, 3), 0));
    assert_eq!(rdev("disk"), rustix::fs::makedev(4095, (1 << 20) - 1));
    assert!(root.join("pipe").metadata().unwrap().file_type().is_fifo());
    assert_eq!(root.metadata().unwrap().mode(), 0o41755);
    assert_eq!(fs::read_dir(root).unwrap().count(), SIZES.len() + 12);
    for sub in ["sub", "!first"] {
        assert_eq!(fs::read_dir(root.join(sub)).unwrap().count(), 2000);
        for n in [0, 1, 38, 39, 999, 1999] {
            assert_eq!(fs::read(root.join(sub).join(format!("{n:0100}"))).unwrap(), content(1), "{n}");
        }
        assert_eq!(root.join(sub).join("..").metadata().unwrap().ino(), root.metadata().unwrap().ino());
    }
}

/// An image with one of everything, small enough to damage a large part of.
fn small() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    let mut writer = Writer::new(File::create_new(&path).unwrap()).unwrap();
    let plain = attributes(0o640, &[(c"user.a", b"value")]);
    let mut content = writer.content(5000, false).unwrap();
    content.write(&mut writer.out, &[7; 5000]).unwrap();
    let file = writer.file(&plain, content).unwrap().0;
    let mut content = writer.content(200_000, false).unwrap();
    content.write(&mut writer.out, &[0; 150_000]).unwrap();
    content.write(&mut writer.out, &[1; 50_000]).unwrap();
    let holes = writer.file(&plain, content).unwrap().0;
    let link = writer.symlink(&plain, b"file").unwrap();
    let dot = |name: &'static [u8], index: u64| (name, index, FileKind::Directory);
    let listings = [
        vec![dot(b".", 0), dot(b"..", 0), dot(b"d", 1), (&b"file"[..], file, FileKind::File)],
        vec![
            dot(b".", 1),
            dot(b"..", 0),
            (&b"holes"[..], holes, FileKind::File),
            (b"name", link, FileKind::Symlink),
        ],
    ];
    let directory = |index: usize| Directory {
        attributes: attributes(0o755, &[(c"user.d", b"dir")]),
        size: DirBlocks::size(listings[index].iter().map(|(name, ..)| name.len())),
        links: 3 - index as u32,
    };
    let directories = [directory(0), directory(1)];
    let spots = writer.place(&directories).unwrap();
    let entries = |index: usize| {
        listings[index].iter().map(|&(name, nid, kind)| {
            let nid = if kind == FileKind::Directory { spots[nid as usize].nid() } else { nid };
            Dirent { name, nid, kind }
        })
    };
    writer.finish(&directories, &spots, entries, [7; 16]).unwrap();
    fs::read(path).unwrap()
}

#[test]
fn what_was_written_is_read() {
    let bytes = small();
    let image = Image::open(&bytes[..]).unwrap();
    image.check().unwrap();
    let found = image.find(b"d/name").unwrap().unwrap();
    assert!(!found.is_dir());
    assert_eq!(image.xattrs(&found).unwrap(), [(b"user.a".to_vec(), b"value".to_vec())]);
    let dir = image.find(b"d").unwrap().unwrap();
    assert_eq!((dir.mode(), dir.owner(), dir.mtime()), (0o755, (70_000, 7), (-5, 123_456_789)));
    assert!(image.find(b"d/nothing").unwrap().is_none() && image.find(b"nothing/at/all").unwrap().is_none());
    assert!(!image.find(b"file/x").unwrap().unwrap().is_dir(), "what is in the way is the answer");
}

proptest::proptest! {
    /// Damage is found or does no harm; nothing breaks the reader.
    #[test]
    fn any_damage_is_survived(
        damage in proptest::collection::vec((proptest::num::usize::ANY, proptest::num::u8::ANY), 1..8),
        length in proptest::option::of(proptest::num::usize::ANY),
    ) {
        let mut bytes = small();
        for (at, byte) in damage {
            // The superblock's checksum covers the first block; behind it stands the rest.
            let at = if at % 3 == 0 { at % bytes.len() } else { 4096 + at / 3 % 12_288 };
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        if let Some(length) = length {
            bytes.truncate(length % (2 * bytes.len()));
        }
        super::read_anything(&bytes);
    }
}
