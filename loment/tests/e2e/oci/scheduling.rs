//! Scheduler, I/O priority, personality, memory policy.

use std::fs;

use serde_json::json;

use super::{assert_gone, run};
use crate::runtime::{Guard, bundle, runtime};
use crate::world;

#[test]
fn a_program_is_scheduled_as_asked() {
    let world = world();
    let script = "uname -m; ionice -p 1; cut -d' ' -f19,41 /proc/1/stat; head -n1 /proc/1/numa_maps";
    let output = run(&world, "sched", script, |config| {
        config["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 7 });
        config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 });
        config["linux"]["personality"] = json!({ "domain": "LINUX32" });
        config["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0" });
    });
    let lines: Vec<_> = output.stdout.lines().collect();
    if cfg!(target_arch = "x86_64") {
        assert_eq!(lines[0], "i686");
    }
    assert_eq!(lines[1], "best-effort: prio 6");
    assert_eq!(lines[2], "7 3", "nice and policy");
    // A kernel without NUMA has no such file.
    if fs::exists("/proc/self/numa_maps").unwrap() {
        assert!(lines[3].contains("interleave:0"), "{output}");
    }
}

#[test]
fn values_that_make_no_sense_are_refused_by_name() {
    let cases = [
        ("process", "scheduler", json!({ "policy": "SCHED_ISO" }), "SCHED_ISO"),
        ("process", "scheduler", json!({ "policy": "SCHED_OTHER", "period": 1 }), "SCHED_DEADLINE"),
        ("process", "ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }), "priority 8"),
        ("linux", "memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "1-0" }), "1-0"),
        ("linux", "memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "900" }), "the memory policy"),
        ("linux", "personality", json!({ "domain": "LINUX", "flags": ["X"] }), "flags"),
    ];
    for (part, field, value, expected) in cases {
        let world = world();
        let output = run(&world, "odd", "true", |config| config[part][field] = value);
        assert_ne!(output.code, 0, "{expected}");
        assert!(output.stderr.contains(expected), "{expected}: {output}");
    }
}

#[test]
fn labels_of_modules_that_are_not_there_are_refused() {
    for (field, module, file) in [
        ("apparmorProfile", "AppArmor", "/sys/kernel/security/apparmor"),
        ("selinuxLabel", "SELinux", "/sys/fs/selinux/enforce"),
    ] {
        if fs::exists(file).unwrap() {
            println!("skipped: a label without {module}, because this machine has it");
            continue;
        }
        let world = world();
        let output =
            run(&world, "label", "echo never", |config| config["process"][field] = json!("some-label"));
        assert_ne!(output.code, 0);
        assert!(output.stderr.contains(module) && output.stderr.contains("some-label"), "{output}");
    }
}

#[test]
fn a_label_for_mounts_is_refused_without_selinux_and_an_empty_one_is_none() {
    if fs::exists("/sys/fs/selinux/enforce").unwrap() {
        println!("skipped: a label for mounts without SELinux, because this machine has it");
        return;
    }
    let label = "system_u:object_r:container_file_t:s0:c715,c811";
    let world = world();
    let output = run(&world, "mount-label", "echo never", |c| c["linux"]["mountLabel"] = json!(label));
    assert_eq!(output.code, 1, "{output}");
    let expected = format!(
        "loment-runtime: error: invalid linux.mountLabel: SELinux is not enabled here, so label {label:?} cannot be applied"
    );
    assert_eq!(output.stderr.trim(), expected);
    assert_gone(&world, "mount-label");
    // What engines say where there is no SELinux.
    let output = run(&world, "mount-label", "echo made", |c| {
        c["linux"]["mountLabel"] = json!("");
        c["annotations"] = json!({ "run.oci.mount_context_type": "rootcontext" });
    });
    assert_eq!(output.succeeds(), "made");
}

#[test]
fn a_program_that_enters_runs_on_the_cpus_that_are_asked_for() {
    let world = world();
    let dir = bundle(&world, "sleep 1000", |_| ());
    let c = Guard::start(&world, "cpus", &dir);
    let process = world.path("process.json");
    let document = |affinity| {
        json!({
            "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin"],
            "args": ["grep", "Cpus_allowed_list", "/proc/self/status"],
            "execCPUAffinity": affinity,
        })
    };
    fs::write(&process, document(json!({ "initial": "0", "final": "0" })).to_string()).unwrap();
    let output = runtime(&world, &["exec", "--process", process.to_str().unwrap(), &c.id]);
    let allowed = output.succeeds().split_whitespace().last().unwrap().to_owned();
    fs::write(&process, document(json!({ "final": "99999" })).to_string()).unwrap();
    let refused = runtime(&world, &["exec", "--process", process.to_str().unwrap(), &c.id]);
    assert_eq!(allowed, "0");
    assert!(refused.code != 0 && refused.stderr.contains("99999"), "{refused}");
}
