//! Checkpoints as archives and images: they are restored where the container was not.

use std::fs;
use std::os::unix::fs::MetadataExt;

use loment_testkit::{Output, World};

use super::engine::logs;
use super::kernel_has;
use crate::{eventually, world};

/// Counts where it can be seen, changes files of its image, and has one open that has no name any more.
const SCRIPT: &str = "echo kept >/etc/new; rm /home/app/old; rm -r /usr/lib; echo changed >/etc/group; mkdir -p /var/deep/er; \
    ln -s new /etc/link; chmod 700 /root; chown 7:8 /data; echo in >/data/volume; \
    i=0; while :; do i=$((i+1)); echo $i >/dev/shm/count; echo $i >/var/deep/er/count; sleep 0.1; done";

/// A world with an image whose files can be changed.
#[track_caller]
fn world_with_image() -> World {
    let (world, dir) = world();
    for name in ["home/app/old", "usr/lib/one", "usr/lib/two"] {
        fs::create_dir_all(world.path("fs").join(name).parent().unwrap()).unwrap();
        world.write(&format!("fs/{name}"), "from the image");
    }
    let tar = world.path("fs.tar").into_os_string().into_string().unwrap();
    let made = std::process::Command::new("tar").args(["-C", &dir, "-cf", &tar, "."]).status().unwrap();
    assert!(made.success());
    world.loment(["import", "-q", &tar, "localhost/base:1"]).succeeds();
    world
}

/// A world with the same image as another one.
#[track_caller]
fn like(world: &World) -> World {
    let (other, _) = crate::world();
    move_image(world, &other, "localhost/base:1");
    other
}

#[track_caller]
fn move_image(from: &World, to: &World, image: &str) {
    let tar = from.path("image.tar").into_os_string().into_string().unwrap();
    from.loment(["save", "-q", "--format", "oci-archive", "-o", &tar, image]).succeeds();
    to.loment(["load", "-q", "-i", &tar]).succeeds();
}

#[track_caller]
fn start(world: &World, flags: &[&str]) {
    let head = ["run", "-d", "--network", "none", "--name", "c", "-v", "data:/data"];
    world.loment([&head[..], flags, &["localhost/base:1", "sh", "-c", SCRIPT]].concat()).succeeds();
    eventually("it counts", || count(world, "c") > 3);
}

fn count(world: &World, name: &str) -> u64 {
    let read = || world.loment(["exec", name, "cat", "/dev/shm/count"]).stdout.trim().parse().ok();
    (0..50).find_map(|_| read()).unwrap_or_default()
}

#[track_caller]
fn works(world: &World, words: &[&str]) -> Output {
    let output = world.loment([&["container"], words].concat());
    assert_eq!(output.code, 0, "{output}\n{}", logs(world));
    output
}

/// It goes on, with its files.
#[track_caller]
fn goes_on(world: &World, name: &str, before: u64) {
    eventually("it counts on", || count(world, name) > before + 3);
    assert!(count(world, name) < before + 1000);
    let sh = |script: &str| world.loment(["exec", name, "sh", "-c", script]).succeeds().to_owned();
    assert_eq!(
        sh("cat /etc/new /etc/link /etc/group; ls -A /home/app /usr | tr '\\n' ' '"),
        "kept\nkept\nchanged\n/home/app:  /usr: bin "
    );
    assert_eq!(sh("cat /data/volume; stat -c '%u:%g %a' /data /root"), "in\n7:8 755\n0:0 700");
    // Nothing of how it was made.
    assert_eq!(sh("ls -d /point /shared-0 2>/dev/null; true"), "");
    let there: u64 = sh("cat /var/deep/er/count").parse().unwrap();
    assert!(there > before);
}

