//! `ps`: what is chosen, in which order, and what of containers that cannot be read.

use std::fs;

use loment_testkit::World;
use serde_json::Value;

use crate::{eventually, lives, pid_of, sleeper, world, world_over_directory, world_with};

/// Names of the containers that `ps` lists with these flags.
#[track_caller]
fn names(world: &World, flags: &[&str]) -> Vec<String> {
    let output = world.loment([&["ps", "--format", "{{.Names}}"], flags].concat());
    output.succeeds().lines().map(str::to_owned).collect()
}

#[track_caller]
fn create(world: &World, name: &str, flags: &[&str], image: &str, program: &[&str]) -> String {
    let head = ["create", "--network", "none", "--name", name];
    world.loment([&head, flags, &[image], program].concat()).succeeds().to_owned()
}

fn record(world: &World, id: &str) -> std::path::PathBuf {
    world.root().join("containers").join(id).join("container.json")
}

#[test]
fn of_filters_of_one_name_one_must_hold_and_of_all_names_each() {
    let (world, rootfs) = world_over_directory();
    let rootfs = ["--rootfs", rootfs.as_str()];
    let create = |name: &str, flags: &[&str], program: &[&str]| {
        create(&world, name, &[flags, &rootfs[..1]].concat(), rootfs[1], program)
    };
    let a = create("a1", &["--label", "x=1", "--label", "y=1", "--expose", "8000-8010/udp"], &["true"]);
    create("b2", &["--label", "x=2", "--annotation", "k=v"], &["sh", "-c", "exit 3"]);
    create("c3", &["--volume", "/etc:/host:ro", "--network", "host"], &["false"]);
    world.loment(["start", "--attach", "b2"]).fails(3);
    world.loment(["start", "--attach", "c3"]).fails(1);
    let short = format!("id={}", &a[..6]);
    let cases: [(&[&str], &str); 43] = [
        (&[], "a1 b2 c3"),
        (&["name=a", "name=b"], "a1 b2"),
        (&["name=^a"], "a1"),
        (&["name=^/a1$"], "a1"),
        (&["name=[0-9]$"], "a1 b2 c3"),
        (&["name=A"], ""),
        (&["name=a", "status=exited"], ""),
        (&["name=b", "status=exited", "status=running"], "b2"),
        (&["status=created"], "a1"),
        (&["status=stopped"], "b2 c3"),
        (&["status=paused"], ""),
        (&["exited=3"], "b2"),
        (&["exited=3", "exited=1"], "b2 c3"),
        (&["exited=0"], ""),
        (&[&short], "a1"),
        (&["id=zz"], ""),
        (&["expose=8005/udp"], "a1"),
        (&["expose=8005"], ""),
        (&["label=x"], "a1 b2"),
        (&["label=x=1"], "a1"),
        (&["label=x", "label=y"], "a1"),
        (&["label=x=1", "label=x=2"], ""),
        (&["label=z*"], ""),
        (&["label!=x"], "c3"),
        (&["label!=x=1"], "b2 c3"),
        (&["annotation=k"], "b2"),
        (&["before=c3"], "a1 b2"),
        (&["before=c3", "before=b2"], "a1"),
        (&["since=a1"], "b2 c3"),
        (&["until=1h"], ""),
        (&["volume=/host"], "c3"),
        (&["volume=/etc"], "c3"),
        (&["volume=/etc:/host"], "c3"),
        (&["volume=/e"], ""),
        (&["network=host"], "c3"),
        (&["network=none", "network=host"], "a1 b2 c3"),
        (&["command=^sh$"], "b2"),
        (&["health=none"], "a1 b2 c3"),
        (&["health=healthy"], ""),
        (&["restart-policy=no"], "a1 b2 c3"),
        (&["restart-policy=always"], ""),
        (&["should-start-on-boot=false", "is-task=false"], "a1 b2 c3"),
        (&["pod=p"], ""),
    ];
    for (filters, expected) in cases {
        let mut flags = vec!["--all"];
        filters.iter().for_each(|filter| flags.extend(["--filter", filter]));
        assert_eq!(names(&world, &flags).join(" "), expected, "{filters:?}");
    }
    for filter in ["expose=80", "publish=80/tcp", "is-task=true", "should-start-on-boot=true"] {
        assert_eq!(names(&world, &["--all", "--filter", filter]), [""; 0], "{filter}");
    }
    // Whoever asks for a state means those that do not run, too.
    assert_eq!(names(&world, &["--filter", "status=created"]), ["a1"]);
    assert_eq!(names(&world, &["--filter", "name=a"]), [""; 0]);
    for (filter, words) in [
        ("colour=red", &["colour", "ancestor"][..]),
        ("name", &["name"]),
        ("name=[", &["regular expression"]),
        ("status=asleep", &["asleep", "created"]),
        ("exited=x", &["number"]),
        ("before=nobody", &["nobody"]),
        ("health=well", &["healthy"]),
        ("restart-policy=sometimes", &["sometimes invalid restart policy"]),
        ("until=soon", &["24h"]),
        ("is-task=maybe", &["true"]),
    ] {
        world.loment(["ps", "--filter", filter]).fails_saying(125, words);
    }
}

