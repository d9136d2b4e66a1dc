//! What only the v2 hierarchy has.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use loment_testkit::{Patience, run};
use serde_json::{Value, json};

use crate::{Running, bundle, group, runtime, setting, sh, sleeper, world};

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
