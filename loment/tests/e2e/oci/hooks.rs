//! Hooks: their order, what they are told, and what becomes of a container when one fails.

use std::fs;
use std::time::Duration;

use loment_testkit::World;
use serde_json::{Value, json};

use super::{assert_gone, run};
use crate::runtime::{bundle, command, id};
use crate::world;

/// A hook that appends `name`, a mount namespace and its standard input to a log.
fn logging(world: &World, name: &str) -> Value {
    let log = world.path("hooks.log");
    let script = format!("echo {name} $MARK $(readlink /proc/self/ns/mnt) $(cat) >> {}", log.display());
    json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin", "MARK=set"] })
}

#[test]
fn hooks_run_in_order_and_are_told_the_state() {
    let world = world();
    let output = run(&world, "hooks", "cat /hooked", |config| {
        let hook = |name| json!([logging(&world, name)]);
        config["annotations"] = json!({ "org.example": "value" });
        config["hooks"] = json!({
            "createContainer": hook("createContainer"),
            "createRuntime": hook("createRuntime"),
            "prestart": [logging(&world, "first"), logging(&world, "second")],
            "startContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", "cat > /hooked"], "env": ["PATH=/bin"] }],
        });
    });
    let started: Value = serde_json::from_str(output.succeeds()).unwrap();
    assert_eq!((&started["status"], &started["pid"]), (&json!("created"), &json!(1)));
    let log = fs::read_to_string(world.path("hooks.log")).unwrap();
    let lines: Vec<Vec<&str>> = log.lines().map(|l| l.splitn(4, ' ').collect()).collect();
    let names: Vec<_> = lines.iter().map(|l| l[0]).collect();
    assert_eq!(names, ["first", "second", "createRuntime", "createContainer"]);
    let host = fs::read_link("/proc/self/ns/mnt").unwrap();
    for line in &lines {
        let [name, mark, namespace, state] = line[..] else { panic!("{line:?}") };
        assert_eq!(mark, "set");
        assert_eq!(namespace == host.to_str().unwrap(), name != "createContainer", "{name}");
        let state: Value = serde_json::from_str(state).unwrap();
        assert_eq!(state["status"], "creating", "{name}");
        assert_eq!(state["pid"] == json!(1), name == "createContainer", "{name}");
        assert_eq!(state["annotations"]["org.example"], "value", "{name}");
        assert_eq!(state["bundle"], world.path("bundle").to_str().unwrap(), "{name}");
    }
}

#[test]
fn a_hook_that_fails_says_why_and_ends_the_container() {
    for point in ["prestart", "createRuntime", "createContainer", "startContainer"] {
        let world = world();
        let output = run(&world, point, "echo never", |config| {
            let script = "echo it went wrong >&2; exit 3";
            config["hooks"] = json!({ point: [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] });
        });
        assert_ne!(output.code, 0, "{point}");
        assert_eq!(output.stdout, "", "{point}");
        for part in [point, "/bin/sh", "exit status 3", "it went wrong"] {
            assert!(output.stderr.contains(part), "{part}: {output}");
        }
        assert_gone(&world, point);
    }
}

#[test]
fn a_hook_that_hangs_is_ended_with_what_it_started() {
    let points = [
        ("createRuntime", true),
        ("createContainer", true),
        ("createContainer", false),
        ("startContainer", true),
        ("startContainer", false),
        ("poststart", true),
        ("poststart", false),
        ("poststop", true),
        ("poststop", false),
    ];
    let cases: Vec<_> = points.into_iter().map(|(point, own_pids)| (point, own_pids, world())).collect();
    for (point, own_pids, world) in &cases {
        // What comes after the end is only said to have failed.
        let after = *point == "poststop";
        let output = run(world, "hang", if after { "true" } else { "sleep 1000" }, |config| {
            let dir = world.path("alive");
            fs::create_dir(&dir).unwrap();
            // In its process group, in a session of its own, and in one whose creator is gone.
            let late = |name: &str| format!("(sleep 3; : > {}/{name}) &", dir.display());
            let script = format!(
                "{} setsid sh -c '{}' & setsid sh -c 'setsid sh -c \"{} :\"' & : > {}/begun; sleep 1000",
                late("group"),
                late("session"),
                late("orphan"),
                dir.display()
            );
            let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"], "timeout": 1 });
            config["hooks"] = json!({ *point: [hook] });
            let bind = json!({ "destination": dir, "type": "bind", "source": dir, "options": ["bind"] });
            config["mounts"].as_array_mut().unwrap().push(bind);
            let list = config["linux"]["namespaces"].as_array_mut().unwrap();
            list.retain(|n| *own_pids || n["type"] != "pid");
        });
        assert_eq!(output.code == 0, after, "{output}");
        assert!(output.stderr.contains("did not end within 1 s"), "{point}: {output}");
        assert_gone(world, "hang");
    }
    std::thread::sleep(Duration::from_secs(4));
    for (point, own_pids, world) in cases {
        let files = fs::read_dir(world.path("alive")).unwrap().map(|f| f.unwrap().file_name());
        assert_eq!(files.collect::<Vec<_>>(), ["begun"], "{point}, pid namespace: {own_pids}");
    }
}

