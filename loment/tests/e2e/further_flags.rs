//! Flags and commands of Podman's and Docker's that few people need.

use std::fs;

use serde_json::{Value, json};

use crate::{eventually, pid_of, world_over_directory, world_with};

#[test]
fn restart_asks_with_the_signal_that_is_given() {
    let (world, rootfs) = world_over_directory();
    let script =
        "trap 'echo usr1; exit 0' USR1; trap '' TERM; : >/dev/shm/ready; while :; do sleep 0.05; done";
    world
        .loment(["run", "-d", "--network", "none", "--name", "c", "--rootfs", &rootfs, "sh", "-c", script])
        .succeeds();
    let before = pid_of(&world, "c");
    let ready = format!("/proc/{before}/root/dev/shm/ready");
    eventually("it is ready", || fs::exists(&ready).unwrap());
    world.loment(["restart", "--signal", "USR1", "--time", "20", "c"]).succeeds();
    assert_ne!(pid_of(&world, "c"), before);
    assert_eq!(world.loment(["logs", "c"]).succeeds(), "usr1");
    assert_eq!(world.loment(["exec", "--no-session", "c", "echo", "x"]).succeeds(), "x");
    world
        .loment(["exec", "--no-session", "--detach", "c", "true"])
        .fails_saying(125, &["--no-session cannot be used"]);
    world.loment(["restart", "--signal", "NOPE", "c"]).fails(125);
}

#[test]
fn commit_adds_what_a_file_says_and_places_of_volumes() {
    let (world, image) = world_with("busybox:latest");
    let flags =
        ["--name", "c", "--network", "none", "-v", "named:/named", "-v", "/anonymous", "--env", "A=1"];
    world.loment([&["create"], &flags[..], &[&image, "true"]].concat()).succeeds();
    let config =
        json!({"Env": ["A=2", "B=3"], "Labels": {"l": "m"}, "User": "5", "ExposedPorts": {"1/tcp": {}}});
    let config = world.write("config", config.to_string());
    world.loment(["commit", "--config", &config, "c", "one"]).succeeds();
    let shown = world.loment(["image", "inspect", "--format", "{{json .Config}}", "one"]);
    let shown: Value = serde_json::from_str(shown.succeeds()).unwrap();
    let env = shown["Env"].as_array().unwrap();
    assert!(
        env.contains(&"A=2".into()) && env.contains(&"B=3".into()) && !env.contains(&"A=1".into()),
        "{env:?}"
    );
    assert_eq!((&shown["User"], &shown["Labels"]["l"]), (&"5".into(), &"m".into()));
    assert!(shown["ExposedPorts"]["1/tcp"].is_object() && shown["Cmd"] == json!(["true"]), "{shown}");
    assert_eq!(shown["Volumes"], json!({"/anonymous": {}}));
    world.loment(["commit", "--include-volumes", "c", "two"]).succeeds();
    let volumes = world.loment(["image", "inspect", "--format", "{{json .Config.Volumes}}", "two"]);
    let volumes: Value = serde_json::from_str(volumes.succeeds()).unwrap();
    assert_eq!(volumes, json!({"/anonymous": {}, "/named": {}}));
    let wrong = world.write("wrong", "[]");
    world.loment(["commit", "--config", &wrong, "c", "three"]).fails_saying(125, &["--config", &wrong]);
}

#[test]
fn a_copy_may_move_to_a_pod() {
    let (world, image) = world_with("busybox:latest");
    for pod in ["p", "q"] {
        world.loment(["pod", "create", "--name", pod, "--share", "net,ipc,uts"]).succeeds();
    }
    world
        .loment(["create", "--name", "c", "--network", "none", "--hostname", "own", &image, "sleep", "1000"])
        .succeeds();
    world.loment(["container", "clone", "--pod", "p", "--name", "d", "c"]).succeeds();
    world.loment(["container", "clone", "--pod", "q", "--name", "e", "d"]).succeeds();
    world.loment(["pod", "start", "p", "q"]).succeeds();
    for (pod, name) in [("p", "d"), ("q", "e")] {
        world
            .loment(["run", "-d", "--pod", pod, "--name", &format!("{pod}m"), &image, "sleep", "1000"])
            .succeeds();
        let of = |name: &str, kind: &str| {
            fs::read_link(format!("/proc/{}/ns/{kind}", pid_of(&world, name))).unwrap()
        };
        for kind in ["net", "ipc", "uts"] {
            assert_eq!(of(name, kind), of(&format!("{pod}m"), kind), "{name} {kind}");
        }
        assert_eq!(
            world.inspect("{{.Pod}}", name),
            world.loment(["pod", "inspect", "--format", "{{.ID}}", pod]).succeeds()
        );
    }
    world.loment(["container", "clone", "--pod", "nope", "c"]).fails_saying(125, &["nope"]);
    world.loment(["pod", "rm", "-f", "-t", "0", "p"]).succeeds();
    world.loment(["pod", "rm", "-f", "-t", "0", "q"]).succeeds();
}

