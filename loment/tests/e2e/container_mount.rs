//! `mount` and `unmount`: containers as directories of the host.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use loment_testkit::World;
use serde_json::Value;

use crate::{sleeper, world, world_with};

fn mount(world: &World, name: &str) -> String {
    world.loment(["mount", name]).succeeds().to_owned()
}

fn sh(world: &World, name: &str, script: &str) -> String {
    world.loment(["exec", name, "sh", "-c", script]).succeeds().to_owned()
}

/// The options of what is mounted there.
fn options(path: &str) -> Option<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().find(|line| line.split(' ').nth(4) == Some(path))?;
    line.split(' ').nth(5).map(str::to_owned)
}

#[test]
fn what_is_changed_in_the_mount_is_changed_in_the_container_and_back() {
    for form in ["erofs", "dir"] {
        let (world, image) = world_with("busybox:latest");
        let form = format!("loment.form={form}");
        world
            .loment([
                "--storage-opt",
                &form,
                "create",
                "--network",
                "none",
                "--name",
                "c",
                &image,
                "sleep",
                "300",
            ])
            .succeeds();
        let path = mount(&world, "c");
        assert!(Path::new(&path).join("bin/busybox").exists());
        fs::write(format!("{path}/of-host"), "host").unwrap();
        world.loment(["start", "c"]).succeeds();
        assert_eq!(sh(&world, "c", "cat /of-host; echo c > /of-container"), "host");
        assert_eq!(fs::read_to_string(format!("{path}/of-container")).unwrap(), "c\n");
        fs::remove_file(format!("{path}/of-host")).unwrap();
        assert_eq!(sh(&world, "c", "ls / | grep of-"), "of-container");
        // On the host nothing in it has power; in the container it has what it had.
        let said = options(&path).unwrap();
        assert!(said.contains("nosuid") && said.contains("nodev"), "{said}");
        assert!(!sh(&world, "c", "grep ' / / ' /proc/self/mountinfo").contains("nosuid"));
        // It outlives a run, and the next one goes on with it.
        world.loment(["stop", "--time", "0", "c"]).succeeds();
        fs::write(format!("{path}/between"), "").unwrap();
        let seen = world.loment(["diff", "c"]);
        assert!(seen.succeeds().contains("A /between"), "{seen}");
        world.loment(["start", "c"]).succeeds();
        assert_eq!(sh(&world, "c", "ls / | grep -e of- -e between"), "between\nof-container");
        world.loment(["unmount", "c"]).succeeds();
        assert_eq!(sh(&world, "c", "ls / | grep -e of- -e between"), "between\nof-container");
        assert!(!Path::new(&path).exists());
        // Of one that runs already.
        let path = mount(&world, "c");
        assert_eq!(fs::read_to_string(format!("{path}/of-container")).unwrap(), "c\n");
        assert!(options(&path).unwrap().contains("nosuid"));
        world.loment(["rm", "--force", "--time", "0", "c"]).succeeds();
        assert!(options(&path).is_none() && !Path::new(&path).exists());
    }
}

#[test]
fn mounts_are_counted_and_listed() {
    let (world, image) = world_with("busybox:latest");
    let create = |name| {
        world.loment(["create", "--network", "none", "--name", name, &image, "true"]).succeeds().to_owned()
    };
    let (a, b) = (create("a"), create("b"));
    assert_eq!(world.loment(["mount"]).succeeds(), "");
    let path = mount(&world, "a");
    assert_eq!(world.loment(["container", "mount", "--latest"]).succeeds().lines().count(), 1);
    assert_eq!(mount(&world, "a"), path);
    let mut lines: Vec<String> = world.loment(["mount"]).succeeds().lines().map(str::to_owned).collect();
    lines.sort();
    assert!(lines.len() == 2 && lines.contains(&format!("{} {path}", &a[..12])), "{lines:?}");
    let whole = world.loment(["mount", "--no-trunc"]);
    assert!(whole.succeeds().contains(&format!("{b} ")), "{whole}");
    let documents: Value =
        serde_json::from_str(world.loment(["mount", "--format", "json", "a"]).succeeds()).unwrap();
    assert_eq!(
        (&documents[0]["id"], &documents[0]["mountpoint"]),
        (&a.as_str().into(), &path.as_str().into())
    );
    assert_eq!(documents[0]["Names"][0], "a");
    // That was the third time.
    for _ in 0..3 {
        assert!(options(&path).is_some());
        assert_eq!(world.loment(["umount", "a"]).succeeds(), a);
    }
    assert!(options(&path).is_none());
    world.loment(["umount", "a"]).fails_saying(125, &["a: container is not mounted"]);
    world.loment(["mount", "nonesuch"]).fails_saying(125, &["nonesuch"]);
    world.loment(["mount", "--format", "table"]).fails_saying(125, &["use json"]);
    mount(&world, "a");
    mount(&world, "a");
    assert_eq!(world.loment(["umount", "--force", "a"]).succeeds(), a);
    assert_eq!(world.loment(["unmount", "--all"]).succeeds(), b);
    assert_eq!(world.loment(["unmount", "--all"]).succeeds(), "");
    let events =
        world.loment(["events", "--stream=false", "--filter", "event=mount", "--format", "{{.Name}}"]);
    assert_eq!(events.succeeds().lines().filter(|name| *name == "a").count(), 5, "{events}");
}

