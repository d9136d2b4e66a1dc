//! From `create` to `delete`, and what is refused on the way.

use serde_json::json;

use super::{Guard, bundle, document, id, runtime, silently, state};
use crate::{eventually, world};

#[test]
fn run_does_it_all() {
    let world = world();
    let dir = bundle(&world, "echo $$; hostname; exit 3", |_| ());
    let output = runtime(&world, &["run", "--bundle", dir.to_str().unwrap(), &id("run")]);
    assert_eq!(output.code, 3, "{output}");
    assert_eq!(output.stdout, "1\nbundle\n");
    runtime(&world, &["state", &id("run")]).fails(1);
}

#[test]
fn create_start_kill_and_delete_follow_the_specification() {
    let world = world();
    let dir = bundle(&world, "trap 'exit 0' TERM; while :; do sleep 0.05; done", |_| ());
    let id = id("life");
    // The container inherits our streams; a pipe would stay open.
    let mut create = std::process::Command::new("sh");
    create
        .args(["-c", "exec \"$@\" >/dev/null 2>&1 </dev/null", "sh"])
        .arg(world.dir().join("loment-runtime"));
    runtime(&world, &["--version"]).succeeds();
    create.arg("--root").arg(world.dir().join("runtime")).args(["create", "--bundle"]).arg(&dir).arg(&id);
    loment_testkit::run(&mut create, loment_testkit::Patience::NORMAL).succeeds();
    assert_eq!(state(&world, &id), "created");
    runtime(&world, &["start", &id]).succeeds();
    assert_eq!(state(&world, &id), "running");
    runtime(&world, &["start", &id]).fails(1);
    runtime(&world, &["delete", &id]).fails(1);
    assert_eq!(
        runtime(&world, &["exec", &id, "/bin/sh", "-c", "echo $$ >/dev/null; echo in"]).succeeds(),
        "in"
    );
    runtime(&world, &["kill", &id, "KILL"]).succeeds();
    eventually("it stops", || state(&world, &id) == "stopped");
    runtime(&world, &["delete", &id]).succeeds();
    runtime(&world, &["state", &id]).fails(1);
}

#[test]
fn a_bundle_without_a_program_fails_and_leaves_nothing() {
    let world = world();
    let dir = bundle(&world, "true", |config| config["process"]["args"] = json!(["/no/such/program"]));
    let output = runtime(&world, &["run", "--bundle", dir.to_str().unwrap(), &id("missing")]);
    assert_ne!(output.code, 0);
    assert!(output.stderr.to_lowercase().contains("no such file or directory"), "{output}");
    runtime(&world, &["state", &id("missing")]).fails(1);
    assert_eq!(runtime(&world, &["list"]).succeeds().lines().count(), 1);
}

#[test]
fn invalid_ids_and_bundles_are_refused() {
    let world = world();
    let dir = bundle(&world, "true", |_| ());
    let dir = dir.to_str().unwrap();
    for bad in ["../x", "a/b", "", ".", "a b"] {
        let output = runtime(&world, &["run", "--bundle", dir, bad]);
        assert_eq!(output.code, 1, "{output}");
    }
    runtime(&world, &["run", "--bundle", "/no/such/bundle", &id("none")]).fails(1);
}

#[test]
fn a_changed_configuration_has_no_effect_on_a_container() {
    let world = world();
    let dir = bundle(&world, "echo $WORD > /word; sleep 60", |c| {
        c["process"]["env"] = json!(["PATH=/bin", "WORD=first"]);
    });
    let c = Guard::create(&world, "changed", &dir);
    bundle(&world, "exit 1", |c| c["process"]["env"] = json!(["PATH=/bin", "WORD=second"]));
    runtime(&world, &["start", &c.id]).succeeds();
    let word = dir.join("rootfs/word");
    eventually("it runs", || std::fs::read_to_string(&word).is_ok_and(|w| w == "first\n"));
    assert_eq!(runtime(&world, &["exec", &c.id, "/bin/sh", "-c", "echo $WORD"]).succeeds(), "first");
}

#[test]
fn an_id_in_use_is_refused_and_its_container_lives_on() {
    let world = world();
    let dir = bundle(&world, "sleep 60", |_| ());
    let c = Guard::start(&world, "twice", &dir);
    for command in ["create", "run"] {
        let output = silently(&world, &[command, "--bundle", dir.to_str().unwrap(), &c.id]);
        output.fails_saying(1, &["container with given ID already exists", &c.id]);
    }
    assert_eq!(c.status(), "running");
}

