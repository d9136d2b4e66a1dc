//! Pulls that are killed, and pulls onto a disk that is too small. Needs root.

#[expect(dead_code, reason = "uses its own part of what the tests share")]
mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{Fixture, GZIP, PLAIN, chain, gzip, host, image, tar};
use loment_image::{OciLayout, Options, Silent, pull};
use loment_store::{Durability, Store};

/// Runs one of the ignored tests below in a process and a mount namespace of its own.
fn helper(test: &str, dir: &Path, script: &str) -> Child {
    Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-ec", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("DIR", dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// An image of several layers of many files; sizes differ so that kills fall into different steps.
fn large_image(fixture: &Fixture) {
    let tars: Vec<_> = (0..5u8)
        .map(|layer| {
            let mut bytes = Vec::new();
            for file in 0..60 * (u32::from(layer) + 1) {
                let one = tar(&format!("dir{layer}/file{file}"), &vec![layer; 3000]);
                bytes.extend_from_slice(&one[..one.len() - 1024]);
            }
            bytes.resize(bytes.len() + 1024, 0);
            bytes
        })
        .collect();
    let blobs: Vec<_> = tars.iter().map(|tar| gzip(tar)).collect();
    let layers: Vec<_> = tars.iter().zip(&blobs).map(|(tar, blob)| (GZIP, &blob[..], &tar[..])).collect();
    fixture.index(&[image(fixture, &layers, false, &host())]);
}

fn pull_into(store: &Store, layout: &Path) -> Result<loment_image::Pulled, loment_image::Error> {
    pull(&OciLayout::open(layout, None, "")?, store, Some("localhost/x:1"), &Options::default(), &mut Silent)
}

/// Everything a reader can see is whole.
fn check(store: &Store) {
    for known in store.images().unwrap() {
        for layer in store.layers_of(&known.image).unwrap() {
            layer.verify().unwrap();
        }
        for digest in known.image.manifests.iter().chain([known.image.id.digest()]) {
            store.blob(digest).unwrap();
        }
        assert!(known.names.iter().all(|name| name.image == known.image.id));
    }
    for entry in fs::read_dir(store.root().join("layers")).unwrap() {
        let hex = entry.unwrap().file_name().into_string().unwrap();
        let diff_id = format!("sha256:{hex}").parse::<oci_spec::image::Digest>().unwrap().try_into().unwrap();
        store.layer(&diff_id).unwrap().expect("a visible layer has its document").verify().unwrap();
    }
}

#[test]
fn a_pull_killed_anywhere_leaves_whole_objects_only() {
    let fixture = Fixture::new();
    large_image(&fixture);
    let mut finished = 0;
    for delay in 0..40u64 {
        let mut child = helper("helper_pulls", fixture.dir.path(), r#"exec "$@""#);
        std::thread::sleep(Duration::from_millis(3 + delay * 3));
        // Already over is fine too: that is the last step to be killed after.
        child.kill().unwrap();
        finished += usize::from(child.wait().unwrap().success());
        check(&fixture.store);
        if delay % 3 == 0 {
            fixture.store.gc().unwrap();
            check(&fixture.store);
        }
        if delay % 5 == 4 {
            let _ = fixture.store.resolve("localhost/x:1").map(|id| fixture.store.remove_image(&id, true));
        }
    }
    let pulled =
        pull_into(&fixture.store, &fixture.oci()).unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(fixture.store.resolve("localhost/x:1").unwrap(), pulled.image);
    fixture.store.remove_image(&pulled.image, true).unwrap();
    fixture.store.gc().unwrap();
    Store::empty_tombs(fixture.store.root()).unwrap();
    for dir in ["layers", "by-blob", "images", "refs", "leases", "staging", "tombs"] {
        let left: Vec<_> = fs::read_dir(fixture.store.root().join(dir)).unwrap().collect();
        assert!(left.is_empty(), "{dir}: {left:?} after {finished} finished pulls");
    }
}

#[test]
#[ignore = "run by a_pull_killed_anywhere_leaves_whole_objects_only"]
fn helper_pulls() {
    let dir = PathBuf::from(std::env::var_os("DIR").unwrap());
    let store = Store::open(&dir.join("root"), &dir.join("run"), Durability::Full).unwrap();
    pull_into(&store, &dir.join("oci")).unwrap();
}

#[test]
fn a_full_disk_fails_the_pull_and_gives_everything_back() {
    let fixture = Fixture::new();
    let big = tar("big", &vec![7; 8 << 20]);
    let small = tar("small", b"x");
    fixture.index(&[image(&fixture, &[(PLAIN, &small, &small), (GZIP, &gzip(&big), &big)], false, &host())]);
    fs::create_dir(fixture.dir.path().join("tiny")).unwrap();
    let script = r#"mount -t tmpfs -o size=4m tmpfs "$DIR/tiny"; exec "$@""#;
    let output = helper("helper_fills_the_disk", fixture.dir.path(), script).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "run by a_full_disk_fails_the_pull_and_gives_everything_back"]
fn helper_fills_the_disk() {
    let dir = PathBuf::from(std::env::var_os("DIR").unwrap());
    let tiny = dir.join("tiny");
    let store = Store::open(&tiny.join("root"), &tiny.join("run"), Durability::Full).unwrap();
    let error = pull_into(&store, &dir.join("oci")).unwrap_err();
    let message = chain(&error);
    assert!(message.contains("layer entry \"big\": cannot write: No space left on device"), "{message}");
    assert!(store.images().unwrap().is_empty() && store.name("localhost/x:1").unwrap().is_none());
    store.gc().unwrap();
    Store::empty_tombs(store.root()).unwrap();
    for name in ["layers", "staging", "leases", "tombs"] {
        assert!(fs::read_dir(tiny.join("root").join(name)).unwrap().next().is_none(), "{name}");
    }
}
