//! Directories with hooks, and mounts.conf.

use std::path::Path;

use loment_testkit::{Patience, run};

use crate::{eventually, world_over_directory};

fn hook(dir: &Path, name: &str, script: &str, when: &str, stages: &str) {
    let script = serde_json::to_string(script).unwrap();
    let text = format!(
        r#"{{"version": "1.0.0", "hook": {{"path": "/bin/sh", "args": ["sh", "-c", {script}]}}, "when": {when}, "stages": {stages}}}"#
    );
    std::fs::write(dir.join(name), text).unwrap();
}

#[test]
fn hooks_run_at_their_stages_for_the_containers_that_they_are_for() {
    let (world, image) = world_over_directory();
    let dir = world.path("hooks");
    std::fs::create_dir(&dir).unwrap();
    let mark = world.path("mark");
    let shown = mark.display();
    for stage in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        hook(
            &dir,
            &format!("{stage}.json"),
            &format!("echo {stage} >>{shown}"),
            r#"{"always": true}"#,
            &format!("[{stage:?}]"),
        );
    }
    hook(
        &dir,
        "y.json",
        &format!("echo annotated >>{shown}"),
        r#"{"annotations": {"^who$": "me"}}"#,
        r#"["prestart"]"#,
    );
    hook(&dir, "z.json", &format!("echo bound >>{shown}"), r#"{"hasBindMounts": true}"#, r#"["prestart"]"#);
    hook(&dir, "zz.json", &format!("echo other >>{shown}"), r#"{"commands": ["other"]}"#, r#"["prestart"]"#);
    std::fs::write(dir.join("remark.txt"), "no hook").unwrap();
    let hooks = dir.to_str().unwrap();
    let ran = |flags: &[&str]| {
        let _ = std::fs::remove_file(&mark);
        let head = ["--hooks-dir", hooks, "run", "--rm", "--network", "none"];
        world
            .loment([&head[..], flags, &["--rootfs", image.as_str(), "sh", "-c", "true"]].concat())
            .succeeds();
        eventually("the last has run", || {
            std::fs::read_to_string(&mark).is_ok_and(|text| text.contains("poststop"))
        });
        std::fs::read_to_string(&mark).unwrap()
    };
    assert_eq!(ran(&[]), "prestart\ncreateRuntime\ncreateContainer\npoststart\npoststop\n");
    assert!(ran(&["--annotation", "who=me"]).starts_with("prestart\nannotated\n"));
    assert!(ran(&["-v", "/dev/null:/x"]).starts_with("prestart\nbound\n"));
    // A file in a later directory stands for that of the same name.
    let more = world.path("more");
    std::fs::create_dir(&more).unwrap();
    hook(
        &more,
        "prestart.json",
        &format!("echo instead >>{shown}"),
        r#"{"always": true}"#,
        r#"["prestart"]"#,
    );
    let conf = world.write(
        "hooks.conf",
        format!("[engine]\nhooks_dir = [{hooks:?}, {:?}]\n", more.display().to_string()),
    );
    let _ = std::fs::remove_file(&mark);
    let mut command = world.command(["run", "--rm", "--network", "none", "--rootfs", &image, "true"]);
    run(command.env("CONTAINERS_CONF", conf), Patience::NORMAL).succeeds();
    assert!(std::fs::read_to_string(&mark).unwrap().starts_with("instead\n"));
}

#[test]
fn a_hook_that_fails_fails_the_start_and_one_that_means_nothing_the_creation() {
    let (world, image) = world_over_directory();
    let dir = world.path("hooks");
    std::fs::create_dir(&dir).unwrap();
    let hooks = dir.to_str().unwrap();
    let run = |name: &str| {
        world.loment([
            "--hooks-dir",
            hooks,
            "run",
            "--name",
            name,
            "--network",
            "none",
            "--rootfs",
            &image,
            "sh",
            "-c",
            "echo ran; sleep 60",
        ])
    };
    hook(&dir, "a.json", "echo because >&2; exit 1", r#"{"always": true}"#, r#"["createRuntime"]"#);
    run("a").fails_saying(125, &["createRuntime hook /bin/sh", "because"]);
    hook(&dir, "a.json", "echo because >&2; exit 1", r#"{"always": true}"#, r#"["poststart"]"#);
    run("b").fails_saying(125, &["poststart hook /bin/sh", "because"]);
    assert_eq!(world.inspect("{{.State.Pid}}", "b"), "0");
    std::fs::write(dir.join("a.json"), r#"{"version": "1.0.0", "hook": {"path": "x"}}"#).unwrap();
    run("third").fails_saying(125, &["a.json", "not absolute"]);
    world.loment(["inspect", "third"]).fails_saying(125, &["third"]);
}

#[test]
fn a_program_may_change_the_specification_before_there_is_a_container() {
    let (world, image) = world_over_directory();
    let dir = world.path("hooks");
    std::fs::create_dir(&dir).unwrap();
    let hooks = dir.to_str().unwrap();
    let run = |script: &str| {
        world.loment([
            "--hooks-dir",
            hooks,
            "run",
            "--rm",
            "--network",
            "none",
            "-e",
            "WHO=nobody",
            "--rootfs",
            &image,
            "sh",
            "-c",
            script,
        ])
    };
    hook(&dir, "a.json", "sed s/WHO=nobody/WHO=somebody/", r#"{"always": true}"#, r#"["precreate"]"#);
    assert_eq!(run("echo $WHO").succeeds(), "somebody");
    hook(&dir, "a.json", "cat >/dev/null", r#"{"always": true}"#, r#"["precreate"]"#);
    assert_eq!(run("echo $WHO").succeeds(), "nobody");
    hook(&dir, "a.json", "exit 3", r#"{"always": true}"#, r#"["precreate"]"#);
    run("true").fails_saying(125, &["/bin/sh", "status 3"]);
    hook(&dir, "a.json", "echo no", r#"{"always": true}"#, r#"["precreate"]"#);
    run("true").fails_saying(125, &["/bin/sh", "no specification"]);
    let text = r#"{"version": "1.0.0", "hook": {"path": "/bin/sleep", "args": ["sleep", "60"], "timeout": 1}, "when": {"always": true}, "stages": ["precreate"]}"#;
    std::fs::write(dir.join("a.json"), text).unwrap();
    run("true").fails_saying(125, &["did not end within 1 s"]);
}

#[test]
fn what_the_machine_gives_every_container_is_a_copy() {
    let (world, image) = world_over_directory();
    let dir = world.path("given");
    std::fs::create_dir_all(dir.join("sub")).unwrap();
    std::fs::write(dir.join("sub/f"), "content\n").unwrap();
    std::os::unix::fs::symlink("sub/f", dir.join("link")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.join("dangling")).unwrap();
    let file = world.write("one", "alone\n");
    let list = world.write(
        "mounts.conf",
        format!("# remark\n{}:/run/given\n{file}:/run/one\n/nowhere:/run/none\n", dir.display()),
    );
    let run = |flags: &[&str], script: &str| {
        let head = ["--default-mounts-file", list.as_str(), "run", "--rm", "--network", "none"];
        world.loment([&head[..], flags, &["--rootfs", image.as_str(), "sh", "-c", script]].concat())
    };
    let output = run(&[], "cd /run/given; cat sub/f link /run/one; ls; echo changed >sub/f; cat sub/f");
    assert_eq!(output.succeeds(), "content\ncontent\nalone\nlink\nsub\nchanged");
    // What is not there is nothing to be told of, as with Podman.
    assert_eq!(output.stderr, "");
    assert_eq!(std::fs::read_to_string(dir.join("sub/f")).unwrap(), "content\n");
    // A flag goes before it, and root of another user namespace has it, too.
    assert_eq!(run(&["--tmpfs", "/run/given"], "ls /run/given").succeeds(), "");
    assert_eq!(
        run(&["--uidmap", "0:100000:65536"], "stat -c %u /run/given/sub/f; echo x >/run/one").succeeds(),
        "0"
    );
    run(&["--rm=false", "--name", "c"], "true").succeeds();
    world.loment(["start", "--attach", "c"]).succeeds();
    world
        .loment([
            "--default-mounts-file",
            "/nowhere.conf",
            "run",
            "--rm",
            "--network",
            "none",
            "--rootfs",
            &image,
            "true",
        ])
        .succeeds();
}
