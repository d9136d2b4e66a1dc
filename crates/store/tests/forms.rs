//! A layer is the same in whatever form it is kept. Needs root.

mod common;

use std::fs;
use std::io::Read;

use common::{Fixture, Item, Tar, chain, describe, item};
use loment_store::{Form, HashingSource};
use proptest::prelude::*;

/// What one entry of a made-up tar is.
#[derive(Debug, Clone)]
enum What {
    File { size: usize, zeros: bool },
    Sparse { map: Vec<(u32, u16)>, more: u32 },
    Dir,
    Symlink(&'static str),
    HardLink(&'static str),
    Device(u32),
    Fifo,
    Whiteout,
    Opaque,
}

#[derive(Debug, Clone)]
struct Made {
    name: &'static str,
    what: What,
    mode: u32,
    owner: u32,
    time: (i32, u32),
    xattrs: Vec<(&'static str, Vec<u8>)>,
}

/// Few names, so that entries replace, cross and hide each other.
const NAMES: [&str; 13] =
    ["a", "b", "d", "d/", "d/a", "d/b", "d/d", "d/d/a", "l", "l/a", "l/d/b", "new/sub/x", "./"];
const TARGETS: [&str; 10] = ["a", "d", "d/a", "/d/d", "../d", "l", "nowhere/yet", "d/d/a", "l/a", "/"];

fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0];
    for (tag, permissions, id) in entries {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&permissions.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

fn xattr() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    const NONE: u32 = u32::MAX;
    let capability = |size: usize, version: u8| {
        let mut bytes = vec![0; size];
        (bytes[0], bytes[3], bytes[5]) = (1, version, 0x20);
        bytes
    };
    let values: [(&'static str, Vec<u8>); 16] = [
        ("user.note", b"text".to_vec()),
        ("user.note", vec![]),
        ("user.long", vec![7; 900]),
        ("trusted.own", vec![0, 255]),
        ("security.capability", capability(20, 2)),
        ("security.capability", capability(24, 3)),
        ("security.capability", capability(12, 1)),
        ("security.selinux", b"label".to_vec()),
        ("system.posix_acl_access", acl(&[(1, 7, NONE), (4, 5, NONE), (32, 4, NONE)])),
        (
            "system.posix_acl_access",
            acl(&[(1, 6, NONE), (2, 7, 5), (4, 5, NONE), (16, 3, NONE), (32, 0, NONE)]),
        ),
        (
            "system.posix_acl_default",
            acl(&[(1, 7, NONE), (4, 5, NONE), (8, 1, 9), (16, 7, NONE), (32, 4, NONE)]),
        ),
        ("system.posix_acl_default", acl(&[(1, 7, NONE), (4, 0, NONE), (32, 0, NONE)])),
        ("system.posix_acl_access", acl(&[(1, 7, NONE), (2, 7, 1), (4, 5, NONE), (32, 4, NONE)])),
        ("system.posix_acl_access", acl(&[])),
        ("system.other", b"x".to_vec()),
        ("user.", b"x".to_vec()),
    ];
    // Those that are refused come last, and seldom.
    prop_oneof![40 => 0..12usize, 1 => 12..values.len()].prop_map(move |n| values[n].clone())
}

fn made() -> impl Strategy<Value = Made> {
    let size = prop_oneof![
        Just(0),
        1..100usize,
        3900..4200usize,
        8100..8300usize,
        131_000..132_000usize,
        Just(400_000)
    ];
    let what = prop_oneof![
        6 => (size, any::<bool>()).prop_map(|(size, zeros)| What::File { size, zeros }),
        2 => (prop::collection::vec((0..200_000u32, 1..9000u16), 0..4), 0..100_000u32)
            .prop_map(|(map, more)| What::Sparse { map, more }),
        5 => Just(What::Dir),
        3 => prop::sample::select(&TARGETS[..]).prop_map(What::Symlink),
        3 => prop::sample::select(&["a", "b", "d/a", "l/a"][..]).prop_map(What::HardLink),
        1 => prop::sample::select(&TARGETS[..]).prop_map(What::HardLink),
        2 => (0..3u32).prop_map(What::Device),
        1 => Just(What::Fifo),
        3 => Just(What::Whiteout),
        1 => Just(What::Opaque),
    ];
    let xattrs = prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(xattr(), 1..4)];
    let time = (-1_000_000_000..2_000_000_000i32, 0..1_000_000_000u32);
    (prop::sample::select(&NAMES[..]), what, 0..0o10000u32, 0..70_000u32, time, xattrs)
        .prop_map(|(name, what, mode, owner, time, xattrs)| Made { name, what, mode, owner, time, xattrs })
}

impl Made {
    fn put(&self, tar: Tar) -> Tar {
        let attributes = |item: Item| item.mode(self.mode).owner(self.owner.into(), 3);
        let path = |prefix: &str| {
            let (parent, name) = self.name.trim_end_matches('/').rsplit_once('/').unwrap_or((".", self.name));
            format!("{parent}/{prefix}{}", name.trim_end_matches('/'))
        };
        let time = format!("{}.{:09}", self.time.0, self.time.1);
        let names: Vec<_> = self.xattrs.iter().map(|(name, _)| format!("SCHILY.xattr.{name}")).collect();
        let mut records: Vec<(&str, &[u8])> = vec![("mtime", time.as_bytes())];
        records.extend(names.iter().zip(&self.xattrs).map(|(name, (_, value))| (name.as_str(), &value[..])));
        let name = self.name.as_bytes();
        let is_dir = matches!(self.what, What::Dir) || name == b"./";
        // Refused for others, as it would mostly be.
        records.retain(|(name, _)| is_dir || !name.ends_with("acl_default") || self.mode == 0);
        if name == b"./" {
            return tar.pax(&records).put(attributes(item(b'5', name)), b"");
        }
        match &self.what {
            What::File { size, zeros } => {
                let byte = |n: usize| if *zeros && n % 50_000 > 100 { 0 } else { (n / 7) as u8 };
                let content: Vec<u8> = (0..*size).map(byte).collect();
                tar.pax(&records).put(attributes(item(b'0', name)), &content)
            }
            What::Sparse { map, more } => {
                let (mut end, mut text, mut data) = (0u64, Vec::new(), Vec::new());
                for (gap, length) in map {
                    text.push(format!("{},{length}", end + u64::from(*gap)));
                    end += u64::from(*gap) + u64::from(*length);
                    data.extend((0..*length).map(|n| (n / 300) as u8));
                }
                let (text, size) = (text.join(","), (end + u64::from(*more)).to_string());
                records.extend([("GNU.sparse.size", size.as_bytes()), ("GNU.sparse.map", text.as_bytes())]);
                tar.pax(&records).put(attributes(item(b'0', name)), &data)
            }
            What::Dir => tar.pax(&records).put(attributes(item(b'5', name)), b""),
            What::Symlink(target) => {
                tar.pax(&records).put(attributes(item(b'2', name)).link(target.as_bytes()), b"")
            }
            What::HardLink(target) => tar.put(item(b'1', name).link(target.as_bytes()), b""),
            What::Device(minor) => {
                tar.pax(&records).put(attributes(item(b'3', name)).device(*minor, *minor), b"")
            }
            What::Fifo => tar.pax(&records).put(attributes(item(b'6', name)), b""),
            What::Whiteout => tar.file(&path(".wh."), b""),
            What::Opaque => tar.file(&format!("{}/.wh..wh..opq", self.name.trim_end_matches('/')), b""),
        }
    }
}

/// A source that delivers as little as it likes.
struct Pieces<'t>(&'t [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.1 = (self.1 * 7 + 13) % 9001;
        let count = out.len().min(self.1 + 1);
        self.0.read(&mut out[..count])
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(25))]

