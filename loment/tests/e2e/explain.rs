//! `--explain`: what a container would be, and that nothing comes of it.

use std::fs;

use loment_testkit::{Patience, World, run};
use serde_json::Value;

use crate::{world_over_directory, world_with};

#[track_caller]
fn explain(world: &World, arguments: &[&str]) -> Value {
    let output = world.loment([&["run", "--explain"], arguments].concat());
    serde_json::from_str(output.succeeds()).expect("it is json")
}

/// Containers, volumes, pods, names and files of this world.
fn all_there_is(world: &World) -> Vec<String> {
    let parts = [
        "root/containers",
        "root/volumes",
        "root/pods",
        "root/names",
        "root/tombs",
        "run/containers",
        "work",
    ];
    let entries = |part: &str| fs::read_dir(world.dir().join(part)).into_iter().flatten().flatten();
    let mut all: Vec<_> =
        parts.iter().flat_map(|part| entries(part)).map(|entry| entry.path().display().to_string()).collect();
    all.sort();
    all
}

#[test]
fn what_a_container_would_be_is_printed_and_nothing_is_made() {
    let (world, image) = world_with("busybox:latest");
    let labels = world.write("labels", "a=b\n");
    let cidfile = world.path("cid");
    let cidfile = cidfile.to_str().unwrap();
    let before = all_there_is(&world);
    let flags = [
        "--rm",
        "--detach",
        "--name",
        "c",
        "--cidfile",
        cidfile,
        "--memory",
        "64m",
        "--volume",
        "data:/data",
        "--env",
        "A=b",
        "--label-file",
        &labels,
        "--hostname",
        "box",
        "--network",
        "none",
        "--read-only",
        "--restart",
        "no",
        "--health-cmd",
        "true",
        "--pod",
        "new:p",
        &image,
        "sh",
        "-c",
        "exit 3",
    ];
    let told = explain(&world, &flags);
    assert_eq!(told["image"]["name"], image.as_str());
    let layers = told["image"]["layers"].as_array().unwrap();
    assert!(
        !layers.is_empty() && layers.iter().all(|l| l["diffId"].as_str().unwrap().starts_with("sha256:"))
    );
    assert!(layers.iter().all(|layer| fs::exists(layer["path"].as_str().unwrap()).unwrap()), "{layers:?}");
    let spec = &told["spec"];
    assert_eq!(spec["process"]["args"], serde_json::json!(["sh", "-c", "exit 3"]));
    assert_eq!(spec["linux"]["resources"]["memory"]["limit"], 64 << 20);
    assert_eq!((&spec["hostname"], &spec["root"]["readonly"]), (&"box".into(), &true.into()));
    let env = spec["process"]["env"].as_array().unwrap();
    assert!(env.contains(&"A=b".into()), "{env:?}");
    let mounts = spec["mounts"].as_array().unwrap();
    assert!(mounts.iter().any(|mount| mount["destination"] == "/proc"), "{mounts:?}");
    assert_eq!(told["volumes"], serde_json::json!([{"name": "data", "exists": false}]));
    assert_eq!(told["container"]["labels"]["a"], "b");
    let notes = told["notes"].to_string();
    assert!(notes.contains("the pod p would be made first"), "{notes}");
    assert_eq!(all_there_is(&world), before);
    let created = world.loment(["create", "--explain", "--network", "none", &image, "true"]);
    let created: Value = serde_json::from_str(created.succeeds()).unwrap();
    assert_eq!(created["spec"]["process"]["args"], serde_json::json!(["true"]));
    assert_eq!(all_there_is(&world), before);
    world.loment(["run", "--explain", "localhost/nothing", "true"]).fails_saying(125, &["localhost/nothing"]);
    world.loment(["run", "--explain", "--ulimit", "nope", &image, "true"]).fails(125);
}

#[test]
fn what_it_says_is_what_a_container_gets() {
    let (world, rootfs) = world_over_directory();
    let flags =
        ["--network", "none", "--memory", "64m", "--pids-limit", "77", "--user", "5:6", "--env", "X=y"];
    let mut told = explain(&world, &[&flags[..], &["--rootfs", &rootfs, "true"]].concat());
    let arguments = [&["create", "--name", "c"], &flags[..], &["--rootfs", &rootfs, "true"]].concat();
    world.loment(arguments).succeeds();
    let container = fs::read_dir(world.root().join("containers")).unwrap().flatten().next().unwrap().path();
    let record = fs::read_to_string(container.join("container.json")).unwrap();
    let mut record: Value = serde_json::from_str(&record).unwrap();
    // What differs between any two containers.
    let id = |document: &Value| document["id"].as_str().unwrap().to_owned();
    let (mine, others) = (id(&told["container"]), id(&record));
    let same = |document: &mut Value, id: &str| {
        for key in ["created", "name", "create_command"] {
            document.as_object_mut().unwrap().remove(key);
        }
        document.to_string().replace(id, "ID").replace(&id[..12], "ID")
    };
    assert_eq!(same(&mut told["container"], &mine), same(&mut record, &others));
}

