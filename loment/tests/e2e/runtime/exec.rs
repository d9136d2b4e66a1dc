//! `exec`: one more program, with what its flags change.

use std::fs;

use serde_json::json;

use super::{Guard, bundle, runtime, silently};
use crate::{eventually, lives, world};

#[test]
fn flags_change_the_process_and_nothing_else_does() {
    let world = world();
    let dir = bundle(&world, "sleep 60", |c| {
        c["process"]["env"] = json!(["PATH=/bin", "A=1"]);
        c["process"]["user"]["additionalGids"] = json!([7]);
        let caps = json!(["CAP_KILL"]);
        c["process"]["capabilities"] = json!({"bounding": caps, "effective": caps, "permitted": caps});
    });
    let c = Guard::start(&world, "flags", &dir);
    let sh = |flags: &[&str], script: &str| {
        runtime(&world, &[&["exec"], flags, &[&c.id, "/bin/sh", "-c", script]].concat()).succeeds().to_owned()
    };
    assert_eq!(sh(&["--env", "B=2", "-e", "A=3", "--cwd", "/proc"], "echo $A $B; pwd"), "3 2\n/proc");
    assert_eq!(sh(&["--user", "5:6", "-g", "8"], "id -u; id -G"), "5\n6 7 8");
    assert_eq!(sh(&[], "grep NoNewPrivs /proc/self/status"), "NoNewPrivs:\t0");
    assert_eq!(sh(&["--no-new-privs"], "grep NoNewPrivs /proc/self/status"), "NoNewPrivs:\t1");
    let sets = sh(&["--cap", "CAP_NET_RAW"], "grep Cap /proc/self/status");
    for (set, bits) in [("Inh", 0), ("Prm", 0x2020), ("Eff", 0x2020), ("Bnd", 0x2020), ("Amb", 0)] {
        // An inheritable capability would be regained by whoever executes a file that has it (CVE-2022-29162).
        assert!(sets.contains(&format!("Cap{set}:\t{bits:016x}")), "{sets}");
    }
    for bad in ["1000x", "root", "1:", "-1", "4294967295"] {
        let output = runtime(&world, &["exec", "--user", bad, &c.id, "true"]);
        output.fails_saying(255, &["invalid --user", bad]);
    }
    runtime(&world, &["exec", "--cap", "CAP_NONE", &c.id, "true"]).fails_saying(255, &["CAP_NONE"]);
    runtime(&world, &["exec", &c.id]).fails_saying(255, &["no program given"]);
    runtime(&world, &["exec", &c.id, "/no/such"]).fails_saying(255, &["no such file or directory"]);
    assert_eq!(runtime(&world, &["exec", &c.id, "/bin/sh", "-c", "exit 42"]).code, 42);
}

#[test]
fn a_process_can_be_described_in_a_file() {
    let world = world();
    let dir = bundle(&world, "sleep 60", |_| ());
    let c = Guard::start(&world, "file", &dir);
    let process = json!({"args": ["/bin/sh", "-c", "echo $W; pwd; exit 3"], "env": ["W=w"], "cwd": "/proc",
        "user": {"uid": 0, "gid": 0}});
    let file = world.write("process.json", process.to_string());
    let output = runtime(&world, &["exec", "--process", &file, &c.id]);
    assert_eq!((output.code, output.stdout.as_str()), (3, "w\n/proc\n"), "{output}");
}

#[test]
fn a_described_process_is_read_as_leniently_as_a_containers() {
    let world = world();
    let dir = bundle(&world, "sleep 60", |_| ());
    let c = Guard::start(&world, "lenient", &dir);
    let process = json!({"args": ["/bin/sh", "-c", "grep CapEff /proc/self/status"], "cwd": "/",
        "user": {"uid": 0, "gid": 0},
        "capabilities": {"bounding": ["CAP_KILL", "CAP_NOVEL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]}});
    let file = world.write("process.json", process.to_string());
    let output = runtime(&world, &["exec", "--process", &file, &c.id]);
    assert_eq!(output.succeeds(), "CapEff:\t0000000000000020");
    assert!(output.stderr.contains("ignoring unknown or unavailable capabilities: [CAP_NOVEL]"), "{output}");
    let file = world.write("process.json", r#"{"args": ["true"], "cwd": 7}"#);
    runtime(&world, &["exec", "--process", &file, &c.id])
        .fails_saying(255, &["process.json", "line 1 column"]);
}

#[test]
fn its_pid_file_is_the_hosts() {
    let world = world();
    let dir = bundle(&world, "sleep 60", |_| ());
    let c = Guard::start(&world, "pid", &dir);
    let file = world.path("pid");
    let arguments = ["exec", "--detach", "--pid-file", file.to_str().unwrap(), &c.id, "/bin/sleep", "50"];
    let output = silently(&world, &arguments);
    assert_eq!(output.code, 0, "{output}");
    let pid: u32 = fs::read_to_string(&file).unwrap().parse().unwrap();
    assert!(lives(pid));
    let listed = runtime(&world, &["ps", "--format", "json", &c.id]);
    let listed: Vec<u32> = serde_json::from_str(listed.succeeds()).unwrap();
    assert!(listed.contains(&pid), "{listed:?}");
    runtime(&world, &["kill", "--all", &c.id, "KILL"]).succeeds();
    eventually("all end", || !lives(pid));
}

#[test]
fn a_group_below_the_containers_is_entered_by_name_and_never_left() {
    let world = world();
    let dir = bundle(&world, "sleep 60", |_| ());
    let c = Guard::start(&world, "group", &dir);
    for bad in ["../x", "/../../x", "a/../../b"] {
        let output = runtime(&world, &["exec", "--cgroup", bad, &c.id, "/bin/sh", "-c", "echo in"]);
        output.fails_saying(255, &["invalid cgroup path"]);
    }
    let output = runtime(&world, &["exec", "--cgroup", "none", &c.id, "/bin/sh", "-c", "echo in"]);
    output.fails_saying(255, &["does not exist"]);
    assert_eq!(
        runtime(&world, &["exec", "--cgroup", "/", &c.id, "/bin/sh", "-c", "echo in"]).succeeds(),
        "in"
    );
}

#[test]
fn a_program_without_a_home_gets_its_users() {
    let world = world();
    let dir = bundle(&world, "echo $HOME > /out; sleep 60", |_| ());
    fs::create_dir_all(dir.join("rootfs/etc")).unwrap();
    fs::write(dir.join("rootfs/etc/passwd"), "root:x:0:0::/root:\nx:x:7:7::/h/x:\n").unwrap();
    let c = Guard::start(&world, "home", &dir);
    eventually("it runs", || fs::read_to_string(dir.join("rootfs/out")).is_ok_and(|h| h == "/root\n"));
    for (flags, home) in
        [(&["--user", "7"][..], "/h/x"), (&["--user", "9"], "/"), (&["--env", "HOME=/own"], "/own")]
    {
        let words = [&["exec"], flags, &[&c.id, "/bin/sh", "-c", "echo $HOME"]].concat();
        assert_eq!(runtime(&world, &words).succeeds(), home);
    }
}
