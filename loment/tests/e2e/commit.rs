//! What containers changed: shown, written as tars, and made into images.

use std::process::Command;

use loment_testkit::{Patience, World, run};

use crate::{eventually, sleeper, world_over_directory, world_with};

/// Changes of all kinds, in a container of busybox.
const CHANGES: &str = "mkdir /new; echo one >/new/file; ln /new/file /new/hard; ln -s /nowhere /new/link; \
    mkfifo /new/pipe; rm -r /var/spool; mkdir -p /var/spool; touch /var/spool/other; chmod 700 /home; rm /etc/group /etc/passwd; \
    chown 33:44 /new/hard; mkdir /tmp/sub; echo x >\"/tmp/sub/$(printf 'long%0150d' 1)\"; touch -d '2001-02-03 04:05:06' /new/file; \
    sync";

/// A container of `image` that has made them.
fn changed(world: &World, flags: &[&str], image: &str) {
    let run = ["run", "--name", "a", "--network", "none"];
    world.loment([&run, flags, &[image, "sh", "-c", CHANGES]].concat()).succeeds();
}

/// What `tar --list --verbose` says of a tar.
#[track_caller]
fn listed(tar: &str) -> Vec<String> {
    let mut list = Command::new("tar");
    list.args(["--list", "--verbose", "--full-time", "--file", tar]);
    let shown = run(&mut list, Patience::NORMAL);
    let mut lines: Vec<_> = shown.succeeds().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[track_caller]
fn exported(world: &World, container: &str) -> Vec<String> {
    let tar = world.path("exported.tar").display().to_string();
    world.loment(["export", "--output", &tar, container]).succeeds();
    listed(&tar)
}

#[test]
fn what_a_container_changed_is_shown() {
    let (world, image) = world_with("busybox:latest");
    changed(&world, &[], &image);
    let expected = [
        "C /etc",
        "D /etc/group",
        "D /etc/passwd",
        "C /home",
        "A /new",
        "A /new/file",
        "A /new/hard",
        "A /new/link",
        "A /new/pipe",
        "C /tmp",
        "A /tmp/sub",
    ];
    let shown = world.loment(["diff", "a"]).succeeds().to_owned();
    let lines: Vec<_> =
        shown.lines().filter(|line| !line.contains("/tmp/sub/") && !line.contains("/var")).collect();
    assert_eq!(lines, expected);
    let document = world.loment(["container", "diff", "--format", "json", "--latest"]);
    let document: serde_json::Value = serde_json::from_str(document.succeeds()).unwrap();
    assert_eq!(document["deleted"][0], "/etc/group");
    // An image is told from a container, which comes first.
    world.loment(["diff", &image]).succeeds();
    world.loment(["diff", "nothing-at-all"]).fails(125);
    let (world, rootfs) = world_over_directory();
    world.loment(["create", "--name", "b", "--network", "none", "--rootfs", &rootfs, "true"]).succeeds();
    world.loment(["diff", "b"]).fails_saying(125, &["it was not made from an image"]);
}

#[test]
fn an_image_of_a_container_has_its_files() {
    let (world, image) = world_with("busybox:latest");
    for flags in [&[][..], &["--uidmap", "0:100000:65536"]] {
        changed(&world, flags, &image);
        let commit = [
            "commit",
            "--author",
            "me",
            "--message",
            "why",
            "--change",
            "ENV A=b",
            "--change",
            "CMD sleep 7",
        ];
        let id = world.loment([&commit[..], &["a", "localhost/made:1"]].concat()).succeeds().to_owned();
        let inspect = |template: &str| world.inspect(template, "localhost/made:1");
        assert_eq!(inspect("{{.Id}}"), id);
        assert_eq!(inspect("{{.Author}}"), "me");
        assert_eq!(inspect("{{json .Config.Cmd}}"), r#"["/bin/sh","-c","sleep 7"]"#);
        assert!(inspect("{{json .Config.Env}}").contains("\"A=b\""));
        assert_eq!(inspect("{{len .RootFS.Layers}}"), "2");
        let history =
            world.loment(["history", "--format", "{{.Comment}} {{.CreatedBy}}", "localhost/made:1"]);
        assert!(history.succeeds().starts_with("why sh -c mkdir /new;"), "{history}");
        let before = exported(&world, "a");
        assert!(
            before.iter().any(|line| line.contains("33/44") && line.contains("2001-02-03 04:05:06")),
            "{before:?}"
        );
        // The same files, but for what is made to mount things on.
        let run = ["run", "--name", "b", "--network", "none", "localhost/made:1", "true"];
        world.loment(run).succeeds();
        let after = exported(&world, "b");
        let shown = |all: &[String]| -> Vec<String> {
            let own = [" dev/", " etc/", " proc/", " run/", " sys/", ".containerenv"];
            all.iter().filter(|line| !own.iter().any(|own| line.contains(own))).cloned().collect()
        };
        assert_eq!(shown(&after), shown(&before));
        assert!(!after.iter().any(|line| line.ends_with("etc/group")), "it stays removed");
        // All in one layer.
        world.loment(["commit", "--squash", "--quiet", "a", "localhost/flat:1"]).succeeds();
        assert_eq!(world.inspect("{{len .RootFS.Layers}}", "localhost/flat:1"), "1");
        world.loment(["run", "--name", "c", "--network", "none", "localhost/flat:1", "true"]).succeeds();
        assert_eq!(shown(&exported(&world, "c")), shown(&before));
        world.loment(["rm", "--all"]).succeeds();
        world.loment(["rmi", "localhost/made:1", "localhost/flat:1"]).succeeds();
        world.loment(["system", "check"]).succeeds();
    }
}

#[test]
fn a_running_container_is_exported_and_committed_too() {
    let (world, image) = world_with("busybox:latest");
    let mounted = world.path("mounted");
    std::fs::create_dir(&mounted).unwrap();
    std::fs::write(mounted.join("inside"), "").unwrap();
    let volume = format!("{}:/mnt", mounted.display());
    for users in [&[][..], &["--uidmap", "0:100000:65536"]] {
        sleeper(&world, "a", &[users, &["--volume", &volume]].concat(), &image);
        world.loment(["exec", "a", "sh", "-c", "echo now >/here; chown 5:6 /here"]).succeeds();
        let lines = exported(&world, "a");
        assert!(lines.iter().any(|line| line.contains("5/6") && line.ends_with(" here")), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("0/0") && line.ends_with(" bin/")), "{lines:?}");
        assert!(
            !lines.iter().any(|line| line.contains("mnt/inside") || line.contains("proc/1")),
            "{lines:?}"
        );
        let id = world.loment(["commit", "--pause", "--quiet", "a"]).succeeds().to_owned();
        assert_eq!(world.inspect("{{.State.Status}}", "a"), "running");
        let made = world.loment(["run", "--rm", "--network", "none", &id, "cat", "/here"]);
        assert_eq!(made.succeeds(), "now");
        world.loment(["rm", "--force", "--time", "0", "a"]).succeeds();
    }
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn other_engines_read_what_was_made() {
    let (world, image) = world_with("busybox:latest");
    changed(&world, &[], &image);
    let iid = world.path("iid").display().to_string();
    world.loment(["commit", "--format", "docker", "--iidfile", &iid, "a", "localhost/made:1"]).succeeds();
    let place = format!("docker-archive:{}", world.path("made.tar").display());
    world.loment(["push", "--quiet", "localhost/made:1", &place]).succeeds();
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["--insecure-policy", "inspect", "--config", &place]);
    let config: serde_json::Value =
        serde_json::from_str(run(&mut skopeo, Patience::NORMAL).succeeds()).unwrap();
    assert_eq!(config["config"]["Cmd"][0], "sh");
    assert_eq!(
        std::fs::read_to_string(&iid).unwrap(),
        format!("sha256:{}", world.inspect("{{.Id}}", "localhost/made:1"))
    );
    assert_eq!(
        world.inspect("{{.ManifestType}}", "localhost/made:1"),
        "application/vnd.docker.distribution.manifest.v2+json"
    );
}

#[test]
fn a_container_cannot_be_started_while_it_is_exported() {
    let (world, image) = world_with("busybox:latest");
    changed(&world, &[], &image);
    let mut export = world.command(["export", "a"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    // It writes more than a pipe takes, and nobody reads.
    let waits = || std::fs::read_to_string(format!("/proc/{}/syscall", export.id())).unwrap_or_default();
    eventually("it waits", || waits().starts_with("1 0x1 ") || waits().starts_with("64 0x1 "));
    let mut start = world.command(["start", "a"]).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(start.try_wait().unwrap().is_none(), "it waits until the files are written");
    drop(export.stdout.take());
    export.wait().unwrap();
    assert!(start.wait().unwrap().success());
}

#[test]
fn a_commit_that_is_interrupted_leaves_nothing_paused() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "a", &[], &image);
    // Enough for it to take a moment.
    world
        .loment(["exec", "a", "sh", "-c", "dd if=/dev/urandom of=/big bs=1M count=64 2>/dev/null"])
        .succeeds();
    for signal in [rustix::process::Signal::KILL, rustix::process::Signal::INT] {
        let mut commit = world.command(["commit", "--pause", "--quiet", "a"]).spawn().unwrap();
        eventually("it is paused", || world.inspect("{{.State.Status}}", "a") == "paused");
        rustix::process::kill_process(rustix::process::Pid::from_child(&commit), signal).unwrap();
        commit.wait().unwrap();
        eventually("it goes on", || world.inspect("{{.State.Status}}", "a") == "running");
    }
    assert_eq!(world.loment(["exec", "a", "echo", "there"]).succeeds(), "there");
}