#[test]
fn what_is_started_again_can_be_chosen() {
    let (world, rootfs) = world_over_directory();
    for policy in ["no", "always", "on-failure:3", "unless-stopped"] {
        let name = policy.split(':').next().unwrap();
        create(&world, name, &["--restart", policy, "--rootfs"], &rootfs, &["true"]);
    }
    for policy in ["no", "always", "on-failure", "unless-stopped"] {
        assert_eq!(names(&world, &["-a", "--filter", &format!("restart-policy={policy}")]), [policy]);
    }
    let both = ["-a", "--filter", "restart-policy=none", "--filter", "restart-policy=always"];
    assert_eq!(names(&world, &both), ["no", "always"]);
    assert_eq!(names(&world, &["-a", "--filter", "should-start-on-boot=1"]), ["always", "unless-stopped"]);
    assert_eq!(names(&world, &["-a", "--filter", "should-start-on-boot=0"]), ["no", "on-failure"]);
}

#[test]
fn an_ancestor_is_meant_by_any_of_its_names_and_so_are_its_descendants() {
    let (world, image) = world_with("busybox:latest");
    create(&world, "a", &[], &image, &["true"]);
    let id = world.loment(["image", "inspect", "--format", "{{.Id}}", &image]).succeeds().to_owned();
    let digest = world.loment(["image", "inspect", "--format", "{{.Digest}}", &image]).succeeds().to_owned();
    let repository = image.strip_suffix(":latest").unwrap();
    world.loment(["tag", &image, "localhost/own:1"]).succeeds();
    let by_digest = format!("{repository}@{digest}");
    for ancestor in
        [&image, repository, &id, &id[..12], &format!("sha256:{id}"), "localhost/own:1", &by_digest, &digest]
    {
        assert_eq!(names(&world, &["-a", "--filter", &format!("ancestor={ancestor}")]), ["a"], "{ancestor}");
    }
    for ancestor in ["nothing", "localhost/own:2", "0000"] {
        assert_eq!(
            names(&world, &["-a", "--filter", &format!("ancestor={ancestor}")]),
            [""; 0],
            "{ancestor}"
        );
    }
    // One that is gone is known by the name it had.
    world.loment(["untag", &image]).succeeds();
    assert_eq!(names(&world, &["-a", "--filter", &format!("ancestor={image}")]), ["a"]);
}

