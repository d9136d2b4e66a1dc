//! What only the v2 hierarchy has.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use loment_testkit::{Patience, World, run};
use serde_json::{Value, json};

use crate::{
    FIRST_USER, Running, SLEEP, bundle, configure, eventually, group, map_users, runtime, setting, sh,
    sleeper, world,
};

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn any_file_of_the_group_can_be_written_by_its_name() {
    let (world, fs) = world();
    let unified = json!({ "memory.high": "33554432", "io.weight": "50", "cgroup.max.depth": "2" });
    // A controller without a limit of ours is there as well, or the file would not be.
    let (_container, pid) = Running::with(&world, &fs, &json!({ "unified": unified }));
    assert_eq!(setting(pid, "memory", &["memory.high"]), "33554432");
    assert_eq!(setting(pid, "io", &["io.weight"]), "default 50");
    assert_eq!(setting(pid, "cgroup", &["cgroup.max.depth"]), "2");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn the_container_sees_its_group_as_the_root() {
    let (world, fs) = world();
    let script = "cat /proc/self/cgroup; cat /sys/fs/cgroup/pids.max; echo 1 2>/dev/null >/sys/fs/cgroup/pids.max \
                  || echo read-only";
    let output = sh(&world, &["--pids-limit", "77"], &fs, script);
    assert_eq!(output.succeeds(), "0::/\n77\nread-only");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn the_monitor_is_in_a_group_of_its_own() {
    let (world, fs) = world();
    let pid = sleeper(&world, &[], &fs);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let monitor = status.lines().find_map(|l| l.strip_prefix("PPid:")).unwrap().trim().parse().unwrap();
    let (ours, containers, monitors) = (group(std::process::id(), ""), group(pid, ""), group(monitor, ""));
    assert_ne!(monitors, containers);
    assert_ne!(monitors, ours);
    let members = fs::read_to_string(containers.join("cgroup.procs")).unwrap();
    assert!(members.lines().all(|p| p != monitor.to_string()), "{members}");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_program_that_is_run_later_is_in_the_containers_group_too() {
    let (world, fs) = world();
    let dir = group(sleeper(&world, &["--pids-limit", "77"], &fs), "pids");
    let members = || fs::read_to_string(dir.join("cgroup.procs")).unwrap().lines().count();
    let before = members();
    world.loment(["exec", "--detach", "c", "tail", "-f", "/dev/null"]).succeeds();
    assert!(members() > before);
    let seen = world.loment(["exec", "c", "cat", "/proc/self/cgroup", "/sys/fs/cgroup/pids.max"]);
    assert_eq!(seen.succeeds(), "0::/\n77");
}

/// A v1 hierarchy that is mounted until this is dropped.
struct Hierarchy(PathBuf);

impl Drop for Hierarchy {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.0).output());
    }
}

/// `run.oci.systemd.force_cgroup_v1`.
#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_gets_systemds_v1_hierarchy_where_the_host_has_it() {
    let (world, fs) = world();
    let script = "ls /sys/fs/cgroup; mkdir /sys/fs/cgroup/systemd/inner && echo $$ > /sys/fs/cgroup/systemd/inner/tasks && \
                  grep name= /proc/self/cgroup | cut -d: -f2-; echo 0 > /sys/fs/cgroup/systemd/tasks; rmdir /sys/fs/cgroup/systemd/inner";
    let dir = bundle(&world, &fs, script, &json!({}));
    let file = format!("{dir}/config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    config["annotations"] = json!({ "run.oci.systemd.force_cgroup_v1": "/sys/fs/cgroup" });
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "cgroup" }));
    // The hierarchy's root is read-only for whoever lacks it.
    let all = json!(["CAP_DAC_OVERRIDE"]);
    config["process"]["capabilities"] = json!({ "bounding": all, "effective": all, "permitted": all });
    let mount = json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup" });
    config["mounts"].as_array_mut().unwrap().push(mount);
    fs::write(file, config.to_string()).unwrap();
    let run_it = || runtime(&world, &["run", "--bundle", &dir, crate::ID]);
    run_it().fails_saying(1, &["force_cgroup_v1", "no cgroup v1 hierarchy name=systemd"]);
    let hierarchy = Hierarchy(world.path("hierarchy"));
    fs::create_dir(&hierarchy.0).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "cgroup", "-o", "none,name=systemd", "none"]).arg(&hierarchy.0);
    run(&mut mount, Patience::NORMAL).succeeds();
    assert_eq!(run_it().succeeds(), "systemd\nname=systemd:/inner");
}

