//! `checkpoint` and `restore` where they cannot be done: the exact reason is said, and nothing has changed. What they do
//! where they can is in the tests for a machine of our own (`vm`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use loment_testkit::World;
use serde_json::{Value, json};

use super::{Guard, bundle, command, id, runtime};
use crate::world;

/// A shell that does nothing for a minute.
const WAIT: &str = "sleep 60";

/// Runs the command, as run by somebody whose programs are in `path`; returns what it says.
#[track_caller]
fn refused(world: &World, path: &str, arguments: &[&str]) -> String {
    let mut command = command(world, arguments);
    let output = command.env("PATH", path).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[track_caller]
fn assert_says(text: &str, words: &[&str]) {
    words.iter().for_each(|word| assert!(text.contains(word), "no {word:?} in {text}"));
}

/// An executable shell script.
fn script(world: &World, name: &str, text: &str) -> PathBuf {
    let path = world.path(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

/// Nothing of the container is there.
#[track_caller]
fn assert_nothing(world: &World, id: &str) {
    assert!(!world.dir().join("runtime").join(id).exists());
    let named: Vec<_> = fs::read_dir("/sys/fs/cgroup")
        .unwrap()
        .map(|hierarchy| hierarchy.unwrap().path().join(format!("loment-{id}")))
        .chain([Path::new("/sys/fs/cgroup").join(format!("loment-{id}"))])
        .filter(|group| group.exists())
        .collect();
    assert!(named.is_empty(), "{named:?}");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(world.dir().to_str().unwrap()), "{mounts}");
}

#[test]
fn without_criu_a_container_goes_on_and_the_reason_is_said() {
    let world = world();
    let dir = bundle(&world, WAIT, |_| {});
    let c = Guard::start(&world, "no-criu", &dir);
    let images = world.path("images");
    let checkpoint = ["checkpoint", "--image-path", images.to_str().unwrap(), &c.id];
    let said = refused(&world, "/no/such/directory", &checkpoint);
    assert_says(&said, &[&c.id, "criu is in no directory of PATH: install criu 3.15 or newer", "--criu"]);
    assert_eq!(c.status(), "running");
    assert!(!images.exists());
    // As engines ask: the last line of the log.
    let log = world.path("log");
    let flags = ["--log", log.to_str().unwrap(), "--log-format", "json"];
    refused(&world, "/no/such/directory", &[flags.as_slice(), &checkpoint].concat());
    let line: Value =
        serde_json::from_str(fs::read_to_string(&log).unwrap().lines().last().unwrap()).unwrap();
    assert_eq!(line["level"], "error");
    assert_says(line["msg"].as_str().unwrap(), &["criu is in no directory of PATH"]);
}

#[test]
fn what_is_not_criu_is_named() {
    let world = world();
    let dir = bundle(&world, WAIT, |_| {});
    let c = Guard::start(&world, "not-criu", &dir);
    let images = world.path("images");
    let talker = script(&world, "talker", "echo swrk: what is that >&2; exit 2");
    let (talker, missing) = (talker.to_str().unwrap(), "/no/such/criu");
    let plain = world.write("plain", "text");
    fs::set_permissions(&plain, PermissionsExt::from_mode(0o644)).unwrap();
    let plain = plain.as_str();
    let reasons: [(&str, &[&str]); 4] = [
        (
            "/bin/true",
            &["/bin/true ended with status 0 without an answer: is it criu?", "criu 3.15 or newer"],
        ),
        (talker, &["ended with status 2 without an answer: swrk: what is that: is it criu?"]),
        (missing, &["run /no/such/criu", "No such file or directory"]),
        (plain, &["run ", "plain", "Permission denied"]),
    ];
    for (program, words) in reasons {
        let images = images.to_str().unwrap();
        let said = refused(&world, "/bin", &["--criu", program, "checkpoint", "--image-path", images, &c.id]);
        assert_says(&said, words);
        assert_eq!(c.status(), "running");
        let (new, bundle) = (id("from-nothing"), dir.to_str().unwrap());
        let restore =
            ["--criu", program, "restore", "--image-path", "/", "--detach", "--bundle", bundle, &new];
        assert_says(&refused(&world, "/bin", &restore), words);
        assert_nothing(&world, &new);
    }
}

#[test]
fn a_criu_that_fails_is_quoted_and_the_container_goes_on() {
    let world = world();
    // A stream that is a file of the host's: no CRIU can save that, if it comes so far.
    let dir = bundle(&world, WAIT, |_| {});
    let c = Guard::of(&world, "failing");
    let out = fs::File::create(world.path("out")).unwrap();
    let mut run = command(&world, &["run", "--detach", "--bundle", dir.to_str().unwrap(), &c.id]);
    let run = run.stdin(Stdio::null()).stdout(out).stderr(Stdio::null()).status().unwrap();
    assert!(run.success());
    let (images, work) = (world.path("images"), world.path("work-path"));
    let (images, work) = (images.to_str().unwrap(), work.to_str().unwrap());
    let checkpoint = ["checkpoint", "--image-path", images, "--work-path", work, &c.id];
    let said = refused(&world, "/usr/sbin:/usr/bin", &checkpoint);
    assert_says(
        &said,
        &["criu failed: checkpoint by /usr/sbin/criu (criu ", "dump.log", "/usr/sbin/criu check"],
    );
    assert!(Path::new(work).join("dump.log").exists(), "{said}");
    assert_eq!(c.status(), "running");
    runtime(&world, &["exec", &c.id, "/bin/true"]).succeeds();
    runtime(&world, &["pause", &c.id]).succeeds();
    runtime(&world, &["resume", &c.id]).succeeds();
}

#[test]
fn a_restore_that_fails_leaves_nothing() {
    let world = world();
    let dir = bundle(&world, WAIT, |_| {});
    let (images, id) = (world.path("images"), id("restored"));
    let restore =
        ["restore", "--image-path", images.to_str().unwrap(), "--bundle", dir.to_str().unwrap(), &id];
    let path = "/usr/sbin:/usr/bin";
    assert_says(
        &refused(&world, path, &restore),
        &["open checkpoint directory", "No such file or directory"],
    );
    assert_nothing(&world, &id);
    fs::create_dir(&images).unwrap();
    assert_says(
        &refused(&world, path, &restore),
        &["open ", "descriptors.json", "No such file or directory"],
    );
    assert_nothing(&world, &id);
    fs::write(images.join("descriptors.json"), "{}").unwrap();
    assert_says(
        &refused(&world, path, &restore),
        &["descriptors.json of the checkpoint is not a list of names"],
    );
    assert_nothing(&world, &id);
    fs::write(images.join("descriptors.json"), r#"["/dev/null","/dev/null","/dev/null"]"#).unwrap();
    assert_says(&refused(&world, path, &restore), &["criu failed: restore by ", "restore.log"]);
    assert_nothing(&world, &id);
}

#[test]
fn only_a_running_container_can_be_saved() {
    let world = world();
    let dir = bundle(&world, "exit 0", |_| {});
    let c = Guard::create(&world, "unsaved", &dir);
    let in_state = |state: &str| format!("container {:?} cannot be checkpointed in {state} state", c.id);
    runtime(&world, &["checkpoint", &c.id]).fails_saying(1, &[&in_state("created")]);
    runtime(&world, &["start", &c.id]).succeeds();
    let gone = || c.status() == "stopped";
    (0..100).find(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        gone()
    });
    runtime(&world, &["checkpoint", &c.id]).fails_saying(1, &[&in_state("stopped")]);
    runtime(&world, &["checkpoint", &id("nobody")]).fails_saying(1, &["does not exist"]);
    // One that is there is not replaced.
    let restore = ["restore", "--image-path", "/", "--bundle", dir.to_str().unwrap(), "--detach", &c.id];
    runtime(&world, &restore).fails_saying(1, &["container with given ID already exists"]);
    assert_eq!(c.status(), "stopped");
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    let world = world();
    let dir = bundle(&world, WAIT, |c| {
        c["process"]["terminal"] = json!(true);
    });
    let wrong: [(&[&str], &[&str]); 9] = [
        (&["checkpoint", "--manage-cgroups-mode", "hard", "x"], &["manage-cgroups-mode", "\"hard\"", "soft"]),
        (&["checkpoint", "--page-server", "localhost", "x"], &["--page-server ADDRESS:PORT"]),
        (&["checkpoint", "--page-server", "localhost:0", "x"], &["invalid port number"]),
        (&["checkpoint", "--status-fd", "77", "x"], &["invalid --status-fd argument 77"]),
        (&["checkpoint", "--network-lock", "none", "x"], &["invalid --network-lock \"none\""]),
        (&["checkpoint", "--empty-ns", "pid", "x"], &["namespace \"pid\" is not supported"]),
        (&["checkpoint", "--detach", "x"], &["unknown flag --detach"]),
        // Podman learns from these words whether containers of pods can be restored.
        (&["restore", "--lsm-mount-context"], &["flag needs an argument"]),
        (&["restore", "--leave-running", "x"], &["unknown flag --leave-running"]),
    ];
    for (arguments, words) in wrong {
        runtime(&world, arguments).fails_saying(1, words);
    }
    let restore = ["restore", "--detach", "--bundle", dir.to_str().unwrap(), "x"];
    runtime(&world, &restore).fails_saying(1, &["cannot allocate tty if runc will detach"]);
}

#[test]
fn a_parent_is_a_directory_beside_the_images() {
    let world = world();
    let dir = bundle(&world, WAIT, |_| {});
    let c = Guard::start(&world, "parents", &dir);
    let images = world.path("images");
    let images = images.to_str().unwrap();
    for (parent, reason) in
        [("/", "--parent-path must be relative"), ("../none", "No such file or directory")]
    {
        let checkpoint = ["checkpoint", "--image-path", images, "--parent-path", parent, &c.id];
        runtime(&world, &checkpoint).fails_saying(1, &["invalid --parent-path", reason]);
    }
    assert_eq!(c.status(), "running");
}

#[test]
fn a_container_that_would_come_back_without_a_part_of_its_is_not_saved() {
    let mapping = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
    let mapped = json!({ "destination": "/mnt", "type": "bind", "source": "/", "options": ["bind"], "uidMappings": mapping, "gidMappings": mapping });
    let by_option = json!({ "destination": "/mnt", "type": "bind", "source": "/", "options": ["bind", "ridmap=uids=0-1-1;gids=0-1-1"] });
    type Edit<'a> = &'a dyn Fn(&mut Value);
    let cases: [(&str, Edit<'_>); 7] = [
        ("linux.netDevices", &|c| c["linux"]["netDevices"] = json!({ "nonesuch0": {} })),
        ("linux.intelRdt", &|c| c["linux"]["intelRdt"] = json!({ "closID": "x" })),
        ("linux.memoryPolicy", &|c| {
            c["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_BIND", "nodes": "0" })
        }),
        ("linux.personality", &|c| c["linux"]["personality"] = json!({ "domain": "LINUX32" })),
        ("process.ioPriority", &|c| {
            c["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 });
        }),
        ("mounts whose ids are mapped", &|c| c["mounts"].as_array_mut().unwrap().push(mapped.clone())),
        ("mounts whose ids are mapped", &|c| c["mounts"].as_array_mut().unwrap().push(by_option.clone())),
    ];
    for (part, edit) in cases {
        let world = world();
        let dir = bundle(&world, WAIT, edit);
        let restore = ["restore", "--bundle", dir.to_str().unwrap(), &id("part")];
        let said = refused(&world, "/usr/sbin:/usr/bin", &restore);
        assert_says(&said, &[part, "CRIU does not save it"]);
        assert_nothing(&world, &id("part"));
    }
    let world = world();
    let dir = bundle(&world, WAIT, |c| {
        c["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 });
    });
    let c = Guard::start(&world, "part", &dir);
    assert_says(&refused(&world, "/usr/sbin:/usr/bin", &["checkpoint", &c.id]), &["process.ioPriority"]);
    assert_eq!(c.status(), "running");
}

#[test]
fn what_is_called_criu_in_the_working_directory_is_not_run() {
    let world = world();
    let dir = bundle(&world, WAIT, |_| {});
    let c = Guard::start(&world, "working", &dir);
    let ran = world.path("ran");
    script(&world, "criu", &format!("touch {}", ran.display()));
    for path in ["", ".", ":/nonesuch:."] {
        assert_says(&refused(&world, path, &["checkpoint", &c.id]), &["criu is in no directory of PATH"]);
    }
    assert!(!ran.exists());
}

#[test]
fn settings_for_criu_are_named_by_an_absolute_path() {
    let world = world();
    let dir = bundle(&world, WAIT, |c| c["annotations"] = json!({ "org.criu.config": "settings.conf" }));
    let words = ["annotation org.criu.config: \"settings.conf\" is not an absolute path"];
    let c = Guard::start(&world, "settings", &dir);
    assert_says(&refused(&world, "/usr/sbin:/usr/bin", &["checkpoint", &c.id]), &words);
    let new = id("settings-new");
    let restore = ["restore", "--detach", "--bundle", dir.to_str().unwrap(), &new];
    assert_says(&refused(&world, "/usr/sbin:/usr/bin", &restore), &words);
    assert_nothing(&world, &new);
}