    #[test]
    fn both_forms_say_the_same(made in prop::collection::vec(made(), 1..20)) {
        let (dir, image) = (Fixture::with_form(Form::Dir), Fixture::with_form(Form::Erofs));
        // What one form refuses the other does, with the same words; the rest goes on without it.
        let mut good = Tar::new();
        for made in &made {
            let longer = made.put(Tar(good.0.clone()));
            match (dir.unpack(&longer.0), image.unpack(&longer.0)) {
                (Ok(_), Ok(_)) => good = longer,
                (Err(first), Err(second)) => prop_assert_eq!(chain(&first), chain(&second)),
                (first, second) => panic!("{first:?} {second:?}"),
            }
        }
        let tar = good.end();
        let (first, second) = (dir.unpack(&tar).unwrap(), image.unpack(&tar).unwrap());
        prop_assert_eq!(describe(&second.fs(), true), describe(&first.fs(), true));
        for fixture in [&dir, &image] {
            let report = fixture.store.check(false).unwrap();
            prop_assert!(!report.is_damaged(), "{:?}", report);
        }
        let document = |fixture: &Fixture, layer| {
            let text = fs::read_to_string(fixture.layer_dir(layer).join("layer.json")).unwrap();
            text.replace(r#""form":"erofs""#, r#""form":"dir""#)
        };
        prop_assert_eq!(document(&image, &second), document(&dir, &first));
        // However the bytes came, the image is the same.
        let again = Fixture::with_form(Form::Erofs);
        let lease = again.store.lease().unwrap();
        let third = lease.unpack_layer(HashingSource::new(Pieces(&tar, made.len()))).unwrap();
        let third = third.commit(None, None).unwrap();
        for file in ["layer.erofs", "tarhdr.zst"] {
            let read = |fixture: &Fixture, layer| fs::read(fixture.layer_dir(layer).join(file)).unwrap();
            prop_assert!(read(&image, &second) == read(&again, &third), "{file}");
        }
    }
}

#[test]
fn an_older_loment_is_kept_out_from_the_first_image_on() {
    let fixture = Fixture::with_form(Form::Dir);
    let format = || fs::read_to_string(fixture.store.root().join("FORMAT")).unwrap();
    fixture.unpack(&Tar::new().file("f", b"x").end()).unwrap();
    assert!(!format().contains("erofs"));
    let tar = Tar::new().file("f", b"y").end();
    let images = fixture.store.with_form(Form::Erofs);
    let lease = images.lease().unwrap();
    let layer = lease.unpack_layer(HashingSource::new(&tar[..])).unwrap().commit(None, None).unwrap();
    assert_eq!(format(), r#"{"version":1,"compat":[],"ro_compat":[],"incompat":["erofs"]}"#);
    // Both stand beside each other, and a layer that is here is not made again.
    assert_eq!(layer.form(), Form::Erofs);
    drop(lease);
    assert_eq!(fixture.unpack(&tar).unwrap().form(), Form::Erofs);
    common::open(fixture.dir.path());
}
