//! Labels of programs and of their keys.

use std::fs;

use loment_testkit::World;
use serde_json::{Value, json};

use super::{
    BARE, CONTAINER, FREE, HOST, OTHER, SCRIPT, UNKNOWN, confined, document, exec, is_refused, label_of,
    prepared, run_once, runc, set_label,
};
use crate::{ID, Running, SLEEP, bundle, configure, map_users, runtime};

/// A process.json with another label than the container's, over [`SCRIPT`].
#[track_caller]
fn process_document(world: &World, dir: &str, label: &str) -> String {
    let mut process = document(dir)["process"].take();
    process["args"][2] = json!(SCRIPT);
    process["selinuxLabel"] = json!(label);
    world.write("process.json", process.to_string())
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_and_what_is_run_in_it_later_are_confined() {
    let (world, fs) = prepared();
    for no_new_privileges in [false, true] {
        for (uid, filter) in [(0, false), (1000, true)] {
            let what = format!("no_new_privs {no_new_privileges}, user {uid}, filter {filter}");
            let dir = bundle(&world, &fs, SCRIPT, &json!({}));
            configure(&dir, |c| {
                c["process"]["selinuxLabel"] = json!(CONTAINER);
                c["process"]["noNewPrivileges"] = json!(no_new_privileges);
                c["process"]["user"]["uid"] = json!(uid);
                if filter {
                    let refused = json!([{ "names": ["sethostname"], "action": "SCMP_ACT_ERRNO" }]);
                    c["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": refused });
                }
            });
            drop(fs::remove_file(world.path("fs/tmp/made")));
            assert_eq!(run_once(&world, &dir).succeeds(), confined(CONTAINER), "{what}");

            configure(&dir, |c| c["process"]["args"][2] = json!(SLEEP));
            let (_container, pid) = Running::over(&world, &dir);
            assert_eq!(label_of(pid), CONTAINER, "{what}");
            assert_eq!(exec(&world, &[]).succeeds(), confined(CONTAINER), "{what}");
            assert_eq!(exec(&world, &["--process-label", OTHER]).succeeds(), confined(OTHER), "{what}");
            let without = exec(&world, &["--no-new-privs", "--process-label", OTHER]);
            assert_eq!(without.succeeds(), confined(OTHER), "{what}");
            let file = process_document(&world, &dir, OTHER);
            let output = runtime(&world, &["exec", "--process", &file, ID]);
            assert_eq!(output.succeeds(), confined(OTHER), "{what}");
        }
    }
    for name in ["denied", "foreign"] {
        let dir = world.path("fs").join(name);
        assert_eq!(fs::read_to_string(dir.join("file")).unwrap(), "as it was\n");
        assert!(!dir.join("made").exists(), "{name}");
    }
}

