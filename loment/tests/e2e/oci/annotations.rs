//! crun's annotations.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use loment_testkit::{Output, Patience, World};
use serde_json::{Value, json};

use super::listener::agent;
use super::{add_namespace, assert_gone, run};
use crate::runtime::{Guard, bundle, command, id, runtime, silently};
use crate::{through, world};

fn annotate(config: &mut Value, key: &str, value: &str) {
    config["annotations"][key] = json!(value);
}

/// Runs it as a member of two more groups than usual.
#[track_caller]
fn with_groups(command: &Command) -> Output {
    loment_testkit::run(&mut through(&["setpriv", "--groups", "42,43"], command), Patience::NORMAL)
}

const GROUPS: &str = "grep Groups /proc/self/status";

#[test]
fn the_creators_groups_can_be_kept() {
    for (annotation, expected) in
        [(Some("1"), "Groups:\t42 43"), (Some("0"), "Groups:\t7"), (None, "Groups:\t7")]
    {
        let world = world();
        let dir = bundle(&world, GROUPS, |config| {
            config["process"]["user"]["additionalGids"] = json!([7]);
            if let Some(value) = annotation {
                annotate(config, "run.oci.keep_original_groups", value);
            }
        });
        let output =
            with_groups(&command(&world, &["run", "--bundle", dir.to_str().unwrap(), &id("groups")]));
        assert_eq!(output.succeeds().trim(), expected, "{annotation:?}");
    }
}

#[test]
fn who_enters_keeps_the_groups_he_has() {
    let world = world();
    let dir = bundle(&world, "sleep 1000", |config| annotate(config, "run.oci.keep_original_groups", "1"));
    let c = Guard::start(&world, "enter-groups", &dir);
    let output = with_groups(&command(&world, &["exec", &c.id, "/bin/sh", "-c", GROUPS]));
    assert_eq!(output.succeeds().trim(), "Groups:\t42 43");
}

#[test]
fn groups_are_kept_across_a_user_namespace() {
    let world = world();
    let dir = bundle(&world, GROUPS, |config| {
        add_namespace(config, json!({ "type": "user" }));
        let mapping = json!([{ "containerID": 0, "hostID": 100_000, "size": 1 }, { "containerID": 9, "hostID": 42, "size": 1 }]);
        (config["linux"]["uidMappings"], config["linux"]["gidMappings"]) = (mapping.clone(), mapping);
        annotate(config, "run.oci.keep_original_groups", "1");
    });
    let output =
        with_groups(&command(&world, &["run", "--bundle", dir.to_str().unwrap(), &id("mapped-groups")]));
    // One has a number inside, the other does not.
    assert_eq!(output.succeeds().trim(), "Groups:\t9 65534");
}

/// A hook that says its name on both streams.
fn talking(name: &str) -> Value {
    json!([{ "path": "/bin/sh", "args": ["sh", "-c", format!("echo {name} out; echo {name} err >&2")], "env": ["PATH=/bin"] }])
}

const POINTS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

fn lines(names: &[&str], stream: &str) -> String {
    names.iter().map(|name| format!("{name} {stream}\n")).collect()
}

#[test]
fn what_hooks_write_can_go_to_files() {
    let world = world();
    let (out, err) = (world.path("out.log"), world.path("err.log"));
    fs::write(&out, "before\n").unwrap();
    let edit = |config: &mut Value| {
        annotate(config, "run.oci.hooks.stdout", out.to_str().unwrap());
        annotate(config, "run.oci.hooks.stderr", err.to_str().unwrap());
        POINTS.iter().for_each(|point| config["hooks"][*point] = talking(point));
    };
    assert_eq!(run(&world, "hook-files", "echo program", edit).succeeds(), "program");
    let expected = |stream| lines(&POINTS, stream);
    assert_eq!(fs::read_to_string(&out).unwrap(), format!("before\n{}", expected("out")));
    assert_eq!(fs::read_to_string(&err).unwrap(), expected("err"));
    assert_eq!(fs::metadata(&err).unwrap().mode() & 0o7777, 0o600);
    // In three commands as in one.
    let dir = bundle(&world, "sleep 1000", edit);
    drop(Guard::start(&world, "hook-files", &dir));
    assert_eq!(fs::read_to_string(&err).unwrap(), expected("err").repeat(2));
}

