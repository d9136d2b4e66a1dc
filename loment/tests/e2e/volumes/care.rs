//! What is not the volume's is not removed with it, and what is somebody's is not anybody's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use loment_testkit::World;
use rustix::mount::{UnmountFlags, mount_bind, unmount};

use super::{files, names};
use crate::{eventually, sh, sleeper, world, world_with};

/// A directory of the host with a file that must stay.
fn precious(world: &World, name: &str) -> PathBuf {
    let dir = world.path(name);
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("precious"), "x").unwrap();
    dir
}

struct Bound(PathBuf);

impl Bound {
    fn on(from: &Path, to: &Path) -> Self {
        fs::create_dir_all(to).unwrap();
        mount_bind(from, to).unwrap();
        Self(to.to_owned())
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn what_is_shown_outlives_the_container_whose_volume_it_is() {
    let (world, image) = world_with("busybox:latest");
    let host = precious(&world, "host");
    let device = format!("volume-opt=device={}", host.display());
    let mount = format!("type=volume,dst=/d,volume-opt=type=none,volume-opt=o=bind,{device}");
    sleeper(&world, "c", &["--rm", "--mount", &mount], &image);
    let name = names(&world).remove(0);
    world.loment(["volume", "mount", &name]).succeeds();
    world.loment(["stop", "--time", "0", "c"]).succeeds();
    eventually("the container is gone", || world.loment(["container", "exists", "c"]).code == 1);
    world.loment(["ps", "-a"]).succeeds();
    assert!(host.join("precious").exists());
    // It is nobody's now, and goes when it is wished.
    world.loment(["volume", "rm", &name]).succeeds();
    assert!(host.join("precious").exists());
    assert_eq!(names(&world), [""; 0]);
}

#[test]
fn what_is_mounted_in_a_volume_stops_its_removal_and_no_other() {
    let (world, host) = (world(), "host");
    let host = precious(&world, host);
    for name in ["a", "b"] {
        world.loment(["volume", "create", name]).succeeds();
    }
    let bound = Bound::on(&host, &files(&world, "a").join("sub"));
    let words = ["volume a cannot be removed while something is mounted in"];
    world.loment(["volume", "rm", "a"]).fails_saying(125, &words);
    world.loment(["volume", "prune", "--all", "--force"]).fails_saying(125, &words);
    assert_eq!(names(&world), ["a"]);
    drop(bound);
    world.loment(["volume", "rm", "a"]).succeeds();
    assert!(host.join("precious").exists());
}

#[test]
fn prunes_take_what_filters_mean_only() {
    let world = world();
    world.loment(["volume", "create", "new"]).succeeds();
    world.loment(["system", "prune", "-f", "--volumes", "--filter", "until=24h"]).succeeds();
    assert_eq!(names(&world), ["new"]);
    let (root, run) = (world.root(), world.runroot());
    let globals = ["--root", root.to_str().unwrap(), "--runroot", run.to_str().unwrap()];
    let docker = |arguments: &[&str]| world.named("docker", [&globals[..], arguments].concat());
    docker(&["system", "prune", "-f", "--volumes", "--filter", "until=24h"])
        .fails_saying(125, &["\"until\" filter is not supported with \"--volumes\""]);
    // A beginning of a name is none for it, and no volume that is there.
    docker(&["volume", "rm", "-f", "ne"]).succeeds();
    docker(&["volume", "inspect", "ne"]).fails(1);
    docker(&["volume", "create", "-o", "type=none", "-o", "o=bind", "x"]).fails(1);
    docker(&["volume", "create", "--no-such-flag"]).fails(125);
    docker(&["run", "--rm", "no-such.invalid/image"]).fails(125);
    world.loment(["volume", "exists", "ne"]).fails(1);
    assert_eq!(names(&world), ["new"]);
    world.loment(["volume", "rm", "ne"]).succeeds();
    assert_eq!(names(&world), [""; 0]);
}

#[test]
fn the_owner_of_an_empty_volume_is_given_once() {
    let (world, image) = world_with("busybox:latest");
    let script = "chown 1000:1000 /empty; chmod 770 /empty";
    sh(&world, &["-v", "v:/empty"], &image, script);
    assert_eq!(sh(&world, &["-v", "v:/empty"], &image, "stat -c %u:%g:%a /empty"), "1000:1000:770");
    sh(&world, &["-v", "v:/tmp"], &image, "true");
    assert_eq!(sh(&world, &["-v", "v:/tmp"], &image, "stat -c %u:%g:%a /tmp"), "1000:1000:770");
}

#[test]
fn a_volume_of_the_same_name_has_nothing_of_one_that_is_gone() {
    let (world, image) = world_with("busybox:latest");
    let create = ["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "t"];
    world.loment(create).succeeds();
    sleeper(&world, "c", &["-v", "t:/x"], &image);
    world.loment(["exec", "c", "touch", "/x/old"]).succeeds();
    // One that is killed in the middle uses it no more.
    let pipe = world.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut reader = Command::new("cat").arg(&pipe).stdout(Stdio::piped()).spawn().unwrap();
    let out = fs::File::options().write(true).open(&pipe).unwrap();
    let mut export = world.command(["volume", "export", "t"]);
    let mut export = export.stdout(out).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    export.kill().unwrap();
    export.wait().unwrap();
    world.loment(["rm", "--force", "--time", "0", "c"]).succeeds();
    world.loment(["volume", "rm", "t"]).succeeds();
    world.loment(create).succeeds();
    assert_eq!(sh(&world, &["-v", "t:/x"], &image, "ls /x"), "");
    reader.kill().unwrap();
    reader.wait().unwrap();
}