/// The control: without the label everything can be written, and runc's containers see the same one.
#[test]
#[ignore = "run by cargo xtask vm-test"]
fn runc_confines_by_the_same_label() {
    let (world, fs) = prepared();
    let dir = bundle(&world, &fs, SCRIPT, &json!({}));
    assert_eq!(run_once(&world, &dir).succeeds(), format!("{HOST}{FREE}"));
    for made in ["fs/denied/made", "fs/foreign/made", "fs/tmp/made"] {
        fs::remove_file(world.path(made)).unwrap();
    }
    for no_new_privileges in [false, true] {
        configure(&dir, |c| {
            c["process"]["selinuxLabel"] = json!(CONTAINER);
            c["process"]["noNewPrivileges"] = json!(no_new_privileges);
        });
        let ours = run_once(&world, &dir).succeeds().to_owned();
        assert_eq!(runc(&world, &["run", "--bundle", &dir, ID]).succeeds(), ours);
        assert_eq!(ours, confined(CONTAINER));
    }
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_hook_in_the_container_is_confined_like_its_program() {
    let (world, fs) = prepared();
    let dir = bundle(&world, &fs, "cat /tmp/hook", &json!({}));
    configure(&dir, |c| {
        c["process"]["selinuxLabel"] = json!(CONTAINER);
        let script = format!("exec >/tmp/hook; {SCRIPT}");
        c["hooks"] = json!({ "startContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] });
    });
    assert_eq!(run_once(&world, &dir).succeeds(), confined(CONTAINER));
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_that_waits_for_its_start_is_confined_when_it_runs() {
    let (world, fs) = prepared();
    let dir = bundle(&world, &fs, SLEEP, &json!({}));
    set_label(&dir, CONTAINER);
    let container = Running(&world);
    let (output, said) = Running::attempt(&world, &["create", "--bundle", &dir, ID]);
    assert_eq!(output.code, 0, "{output}{said}");
    let state: Value = serde_json::from_str(runtime(&world, &["state", ID]).succeeds()).unwrap();
    assert_eq!(exec(&world, &[]).succeeds(), confined(CONTAINER));
    runtime(&world, &["start", ID]).succeeds();
    assert_eq!(label_of(&state["pid"]), CONTAINER);
    drop(container);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_label_that_the_policy_does_not_know_is_named_and_leaves_nothing() {
    let (world, fs) = prepared();
    let dir = bundle(&world, &fs, SLEEP, &json!({ "pids": { "limit": 33 } }));
    let (container, pid) = Running::over(&world, &dir);
    let words = ["apply SELinux label", UNKNOWN, "the loaded policy has no such label"];
    exec(&world, &["--process-label", UNKNOWN]).fails_saying(255, &words);
    assert_eq!(label_of(pid), HOST);
    exec(&world, &[]).succeeds();
    drop(container);
    for label in
        [UNKNOWN, "unconfined", "system_u:system_r:container_t", "system_u:system_r:container_t:s0:c9"]
    {
        set_label(&dir, label);
        is_refused(
            &world,
            &dir,
            &format!("apply SELinux label {label}: the loaded policy has no such label"),
        );
    }
}

/// A label that the policy has, but not for a program that gives up privileges: nothing runs with another one.
#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_label_that_may_not_be_entered_runs_nothing() {
    let (world, fs) = prepared();
    let dir = bundle(&world, &fs, SCRIPT, &json!({}));
    set_label(&dir, BARE);
    assert_eq!(run_once(&world, &dir).succeeds(), confined(BARE));
    configure(&dir, |c| c["process"]["noNewPrivileges"] = json!(true));
    let output = run_once(&world, &dir);
    assert_eq!(output.stdout, "", "{output}");
    assert_ne!(output.code, 0);
    assert_ne!(runc(&world, &["run", "--bundle", &dir, ID]).code, 0);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_with_users_of_its_own_is_confined() {
    let (world, fs) = prepared();
    let dir = bundle(&world, &fs, SCRIPT, &json!({}));
    configure(&dir, map_users);
    for no_new_privileges in [false, true] {
        configure(&dir, |c| {
            c["process"]["args"][2] = json!(SCRIPT);
            c["process"]["selinuxLabel"] = json!(CONTAINER);
            c["process"]["noNewPrivileges"] = json!(no_new_privileges);
        });
        drop(fs::remove_file(world.path("fs/tmp/made")));
        assert_eq!(run_once(&world, &dir).succeeds(), confined(CONTAINER));
        configure(&dir, |c| {
            c["process"]["args"][2] = json!(SLEEP);
            c["process"].as_object_mut().unwrap().remove("selinuxLabel");
        });
        let (_container, pid) = Running::over(&world, &dir);
        assert_eq!(label_of(pid), HOST);
        assert_eq!(exec(&world, &["--process-label", CONTAINER]).succeeds(), confined(CONTAINER));
    }
}

/// Other containers' programs must not read what a container keeps in the kernel.
#[test]
#[ignore = "run by cargo xtask vm-test"]
fn keys_of_a_container_have_its_label() {
    let (world, fs) = prepared();
    // The machine's own program, with its libraries.
    for (link, to) in [("lib", "usr/lib"), ("lib64", "usr/lib64")] {
        std::os::unix::fs::symlink(to, world.path("fs").join(link)).unwrap();
    }
    let dir = bundle(&world, &fs, "/usr/bin/keyctl security @s", &json!({}));
    configure(&dir, |c| {
        let usr =
            json!({ "destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"] });
        c["mounts"].as_array_mut().unwrap().push(usr);
        c["process"]["selinuxLabel"] = json!(CONTAINER);
    });
    assert_eq!(run_once(&world, &dir).succeeds(), CONTAINER);
    assert_eq!(runc(&world, &["run", "--bundle", &dir, ID]).succeeds(), CONTAINER);

    configure(&dir, |c| c["process"]["args"][2] = json!(SLEEP));
    let (_container, _) = Running::over(&world, &dir);
    let look = |flags: &[&str]| {
        let program = [ID, "/usr/bin/keyctl", "security", "@s"];
        runtime(&world, &[&["exec"], flags, &program].concat()).succeeds().to_owned()
    };
    assert_eq!(look(&[]), CONTAINER);
    assert_eq!(look(&["--process-label", OTHER]), OTHER);
}
