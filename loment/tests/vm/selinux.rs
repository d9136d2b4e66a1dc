//! SELinux labels confine what a container runs and mark what is mounted for it, by a policy of our own and for real.
//!
//! These tests have a boot of their own (xtask's `vm::tests`), in which the first of them loads the policy.

mod files;
mod programs;
mod relabel;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use loment_testkit::{Output, Patience, World, run};
use serde_json::{Value, json};

use crate::limits::groups_left;
use crate::{ID, Running, bundle, configure, runtime, world};

/// What programs run with. Categories are how engines keep containers apart.
const CONTAINER: &str = "system_u:system_r:container_t:s0:c1,c2";
const OTHER: &str = "system_u:system_r:other_t:s0:c1,c2";
/// One that may not be entered under `no_new_privs`.
const BARE: &str = "system_u:system_r:bare_t:s0";
/// One that the policy does not know.
const UNKNOWN: &str = "system_u:system_r:unknown_t:s0";
/// What everything runs with that was there before the policy.
const HOST: &str = "system_u:system_r:host_t:s0-s0:c1.c3";
/// What is mounted for a container.
const MOUNT: &str = "system_u:object_r:mount_t:s0:c1,c2";
/// What only the host may write, and another container.
const DENIED: &str = "system_u:object_r:denied_t:s0";
const FOREIGN: &str = "system_u:object_r:file_t:s0:c3";

/// What is confined says its label, and can write what is its own and nothing else.
const SCRIPT: &str = "tr -d '\\0' </proc/self/attr/current; echo
    for file in /denied/made /denied/file /foreign/made /foreign/file; do
        echo x 2>/dev/null >$file && echo wrote $file
    done
    echo x >/tmp/made && echo ran";

/// What [`SCRIPT`] says with a label.
fn confined(label: &str) -> String {
    format!("{label}\nran")
}

/// The same without.
const FREE: &str = "\nwrote /denied/made\nwrote /denied/file\nwrote /foreign/made\nwrote /foreign/file\nran";

/// A world with files that a container may not write, where the policy is in force.
#[track_caller]
fn prepared() -> (World, String) {
    let (world, fs) = world();
    enforce(&world, &fs);
    for (name, label) in [("denied", DENIED), ("foreign", FOREIGN)] {
        let dir = world.path("fs").join(name);
        let file = dir.join("file");
        fs::create_dir(&dir).unwrap();
        fs::write(&file, "as it was\n").unwrap();
        // Only the label is in anybody's way.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        for path in [&file, &dir] {
            let mut set = Command::new("setfattr");
            run(set.args(["-n", "security.selinux", "-v", label]).arg(path), Patience::NORMAL).succeeds();
        }
    }
    (world, fs)
}

/// Compiles and loads the policy, if no test before this has. The kernel never forgets one.
#[track_caller]
fn enforce(world: &World, fs: &str) {
    let place = Path::new("/sys/fs/selinux");
    let enforce = place.join("enforce");
    if label_of("self") != "kernel" {
        assert_eq!((label_of("self").as_str(), fs::read_to_string(enforce).unwrap().as_str()), (HOST, "1"));
        return;
    }
    if !place.join("load").exists() {
        let mut mount = Command::new("mount");
        run(mount.args(["-t", "selinuxfs", "selinuxfs"]).arg(place), Patience::NORMAL).succeeds();
    }
    labels_are_refused_without_a_policy(world, fs);
    let source = world.write("policy.cil", include_str!("selinux.cil"));
    let policy = world.path("policy");
    let version = fs::read_to_string(place.join("policyvers")).unwrap();
    let mut compiler = Command::new("secilc");
    compiler.args(["-c", version.trim(), "-f", "/dev/null", &source, "-o"]).arg(&policy);
    run(&mut compiler, Patience::NORMAL).succeeds();
    fs::write(place.join("load"), fs::read(policy).unwrap()).unwrap();
    fs::write(enforce, "1").unwrap();
    assert_eq!(label_of("self"), HOST);
}

/// Such a kernel takes any label, and does nothing.
#[track_caller]
fn labels_are_refused_without_a_policy(world: &World, fs: &str) {
    let dir = bundle(world, fs, "echo never", &json!({}));
    for (part, field, label) in [("process", "selinuxLabel", CONTAINER), ("linux", "mountLabel", MOUNT)] {
        configure(&dir, |c| c[part][field] = json!(label));
        let expected = format!("invalid {part}.{field}: SELinux is not enabled here, so label");
        run_once(world, &dir).fails_saying(1, &[&expected, label]);
        configure(&dir, |c| drop(c[part].as_object_mut().unwrap().remove(field)));
    }
}

/// What a process runs with, asked from outside.
#[track_caller]
fn label_of(pid: impl std::fmt::Display) -> String {
    let label = fs::read_to_string(format!("/proc/{pid}/attr/current")).unwrap();
    label.trim_end_matches(['\0', '\n']).to_owned()
}

/// What a file has, asked from outside.
#[track_caller]
fn label_of_file(path: impl AsRef<Path>) -> String {
    let mut get = Command::new("getfattr");
    get.args(["--absolute-names", "--only-values", "-n", "security.selinux"]).arg(path.as_ref());
    run(&mut get, Patience::NORMAL).succeeds().trim_end_matches('\0').to_owned()
}

#[track_caller]
fn run_once(world: &World, dir: &str) -> Output {
    runtime(world, &["run", "--bundle", dir, ID])
}

/// The same by runc.
#[track_caller]
fn runc(world: &World, arguments: &[&str]) -> Output {
    run(Command::new("runc").arg("--root").arg(world.path("runc")).args(arguments), Patience::NORMAL)
}

/// `exec FLAGS ID sh -c SCRIPT`.
#[track_caller]
fn exec(world: &World, flags: &[&str]) -> Output {
    runtime(world, &[&["exec"], flags, &[ID, "/bin/sh", "-c", SCRIPT]].concat())
}

/// Neither `run` nor `create` makes the container; both say this, and leave nothing.
#[track_caller]
fn is_refused(world: &World, dir: &str, expected: &str) {
    for command in ["run", "create"] {
        let (output, said) = Running::attempt(world, &[command, "--bundle", dir, ID]);
        assert_eq!(output.code, 1, "{output}{said}");
        assert_eq!(said, format!("loment-runtime: error: {expected}\n"));
        runtime(world, &["state", ID]).fails(1);
        assert_eq!(groups_left(world), [""; 0]);
    }
}

fn set_label(dir: &str, label: &str) {
    configure(dir, |c| c["process"]["selinuxLabel"] = json!(label));
}

fn document(dir: &str) -> Value {
    serde_json::from_slice(&fs::read(format!("{dir}/config.json")).unwrap()).unwrap()
}