#[test]
fn an_image_that_nobody_else_has_goes_with_its_container() {
    let (world, image) = world_with("busybox:latest");
    world.loment(["run", "--rmi", "--network", "none", &image, "sh", "-c", "exit 3"]).fails(3);
    assert_eq!(world.loment(["images", "--quiet"]).succeeds(), "");
    assert_eq!(world.loment(["ps", "--all", "--quiet"]).succeeds(), "");
    let (world, image) = world_with("busybox:latest");
    world.loment(["create", "--name", "other", "--network", "none", &image, "true"]).succeeds();
    let kept = world.loment(["run", "--rmi", "--network", "none", &image, "true"]);
    kept.succeeds();
    assert!(
        kept.stderr.contains("level=warning") && kept.stderr.contains("image is in use by a container"),
        "{kept}"
    );
    assert_ne!(world.loment(["images", "--quiet"]).succeeds(), "");
    world.loment(["rm", "other"]).succeeds();
    let id = world.loment(["run", "--rmi", "--detach", "--network", "none", &image, "sleep", "1000"]);
    let id = id.succeeds().to_owned();
    assert_eq!(world.inspect("{{.HostConfig.AutoRemoveImage}}", &id), "true");
    world.loment(["stop", "--time", "0", &id]).succeeds();
    eventually("the image goes, too", || world.loment(["images", "--quiet"]).succeeds().is_empty());
}

#[test]
fn logins_are_read_where_that_is_said() {
    let (world, _) = world_over_directory();
    let dir = world.path("docker");
    fs::create_dir(&dir).unwrap();
    // me:secret
    fs::write(dir.join("config.json"), r#"{"auths":{"localhost:1":{"auth":"bWU6c2VjcmV0"}}}"#).unwrap();
    let chosen = world.loment(["--config", dir.to_str().unwrap(), "login", "--get-login", "localhost:1"]);
    assert_eq!(chosen.succeeds(), "me");
    world.loment(["login", "--get-login", "localhost:1"]).fails(125);
}

#[test]
fn volumes_are_where_that_is_said() {
    let (world, rootfs) = world_over_directory();
    let dir = world.path("elsewhere");
    let at =
        |arguments: &[&str]| world.loment([&["--volumepath", dir.to_str().unwrap()], arguments].concat());
    at(&["volume", "create", "v"]).succeeds();
    let volume = ["-v", "v:/data", "--rootfs", &rootfs, "sh", "-c", "echo x >/data/kept"];
    at(&[&["run", "--rm", "--network", "none"], &volume[..]].concat()).succeeds();
    assert_eq!(fs::read_to_string(dir.join("v/_data/kept")).unwrap(), "x\n");
    assert!(!world.root().join("volumes/v").exists());
    assert_eq!(at(&["info", "--format", "{{.Store.VolumePath}}"]).succeeds(), dir.to_str().unwrap());
    assert_eq!(world.loment(["volume", "ls", "--quiet"]).succeeds(), "");
    assert_eq!(at(&["volume", "ls", "--quiet"]).succeeds(), "v");
    at(&["volume", "rm", "v"]).succeeds();
    at(&["volume", "create", "w"]).succeeds();
    at(&["system", "reset", "--force"]).succeeds();
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}

#[test]
fn transient_containers_do_not_outlive_a_boot() {
    let (world, rootfs) = world_over_directory();
    let create = |flags: &[&str], name: &str| {
        let tail = ["create", "--name", name, "--network", "none", "--rootfs", &rootfs, "true"];
        world.loment([flags, &tail[..]].concat()).succeeds().to_owned()
    };
    create(&[], "stays");
    let id = create(&["--transient-store"], "goes");
    let names = || {
        let shown = world.loment(["ps", "--all", "--sort", "names", "--format", "{{.Names}}"]);
        shown.succeeds().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["goes", "stays"]);
    world.loment(["start", "--attach", "goes"]).succeeds();
    // A boot: it has another id, and what does not outlive it is gone.
    let record = world.root().join("containers").join(&id).join("container.json");
    let mut document: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    assert_eq!(document["transient"], fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim());
    document["transient"] = "another".into();
    fs::write(&record, document.to_string()).unwrap();
    assert_eq!(names(), ["goes", "stays"]);
    fs::remove_dir_all(world.runroot()).unwrap();
    assert_eq!(names(), ["stays"]);
    assert!(!record.exists());
    assert_eq!(
        world.loment(["--transient-store", "info", "--format", "{{.Store.TransientStore}}"]).succeeds(),
        "true"
    );
}

#[test]
fn labels_of_images_say_what_is_run() {
    let (world, image) = world_with("busybox:latest");
    world.loment(["create", "--name", "c", "--network", "none", &image, "true"]).succeeds();
    let run = "podman run --rm --network none --name=NAME $IMAGE echo 'two words'";
    let labels = [format!("LABEL run=\"{run}\""), "LABEL here=\"/bin/echo NAME $PWD ${OPT1}\"".to_owned()];
    world
        .loment(["commit", "--change", &labels[0], "--change", &labels[1], "c", "localhost/labelled:1"])
        .succeeds();
    let label = |arguments: &[&str]| world.loment([&["container", "runlabel"], arguments].concat());
    assert_eq!(label(&["RUN", "localhost/labelled:1"]).succeeds(), "two words");
    let shown = label(&["--display", "run", "localhost/labelled:1", "more"]);
    let wanted =
        "command: loment run --rm --network none --name=labelled localhost/labelled:1 echo two words more";
    assert_eq!(shown.succeeds(), wanted);
    let here = label(&["--name", "n", "--opt1", "o", "here", "localhost/labelled:1"]);
    assert_eq!(
        here.succeeds(),
        format!("n {} o", world.path("").display().to_string().trim_end_matches('/'))
    );
    assert_eq!(label(&["--quiet", "run", "localhost/labelled:1"]).succeeds(), "");
    label(&["nope", "localhost/labelled:1"]).fails_saying(125, &["cannot find the value of label: nope"]);
}