#[test]
fn a_container_that_waits_for_its_start_does_not_hold_the_files_of_its_hooks() {
    let world = world();
    let (out, err) = (world.path("out.log"), world.path("err.log"));
    let dir = bundle(&world, "sleep 1000", |config| {
        annotate(config, "run.oci.hooks.stdout", out.to_str().unwrap());
        annotate(config, "run.oci.hooks.stderr", err.to_str().unwrap());
        for point in ["createContainer", "startContainer"] {
            config["hooks"][point] = talking(point);
        }
    });
    let c = Guard::create(&world, "hook-files-closed", &dir);
    let open: Vec<_> = fs::read_dir(format!("/proc/{}/fd", c.pid())).unwrap().flatten().collect();
    let open: Vec<_> = open.iter().map(|fd| fs::read_link(fd.path()).unwrap()).collect();
    assert!(!open.is_empty() && !open.contains(&out) && !open.contains(&err), "{open:?}");
    runtime(&world, &["start", &c.id]).succeeds();
    let points = ["createContainer", "startContainer"];
    assert_eq!(fs::read_to_string(&out).unwrap(), lines(&points, "out"));
    assert_eq!(fs::read_to_string(&err).unwrap(), lines(&points, "err"));
}

#[test]
fn the_stream_without_a_file_is_in_the_error_message() {
    let world = world();
    let out = world.path("out.log");
    let output = run(&world, "one-file", "echo never", |config| {
        annotate(config, "run.oci.hooks.stdout", out.to_str().unwrap());
        let script = "echo to the file; echo to the message >&2; exit 3";
        config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] });
    });
    assert_eq!(fs::read_to_string(&out).unwrap(), "to the file\n");
    output.fails_saying(1, &["exit status 3", "to the message"]);
    assert!(!output.stderr.contains("to the file"), "{output}");
}

#[test]
fn files_for_hooks_that_cannot_be_opened_are_refused_before_anything_is_made() {
    let world = world();
    let made = world.path("made");
    let pipe = world.path("pipe");
    make_pipe(&pipe);
    for (file, reason) in [
        ("relative.log", "not an absolute path"),
        ("/nonexistent/hooks.log", "No such file or directory"),
        ("/proc", "Is a directory"),
        (pipe.to_str().unwrap(), "No such device or address"),
    ] {
        let output = run(&world, "bad-file", "echo never", |config| {
            annotate(config, "run.oci.hooks.stderr", file);
            let args = ["touch", made.to_str().unwrap()];
            config["hooks"] = json!({ "prestart": [{ "path": "/usr/bin/touch", "args": args }], "poststop": [{ "path": "/usr/bin/touch", "args": args }] });
        });
        output.fails_saying(1, &[file, reason]);
        assert_gone(&world, "bad-file");
        assert!(!made.exists(), "a hook ran: {output}");
    }
}

fn make_pipe(path: &std::path::Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Asks an agent, which answers with EXDEV, about `mkdir`.
fn asking(config: &mut Value) {
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" }],
    });
}

const MKDIR: &str = "mkdir /made 2>&1";

#[test]
fn an_agent_can_be_named_by_an_annotation() {
    let world = world();
    let (_agent, socket, _) = agent(&world);
    let output = run(&world, "annotated", MKDIR, |config| {
        asking(config);
        annotate(config, "run.oci.seccomp.receiver", socket.to_str().unwrap());
    });
    assert!(output.stdout.to_lowercase().contains("cross-device link"), "EXDEV is the agent's: {output}");
}

#[test]
fn the_profiles_agent_comes_before_the_annotations() {
    let world = world();
    let (_agent, socket, _) = agent(&world);
    let output = run(&world, "both", MKDIR, |config| {
        asking(config);
        config["linux"]["seccomp"]["listenerPath"] = json!(socket);
        annotate(config, "run.oci.seccomp.receiver", "/nonexistent/agent.sock");
    });
    assert!(output.stdout.to_lowercase().contains("cross-device link"), "{output}");
}