#[track_caller]
fn forget(world: &World, names: &[&str]) {
    for name in names {
        world.loment(["rm", "-f", "-t", "0", name]).succeeds();
    }
    world.loment(["volume", "rm", "--force", "data"]);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn an_archive_is_restored_in_another_store() {
    let world = world_with_image();
    let other = like(&world);
    start(&world, &["--memory", "64m"]);
    for (compression, flags) in [("none", &[][..]), ("gzip", &["--leave-running"]), ("zstd", &["--keep"])] {
        let archive = world.path(compression).into_os_string().into_string().unwrap();
        let id = world.inspect("{{.Id}}", "c");
        let before = count(&world, "c");
        let words = ["checkpoint", "--export", &archive, "--compress", compression];
        works(&world, &[&words[..], flags, &["c"]].concat());
        assert_eq!(fs::metadata(&archive).unwrap().mode() & 0o777, 0o600);
        let running = flags.contains(&"--leave-running");
        let state = world.inspect("{{.State.Status}} {{.State.Checkpointed}}", "c");
        assert_eq!(state, if running { "running false" } else { "exited true" });
        if running {
            let saved = count(&world, "c");
            eventually("it counts on", || count(&world, "c") > saved);
        }
        let (name, flags): (&str, &[&str]) = match compression {
            "gzip" => ("other", &["--name", "other"]),
            _ => ("c", &[]),
        };
        let words = [&["restore", "--import", &archive][..], flags].concat();
        let made = works(&other, &words).succeeds().to_owned();
        // Its id is that of another container if it has another name.
        assert_eq!(made == id, name == "c");
        goes_on(&other, name, before);
        assert_eq!(other.inspect("{{.HostConfig.Memory}} {{.State.Restored}}", name), "67108864 true");
        // What is there is not replaced.
        other
            .loment(["container", "restore", "--import", &archive, "--name", "third"])
            .fails_saying(125, &["volume with name data already exists"]);
        other.loment(["container", "exists", "third"]).fails(1);
        if name == "c" {
            let words = ["container", "restore", "--import", &archive, "--ignore-volumes"];
            other.loment(words).fails_saying(125, &["with its id", "--name"]);
        }
        forget(&other, &[name]);
        if !running {
            works(&world, &["restore", "c"]);
        }
    }
    // An archive beside the program's own words: names that others know.
    let listed = std::process::Command::new("tar").arg("-tf").arg(world.path("none")).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for name in [
        "config.dump",
        "spec.dump",
        "checkpoint/inventory.img",
        "rootfs-diff.tar",
        "deleted.files",
        "volumes/data.tar",
    ] {
        assert!(listed.lines().any(|line| line == name), "{name}: {listed}");
    }
    forget(&world, &["c"]);
    assert_eq!((world.leftovers(), other.leftovers()), (vec![], vec![]));
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn an_image_of_a_checkpoint_is_restored_and_moved() {
    let world = world_with_image();
    let other = like(&world);
    start(&world, &[]);
    let before = count(&world, "c");
    works(&world, &["checkpoint", "--create-image", "localhost/saved:1", "c"]);
    let runtime = "{{index .Annotations \"io.podman.annotations.checkpoint.runtime.name\"}}";
    assert_eq!(
        world.loment(["image", "inspect", "--format", runtime, "localhost/saved:1"]).succeeds(),
        "loment"
    );
    move_image(&world, &other, "localhost/saved:1");
    works(&other, &["restore", "localhost/saved:1"]);
    goes_on(&other, "c", before);
    other
        .loment(["container", "restore", "localhost/base:1"])
        .fails_saying(125, &["no image of a checkpoint"]);
    // Several of one image.
    for name in ["one", "two"] {
        works(&other, &["restore", "--name", name, "--ignore-volumes", "localhost/saved:1"]);
        goes_on(&other, name, before);
    }
    forget(&other, &["c", "one", "two"]);
    forget(&world, &["c"]);
    assert_eq!((world.leftovers(), other.leftovers()), (vec![], vec![]));
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_that_goes_at_its_end_goes_on_from_its_archive() {
    let world = world_with_image();
    start(&world, &["--rm"]);
    world.loment(["container", "checkpoint", "c"]).fails_saying(125, &["--rm"]);
    let archive = world.path("archive").into_os_string().into_string().unwrap();
    // An archive that cannot be written leaves it as it is.
    let nowhere = ["container", "checkpoint", "--export", "/nonesuch/archive", "c"];
    world.loment(nowhere).fails_saying(125, &["/nonesuch/archive"]);
    let before = count(&world, "c");
    eventually("it counts on", || count(&world, "c") > before);
    works(&world, &["checkpoint", "--export", &archive, "c"]);
    world.loment(["container", "exists", "c"]).fails(1);
    world.loment(["volume", "rm", "data"]).succeeds();
    works(&world, &["restore", "--import", &archive]);
    goes_on(&world, "c", before);
    world.loment(["stop", "-t", "0", "c"]).succeeds();
    eventually("it is gone", || world.loment(["container", "exists", "c"]).code == 1);
    world.loment(["volume", "rm", "data"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn what_cannot_be_restored_leaves_nothing() {
    let world = world_with_image();
    start(&world, &["-v", "/anonymous"]);
    let archive = world.path("archive").into_os_string().into_string().unwrap();
    works(&world, &["checkpoint", "--export", &archive, "--compress", "none", "c"]);
    forget(&world, &["c"]);
    world.loment(["volume", "prune", "-f", "-a"]).succeeds();
    // Its processes cannot be read.
    let dir = world.path("broken");
    fs::create_dir(&dir).unwrap();
    let tar = |words: &[&str]| {
        let made = std::process::Command::new("tar").arg("-C").arg(&dir).args(words).status().unwrap();
        assert!(made.success());
    };
    tar(&["-xf", &archive]);
    let broken = world.path("broken.tar").into_os_string().into_string().unwrap();
    fs::write(dir.join("checkpoint/pstree.img"), "nothing").unwrap();
    tar(&["-cf", &broken, "."]);
    world.loment(["container", "restore", "--import", &broken]).fails_saying(125, &["criu failed"]);
    assert_eq!(world.loment(["ps", "-aq"]).succeeds(), "");
    assert_eq!(world.loment(["volume", "ls", "-q"]).succeeds(), "");
    // And what was not broken can be.
    works(&world, &["restore", "--import", &archive]);
    forget(&world, &["c"]);
    world.loment(["volume", "prune", "-f", "-a"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn memory_that_was_saved_before_comes_from_an_archive_of_its_own() {
    if !kernel_has("mem_dirty_track") {
        return loment_testkit::skip(
            "memory before the rest",
            "this kernel does not track which pages are written",
        );
    }
    let world = world_with_image();
    start(&world, &[]);
    let path = |name: &str| world.path(name).into_os_string().into_string().unwrap();
    let (first, rest) = (path("first"), path("rest"));
    works(&world, &["checkpoint", "--pre-checkpoint", "--export", &first, "c"]);
    let before = count(&world, "c");
    works(&world, &["checkpoint", "--with-previous", "--export", &rest, "c"]);
    forget(&world, &["c"]);
    let alone = world.loment(["container", "restore", "--import", &rest]);
    alone.fails_saying(125, &["--import-previous"]);
    world.loment(["container", "restore", "--import", &first]).fails_saying(125, &["--import-previous"]);
    works(&world, &["restore", "--import", &rest, "--import-previous", &first]);
    goes_on(&world, "c", before);
    forget(&world, &["c"]);
    assert_eq!(world.leftovers(), [""; 0]);
}
