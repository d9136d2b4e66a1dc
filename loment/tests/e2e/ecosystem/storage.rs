//! Where other programs keep images.

use std::process::Command;

use loment_testkit::{Patience, run};

use crate::world;

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