#[test]
fn an_agent_can_be_named_by_the_creators_environment() {
    let world = world();
    let (_agent, socket, _) = agent(&world);
    let dir = bundle(&world, "sleep 1000", asking);
    let guard = Guard::of(&world, "by-environment");
    let create = |socket: &str| {
        let mut create = command(&world, &["create", "--bundle", dir.to_str().unwrap(), &guard.id]);
        create.env("RUN_OCI_SECCOMP_RECEIVER", socket);
        create.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        create.stderr(fs::File::create(world.path("errors")).unwrap()).status().unwrap()
    };
    assert!(!create("agent.sock").success());
    assert!(fs::read_to_string(world.path("errors")).unwrap().contains("RUN_OCI_SECCOMP_RECEIVER"));
    assert!(create(socket.to_str().unwrap()).success());
    // `start` does not have the variable.
    let output = silently(&world, &["start", &guard.id]);
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(guard.status(), "running");
}

#[test]
fn names_that_no_system_call_has_are_an_error_where_that_is_asked_for() {
    let profile = |config: &mut Value| {
        let names = ["mkdir", "no_such_call", "mkdirat", "another_one"];
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": names, "action": "SCMP_ACT_ERRNO" }],
        });
    };
    let strict = "run.oci.seccomp_fail_unknown_syscall";
    let world = world();
    let output = run(&world, "strict", "echo never", |config| {
        profile(config);
        annotate(config, strict, "1");
    });
    output.fails_saying(1, &["linux.seccomp.syscalls", "no_such_call, another_one"]);
    assert_gone(&world, "strict");
    for value in [Some("0"), None] {
        let output = run(&world, "strict", "echo runs", |config| {
            profile(config);
            if let Some(value) = value {
                annotate(config, strict, value);
            }
        });
        assert_eq!(output.succeeds(), "runs", "{value:?}");
    }
}

const BPF: &str = "run.oci.seccomp_bpf_data";

/// A filter that answers system call `number` with EXDEV and allows everything else, in base64.
fn forbidding(number: u8) -> String {
    let program = [
        [0x20, 0, 0, 0, 0, 0, 0, 0],      // load seccomp_data.nr
        [0x15, 0, 0, 1, number, 0, 0, 0], // is it this one?
        [0x06, 0, 0, 0, 18, 0, 5, 0],     // return ERRNO | EXDEV
        [0x06, 0, 0, 0, 0, 0, 0xff, 0x7f],
    ];
    base64(&program.concat())
}

