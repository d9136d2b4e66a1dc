//! Lines in the passwd and group files of a container.

use std::fs;

use crate::{sh, world_over_directory, world_with};

const LAST: &str = "tail -n 1 /etc/passwd; tail -n 1 /etc/group";

#[test]
fn a_user_that_the_image_does_not_know_gets_a_line() {
    let (world, image) = world_with("busybox:latest");
    let of = |flags: &[&str]| sh(&world, flags, &image, LAST);
    let without = of(&[]);
    assert_eq!(of(&["-u", "1000"]), without);
    assert_eq!(of(&["-u", "4321", "-w", "/tmp"]), "4321:*:4321:0:container user:/tmp:/bin/sh\n4321:x:4321:");
    assert_eq!(of(&["-u", "4321:77"]), "4321:*:4321:77:container user:/:/bin/sh\n77:x:77:");
    assert_eq!(sh(&world, &["-u", "4321:77"], &image, "id"), "uid=4321(4321) gid=77(77)");
    assert_eq!(of(&["-u", "4321", "--passwd=false"]), without);
    // Those of Docker do not.
    let words = ["run", "--rm", "--network", "none", "-u", "4321", &image, "sh", "-c", LAST];
    assert_eq!(world.persona("docker", words).succeeds(), without);
    let entries = ["-u", "4321:77", "--passwd-entry", "u$UID:x:$UID:$GID:$NAME:$HOME:/x"];
    let entries = [&entries[..], &["--group-entry", "g$GROUPNAME:x:$GID:$USERLIST"]].concat();
    assert_eq!(of(&entries), "u4321:x:4321:77:container user:/:/x\ng77:x:77:4321");
    // In a file system that cannot be changed, in one of other users, and the next time once only.
    assert_eq!(
        of(&["-u", "4321", "--read-only"]).lines().next(),
        Some("4321:*:4321:0:container user:/:/bin/sh")
    );
    let others = ["-u", "4321", "--uidmap", "0:100000:65536"];
    assert_eq!(of(&others).lines().next(), Some("4321:*:4321:0:container user:/:/bin/sh"));
    let words = [
        "create",
        "--name",
        "c",
        "--network",
        "none",
        "-u",
        "4321",
        &image,
        "grep",
        "-c",
        "4321",
        "/etc/passwd",
    ];
    world.loment(words).succeeds();
    for _ in 0..2 {
        assert_eq!(world.loment(["start", "-a", "c"]).succeeds(), "1");
    }
    assert_eq!(world.inspect("{{.Config.Passwd}}", "c"), "true");
}

#[test]
fn users_of_the_host_are_known_in_a_container() {
    let (world, image) = world_with("busybox:latest");
    let script = "grep ^daemon: /etc/passwd; id -un; echo $HOME";
    let said = sh(&world, &["--hostuser", "daemon", "-u", "daemon", "-w", "/tmp"], &image, script);
    assert_eq!(said, "daemon:*:1:1:daemon:/tmp:/bin/sh\ndaemon\n/tmp");
    let words = ["run", "--rm", "--network", "none", "--hostuser", "no-such-user", &image, "true"];
    world.loment(words).fails_saying(125, &["no-such-user", "/etc/passwd"]);
}

#[test]
fn a_directory_of_the_hosts_is_not_changed() {
    let (world, fs) = world_over_directory();
    let before = fs::read(world.path("fs/etc/passwd")).unwrap();
    let said = sh(&world, &["-u", "4321", "--rootfs"], &fs, LAST);
    assert_eq!(said, "4321:*:4321:0:container user:/:/bin/sh\n4321:x:4321:");
    assert_eq!(fs::read(world.path("fs/etc/passwd")).unwrap(), before);
    // What the user mounts there is his; a file that is not there is not made.
    let own = world.write("passwd", "root:x:0:0:root:/root:/bin/sh\n");
    let script = "wc -l < /etc/passwd";
    let volume = format!("{own}:/etc/passwd");
    assert_eq!(sh(&world, &["-u", "4321", "-v", &volume, "--rootfs"], &fs, script), "1");
    fs::remove_file(world.path("fs/etc/passwd")).unwrap();
    assert_eq!(sh(&world, &["-u", "4321", "--rootfs"], &fs, "ls /etc/passwd 2>/dev/null | wc -l"), "0");
}
