//! `--rootfs`: containers over directories, and over the machine's own files.

use std::fs;

use loment_testkit::{Output, Patience, World, busybox_rootfs, run, skip};
use rustix::fs::statfs;

use crate::{through, world};

/// What overlayfs calls itself in statfs(2).
const OVERLAY: i64 = 0x794c_7630;

/// `run --rm FLAGS --rootfs ROOT sh -c SCRIPT` in a mount namespace of its own, in which `setup` has been done by a shell.
#[track_caller]
fn among_mounts(world: &World, setup: &str, flags: &[&str], root: &str, script: &str) -> Output {
    let words = ["run", "--rm", "--network", "none"];
    let command = world.command([&words, flags, &["--rootfs", root, "sh", "-c", script]].concat());
    let setup = format!("set -e; {setup}; exec \"$@\"");
    let unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &setup, "sh"];
    run(&mut through(&unshare, &command), Patience::NORMAL)
}

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

#[test]
fn separate_file_systems_are_overlaid_too() {
    let world = world();
    let dir = world.path("rootfs");
    busybox_rootfs(&dir);
    let kept = world.path("kept");
    fs::create_dir(&kept).unwrap();
    let (dir, kept) = (dir.to_str().unwrap(), kept.to_str().unwrap());
    // The files of three separate file systems, two of which are mounted in one another, are also seen at another place,
    // which the test can look at when the namespace is gone.
    let setup = format!(
        "for d in usr var home; do mkdir {kept}/$d; echo $d > {kept}/$d/mark; done; mkdir {kept}/var/lib {kept}/lib; \
         touch {kept}/lib/deep; for d in usr var home; do mount --bind {kept}/$d {dir}/$d; done; \
         mount --bind {kept}/lib {dir}/var/lib; mount -o remount,bind,nosuid,nodev,noexec {dir}/home"
    );
    let script = "cat /usr/mark /var/mark /home/mark; rm /usr/mark; ls /var/lib; \
                  for d in usr var var/lib home; do echo new > /$d/new; done; \
                  grep ' /home ' /proc/self/mountinfo | cut -d ' ' -f 6; grep -c overlay /proc/self/mountinfo";
    let output = among_mounts(&world, &setup, &[], &format!("{dir}:O"), script);
    let lines: Vec<_> = output.succeeds().lines().collect();
    assert_eq!(lines[..4], ["usr", "var", "home", "deep"], "{output}");
    // What a mount forbids, its overlay forbids.
    assert!(["nosuid", "nodev", "noexec"].iter().all(|flag| lines[4].contains(flag)), "{output}");
    assert_eq!(lines[5], "5", "the root and four file systems\n{output}");
    assert_eq!(output.stderr, "");
    for name in ["usr", "var", "home", "lib"] {
        assert!(!world.path("kept").join(name).join("new").exists(), "a change of /{name} was kept");
    }
    assert!(world.path("kept/usr/mark").exists());
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn what_cannot_be_overlaid_is_named_in_one_warning() {
    let world = world();
    let dir = world.path("rootfs");
    busybox_rootfs(&dir);
    fs::create_dir(world.path("mounts")).unwrap();
    for name in ["etc/file", "etc/hosts"] {
        fs::write(dir.join(name), "").unwrap();
    }
    let (dir, mounts) = (dir.to_str().unwrap(), world.path("mounts").into_os_string().into_string().unwrap());
    // Overlays over overlays, over which the kernel accepts no further one, and files.
    let setup = format!(
        "cd {mounts}; mount -t tmpfs tmpfs .; cd {mounts}; mkdir a b c d e f; \
         mount -t overlay -o lowerdir=a:b one c; mount -t overlay -o lowerdir=c:d two {dir}/usr; \
         mount -t overlay -o lowerdir=c:e three {dir}/var; touch f/x; \
         for n in file hosts; do mount --bind f/x {dir}/etc/$n; done; cd /"
    );
    let output = among_mounts(
        &world,
        &setup,
        &[],
        &format!("{dir}:O"),
        "ls -d /usr /var; touch /usr/x && echo writable",
    );
    assert_eq!(output.succeeds(), "/usr\n/var\nwritable");
    let names = [format!("{dir}/etc/file"), format!("{dir}/usr"), format!("{dir}/var")].join(", ");
    let warning = format!("Warning: separate file systems that are not visible in the container: {names}\n");
    assert_eq!(output.stderr, warning);
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_separate_usr_of_the_machine_is_overlaid_too() {
    let world = world();
    let setup = "mount --bind /usr /usr";
    let script =
        "touch /usr/loment-mark && ls /usr/loment-mark; grep -c ' /usr .* overlay ' /proc/self/mountinfo";
    let output = among_mounts(&world, setup, &[], "/:O", script);
    assert_eq!(output.succeeds(), "/usr/loment-mark\n1");
    assert!(!std::path::Path::new("/usr/loment-mark").exists(), "it reached the host");
    assert_eq!(world.leftovers(), [""; 0]);
}

/// In a container the root is an overlay already.
#[test]
fn it_works_inside_a_container_as_deep_as_the_kernel_stacks_overlays() {
    if statfs("/").is_ok_and(|s| s.f_type == OVERLAY) {
        return skip("overlays inside a container", "the root of this machine is one already");
    }
    let world = world();
    let loment = env!("CARGO_BIN_EXE_loment");
    let nested = |n: u32| {
        format!("{loment} --root /run/l{n} --runroot /run/r{n} run --rm --network none --rootfs /:O")
    };
    let innermost = format!("mount -t tmpfs tmpfs /run; {} true", nested(3));
    let script = format!(
        "{} sh -c 'echo pid $$; touch /etc/loment-mark && echo writable; stat -f -c \"%b %S\" /; {innermost}'; \
         echo status $?; ls /etc/loment-mark; ls /run/l2/containers",
        nested(2).replace("--rootfs", "--privileged --rootfs"),
    );
    let output = world.loment([
        "run",
        "--rm",
        "--network",
        "none",
        "--privileged",
        "--rootfs",
        "/:O",
        "sh",
        "-c",
        &script,
    ]);
    let lines: Vec<_> = output.stdout.lines().collect();
    assert_eq!(lines[..2], ["pid 1", "writable"], "{output}");
    // The changes are in a tmpfs that may take half of the memory, in whole blocks.
    let numbers: Vec<u64> = lines[2].split(' ').map(|n| n.parse().unwrap()).collect();
    let memory = rustix::system::sysinfo();
    assert!(
        numbers[0] * numbers[1] <= memory.totalram * u64::from(memory.mem_unit) / 2 + numbers[1],
        "{output}"
    );
    assert_eq!(lines[3..], ["status 125"], "{output}");
    assert!(output.stderr.contains("overlay /: it is an overlay over an overlay already"), "{output}");
    assert!(!std::path::Path::new("/etc/loment-mark").exists(), "it reached the host");
    assert_eq!(world.leftovers(), [""; 0]);
}
