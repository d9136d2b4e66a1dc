//! OCI layouts that share their blobs: `--src-shared-blob-dir` and `--dest-shared-blob-dir`, beside skopeo's.

use std::process::Command;

use loment_testkit::{Output, Patience, World, run};

use crate::{fixtures, world};

fn skopeo(arguments: &[&str]) -> Output {
    run(Command::new("/usr/bin/skopeo").arg("--insecure-policy").args(arguments), Patience::NORMAL)
}

/// The files below a directory, by name.
fn files(world: &World, dir: &str) -> Vec<String> {
    let mut find = Command::new("find");
    let output = run(find.arg(world.path(dir)).args(["-type", "f", "-printf", "%P\n"]), Patience::NORMAL);
    let mut files: Vec<String> = output.succeeds().lines().map(str::to_owned).collect();
    files.sort_unstable();
    files
}

#[test]
fn skopeo_and_we_share_blobs_between_layouts() {
    let (world, registry) = (world(), fixtures().serve());
    let path = |name: &str| world.path(name).display().to_string();
    let (multi, app) = (format!("docker://{}", registry.name("multi:latest")), registry.name("app:latest"));
    let app = format!("docker://{app}");
    let (our_blobs, their_blobs) = (path("our-blobs"), path("their-blobs"));
    // The same is written where it is to be.
    for (image, flags, layout) in [(&multi, &["--all"][..], "multi"), (&app, &[], "app")] {
        let (mine, other) =
            (format!("oci:{}:x", path(&format!("our-{layout}"))), format!("oci:{}:x", path(layout)));
        let ours = ["image", "copy", "--quiet", "--dest-shared-blob-dir", &our_blobs, image, &mine];
        world.loment([&ours[..], flags].concat()).succeeds();
        std::fs::create_dir_all(&their_blobs).unwrap();
        let theirs = ["copy", "--quiet", "--src-tls-verify=false", "--dest-shared-blob-dir", &their_blobs];
        skopeo(&[&theirs[..], flags, &[image, &other]].concat()).succeeds();
        assert_eq!(files(&world, layout), ["index.json", "oci-layout"]);
        assert_eq!(files(&world, &format!("our-{layout}")), files(&world, layout));
    }
    assert_eq!(files(&world, "our-blobs"), files(&world, "their-blobs"));
    let before = files(&world, "our-blobs");
    // Each reads what the other wrote, from a layout of many.
    for layout in ["multi", "app"] {
        let mine = format!("oci:{}:x", path(&format!("our-{layout}")));
        let other = format!("oci:{}:x", path(layout));
        let ours = ["image", "inspect", "--raw", "--shared-blob-dir", &their_blobs, &other];
        let theirs = ["inspect", "--raw", "--shared-blob-dir", &our_blobs, &mine];
        assert_eq!(world.loment(ours).succeeds(), skopeo(&theirs).succeeds());
        let (read, taken) = (path(&format!("read-{layout}")), path(&format!("taken-{layout}")));
        let (read, taken) = (format!("dir:{read}"), format!("dir:{taken}"));
        let copy = ["copy", "--quiet", "--all", "--src-shared-blob-dir"];
        world.loment([&["image"], &copy[..], &[&their_blobs, &other, &read]].concat()).succeeds();
        skopeo(&[&copy[..], &[&our_blobs, &mine, &taken]].concat()).succeeds();
        assert_eq!(files(&world, &format!("read-{layout}")), files(&world, &format!("taken-{layout}")));
    }
    // From one layout to another that shares them there is nothing to write.
    let (from, to) = (format!("oci:{}:x", path("our-app")), format!("oci:{}:y", path("third")));
    let both = ["--src-shared-blob-dir", &our_blobs, "--dest-shared-blob-dir", &our_blobs];
    world.loment([&["image", "copy", "--quiet"], &both[..], &[&from, &to]].concat()).succeeds();
    assert_eq!(files(&world, "our-blobs"), before);
    // Into the store, and out of it.
    let name = "containers-storage:localhost/app:1";
    let copy = ["image", "copy", "--quiet"];
    world.loment([&copy[..], &["--src-shared-blob-dir", &our_blobs, &from, name]].concat()).succeeds();
    assert!(world.loment(["run", "--rm", "localhost/app:1", "here"]).succeeds().ends_with("here"));
    let out = format!("oci:{}:z", path("fourth"));
    world.loment([&copy[..], &["--dest-shared-blob-dir", &our_blobs, name, &out]].concat()).succeeds();
    assert_eq!(files(&world, "our-blobs"), before);
    // Without the directory it is not there; and nothing else has one.
    world.loment([&copy[..], &[&from, "dir:beside"]].concat()).fails_saying(125, &["our-app/blobs"]);
    for flags in [
        ["--src-shared-blob-dir", &our_blobs, &app, &to],
        ["--dest-shared-blob-dir", &our_blobs, &app, "dir:nowhere"],
        ["--dest-shared-blob-dir", &our_blobs, &app, name],
    ] {
        world.loment([&copy[..], &flags].concat()).fails_saying(125, &["our-blobs", "only oci: has"]);
    }
    assert!(!world.path("nowhere").exists());
}
