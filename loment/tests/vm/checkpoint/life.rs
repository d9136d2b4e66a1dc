//! The life of a container that is saved and restored.

use std::fs;

use loment_testkit::skip;
use serde_json::json;

use super::{COUNT, Case, kernel_has};
use crate::{eventually, setting};

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_restored_container_goes_on_where_it_was() {
    let c = Case::new("on");
    c.start(&c.bundle(COUNT, |config| {
        config["linux"]["maskedPaths"] = json!(["/proc/keys", "/proc/timer_list", "/proc/acpi"]);
        config["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
    }));
    c.counts_from(0);
    let mounts = || fs::read_to_string(format!("/proc/{}/mountinfo", c.pid())).unwrap();
    // Where, and what may be done there: a mask that could be written would be the host's null device.
    let points = |text: &str| {
        let place = |line: &str| line.split(' ').skip(4).take(2).collect::<Vec<_>>().join(" ");
        let mut points: Vec<String> = text.lines().map(place).collect();
        points.sort();
        points
    };
    let before = points(&mounts());
    c.save(&[]);
    let saved = c.count();
    c.is_gone();
    assert_eq!(c.count(), saved);
    let file = c.path("pid");
    c.restore(&["--pid-file", &file]);
    assert_eq!(c.status(), "running");
    assert_eq!(fs::read_to_string(file).unwrap(), c.pid().to_string());
    c.counts_from(saved);
    assert_eq!(points(&mounts()), before);
    // As any other.
    let ps = c.quietly_read(&["exec", &c.id, "/bin/ps"]);
    assert!(ps.succeeds().lines().any(|l| l.trim_start().starts_with("1 ") && l.contains("i=0")), "{ps}");
    assert_eq!(setting(c.pid(), "pids", &["pids.max"]), "50");
    c.quietly_read(&["pause", &c.id]).succeeds();
    assert_eq!(c.status(), "paused");
    c.quietly_read(&["resume", &c.id]).succeeds();
    c.quietly_read(&["kill", &c.id, "KILL"]).succeeds();
    eventually("it is stopped", || c.status() == "stopped");
    c.quietly_read(&["delete", &c.id]).succeeds();
    c.is_gone();
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_is_saved_and_restored_again_and_again() {
    let c = Case::new("again");
    c.start(&c.bundle(COUNT, |_| {}));
    let mut counted = 0;
    for _ in 0..3 {
        c.counts_from(counted);
        c.save(&[]);
        counted = c.count();
        c.restore(&[]);
    }
    c.counts_from(counted);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_that_is_left_running_goes_on_and_can_be_had_twice() {
    let c = Case::new("left");
    c.start(&c.bundle(COUNT, |_| {}));
    c.counts_from(0);
    c.save(&["--leave-running"]);
    assert_eq!(c.status(), "running");
    c.counts_from(c.count());
    // The id is in use; that it is says nothing of the first.
    let taken = c.quietly(&mut c.restoring(&[]));
    taken.fails_saying(1, &["container with given ID already exists"]);
    assert_eq!(c.status(), "running");
    c.quietly_read(&["delete", "--force", &c.id]).succeeds();
    let before = c.count();
    c.restore(&[]);
    // From where it was saved, which was earlier.
    eventually("it counts again", || c.count() != before);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_with_users_of_its_own_is_restored() {
    let c = Case::new("users");
    const OUTSIDE: u32 = 100_000;
    let dir = c.bundle(COUNT, |config| {
        let mapping = json!([{ "containerID": 0, "hostID": OUTSIDE, "size": 65536 }]);
        config["linux"]["uidMappings"] = mapping.clone();
        config["linux"]["gidMappings"] = mapping;
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        // What would have to be made in the root file system is not the container's to make.
        let elsewhere = |m: &serde_json::Value| m["destination"].as_str().unwrap().starts_with("/sys");
        config["mounts"].as_array_mut().unwrap().retain(|m| !elsewhere(m));
    });
    for place in ["proc", "dev", "out"] {
        fs::create_dir_all(std::path::Path::new(&c.fs).join(place)).unwrap();
    }
    // Its root must be able to come to its root file system.
    let reachable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(c.world.dir(), reachable).unwrap();
    std::os::unix::fs::chown(c.world.path("out"), Some(OUTSIDE), Some(OUTSIDE)).unwrap();
    c.start(&dir);
    c.counts_from(0);
    // A directory of somebody's is not opened to others.
    let closed = c.path("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let refused = c.quietly(&mut c.ours(&["checkpoint", "--image-path", &closed, &c.id]));
    refused.fails_saying(1, &[&closed, "its group is not 100000", "choose a directory that does not exist"]);
    c.counts_from(c.count());
    c.save(&[]);
    let saved = c.count();
    // Mount points that are missing are made by its root.
    let root = std::path::Path::new(&c.fs);
    fs::remove_dir(root.join("out")).unwrap();
    std::os::unix::fs::chown(root, Some(OUTSIDE), Some(OUTSIDE)).unwrap();
    c.restore(&[]);
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(root.join("out")).unwrap()), OUTSIDE);
    c.counts_from(saved);
    let mapping = fs::read_to_string(format!("/proc/{}/uid_map", c.pid())).unwrap();
    assert_eq!(mapping.split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
    // The memory in it is for nobody else.
    let images = fs::metadata(c.world.path("images")).unwrap();
    let (mode, group) =
        (std::os::unix::fs::MetadataExt::mode(&images), std::os::unix::fs::MetadataExt::gid(&images));
    assert_eq!((mode & 0o777, group), (0o710, OUTSIDE));
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_paused_container_is_saved_too() {
    let c = Case::new("paused");
    c.start(&c.bundle(COUNT, |_| {}));
    c.counts_from(0);
    c.quietly_read(&["pause", &c.id]).succeeds();
    c.save(&[]);
    c.is_gone();
    let saved = c.count();
    c.restore(&[]);
    assert_eq!(c.status(), "running");
    c.counts_from(saved);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn memory_that_was_saved_before_is_not_saved_again() {
    let c = Case::new("parent");
    if !kernel_has("mem_dirty_track") {
        return skip("pre-dump", "this kernel does not track changes of memory");
    }
    // Four megabytes in a variable of the shell.
    let fill = format!("x=$(head -c 4000000 /dev/zero | tr '\\0' x); {COUNT}");
    c.start(&c.bundle(&fill, |_| {}));
    c.counts_from(0);
    let pre = c.path("pre");
    let save = c.ours(&["checkpoint", "--pre-dump", "--image-path", &pre, &c.id]);
    c.quietly(&mut { save }).succeeds();
    assert_eq!(c.status(), "running");
    c.counts_from(c.count());
    c.save(&["--parent-path", "../pre"]);
    let size = |dir: &str| -> u64 {
        let files = fs::read_dir(c.world.path(dir)).unwrap().map(Result::unwrap);
        files
            .filter(|f| f.file_name().to_str().unwrap().starts_with("pages-"))
            .map(|f| f.metadata().unwrap().len())
            .sum()
    };
    assert!(size("pre") > 4_000_000 && size("images") < 2_000_000, "{} {}", size("pre"), size("images"));
    let saved = c.count();
    c.restore(&[]);
    c.counts_from(saved);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn hooks_for_the_runtime_run_again_and_one_that_fails_leaves_nothing() {
    let c = Case::new("hooks");
    let with_hook = |script: &str| {
        c.bundle(COUNT, |config| {
            let hook = |script: &str| json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
            let ended = format!("cat >{}", c.path("ended"));
            config["hooks"] = json!({ "createRuntime": hook(script), "poststop": hook(&ended) });
        })
    };
    let told = c.path("told");
    c.start(&with_hook("true"));
    c.counts_from(0);
    c.save(&[]);
    c.is_gone();
    let ended: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(c.path("ended")).unwrap()).unwrap();
    assert_eq!((&ended["id"], &ended["status"]), (&json!(c.id), &json!("stopped")));
    let saved = c.count();
    with_hook("echo not today; exit 3");
    let failed = c.quietly(&mut c.restoring(&[]));
    failed.fails_saying(1, &[&c.id, "createRuntime hook /bin/sh", "exit status 3: not today"]);
    c.is_gone();
    assert_eq!(c.count(), saved);
    let environment = c.path("environment");
    with_hook(&format!("cat >{told}; env >{environment}"));
    c.restore(&[]);
    assert!(fs::read_to_string(environment).unwrap().contains("PATH="), "it has the runtime's");
    let state: serde_json::Value = serde_json::from_str(&fs::read_to_string(told).unwrap()).unwrap();
    assert_eq!(state["id"], c.id.as_str());
    assert_eq!(state["pid"], c.pid());
    c.counts_from(saved);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn what_is_saved_is_for_nobody_else_and_a_directory_of_others_stays_as_it_is() {
    use std::os::unix::fs::PermissionsExt;
    let c = Case::new("private");
    c.start(&c.bundle(COUNT, |_| {}));
    c.counts_from(0);
    let images = c.world.path("images");
    fs::create_dir(&images).unwrap();
    fs::set_permissions(&images, PermissionsExt::from_mode(0o755)).unwrap();
    c.save(&[]);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&images), 0o755);
    let files: Vec<_> = fs::read_dir(&images).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(files.iter().any(|f| f.ends_with("pages-1.img")), "{files:?}");
    for file in files {
        assert_eq!(mode(&file) & 0o077, 0, "{}", file.display());
    }
    c.restore(&[]);
    c.counts_from(0);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn files_that_are_missing_make_a_restore_fail_and_leave_nothing() {
    let c = Case::new("damaged");
    c.start(&c.bundle(COUNT, |_| {}));
    c.counts_from(0);
    c.save(&[]);
    c.is_gone();
    fs::remove_file(c.world.path("images/pstree.img")).unwrap();
    let failed = c.quietly(&mut c.restoring(&["--work-path", &c.path("work-path")]));
    // CRIU 3.17 is killed by a signal then, which is said.
    failed.fails_saying(1, &["criu failed: restore by ", "(criu ", "work-path/restore.log"]);
    c.is_gone();
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn under_systemd_the_restored_container_is_a_scope() {
    let c = Case::new("scope");
    if !fs::exists("/run/systemd/system").unwrap() {
        return skip("a restored scope", "systemd does not run here");
    }
    let dir = c.bundle(COUNT, |_| {});
    let run = ["--systemd-cgroup", "run", "--detach", "--bundle", &dir, &c.id];
    let mut run = c.ours(&run);
    let null = std::process::Stdio::null;
    assert!(run.stdin(null()).stdout(null()).stderr(null()).status().unwrap().success());
    c.counts_from(0);
    c.save(&[]);
    let saved = c.count();
    let images = c.path("images");
    let restore =
        ["--systemd-cgroup", "restore", "--detach", "--image-path", &images, "--bundle", &dir, &c.id];
    c.quietly(&mut c.ours(&restore)).succeeds();
    c.counts_from(saved);
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap();
    assert!(groups.contains(&format!("loment-{}.scope", c.id)), "{groups}");
    assert_eq!(setting(c.pid(), "pids", &["pids.max"]), "50");
}