#[test]
fn lists_are_sorted_as_they_are_asked_to_be() {
    let (world, rootfs) = world_over_directory();
    for (name, program) in [("m", "true"), ("z", "sh"), ("a", "cat")] {
        create(&world, name, &["--rootfs"], &rootfs, &[program]);
    }
    assert_eq!(names(&world, &["-a"]), ["m", "z", "a"], "the oldest first, as Podman has it");
    assert_eq!(names(&world, &["-a", "--sort", "names"]), ["a", "m", "z"]);
    assert_eq!(names(&world, &["-a", "--sort", "command"]), ["a", "z", "m"]);
    assert_eq!(names(&world, &["-a", "--sort", "created"]), ["m", "z", "a"]);
    assert_eq!(names(&world, &["--last", "2"]), ["z", "a"]);
    assert_eq!(names(&world, &["--latest"]), ["a"]);
    let docker = world.persona("docker", ["ps", "-a", "--format", "{{.Names}}"]);
    assert_eq!(docker.succeeds(), "a\nz\nm", "the newest first, as Docker has it");
    let wrong = world.loment(["ps", "--sort", "colour"]);
    assert!(wrong.fails(125).contains("runningfor"), "{wrong}");
}

#[test]
fn a_container_that_cannot_be_read_is_in_nobodys_way() {
    let (world, image) = world_with("busybox:latest");
    create(&world, "good", &[], &image, &["true"]);
    for name in ["torn", "empty", "newer", "odd"] {
        let id = create(&world, name, &[], &image, &["true"]);
        let path = record(&world, &id);
        let text = fs::read_to_string(&path).unwrap();
        match name {
            "torn" => fs::write(&path, &text[..text.len() / 2]).unwrap(),
            "empty" => fs::write(&path, "").unwrap(),
            "newer" => fs::write(&path, text.replacen("\"version\":2", "\"version\":99", 1)).unwrap(),
            _ => {
                fs::remove_file(&path).unwrap();
                fs::create_dir(&path).unwrap();
            }
        }
        let all = world.loment(["ps", "--all", "--format", "{{.ID}} {{.Names}} {{.State}} {{.Status}}"]);
        assert!(all.succeeds().contains(&format!("{} {name} unknown Unknown", &id[..12])), "{all}");
        assert!(all.succeeds().contains(" good created Created"), "{all}");
        assert_eq!(names(&world, &["--filter", "status=unknown"]), [name]);
        assert_eq!(world.loment(["ps"]).code, 0);
        // What else lists or counts goes on, and what is about this one says so.
        for command in [
            &["images"][..],
            &["info"],
            &["system", "df"],
            &["system", "prune", "--force", "--filter", "until=1h"],
        ] {
            world.loment(command).succeeds();
        }
        for command in [["inspect", name], ["start", name], ["stop", name], ["logs", name]] {
            world.loment(command).fails_saying(125, &["container.json"]);
        }
        world.loment(["rmi", &image]).fails(2);
        world.loment(["rm", name]).fails_saying(125, &[&id, "--force"]);
        assert_eq!(world.loment(["rm", "--force", name]).succeeds(), name);
        assert!(
            !world.root().join("containers").join(&id).exists()
                && !world.root().join("names").join(name).exists()
        );
        assert_eq!(names(&world, &["--all"]), ["good"]);
    }
    let id = create(&world, "last", &[], &image, &["true"]);
    fs::write(record(&world, &id), "{").unwrap();
    world.loment(["rm", "--force", "--all"]).succeeds();
    world.loment(["rmi", &image]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn one_that_runs_and_cannot_be_read_is_killed_when_it_is_removed_by_force() {
    let (world, image) = world_with("busybox:latest");
    for state_too in [false, true] {
        let id = sleeper(&world, "c", &[], &image);
        let pid = pid_of(&world, "c");
        fs::write(record(&world, &id), "").unwrap();
        if state_too {
            fs::write(record(&world, &id).with_file_name("state.json"), "{").unwrap();
        }
        world.loment(["rm", &id]).fails_saying(125, &["--force"]);
        assert!(lives(pid));
        // By the beginning of its id, too.
        world.loment(["rm", "--force", &id[..12]]).succeeds();
        eventually("it has ended", || !lives(pid));
        assert_eq!(world.leftovers(), [""; 0]);
        assert_eq!(names(&world, &["--all"]), [""; 0]);
    }
    // Its image can be removed with it.
    let id = sleeper(&world, "c", &[], &image);
    fs::write(record(&world, &id), "").unwrap();
    world.loment(["rmi", &image]).fails(2);
    world.loment(["rmi", "--force", &image]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

/// Records as `create` writes them, of as many containers.
fn write_records(world: &World, model: &str, count: usize) {
    let dir = world.root().join("containers");
    let text = fs::read_to_string(dir.join(model).join("container.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    for i in 0..count {
        let (id, name) = (format!("{i:064x}"), format!("n{i}"));
        let mut document = document.clone();
        (document["id"], document["name"]) = (id.as_str().into(), name.as_str().into());
        document["created"] = format!("2026-01-01T00:{:02}:{:02}.{i:09}Z", i / 60 % 60, i % 60).into();
        document["labels"] = serde_json::json!({"group": (i % 10).to_string()});
        fs::create_dir(dir.join(&id)).unwrap();
        fs::write(dir.join(&id).join("container.json"), document.to_string()).unwrap();
        if i % 2 == 1 {
            let state = serde_json::json!({
                "version": 1, "phase": "exited", "boot_id": "", "pid": 0, "start_time": 0, "monitor_pid": 0,
                "monitor_start_time": 0, "started_at": "2026-01-01T00:00:01Z", "finished_at": "2026-01-01T00:00:02Z",
                "exit_code": i % 7, "oom_killed": false, "error": "",
            });
            fs::write(dir.join(&id).join("state.json"), state.to_string()).unwrap();
        }
        std::os::unix::fs::symlink(&id, world.root().join("names").join(&name)).unwrap();
    }
}

#[test]
fn two_thousand_containers_are_listed_found_and_removed() {
    const COUNT: usize = 2000;
    let (world, rootfs) = world_over_directory();
    let model = create(&world, "model", &["--rootfs"], &rootfs, &["sleep", "1000"]);
    write_records(&world, &model, COUNT);
    assert_eq!(world.loment(["ps", "--all", "--quiet"]).succeeds().lines().count(), COUNT + 1);
    assert_eq!(names(&world, &[]), [""; 0]);
    assert_eq!(names(&world, &["-a", "--filter", "label=group=3"]).len(), COUNT / 10);
    let exited = (0..COUNT).filter(|i| i % 2 == 1 && i % 7 == 5).count();
    assert_eq!(names(&world, &["--filter", "exited=5"]).len(), exited);
    assert_eq!(names(&world, &["-a", "--filter", "name=^n19"]).len(), 111);
    assert_eq!(names(&world, &["-a", "--sort", "names"])[..3], ["model", "n0", "n1"]);
    assert_eq!(names(&world, &["--last", "1"]), ["model"]);
    assert_eq!(world.inspect("{{.Name}}", "n1999"), "n1999");
    let json: Value =
        serde_json::from_str(world.loment(["ps", "-a", "--format", "json"]).succeeds()).unwrap();
    assert_eq!(json.as_array().map(Vec::len), Some(COUNT + 1));
    world.loment(["start", "model"]).succeeds();
    assert_eq!(names(&world, &[]), ["model"]);
    assert_eq!(world.loment(["rm", "n5", "n6"]).succeeds(), "n5\nn6");
    assert_eq!(world.loment(["ps", "--all", "--quiet"]).succeeds().lines().count(), COUNT - 1);
    // Removing each takes as long as two flushes.
    for i in 0..COUNT {
        let _ = fs::remove_dir_all(world.root().join("containers").join(format!("{i:064x}")));
    }
    assert_eq!(names(&world, &["-a"]), ["model"]);
}

#[test]
fn nothing_is_listed_where_nothing_is() {
    let world = world();
    assert_eq!(world.loment(["ps", "--all", "--quiet"]).succeeds(), "");
    assert_eq!(world.loment(["ps", "--all", "--format", "json"]).succeeds(), "[]");
}
