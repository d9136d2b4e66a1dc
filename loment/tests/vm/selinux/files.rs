//! Labels of what is mounted for a container.

use std::fs;
use std::path::{Path, PathBuf};

use loment_testkit::World;
use serde_json::{Value, json};

use super::{CONTAINER, MOUNT, UNKNOWN, is_refused, label_of_file, prepared, run_once, runc};
use crate::{ID, Running, SLEEP, bundle, configure, eventually, map_users, runtime};

const TMPFS: &str = "system_u:object_r:tmpfs_t:s0";
const KERNEL: &str = "system_u:object_r:kernel_file_t:s0";

/// Makes a file in each file system that takes some, and waits.
fn script() -> String {
    format!("for dir in /dev /dev/shm /dev/mqueue; do echo x >$dir/made; done; touch /tmp/ready; {SLEEP}")
}

/// Every file system that an engine mounts, and a directory that is masked.
fn mounts(config: &mut Value) {
    let new = |to: &str, kind: &str, options: &[&str]| json!({ "destination": to, "type": kind, "source": kind, "options": options });
    config["mounts"] = json!([
        new("/proc", "proc", &[]),
        new("/dev", "tmpfs", &["nosuid", "mode=755", "size=65536k"]),
        new("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
        new("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        new("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        new("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        new("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ]);
    config["linux"]["maskedPaths"] = json!(["/masked"]);
}

#[track_caller]
fn labelled(world: &World, fs: &str) -> String {
    fs::create_dir(world.path("fs/masked")).unwrap();
    let dir = bundle(world, fs, &script(), &json!({}));
    configure(&dir, |c| {
        mounts(c);
        c["process"]["selinuxLabel"] = json!(CONTAINER);
        c["linux"]["mountLabel"] = json!(MOUNT);
    });
    dir
}

/// What all these have, seen from outside, and what is in /dev/shm; its own message queue last.
#[track_caller]
fn labels(world: &World, pid: u32) -> Vec<(&'static str, String)> {
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    eventually("it has made its files", || world.path("fs/tmp/ready").exists());
    fs::remove_file(world.path("fs/tmp/ready")).unwrap();
    let label = |path: &'static str| (path, label_of_file(root.join(&path[1..])));
    PLACES.iter().map(|(path, _)| label(path)).collect()
}

const PLACES: [(&str, &str); 13] = [
    ("/dev", MOUNT),
    ("/dev/null", MOUNT),
    ("/dev/made", MOUNT),
    ("/dev/pts", MOUNT),
    ("/dev/pts/ptmx", MOUNT),
    ("/dev/shm", MOUNT),
    ("/dev/shm/made", MOUNT),
    ("/dev/mqueue", MOUNT),
    ("/masked", MOUNT),
    ("/proc", KERNEL),
    ("/proc/sys", KERNEL),
    ("/sys", KERNEL),
    ("/sys/fs/cgroup", KERNEL),
];

/// Options of the file system that is mounted there.
#[track_caller]
fn options_of(pid: u32, place: &str) -> String {
    let all = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let line = all.lines().rfind(|line| line.split(' ').nth(4) == Some(place));
    line.unwrap_or_else(|| panic!("nothing on {place}:\n{all}")).rsplit(' ').next().unwrap().to_owned()
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn what_is_mounted_for_a_container_has_its_label() {
    for users in [false, true] {
        let (world, fs) = prepared();
        let dir = labelled(&world, &fs);
        if users {
            configure(&dir, |c| {
                map_users(c);
                mounts(c);
            });
        }
        let (_container, pid) = Running::over(&world, &dir);
        let mut expected = PLACES.map(|(path, label)| (path, label.to_owned())).to_vec();
        if users {
            // The host's, for whoever has users of his own.
            expected[1].1 = TMPFS.to_owned();
        }
        assert_eq!(labels(&world, pid), expected, "own users: {users}");
        for place in ["/dev", "/dev/pts", "/dev/shm", "/masked"] {
            let options = options_of(pid, place);
            assert!(options.contains(&format!("context=\"{MOUNT}\"")), "{place}: {options}");
        }
        for place in ["/proc", "/dev/mqueue", "/sys", "/sys/fs/cgroup"] {
            let options = options_of(pid, place);
            assert!(!options.contains("context="), "{place}: {options}");
        }
        runtime(&world, &["exec", ID, "cat", "/proc/1/comm", "/sys/fs/cgroup/cgroup.procs"]).succeeds();
    }
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn runc_gives_the_same_labels_to_mounts() {
    let (world, fs) = prepared();
    let dir = labelled(&world, &fs);
    let pid_file = world.path("pid");
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "\"$@\" >/dev/null 2>&1 </dev/null", "sh", "runc", "--root"]).arg(world.path("runc"));
    shell.args(["run", "--detach", "--bundle", &dir, "--pid-file"]).arg(&pid_file).arg(ID);
    loment_testkit::run(&mut shell, loment_testkit::Patience::NORMAL).succeeds();
    let pid = fs::read_to_string(pid_file).unwrap().parse().unwrap();
    let theirs = labels(&world, pid);
    runc(&world, &["delete", "--force", ID]).succeeds();
    let (_container, pid) = Running::over(&world, &dir);
    assert_eq!(labels(&world, pid), theirs);
}

/// Somebody else's categories are as good as another type.
#[test]
#[ignore = "run by cargo xtask vm-test"]
fn what_is_mounted_with_others_categories_cannot_be_written() {
    let (world, fs) = prepared();
    let dir = labelled(&world, &fs);
    configure(&dir, |c| {
        c["process"]["args"][2] = json!("echo x 2>/dev/null >/dev/shm/made || echo kept out");
        c["linux"]["mountLabel"] = json!("system_u:object_r:mount_t:s0:c1,c3");
    });
    assert_eq!(run_once(&world, &dir).succeeds(), "kept out");
    // A mount's own label wins.
    configure(&dir, |c| c["mounts"][3]["options"] = json!([format!("context=\"{MOUNT}\""), "mode=1777"]));
    assert_eq!(run_once(&world, &dir).succeeds(), "");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn an_annotation_says_what_the_label_is_for() {
    let (world, fs) = prepared();
    let dir = labelled(&world, &fs);
    let low = "system_u:object_r:mount_t:s0";
    for (kind, top) in [("context", MOUNT), ("rootcontext", MOUNT), ("fscontext", low)] {
        configure(&dir, |c| c["annotations"] = json!({ "run.oci.mount_context_type": kind }));
        let (_container, pid) = Running::over(&world, &dir);
        let found = labels(&world, pid);
        let label =
            |place: &str| found.iter().find(|(path, _)| *path == place).map(|(_, label)| label.as_str());
        assert_eq!(label("/dev/shm"), Some(top), "{kind}");
        assert_eq!(label("/dev/shm/made"), Some(MOUNT), "{kind}");
        for place in ["/dev", "/dev/pts", "/dev/shm", "/masked"] {
            let options = options_of(pid, place);
            let expected = format!("{kind}=\"{MOUNT}\"");
            assert!(options.split(',').any(|o| expected.starts_with(o)), "{place}: {options}");
        }
    }
    // The kernel has defaults only for file systems that keep labels.
    configure(&dir, |c| c["annotations"] = json!({ "run.oci.mount_context_type": "defcontext" }));
    run_once(&world, &dir).fails_saying(1, &["mount tmpfs (type tmpfs) on /dev"]);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_label_for_mounts_that_the_policy_does_not_know_is_named_and_leaves_nothing() {
    let (world, fs) = prepared();
    let dir = labelled(&world, &fs);
    configure(&dir, |c| c["linux"]["mountLabel"] = json!(UNKNOWN));
    let mount = "mount tmpfs (type tmpfs) on /dev";
    is_refused(&world, &dir, &format!("{mount}: context={UNKNOWN}: the loaded policy has no such label"));
    assert!(!Path::new(&fs).join("dev/made").exists());
}
