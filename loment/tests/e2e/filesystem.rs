//! Volumes, tmpfs, read-only roots, shared memory.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::{sh, world_with};

#[test]
fn a_bind_mount_is_the_hosts_directory() {
    let (world, image) = world_with("busybox:latest");
    let dir = world.path("shared");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("from-host"), "host").unwrap();
    for options in ["", ":rw", ":z", ":Z", ":rw,z"] {
        let volume = format!("{}:/data{options}", dir.display());
        assert_eq!(
            sh(&world, &["-v", &volume], &image, "cat /data/from-host; echo c > /data/back"),
            "host",
            "{options}"
        );
        assert_eq!(fs::read_to_string(dir.join("back")).unwrap(), "c\n");
    }
}

/// Only changes that outlive the container are worth waiting for the disk.
#[test]
fn what_goes_with_the_container_is_not_flushed() {
    let (world, image) = world_with("busybox:latest");
    // ",volatile"; later ",fsync=volatile".
    let script = "grep ' / overlay ' /proc/mounts";
    let options = sh(&world, &[], &image, script);
    assert!(options.contains("volatile"), "{options}");
    let kept = world.loment(["run", "--network", "none", "--name", "kept", &image, "sh", "-c", script]);
    assert!(kept.succeeds().contains(",upperdir=") && !kept.stdout.contains("volatile"), "{kept}");
    let mapped = sh(&world, &["--uidmap", "0:100000:65536"], &image, script);
    assert!(mapped.contains("volatile"), "{mapped}");
}

#[test]
fn a_read_only_bind_mount_refuses_writes() {
    let (world, image) = world_with("busybox:latest");
    let dir = world.path("shared");
    fs::create_dir(&dir).unwrap();
    let volume = format!("{}:/data:ro", dir.display());
    let said = sh(&world, &["-v", &volume], &image, "touch /data/x 2>&1; echo $?");
    assert!(said.contains("Read-only file system") && said.ends_with("\n1"), "{said}");
    assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
}

#[test]
fn a_file_can_be_bound_over_a_file_and_where_none_is() {
    let (world, image) = world_with("busybox:latest");
    let file = world.write("passwd", "only:x:7:7::/:/bin/sh\n");
    let over = format!("{file}:/etc/passwd:ro");
    let fresh = format!("{file}:/made/for/it");
    assert_eq!(
        sh(&world, &["-v", &over, "-v", &fresh], &image, "cut -c1-6 /etc/passwd /made/for/it"),
        "only:x\nonly:x"
    );
}

#[test]
fn the_target_of_a_mount_is_resolved_inside_the_container() {
    let (world, image) = world_with("tree:latest");
    let file = world.write("content", "mounted");
    // In the image this is a link to /does/not/exist, which must not become a path of the host.
    let volume = format!("{file}:/attrs/dangling");
    let said =
        world.loment(["run", "--rm", "--network", "none", "-v", &volume, &image, "cat", "/does/not/exist"]);
    assert!(!std::path::Path::new("/does").exists());
    assert!(said.code != 0 || said.stdout == "mounted", "{said}");
}

#[test]
fn a_source_that_does_not_exist_is_an_error() {
    let (world, image) = world_with("busybox:latest");
    let missing = world.path("missing");
    let volume = format!("{}:/data", missing.display());
    let output = world.loment(["run", "--rm", "--network", "none", "-v", &volume, &image, "true"]);
    output.fails_saying(125, &[missing.to_str().unwrap()]);
    assert!(!missing.exists());
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn tmpfs_has_the_size_and_mode_it_was_given() {
    let (world, image) = world_with("busybox:latest");
    let flags = ["--tmpfs", "/scratch:size=1m,mode=1700"];
    let script = "stat -c %a /scratch; df -k /scratch | awk 'END{print $2}'; \
                  head -c 2m /dev/zero >/scratch/x 2>/dev/null || echo full";
    assert_eq!(sh(&world, &flags, &image, script), "1700\n1024\nfull");
    assert_eq!(sh(&world, &["--tmpfs", "/t"], &image, "grep -c ' /t ' /proc/self/mountinfo"), "1");
}

#[test]
fn a_read_only_root_refuses_writes_but_keeps_its_temporary_places() {
    let (world, image) = world_with("busybox:latest");
    let script = "touch /x 2>/dev/null || echo refused; touch /tmp/y && touch /run/y && touch /dev/shm/y && echo written";
    assert_eq!(sh(&world, &["--read-only"], &image, script), "refused\nwritten");
}

#[test]
fn shared_memory_has_the_size_that_was_asked_for() {
    let (world, image) = world_with("busybox:latest");
    let size = |flags: &[&str]| sh(&world, flags, &image, "df -k /dev/shm | awk 'END{print $2}'");
    assert_eq!(size(&[]), "65536");
    assert_eq!(size(&["--shm-size", "1m"]), "1024");
}

#[test]
fn what_is_written_stays_in_the_container_and_only_there() {
    let (world, image) = world_with("busybox:latest");
    world
        .loment(["run", "--network", "none", "--name", "c", &image, "sh", "-c", "echo kept > /file"])
        .succeeds();
    assert_eq!(sh(&world, &[], &image, "test -e /file || echo another"), "another");
    world.loment(["run", "-d", "--network", "none", "--name", "d", &image, "sleep", "100"]).succeeds();
    let started = world.loment(["start", "-a", "c"]);
    started.succeeds();
    assert_eq!(
        world.loment(["exec", "d", "sh", "-c", "test -e /file || echo another"]).succeeds(),
        "another"
    );
}

#[test]
fn an_images_volume_is_filled_from_the_image_and_owned_as_there() {
    let (world, image) = world_with("app:latest");
    let script = "cat /data/seed; echo; stat -c %u /data; touch /data/new && echo written";
    assert_eq!(sh(&world, &["--entrypoint", ""], &image, script), "seed\n1000\nwritten");
}

#[test]
fn mounts_of_a_container_disappear_with_it() {
    let (world, image) = world_with("busybox:latest");
    // The first one has the image's layers mounted, which stay.
    sh(&world, &[], &image, "true");
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let ours = |text: &str| text.lines().filter(|l| l.contains(world.dir().to_str().unwrap())).count();
    sh(&world, &["--tmpfs", "/t"], &image, "true");
    assert_eq!(ours(&fs::read_to_string("/proc/self/mountinfo").unwrap()), ours(&before));
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn the_store_is_for_root_only() {
    let (world, _image) = world_with("busybox:latest");
    for dir in [world.root(), world.runroot()] {
        let mode = fs::metadata(&dir).unwrap().mode() & 0o077;
        assert_eq!(mode & 0o022, 0, "{} is writable by others", dir.display());
    }
    let containers = world.root().join("containers");
    if containers.exists() {
        assert_eq!(fs::metadata(containers).unwrap().mode() & 0o077, 0);
    }
}
