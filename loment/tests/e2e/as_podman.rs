//! What Podman's own tests want of it, found by running them.

use std::fs;

use crate::{world_over_directory, world_with};

#[test]
fn results_go_where_that_is_wanted() {
    let (world, image) = world_over_directory();
    let made = ["--network", "none", "--name", "c", "--rootfs", &image, "true"];
    let out = world.path("out");
    let to = ["--out", out.to_str().unwrap(), "create"];
    assert_eq!(world.loment([&to[..], &made].concat()).succeeds(), "");
    assert_eq!(fs::read_to_string(&out).unwrap().trim(), world.inspect("{{.ID}}", "c"));
    assert_eq!(world.loment(["--noout", "rm", "c"]).succeeds(), "");
    world.loment(["--out", "/no/such/out", "version"]).fails_saying(125, &["/no/such/out"]);
    assert!(world.loment(["ps", "--out"]).fails(125).contains("--out"));
}

#[test]
fn flags_of_every_command_may_stand_behind_it() {
    let (world, image) = world_over_directory();
    world
        .loment([
            "create",
            "--log-level",
            "debug",
            "--events-backend=none",
            "--network",
            "none",
            "--name",
            "c",
            "--rootfs",
            &image,
            "ls",
            "--root",
        ])
        .succeeds();
    assert_eq!(world.inspect("{{.Args}}", "c"), "[--root]");
    assert_eq!(world.loment(["events", "--stream=false"]).succeeds(), "");
    world.loment(["ps", "--events-backend", "paper"]).fails_saying(125, &["paper"]);
    assert!(world.loment(["ps", "--nonesuch"]).fails(125).contains("--nonesuch"));
    world.persona("docker", ["ps", "--log-level", "debug"]).fails(125);
}

#[test]
fn who_gives_no_command_is_told_so() {
    let world = world_over_directory().0;
    for (program, status) in [("podman", 125), ("docker", 0)] {
        let said = |words: &[&str]| {
            let output = world.persona(program, words.iter().copied());
            if status == 0 { output.succeeds().to_owned() } else { output.fails(status).to_owned() }
        };
        assert_eq!(said(&[]).contains("missing command 'podman COMMAND'"), status == 125);
        assert_eq!(said(&["image"]).contains("missing command 'podman image COMMAND'"), status == 125);
    }
}

#[test]
fn containers_have_names_and_files_of_their_ids_as_with_podman() {
    let (world, image) = world_over_directory();
    let file = world.write(
        "cid",
        "something else, which is longer than an id can be, and all of it has to go away again",
    );
    let make = |program: &str, name: &str| {
        world.persona(
            program,
            ["create", "--network", "none", "--cidfile", &file, "--name", name, "--rootfs", &image, "true"],
        )
    };
    make("podman", "/a").succeeds();
    assert_eq!(fs::read_to_string(&file).unwrap(), world.inspect("{{.Id}}", "a"));
    make("docker", "b").fails_saying(125, &["exists"]);
    make("podman", "a/b").fails_saying(125, &["a/b"]);
    assert_eq!(world.loment(["rm", "--force", "--time", "-1", "a"]).succeeds(), "a");
}

#[test]
fn only_privileged_containers_know_who_they_are() {
    let (world, image) = world_over_directory();
    let size = |flags: &[&str]| {
        let head = ["run", "--rm", "--network", "none"];
        let tail = ["--rootfs", image.as_str(), "sh", "-c", "wc -c </run/.containerenv"];
        world.loment([&head, flags, &tail].concat()).succeeds().trim().to_owned()
    };
    assert_eq!(size(&[]), "0");
    assert_ne!(size(&["--privileged"]), "0");
}

#[test]
fn what_follows_a_flag_is_its_value_whatever_it_looks_like() {
    let (world, image) = world_with("busybox:latest");
    world
        .loment([
            "create",
            "--network",
            "none",
            "--name",
            "c",
            "--label",
            "--x=y",
            "-e",
            "-z",
            &image,
            "true",
        ])
        .succeeds();
    assert_eq!(world.inspect("{{index .Config.Labels \"--x\"}}", "c"), "y");
    assert_eq!(
        world.loment(["history", "--format", "--{{.Comment}}--", &image]).succeeds().lines().next(),
        Some("----")
    );
}

#[test]
fn names_that_are_gone_stay_known_after_those_that_are_there() {
    let (world, image) = world_with("busybox:latest");
    let history = || world.loment(["images", "--format", "{{.History}}", &image]).succeeds().to_owned();
    let first = history();
    world.loment(["tag", &image, "localhost/one"]).succeeds();
    world.loment(["rmi", "localhost/one"]).succeeds();
    assert_eq!(history(), format!("{first}, localhost/one:latest"));
    world.loment(["rmi", "--force", "localhost/none"]).succeeds();
    world.loment(["rmi", "localhost/none"]).fails(1);
    world.loment(["untag", &image, "localhost/none"]).fails_saying(125, &["localhost/none", "tag not known"]);
    let tags = world.loment(["history", "--format", "{{.Tags}}", &image]).succeeds().to_owned();
    assert!(tags.starts_with(&format!("[{image}]")), "{tags}");
    let json = world.loment(["history", "--format", "json", &image]).succeeds().to_owned();
    assert!(json.contains("\"id\"") && json.contains("\"created\""), "{json}");
}

