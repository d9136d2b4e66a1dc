//! `container checkpoint` and `restore` where there is nothing to save with. What they do is seen in a machine of its own (`loment::vm`).

use loment_testkit::{Patience, run};

use crate::{pid_of, sleeper, world_with};

#[test]
fn what_cannot_be_saved_here_goes_on() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "c", &[], &image);
    let pid = pid_of(&world, "c");
    let mut without = world.command(["container", "checkpoint", "c"]);
    let output = run(without.env("PATH", "/nowhere"), Patience::NORMAL);
    output.fails_saying(125, &["criu is in no directory of PATH", "install criu"]);
    // Something of that name, which is none.
    std::os::unix::fs::symlink("/bin/true", world.path("criu")).unwrap();
    let mut other = world.command(["container", "checkpoint", "c"]);
    let output = run(other.env("PATH", world.path("")), Patience::NORMAL);
    output.fails_saying(125, &["is it criu?"]);
    assert_eq!(pid_of(&world, "c"), pid);
    let refused = |words: &[&str], why: &str| {
        world.loment([&["container"], words, &["c"]].concat()).fails_saying(125, &[why]);
    };
    refused(
        &["checkpoint", "--export", "/x.tar", "--compress", "xz"],
        "selected compression algorithm (\"xz\") not supported. Please select one from: gzip, none, zstd",
    );
    refused(&["checkpoint", "--create-image", "x", "-P"], "makes an image of a whole checkpoint");
    refused(&["checkpoint", "--compress", "gzip"], "--compress can only be used with --export");
    refused(&["checkpoint", "--ignore-volumes"], "--ignore-volumes can only be used with --export");
    refused(
        &["checkpoint", "-P", "--with-previous"],
        "--with-previous can not be used with --pre-checkpoint",
    );
    refused(&["restore", "--import", "/x.tar"], "cannot use --import with positional arguments");
    refused(&["restore", "--name", "x", "--tcp-established"], "--tcp-established cannot be used with --name");
    refused(&["restore", "-p", "80"], "there is no network yet that has ports");
    for flag in [&["--name", "x"][..], &["--pod", "x"], &["--import-previous", "x"], &["--ignore-rootfs"]] {
        refused(&[&["restore"], flag].concat(), "can only be used with image or --import");
    }
    let state = "{{.State.Status}} {{.State.Checkpointed}} {{.State.Restored}}";
    assert_eq!(world.inspect(state, "c"), "running false false");
    world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}