#[test]
fn what_goes_is_unmounted() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "gone", &["--rm"], &image);
    let path = mount(&world, "gone");
    world.loment(["stop", "--time", "0", "gone"]).succeeds();
    crate::eventually("it is unmounted", || !Path::new(&path).exists());
    // One that somebody works in stays whole, but by force.
    world.loment(["create", "--network", "none", "--name", "busy", &image, "true"]).succeeds();
    let path = mount(&world, "busy");
    let mut inside = Command::new("sleep").arg("60").current_dir(&path).spawn().unwrap();
    world.loment(["unmount", "busy"]).fails_saying(125, &["unmount", &path]);
    world.loment(["rm", "busy"]).fails_saying(125, &["unmount", &path]);
    assert!(Path::new(&path).join("bin/busybox").exists());
    world.loment(["rm", "--force", "busy"]).succeeds();
    assert!(!Path::new(&path).exists());
    inside.kill().unwrap();
    inside.wait().unwrap();
}

#[test]
fn owners_are_those_of_the_containers_users() {
    let (world, image) = world_with("busybox:latest");
    let users = ["--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536", "--name", "c"];
    let head = ["create", "--network", "none"];
    world.loment([&head[..], &users, &[&image, "sleep", "300"]].concat()).succeeds();
    let path = mount(&world, "c");
    let found = fs::metadata(format!("{path}/bin/busybox")).unwrap();
    assert_eq!((found.uid(), found.gid()), (100_000, 200_000));
    world.loment(["start", "c"]).succeeds();
    assert_eq!(sh(&world, "c", "stat -c %u:%g /bin/busybox; touch /x"), "0:0");
    assert_eq!(fs::metadata(format!("{path}/x")).unwrap().uid(), 100_000);
    world.loment(["stop", "--time", "0", "c"]).succeeds();
    // Looked at from elsewhere the owners are the container's.
    let to = world.path("copied");
    world.loment(["cp", "c:/x", to.to_str().unwrap()]).succeeds();
    let export = world.path("x.tar");
    world.loment(["export", "-o", export.to_str().unwrap(), "c"]).succeeds();
    let listed =
        Command::new("tar").args(["--list", "--verbose", "--numeric-owner", "--file"]).arg(&export).output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    let line = listed.lines().find(|line| line.ends_with(" x")).unwrap();
    assert!(line.contains(" 0/0 "), "{line}");
    world.loment(["rm", "c"]).succeeds();
    assert!(!Path::new(&path).exists());
}

#[test]
fn a_directory_is_itself() {
    let world = world();
    let root = world.path("rootfs");
    fs::create_dir_all(root.join("d")).unwrap();
    let create = ["create", "--network", "none", "--name", "c", "--rootfs", root.to_str().unwrap(), "true"];
    world.loment(create).succeeds();
    assert_eq!(mount(&world, "c"), root.to_str().unwrap());
    assert_eq!(world.loment(["mount"]).succeeds(), "");
    world.loment(["rm", "c"]).succeeds();
    assert!(root.join("d").exists());
}