#[test]
fn a_name_may_begin_with_a_slash_and_is_somebodys_alone() {
    let (world, image) = world_over_directory();
    let create = |name: &str| {
        world.loment(["create", "--network", "none", "--name", name, "--rootfs", &image, "/no/such/program"])
    };
    create("a").succeeds();
    let id = world.inspect("{{.Id}}", "/a");
    create("/a").fails_saying(
        125,
        &[
            "creating container storage: the container name \"a\" is already in use by",
            &id,
            "You have to remove that container to be able to reuse that name: that name is already in use, or use --replace",
        ],
    );
    create("b").succeeds();
    world.loment(["rename", "b", "a"]).fails_saying(125, &["renaming container", "\"a\" is already in use"]);
    // To start it in the background is not to run it.
    world.loment(["start", "a"]).fails_saying(125, &["/no/such/program"]);
    world.loment(["start", "--attach", "a"]).fails(127);
    world.persona("docker", ["start", "a"]).fails(1);
    assert_eq!(world.loment(["rm", "/a", "b"]).succeeds(), "/a\nb");
    world.loment(["rm", "/a"]).fails_saying(1, &["no container with ID or name \"/a\" found"]);
}

#[test]
fn what_cannot_be_together_is_said_as_by_podman() {
    let (world, image) = world_over_directory();
    for (words, said) in [
        (&["create", "--cpus", "1", "--cpu-quota", "1"][..], "--cpu-quota and --cpus cannot be set together"),
        (&["create", "--cpu-period=1", "--cpus=2"], "--cpu-period and --cpus cannot be set together"),
        (&["container", "cleanup", "--rmi", "--exec=x", "c"], "--exec and --rmi cannot be set together"),
        (&["container", "cleanup", "--exec=x", "--all"], "--all and --exec cannot be set together"),
        (
            &["pull", "--platform=x", "--os=y", "z"],
            "--platform option can not be specified with --arch or --os",
        ),
        (&["create", "--mount", "type=bind,source=/tmp"], "must set volume destination"),
        (&["create", "--mount", "type=glob,source=/nowhere*"], "no file paths matching glob \"/nowhere*\""),
        (&["create", "--device-cgroup-rule", "b 7:* rmX"], "invalid device access in device-access-add: X"),
        (
            &["create", "--device-cgroup-rule", "b 7:2"],
            "invalid device cgroup rule requires type, major:Minor, and access rules: \"b 7:2\"",
        ),
        (&["create", "--device-cgroup-rule", "x 7:* rmw"], "invalid device type in device-access-add: x"),
        (
            &["create", "--device-cgroup-rule", "a a:* rmw"],
            "strconv.ParseUint: parsing \"a\": invalid syntax",
        ),
    ] {
        let made = ["--network", "none", "--rootfs", image.as_str(), "true"];
        let rest = if words[0] == "create" { &made[..] } else { &[] };
        assert_eq!(world.loment([words, rest].concat()).fails(125).trim(), format!("Error: {said}"));
    }
    world.loment(["pod", "create", "--name", "p"]).succeeds();
    world
        .loment(["create", "--pod", "p", "--uidmap", "0:1000:1000", "--rootfs", &image, "true"])
        .fails_saying(125, &["cannot set user namespace mode when joining pod with infra container"]);
    world.loment(["pod", "rm", "p"]).succeeds();
}

#[test]
fn nothing_is_left_in_what_is_mounted_at_run() {
    let (world, image) = world_over_directory();
    let dir = world.path("run");
    fs::create_dir(&dir).unwrap();
    let volume = format!("{}:/run/", dir.display());
    let run = ["run", "--rm", "--network", "none", "-v", &volume, "--rootfs", &image, "ls", "-A", "/run"];
    assert_eq!(world.loment(run).succeeds(), "");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}

#[test]
fn who_asks_for_a_terminal_and_has_none_is_told() {
    let (world, image) = world_over_directory();
    let run = |program: &str, flags: &[&str]| {
        let words = [&["run", "--rm", "--network", "none"], flags, &["--rootfs", &image, "true"]].concat();
        let output = world.persona(program, words);
        output.succeeds();
        output.stderr
    };
    let words = "level=warning msg=\"The input device is not a TTY. The --tty and --interactive flags might not work properly\"";
    assert!(run("podman", &["-it"]).contains(words));
    assert_eq!(run("podman", &["-i"]), "");
    assert_eq!(run("podman", &["-t"]), "");
}

#[test]
fn labels_of_pods_are_found_by_their_names_and_mappings_shown() {
    let (world, image) = world_over_directory();
    world.loment(["pod", "create", "--name", "p", "--label", "a=b", "--uidmap", "0:200000:5000"]).succeeds();
    assert_eq!(world.loment(["pod", "ps", "--format", "{{.Label \"a\"}} {{.Labels}}"]).succeeds(), "b a=b");
    world.loment(["create", "--pod", "p", "--name", "c", "--rootfs", &image, "true"]).succeeds();
    let maps = "{{.HostConfig.IDMappings.UIDMap}} {{.HostConfig.IDMappings.UidMap}}";
    let infra =
        world.loment(["pod", "inspect", "--format", "{{.InfraContainerID}}", "p"]).succeeds().to_owned();
    assert_eq!(world.inspect(maps, &infra), "[0:200000:5000] [0:200000:5000]");
    // Nothing is executed in it, and so nothing is shown.
    let listed = ["ps", "--all", "--filter", "name=-infra", "--format", "[{{.Command}}]"];
    assert_eq!(world.loment(listed).succeeds(), "[]");
    world.loment(["pod", "rm", "p"]).succeeds();
}

#[test]
fn what_is_empty_occupies_nothing() {
    let world = world_over_directory().0;
    world.loment(["volume", "create", "v"]).succeeds();
    let row = ["system", "df", "--format", "{{.Type}}:{{.Size}}"];
    assert!(world.loment(row).succeeds().contains("Local Volumes:0B"));
}