#[test]
fn a_hook_may_have_more_time_than_there_is() {
    let world = world();
    let output = run(&world, "patient", "cat /hooked", |config| {
        let hook =
            |script: &str| json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "timeout": i64::MAX }]);
        config["hooks"] =
            json!({ "createRuntime": hook("true"), "startContainer": hook("echo ran > /hooked") });
    });
    assert_eq!(output.succeeds(), "ran");
}

#[test]
fn a_hook_inherits_nothing_and_may_talk_without_end() {
    let world = world();
    let list = world.path("descriptors");
    run(&world, "talk", "true", |config| {
        let script =
            format!("ls /proc/self/fd > {}; yes | head -c 10000000; cat /proc/self/status", list.display());
        let hook =
            json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] }]);
        config["hooks"] = json!({ "createRuntime": hook });
    })
    .succeeds();
    // The last is that of the listing itself.
    assert_eq!(
        fs::read_to_string(&list).unwrap().split_whitespace().collect::<Vec<_>>(),
        ["0", "1", "2", "3"]
    );
}

#[test]
fn a_hook_without_an_environment_has_the_runtimes_and_one_in_the_container_its_programs() {
    let world = world();
    let seen = world.path("seen");
    let dir = bundle(&world, "cat /seen; echo $TWICE", |config| {
        config["process"]["env"] = json!(["PATH=/bin", "TWICE=first", "OF=program", "TWICE=last"]);
        let hook = |file: &str| json!([{ "path": "/bin/sh", "args": ["sh", "-c", format!("echo $OF $TWICE > {file}")] }]);
        config["hooks"] = json!({
            "createRuntime": hook(seen.to_str().unwrap()),
            "startContainer": hook("/seen"),
            "poststop": [{ "path": "/bin/sh", "args": ["sh", "-c", format!("echo $OF >> {}", seen.display())], "env": ["OF=own"] }],
        });
    });
    let mut command = command(&world, &["run", "--bundle", dir.to_str().unwrap(), &id("environment")]);
    let output = loment_testkit::run(command.env("OF", "runtime"), loment_testkit::Patience::NORMAL);
    assert_eq!(output.succeeds(), "program last\nlast");
    assert_eq!(fs::read_to_string(&seen).unwrap(), "runtime\nown\n");
}

#[test]
fn hooks_that_make_no_sense_are_refused_by_name() {
    let cases = [
        (json!({ "path": "relative" }), "not absolute"),
        (json!({ "path": "/bin/true", "timeout": 0 }), "not above 0"),
        (json!({ "path": "/no/such/hook" }), "/no/such/hook: No such file"),
    ];
    for (hook, part) in cases {
        let world = world();
        let output =
            run(&world, "odd", "true", |config| config["hooks"] = json!({ "createRuntime": [hook] }));
        assert_ne!(output.code, 0);
        assert!(output.stderr.contains(part), "{part}: {output}");
        assert_gone(&world, "odd");
    }
}

#[test]
fn a_hook_of_the_containers_may_do_what_its_program_may() {
    let world = world();
    let script = "grep -E '^(Cap|Seccomp:|NoNewPrivs|Uid|Gid|Groups)' /proc/self/status";
    for no_new_privileges in [false, true] {
        let world = if no_new_privileges { &crate::world() } else { &world };
        let output = run(world, "rights", &format!("cat /tmp/hook; echo; {script}"), |config| {
            let command = format!("{script} > /tmp/hook");
            config["hooks"] = json!({ "startContainer": [
                { "path": "/bin/sh", "args": ["sh", "-c", command], "env": ["PATH=/bin"] },
            ] });
            let sets = json!(["CAP_CHOWN", "CAP_KILL"]);
            config["process"]["capabilities"] =
                json!({ "bounding": sets, "effective": sets, "permitted": sets });
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            config["process"]["user"] = json!({ "uid": 0, "gid": 0, "additionalGids": [7] });
            config["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{ "names": ["memfd_create", "openat2", "clone3"], "action": "SCMP_ACT_ERRNO" }],
            });
        });
        let (hook, program) = output.succeeds().split_once("\n\n").unwrap();
        assert_eq!(hook, program);
        assert!(hook.contains("CapEff:\t0000000000000021") && hook.contains("Seccomp:\t2"), "{hook}");
    }
}

#[test]
fn what_a_hook_says_does_not_reach_the_terminal_raw() {
    let world = world();
    let output = run(&world, "raw", "true", |config| {
        let script = "printf 'a\\033]0;owned\\007b\\n\\000c'; exit 1";
        config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] });
    });
    assert!(!output.stderr.contains(['\u{1b}', '\u{7}', '\0']), "{:?}", output.stderr);
    assert!(output.stderr.contains("a\\u{1b}]0;owned\\u{7}b; \\u{0}c"), "{output}");
}

#[test]
fn a_container_that_is_killed_while_it_is_made_is_not_called_created() {
    let world = world();
    let output = run(&world, "killed", "echo never", |config| {
        let list = config["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|n| n["type"] != "pid");
        let script = "kill -9 $PPID; sleep 0.2";
        config["hooks"] = json!({ "createContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] });
    });
    assert_ne!(output.code, 0);
    assert!(output.stderr.contains("was killed"), "{output}");
    assert_gone(&world, "killed");
}
