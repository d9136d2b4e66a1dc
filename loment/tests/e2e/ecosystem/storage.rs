//! Where other programs keep images, and what containers.conf says of those that are sent.

use std::process::Command;

use loment_testkit::{Patience, run};

use crate::{world, world_with};

#[test]
fn podmans_own_storage_is_left_alone() {
    let world = world();
    let (root, runroot) = (world.path("podman"), world.path("podman-run"));
    let podman = |arguments: &[&str]| {
        let mut podman = Command::new("podman");
        podman.arg("--root").arg(&root).arg("--runroot").arg(&runroot).args(["--storage-driver", "vfs"]);
        run(podman.args(arguments), Patience::NORMAL)
    };
    podman(&["images", "--quiet"]).succeeds();
    let entries = || {
        let mut names: Vec<_> = std::fs::read_dir(&root).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = entries();
    for arguments in [&["images"][..], &["pull", "x.test/y"], &["ps"]] {
        let mut ours = world.bare();
        ours.arg("--root").arg(&root).arg("--runroot").arg(world.path("run")).args(arguments);
        run(&mut ours, Patience::NORMAL).fails_saying(125, &[&root.display().to_string(), "is where Podman"]);
    }
    assert_eq!(entries(), before);
    podman(&["images", "--quiet"]).succeeds();
}

#[test]
fn containers_conf_says_how_layers_are_compressed() {
    let (world, image) = world_with("busybox:latest");
    let conf =
        world.write("containers.conf", "[engine]\ncompression_format = \"zstd\"\ncompression_level = 3\n");
    let push = |name: &str, flags: &[&str], conf: &str| {
        let dir = world.path(name);
        let to = format!("dir:{}", dir.display());
        let mut command =
            world.command([&["push", "--quiet"], flags, &[image.as_str(), to.as_str()]].concat());
        run(command.env("CONTAINERS_CONF", conf), Patience::NORMAL).succeeds();
        let manifest = std::fs::read(dir.join("manifest.json")).expect("a manifest is written");
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("it is JSON");
        manifest["layers"][0]["mediaType"].as_str().expect("a layer has a media type").to_owned()
    };
    assert!(push("one", &[], &conf).ends_with("+zstd"));
    assert!(push("two", &[], "/dev/null").ends_with("+gzip"));
    assert!(
        push("three", &["--compression-format", "gzip", "--compression-level", "9"], &conf)
            .ends_with("+gzip")
    );
    let bad = world.write("bad.conf", "[engine]\ncompression_format = \"bzip2\"\n");
    let mut command = world.command(["push", "--quiet", &image, "dir:x"]);
    let refused = run(command.env("CONTAINERS_CONF", &bad), Patience::NORMAL);
    refused.fails_saying(125, &[&bad, "invalid compression_format \"bzip2\""]);
}