/// A bundle whose root is another user on the host, and which has a group as its root and mounted like this.
fn with_groups_of_its_own(world: &World, fs: &str, script: &str, options: &[&str], uid: u32) -> String {
    let dir = bundle(world, fs, script, &json!({ "pids": { "limit": 77 } }));
    configure(&dir, |c| {
        map_users(c);
        c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "cgroup" }));
        c["process"]["user"]["uid"] = json!(uid);
        c["mounts"].as_array_mut().unwrap().extend([
            json!({ "destination": "/sys", "type": "tmpfs", "source": "tmpfs" }),
            json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options }),
        ]);
    });
    dir
}

/// The owners of a process's group and of everything in it.
fn owners(pid: u32) -> BTreeMap<String, u32> {
    let dir = group(pid, "");
    let files = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    files
        .chain([".".to_owned()])
        .map(|name| (name.clone(), fs::metadata(dir.join(name)).unwrap().uid()))
        .collect()
}

/// runtime-spec, config-linux.md, "Cgroup ownership".
#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_group_that_is_mounted_writable_belongs_to_the_containers_user() {
    let given = fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap();
    assert!(given.lines().any(|file| file == "cgroup.subtree_control"), "{given}");
    for (options, uid) in [(["rw", "nosuid"], 0), (["rw", "nosuid"], 7), (["ro", "nosuid"], 0)] {
        let (world, fs) = world();
        let dir = with_groups_of_its_own(&world, &fs, SLEEP, &options, uid);
        let ours = {
            let (_container, pid) = Running::over(&world, &dir);
            owners(pid)
        };
        let owner = if options[0] == "rw" { FIRST_USER + uid } else { 0 };
        for (file, found) in &ours {
            let is_given = file == "." || given.lines().any(|f| f == file);
            assert_eq!(*found, if is_given { owner } else { 0 }, "{file} with {options:?} and user {uid}");
        }
        // The control, which does it only with systemd.
        configure(&dir, |c| c["linux"]["cgroupsPath"] = json!("system.slice:peer:vm-bundle"));
        let peer = Peer::start(&world, &dir);
        assert_eq!(owners(peer.pid()), ours, "{options:?} and user {uid}");
    }
}

/// A container of runc's that is deleted whatever happens.
struct Peer<'w>(&'w World);

impl<'w> Peer<'w> {
    #[track_caller]
    fn start(world: &'w World, dir: &str) -> Self {
        let peer = Self(world);
        let mut start = peer.command(&["run", "--detach", "--bundle", dir, "--pid-file"]);
        let null = Stdio::null;
        start.arg(world.path("peer.pid")).arg(PEER).stdin(null()).stdout(null()).stderr(null());
        assert!(start.status().unwrap().success(), "{start:?}");
        peer
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("runc");
        command.arg("--root").arg(self.0.path("peer")).arg("--systemd-cgroup").args(arguments);
        command
    }

    fn pid(&self) -> u32 {
        fs::read_to_string(self.0.path("peer.pid")).unwrap().parse().unwrap()
    }
}

/// The id of its container.
const PEER: &str = "vm-peer";

impl Drop for Peer<'_> {
    fn drop(&mut self) {
        let output = self.command(&["delete", "--force", PEER]).output();
        assert!(output.is_ok_and(|o| o.status.success()) || std::thread::panicking());
    }
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_arranges_groups_of_its_own_below_its_group() {
    let (world, fs) = world();
    let script = "cd /sys/fs/cgroup && mkdir own && echo 0 >own/cgroup.procs \
                  && echo '+pids +memory' >cgroup.subtree_control && echo 5 >own/pids.max && cat own/pids.max \
                  && cat /proc/self/cgroup; echo max 2>/dev/null >pids.max || echo still limited";
    let dir = with_groups_of_its_own(&world, &fs, script, &["rw"], 0);
    let output = runtime(&world, &["run", "--bundle", &dir, crate::ID]);
    assert_eq!(output.succeeds(), "5\n0::/own\nstill limited");
    // What it has made goes with it, also while members are below.
    configure(&dir, |c| {
        c["process"]["args"][2] =
            json!(format!("mkdir /sys/fs/cgroup/own && echo 0 >/sys/fs/cgroup/own/cgroup.procs; {SLEEP}"));
    });
    let (container, pid) = Running::over(&world, &dir);
    eventually("it has moved", || group(pid, "").ends_with("own"));
    let made = group(pid, "").parent().unwrap().to_owned();
    drop(container);
    assert!(!made.exists());
}
