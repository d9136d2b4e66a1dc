//! `--rootfs`: containers over directories, and over the machine's own files.

use std::fs;

use loment_testkit::busybox_rootfs;

use crate::world;

#[test]
fn a_directory_can_be_a_root_file_system() {
    let world = world();
    let dir = world.path("rootfs");
    busybox_rootfs(&dir);
    let path = dir.to_str().unwrap();
    let run = |root: &str, script: &str| {
        world
            .loment(["run", "--rm", "--network", "none", "--rootfs", root, "sh", "-c", script])
            .succeeds()
            .to_owned()
    };
    assert_eq!(run(path, "echo $$; echo kept > /kept"), "1");
    assert_eq!(fs::read_to_string(dir.join("kept")).unwrap(), "kept\n");
}

#[test]
fn with_an_overlay_changes_are_thrown_away() {
    let world = world();
    let dir = world.path("rootfs");
    busybox_rootfs(&dir);
    let root = format!("{}:O", dir.display());
    let script = "rm /bin/vi; echo gone > /etc/passwd; touch /new; ls /new; cat /etc/passwd";
    let output = world.loment(["run", "--rm", "--network", "none", "--rootfs", &root, "sh", "-c", script]);
    assert_eq!(output.succeeds(), "/new\ngone");
    assert!(!dir.join("new").exists());
    assert!(dir.join("bin/vi").symlink_metadata().is_ok());
    assert!(fs::read_to_string(dir.join("etc/passwd")).unwrap().starts_with("root:"));
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn the_machines_own_files_can_be_run_without_any_registry() {
    let world = world();
    let script = "echo pid $$; cat /proc/sys/kernel/hostname; ls /sys/class/net; . /etc/os-release; echo $ID; \
                  touch /usr/loment-mark /etc/loment-mark /loment-mark && echo writable";
    let run =
        ["run", "--rm", "--network", "none", "--hostname", "seed", "--rootfs", "/:O", "sh", "-c", script];
    let output = world.loment(run);
    let lines: Vec<_> = output.succeeds().lines().collect();
    assert_eq!(lines[..3], ["pid 1", "seed", "lo"], "{output}");
    assert_eq!(lines.last(), Some(&"writable"), "{output}");
    for path in ["/usr/loment-mark", "/etc/loment-mark", "/loment-mark"] {
        assert!(!std::path::Path::new(path).exists(), "{path} reached the host");
    }
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_root_that_does_not_exist_is_an_error() {
    let world = world();
    let missing = world.path("missing");
    let missing = missing.to_str().unwrap();
    world
        .loment(["run", "--rm", "--network", "none", "--rootfs", missing, "true"])
        .fails_saying(125, &[missing]);
    assert_eq!(world.leftovers(), [""; 0]);
}