#[test]
fn it_is_said_which_file_says_what() {
    let (world, rootfs) = world_over_directory();
    let conf = world.write(
        "c.conf",
        "[containers]\npids_limit = 99\nenv = [\"E=f\"]\ninit = false\n[engine]\nretry = 1\n",
    );
    let mut command = world.command(["run", "--explain", "--network", "none", "--rootfs", &rootfs, "true"]);
    let output = run(command.env("CONTAINERS_CONF", &conf), Patience::NORMAL);
    let told: Value = serde_json::from_str(output.succeeds()).unwrap();
    let said = told["configuration"].as_array().unwrap();
    for (key, value) in
        [("pids_limit of [containers]", 99.into()), ("env of [containers]", Value::from("E=f"))]
    {
        let wanted = serde_json::json!({"file": conf, "key": key, "value": value});
        assert!(said.contains(&wanted), "{wanted} is not in {said:?}");
    }
    assert_eq!(told["spec"]["linux"]["resources"]["pids"]["limit"], 99);
    assert!(!told["configuration"].to_string().contains("retry"), "what is not asked for does not matter");
}

#[test]
fn others_are_left_alone_and_their_names_count() {
    let (world, rootfs) = world_over_directory();
    world.loment(["create", "--name", "c", "--network", "none", "--rootfs", &rootfs, "true"]).succeeds();
    let id = world.inspect("{{.Id}}", "c");
    let flags = ["run", "--explain", "--name", "c", "--network", "none"];
    let refused = world.loment([&flags[..], &["--rootfs", &rootfs, "true"]].concat());
    refused.fails_saying(125, &["\"c\" is already in use"]);
    world.loment([&flags[..], &["--replace", "--rootfs", &rootfs, "true"]].concat()).succeeds();
    assert_eq!(world.inspect("{{.Id}}", "c"), id);
}

#[test]
fn programs_of_hooks_are_named_and_not_run() {
    let (world, rootfs) = world_over_directory();
    let dir = world.path("hooks.d");
    fs::create_dir(&dir).unwrap();
    let trace = world.path("trace");
    for (stage, program) in [("precreate", "before"), ("poststart", "after")] {
        let path = world.write(program, format!("#!/bin/sh\ntouch {}\n", trace.display()));
        let hook = serde_json::json!({
            "version": "1.0.0", "hook": {"path": path}, "when": {"always": true}, "stages": [stage],
        });
        fs::write(dir.join(format!("{stage}.json")), hook.to_string()).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let head = ["--hooks-dir", dir.to_str().unwrap(), "run", "--explain", "--network", "none", "--rootfs"];
    let output = world.loment([&head[..], &[&rootfs, "true"]].concat());
    let told: Value = serde_json::from_str(output.succeeds()).unwrap();
    assert!(told["spec"]["hooks"]["poststart"].to_string().contains("/after"), "{}", told["spec"]["hooks"]);
    assert!(told["notes"].to_string().contains("/before may change"), "{}", told["notes"]);
    assert!(!trace.exists());
}

/// One flag of each file of flags, and those that touch something when they are given without `--explain`.
#[test]
fn every_kind_of_flag_is_explained() {
    let (world, image) = world_with("busybox:latest");
    world.write("env", "F=g\n");
    world.loment(["create", "--name", "other", "--network", "none", &image, "true"]).succeeds();
    world.loment(["pod", "create", "--name", "p"]).succeeds();
    world.loment_with_input(["secret", "create", "s", "-"], "hidden").succeeds();
    let before = all_there_is(&world);
    let many: [&[&str]; 30] = [
        &["--init", "--tty", "--interactive"],
        &["--env-file", "env", "--env-host"],
        &["--tmpfs", "/t:size=1m", "--mount", "type=bind,src=/etc,dst=/e,ro"],
        &["--volume", "/x", "--volumes-from", "other"],
        &["--secret", "s", "--secret", "s,type=env,target=S"],
        &["--device", "/dev/null:/dev/n", "--device-cgroup-rule", "c 1:3 r"],
        &["--cap-add", "sys_admin", "--cap-drop", "chown", "--security-opt", "seccomp=unconfined"],
        &["--privileged"],
        &["--user", "1000:1000", "--group-add", "5", "--umask", "077"],
        &["--uidmap", "0:100000:1000", "--gidmap", "0:100000:1000"],
        &["--pid", "host", "--ipc", "host", "--uts", "host", "--cgroupns", "host"],
        &["--pid", "container:other"],
        &["--pod", "p"],
        &["--cpus", "0.5", "--cpu-shares", "100", "--blkio-weight", "10"],
        &["--ulimit", "nofile=10:20", "--oom-score-adj", "5"],
        &["--cgroups", "disabled"],
        &["--cgroup-parent", "/parent"],
        &["--restart", "on-failure:3", "--stop-signal", "INT", "--stop-timeout", "3", "--timeout", "9"],
        &["--health-cmd", "true", "--health-interval", "1s", "--health-on-failure", "restart"],
        &["--log-driver", "none"],
        &["--log-opt", "path=/tmp/loment-test-none.log"],
        &["--add-host", "a:1.2.3.4", "--no-hosts=false"],
        &["--sysctl", "net.ipv4.ip_forward=1", "--shm-size", "1m"],
        &["--entrypoint", "cat", "--workdir", "/w"],
        &["--requires", "other"],
        &["--annotation", "a=b", "--label", "c=d", "--pidfile", "pid", "--conmon-pidfile", "mon"],
        &["--sdnotify", "ignore", "--systemd", "always"],
        &["--pull", "always"],
        &["--detach-keys", "ctrl-a", "--attach", "stdout", "--sig-proxy=false"],
        &["--preserve-fds", "1"],
    ];
    for flags in many {
        let network: &[&str] = if flags.contains(&"--pod") { &[] } else { &["--network", "none"] };
        let told = explain(&world, &[flags, network, &[&image, "true"]].concat());
        assert!(told["spec"]["process"].is_object() && !told.to_string().contains("hidden"), "{flags:?}");
    }
    assert_eq!(all_there_is(&world), before);
}