#[test]
fn of_several_creators_of_one_id_one_succeeds() {
    let world = world();
    let dir = bundle(&world, "sleep 60", |_| ());
    let c = Guard::of(&world, "race");
    let codes: Vec<i32> = std::thread::scope(|scope| {
        let create = || {
            let mut command = super::command(&world, &["create", "--bundle", dir.to_str().unwrap(), &c.id]);
            command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
            command.stderr(std::process::Stdio::null()).status().unwrap().code().unwrap()
        };
        runtime(&world, &["--version"]).succeeds();
        let all: Vec<_> = (0..6).map(|_| scope.spawn(create)).collect();
        all.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(codes.iter().filter(|&&c| c == 0).count(), 1, "{codes:?}");
    assert_eq!(c.status(), "created");
}

#[test]
fn a_container_that_is_not_there_or_has_ended_is_told_apart() {
    let world = world();
    for command in ["start", "state", "pause", "resume", "delete", "kill", "ps", "events", "update"] {
        let output = runtime(&world, &[command, "nobody"]);
        output.fails_saying(1, &["\"nobody\" does not exist"]);
    }
    runtime(&world, &["exec", "nobody", "true"]).fails_saying(255, &["\"nobody\" does not exist"]);
    runtime(&world, &["delete", "--force", "nobody"]).succeeds();
    let dir = bundle(&world, "true", |_| ());
    let c = Guard::start(&world, "ended", &dir);
    eventually("it stops", || c.status() == "stopped");
    // What containerd looks for.
    runtime(&world, &["kill", &c.id, "TERM"]).fails_saying(1, &["container not running"]);
    runtime(&world, &["kill", "--all", &c.id, "KILL"]).succeeds();
    runtime(&world, &["pause", &c.id]).fails_saying(1, &["container not running"]);
    runtime(&world, &["exec", &c.id, "true"]).fails_saying(255, &["container not running"]);
    runtime(&world, &["start", &c.id]).fails_saying(1, &["cannot start a container that has stopped"]);
    assert_eq!(document(&world, &c.id)["pid"], 0);
}

#[test]
fn a_container_that_runs_is_deleted_by_force_only() {
    let world = world();
    let dir = bundle(&world, "sleep 60", |_| ());
    let c = Guard::start(&world, "force", &dir);
    let words = ["cannot delete container", "that is not stopped: running"];
    runtime(&world, &["delete", &c.id]).fails_saying(1, &words);
    runtime(&world, &["start", &c.id]).fails_saying(1, &["cannot start an already running container"]);
    runtime(&world, &["kill", &c.id, "NOSUCH"]).fails_saying(1, &["unknown signal \"NOSUCH\""]);
    runtime(&world, &["delete", "--force", &c.id]).succeeds();
    runtime(&world, &["state", &c.id]).fails_saying(1, &["does not exist"]);
}

#[test]
fn run_keeps_a_container_when_it_is_told_to() {
    let world = world();
    let dir = bundle(&world, "exit 4", |_| ());
    let c = Guard::of(&world, "keep");
    assert_eq!(runtime(&world, &["run", "--keep", "--bundle", dir.to_str().unwrap(), &c.id]).code, 4);
    assert_eq!(c.status(), "stopped");
}

#[test]
fn another_configuration_file_can_be_named() {
    let world = world();
    let dir = bundle(&world, "echo other", |_| ());
    std::fs::rename(dir.join("config.json"), world.path("other.json")).unwrap();
    let (path, id) = (dir.to_str().unwrap(), id("named"));
    let output = runtime(&world, &["run", "--bundle", path, "--config", "other.json", &id]);
    assert_eq!(output.succeeds(), "other");
}

#[test]
fn run_hands_signals_on_and_ends_as_its_program() {
    let world = world();
    let dir = bundle(&world, "trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done", |_| ());
    let c = Guard::of(&world, "signals");
    let mut command = super::command(&world, &["run", "--bundle", dir.to_str().unwrap(), &c.id]);
    runtime(&world, &["--version"]).succeeds();
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert_eq!(line, "ready\n");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

#[test]
fn a_regular_expression_names_several_containers() {
    let world = world();
    let dir = bundle(&world, "sleep 60", |_| ());
    let all = ["one", "other", "third"].map(|name| Guard::start(&world, &format!("regex-{name}"), &dir));
    runtime(&world, &["kill", "--regex", "regex-o(ne|ther)-", "KILL"]).succeeds();
    eventually("two end", || all[0].status() == "stopped" && all[1].status() == "stopped");
    assert_eq!(all[2].status(), "running");
    runtime(&world, &["delete", "--regex", "regex-t"]).fails_saying(1, &["that is not stopped: running"]);
    runtime(&world, &["delete", "--regex", "^test-regex-o"]).succeeds();
    assert_eq!(runtime(&world, &["list", "-q"]).succeeds(), all[2].id);
    runtime(&world, &["delete", "--regex", "("]).fails_saying(1, &["parse regular expression"]);
}

#[test]
fn signals_for_all_reach_groups_below_the_containers() {
    let world = world();
    let script = "mkdir /sys/fs/cgroup/unified/below 2>/dev/null || mkdir /sys/fs/cgroup/below; \
        d=$(ls -d /sys/fs/cgroup/unified/below /sys/fs/cgroup/below 2>/dev/null | head -n 1); \
        sleep 70 & echo $! > $d/cgroup.procs && echo ready > /ready; wait";
    let dir = bundle(&world, script, |c| {
        let groups = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"});
        c["mounts"].as_array_mut().unwrap().push(groups);
        c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "cgroup"}));
    });
    let c = Guard::start(&world, "below", &dir);
    eventually("it is ready", || dir.join("rootfs/ready").exists());
    let pids = || -> Vec<u32> {
        serde_json::from_str(runtime(&world, &["ps", "-f", "json", &c.id]).succeeds()).unwrap()
    };
    assert_eq!(pids().len(), 2);
    runtime(&world, &["kill", "--all", &c.id, "USR1"]).succeeds();
    eventually("both end", || pids().is_empty());
}

#[test]
fn a_root_can_be_entered_without_pivot() {
    let world = world();
    let dir = bundle(&world, "ls -d /bin; hostname", |_| ());
    let output = runtime(&world, &["run", "--no-pivot", "--bundle", dir.to_str().unwrap(), &id("no-pivot")]);
    assert_eq!(output.succeeds(), "/bin\nbundle");
}