fn base64(bytes: &[u8]) -> String {
    let digit = |n: u32| {
        char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[n as usize & 63])
    };
    let group = |chunk: &[u8]| {
        let bits = (0..3).fold(0, |sum, i| sum << 8 | u32::from(*chunk.get(i).unwrap_or(&0)));
        let digits = (0..4).map(|i| if i > chunk.len() { '=' } else { digit(bits >> (18 - 6 * i)) });
        digits.collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

/// `mkdir` on this architecture.
const MKDIR_NUMBER: u8 = 83;

#[test]
fn a_filter_can_be_given_as_it_is() {
    let world = world();
    let dir = bundle(&world, "sleep 1000", |config| {
        // Its own profile would not let it start.
        config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_KILL_PROCESS" });
        annotate(config, BPF, &forbidding(MKDIR_NUMBER));
    });
    let c = Guard::start(&world, "bpf", &dir);
    let script = "mkdir /made 2>&1; grep Seccomp: /proc/self/status";
    let output = runtime(&world, &["exec", &c.id, "/bin/sh", "-c", script]);
    assert!(output.succeeds().to_lowercase().contains("cross-device link"), "{output}");
    assert!(output.stdout.contains("Seccomp:\t2"), "{output}");
    let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
    assert!(status.contains("Seccomp:\t2"), "{status}");
}

#[test]
fn a_filter_that_is_none_is_refused_by_name() {
    let endless = base64(&[6, 0, 0, 0, 0, 0, 0xff, 0x7f].repeat(4097));
    for (data, reason) in [
        ("not base64!", "it is not base64"),
        ("", "0 instructions"),
        ("AAAAAA==", "4 bytes"),
        (endless.as_str(), "4097 instructions"),
        // A program that does not end.
        ("IAAAAAAAAAA=", "load the seccomp filter"),
    ] {
        let world = world();
        let output = run(&world, "bad-bpf", "echo never", |config| annotate(config, BPF, data));
        assert_ne!(output.code, 0);
        assert!(output.stderr.contains(reason), "{reason}: {output}");
        assert!(reason.starts_with("load") || output.stderr.contains(BPF), "{output}");
        assert_eq!(output.stdout, "");
        assert_gone(&world, "bad-bpf");
    }
}

#[test]
fn plugins_are_refused_by_name_and_what_needs_a_handler_is_let_be() {
    let refused = |key: &str, value: &str| {
        let world = world();
        let output = run(&world, "refused", "echo never", |config| annotate(config, key, value));
        output.fails_saying(1, &[key]);
        assert_gone(&world, "refused");
    };
    refused("run.oci.seccomp.plugins", "/usr/lib/plugin.so");
    refused("run.oci.seccomp.receiver", "relative.sock");
    refused("run.oci.handler", "krun");
    let world: World = world();
    let output = run(&world, "let-be", "echo runs", |config| {
        for (key, value) in
            [("krun.cpus", "4"), ("krun.ram_mib", "x"), ("module.wasm.image/variant", "compat")]
        {
            annotate(config, key, value);
        }
    });
    assert_eq!(output.succeeds(), "runs");
}

const SYSTEMD_V1: &str = "run.oci.systemd.force_cgroup_v1";

/// With a mount on /sys/fs/cgroup and, if asked for, a cgroup namespace.
fn grouped(config: &mut Value, kind: &str, options: Value, namespace: bool) {
    let mount = json!({ "destination": "/sys/fs/cgroup", "type": kind, "source": kind, "options": options });
    config["mounts"].as_array_mut().unwrap().push(mount);
    if namespace {
        add_namespace(config, json!({ "type": "cgroup" }));
    }
    annotate(config, SYSTEMD_V1, "/sys/fs/cgroup/");
}

#[test]
fn a_mount_can_be_systemds_own_hierarchy() {
    if !fs::read_to_string("/proc/self/cgroup").unwrap().contains(":name=systemd:") {
        println!("skipped: systemd's hierarchy of cgroup v1, because this machine has none");
        return;
    }
    let script = "ls /sys/fs/cgroup; cat /sys/fs/cgroup/systemd/tasks; mkdir /sys/fs/cgroup/systemd/inner && \
                  echo $$ > /sys/fs/cgroup/systemd/inner/tasks; grep name=systemd: /proc/self/cgroup | cut -d: -f2-; \
                  rmdir /sys/fs/cgroup/systemd/inner 2>/dev/null; exit 0";
    for kind in ["cgroup", "tmpfs"] {
        let world = world();
        let output =
            run(&world, "systemd-v1", script, |config| grouped(config, kind, json!(["nosuid"]), true));
        // Of the groups of the host only its own; process 1 and `cat`.
        let lines: Vec<_> = output.succeeds().lines().collect();
        assert_eq!(
            (lines[0], lines[1], lines[lines.len() - 1]),
            ("systemd", "1", "name=systemd:/inner"),
            "{output}"
        );
        assert_eq!(lines.len(), 4, "{output}");
        assert_gone(&world, "systemd-v1");
    }
    let world = world();
    let script = "mkdir /sys/fs/cgroup/systemd/inner 2>&1; mkdir /sys/fs/cgroup/other 2>&1; exit 0";
    let output = run(&world, "systemd-v1", script, |config| grouped(config, "cgroup", json!(["ro"]), true));
    assert_eq!(output.succeeds().matches("Read-only file system").count(), 2, "{output}");
}

#[test]
fn systemds_hierarchy_is_refused_where_it_would_be_the_hosts_or_is_not_asked_for() {
    let world = world();
    let output =
        run(&world, "systemd-v1", "echo never", |config| grouped(config, "cgroup", json!([]), false));
    output.fails_saying(1, &[SYSTEMD_V1, "cgroup namespace"]);
    let output = run(&world, "systemd-v1", "echo never", |config| {
        grouped(config, "cgroup", json!([]), true);
        annotate(config, SYSTEMD_V1, "/sys/fs");
    });
    output.fails_saying(1, &[SYSTEMD_V1, "no mount on /sys/fs"]);
    assert_gone(&world, "systemd-v1");
}
