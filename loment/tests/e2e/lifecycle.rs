//! create, start, ps, stop, kill, rm, wait, inspect.

use loment_testkit::{Patience, run};

use crate::{eventually, lives, pid_of, sleeper, through, world, world_over_directory, world_with};

#[test]
fn a_container_goes_through_its_states() {
    let (world, image) = world_with("busybox:latest");
    let id =
        world.loment(["create", "--network", "none", "--name", "c", &image, "sh", "-c", "sleep 0.3; exit 3"]);
    let id = id.succeeds().to_owned();
    assert_eq!(id.len(), 64);
    assert_eq!(world.inspect("{{.State.Status}} {{.Id}}", "c"), format!("created {id}"));
    assert_eq!(world.loment(["start", "c"]).succeeds(), "c");
    assert_eq!(world.inspect("{{.State.Status}} {{.State.Running}}", "c"), "running true");
    assert_eq!(world.loment(["wait", "c"]).succeeds(), "3");
    assert_eq!(world.inspect("{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}", "c"), "exited 3 0");
    assert_eq!(world.loment(["rm", "c"]).succeeds(), "c");
    world.loment(["inspect", "c"]).fails(125);
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn ps_has_podmans_columns() {
    let (world, image) = world_with("busybox:latest");
    let id = sleeper(&world, "lively", &[], &image);
    world.loment(["create", "--network", "none", "--name", "fresh", &image, "true"]).succeeds();
    let output = world.loment(["ps"]);
    let lines: Vec<_> = output.succeeds().lines().collect();
    let columns: Vec<_> = lines[0].split("  ").map(str::trim).filter(|c| !c.is_empty()).collect();
    assert_eq!(columns, ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]);
    assert_eq!(lines.len(), 2, "{output}");
    assert!(
        lines[1].starts_with(&id[..12]) && lines[1].ends_with("lively") && lines[1].contains(&image),
        "{output}"
    );
    assert!(lines[1].contains("Up "), "{output}");
    let all = world.loment(["ps", "-a", "--format", "{{.Names}} {{.State}}"]);
    let mut all: Vec<_> = all.succeeds().lines().collect();
    all.sort_unstable();
    assert_eq!(all, ["fresh created", "lively running"]);
    assert_eq!(world.loment(["ps", "-q"]).succeeds(), &id[..12]);
    assert_eq!(world.loment(["ps", "-aq", "--no-trunc", "--filter", "name=lively"]).succeeds(), id);
    let json: serde_json::Value =
        serde_json::from_str(world.loment(["ps", "--format", "json"]).succeeds()).unwrap();
    assert_eq!(json[0]["Id"], id.as_str());
}

#[test]
fn an_exited_container_shows_its_status() {
    let (world, image) = world_with("busybox:latest");
    world.loment(["run", "--network", "none", "--name", "c", &image, "sh", "-c", "exit 5"]).fails(5);
    let output = world.loment(["ps", "-a"]);
    assert!(output.succeeds().contains("Exited (5) "), "{output}");
    assert_eq!(world.loment(["ps", "-q"]).succeeds(), "");
}

#[test]
fn names_ids_and_beginnings_of_ids_all_work() {
    let (world, image) = world_with("busybox:latest");
    let id = sleeper(&world, "c", &[], &image);
    for name in ["c", &id, &id[..12], &id[..4]] {
        assert_eq!(world.inspect("{{.Name}}", name), "c");
    }
    assert_eq!(world.loment(["stop", "-t", "5", &id[..12]]).succeeds(), &id[..12]);
}

#[test]
fn stop_asks_then_insists() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "polite", &[], &image);
    assert_eq!(world.loment(["stop", "polite"]).succeeds(), "polite");
    assert_eq!(world.inspect("{{.State.ExitCode}}", "polite"), "0");
    let deaf = [
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "deaf",
        &image,
        "sh",
        "-c",
        "trap '' TERM; while :; do sleep 0.1; done",
    ];
    world.loment(deaf).succeeds();
    assert_eq!(world.loment(["stop", "-t", "1", "deaf"]).succeeds(), "deaf");
    assert_eq!(world.inspect("{{.State.ExitCode}}", "deaf"), "137");
    assert_eq!(world.loment(["stop", "deaf"]).succeeds(), "deaf", "a stopped container can be stopped");
}

#[test]
fn the_stop_signal_can_be_chosen() {
    let (world, image) = world_with("busybox:latest");
    let script = "trap 'exit 42' USR1; trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let arguments =
        ["run", "-d", "--network", "none", "--name", "c", "--stop-signal", "USR1", "--stop-timeout", "20"];
    world.loment([&arguments, [image.as_str(), "sh", "-c", script].as_slice()].concat()).succeeds();
    eventually("it is ready", || world.loment(["logs", "c"]).stdout.contains("ready"));
    world.loment(["stop", "c"]).succeeds();
    assert_eq!(world.inspect("{{.State.ExitCode}}", "c"), "42");
}

#[test]
fn kill_sends_what_it_is_told_by_name_or_number() {
    let (world, image) = world_with("busybox:latest");
    let script = "trap 'echo got usr2' USR2; echo ready; while :; do sleep 0.05; done";
    world.loment(["run", "-d", "--network", "none", "--name", "c", &image, "sh", "-c", script]).succeeds();
    eventually("it is ready", || world.loment(["logs", "c"]).stdout.contains("ready"));
    assert_eq!(world.loment(["kill", "--signal", "USR2", "c"]).succeeds(), "c");
    eventually("the trap ran", || world.loment(["logs", "c"]).stdout.contains("got usr2"));
    world.loment(["kill", "-s", "NOPE", "c"]).fails(125);
    world.loment(["kill", "-s", "9", "c"]).succeeds();
    assert_eq!(world.loment(["wait", "c"]).succeeds(), "137");
    world.loment(["kill", "c"]).fails(125);
}

#[test]
fn rm_needs_force_for_what_runs() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "c", &[], &image);
    let pid = pid_of(&world, "c");
    let words = "as it is running - running or paused containers cannot be removed without force: container state improper";
    world.loment(["rm", "c"]).fails_saying(2, &[words]);
    assert!(lives(pid));
    assert_eq!(world.loment(["rm", "-f", "-t", "0", "c"]).succeeds(), "c");
    assert!(!lives(pid));
    let words = "no container with ID or name \"c\" found: no such container";
    world.loment(["rm", "c"]).fails_saying(1, &[words]);
    world.loment(["rm", "-f", "c"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn rm_with_all_removes_all() {
    let (world, image) = world_with("busybox:latest");
    for name in ["a", "b", "c"] {
        sleeper(&world, name, &[], &image);
    }
    world.loment(["create", "--network", "none", &image, "true"]).succeeds();
    assert_eq!(world.loment(["rm", "-f", "-a", "-t", "0"]).succeeds().lines().count(), 4);
    assert_eq!(world.loment(["ps", "-aq"]).succeeds(), "");
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn run_with_rm_leaves_nothing() {
    let (world, image) = world_with("busybox:latest");
    world.loment(["run", "--rm", "--network", "none", &image, "false"]).fails(1);
    assert_eq!(world.loment(["ps", "-aq"]).succeeds(), "");
    assert_eq!(world.leftovers(), [""; 0]);
    world.loment(["run", "-d", "--rm", "--network", "none", &image, "true"]).succeeds();
    eventually("the detached one is gone", || world.leftovers().is_empty());
}

#[test]
fn a_container_can_be_started_again() {
    let (world, image) = world_with("busybox:latest");
    let script = "echo again >> /count; wc -l < /count";
    world.loment(["run", "--network", "none", "--name", "c", &image, "sh", "-c", script]).succeeds();
    assert_eq!(world.loment(["start", "--attach", "c"]).succeeds().trim(), "2");
    assert_eq!(world.loment(["start", "-a", "c"]).succeeds().trim(), "3");
}

#[test]
fn a_container_is_started_again_however_shortly_after_its_end() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "again", &[], &image);
    for signal in ["KILL", "TERM"].repeat(20) {
        let pid = pid_of(&world, "again");
        world.loment(["kill", "-s", signal, "again"]).succeeds();
        if signal != "KILL" {
            eventually("the program ends", || !lives(pid));
        }
        world.loment(["start", "again"]).succeeds();
        assert_eq!(world.loment(["exec", "again", "echo", "x"]).succeeds(), "x", "after {signal}");
    }
}

#[test]
fn wait_returns_for_one_that_has_ended_and_for_several() {
    let (world, image) = world_with("busybox:latest");
    for (name, status) in [("a", "0"), ("b", "4")] {
        let script = format!("exit {status}");
        world
            .loment(["run", "-d", "--network", "none", "--name", name, &image, "sh", "-c", &script])
            .succeeds();
    }
    assert_eq!(world.loment(["wait", "a", "b"]).succeeds(), "0\n4");
}

#[test]
fn inspect_is_a_list_of_documents() {
    let (world, image) = world_with("app:latest");
    world.loment(["create", "--network", "none", "--name", "c", &image]).succeeds();
    let output = world.loment(["inspect", "c", &image]);
    let list: serde_json::Value = serde_json::from_str(output.succeeds()).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 2);
    let (container, of_image) = (&list[0], &list[1]);
    assert_eq!(container["Name"], "c");
    assert_eq!(container["ImageName"], image.as_str());
    assert_eq!(container["Image"], of_image["Id"]);
    assert_eq!(container["HostConfig"]["NetworkMode"], "none");
    assert_eq!(container["Config"]["User"], "app");
    assert_eq!(of_image["Architecture"], if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" });
    assert_eq!(of_image["Config"]["WorkingDir"], "/work/dir");
    assert_eq!(of_image["RepoTags"][0], image.as_str());
    world.loment(["inspect", "c", "nothing-of-that-name"]).fails(125);
    for (words, said) in [
        (&["inspect", "x-y"][..], "Error: no such object: \"x-y\""),
        (&["container", "inspect", "x-y"], "Error: no such container \"x-y\""),
        (&["inspect", "--type", "container", "x-y"], "Error: no such container \"x-y\""),
    ] {
        let output = world.loment(words);
        assert_eq!((output.fails(125), output.stdout.as_str()), (said, "[]\n"));
    }
}

#[test]
fn version_and_info_answer() {
    let world = world();
    let version = world.loment(["version"]);
    assert!(version.succeeds().contains(env!("CARGO_PKG_VERSION")), "{version}");
    let format = world.loment(["version", "--format", "{{.Client.Version}}"]);
    assert_eq!(format.succeeds(), env!("CARGO_PKG_VERSION"));
    assert!(world.loment(["--version"]).succeeds().contains(env!("CARGO_PKG_VERSION")));
    let info: serde_json::Value =
        serde_json::from_str(world.loment(["info", "--format", "json"]).succeeds()).unwrap();
    assert_eq!(info["store"]["graphRoot"], world.root().to_str().unwrap());
    let text = world.loment(["--storage-opt=", "info"]);
    for part in ["graphOptions: {}", "buildahVersion: ", "distribution:", "graphStatus:", "registries:"] {
        assert!(text.succeeds().contains(part), "{part}: {text}");
    }
    let info = |template: &str| world.loment(["info", "--format", template]).succeeds().to_owned();
    assert_eq!(info("{{.Host.OCIRuntime.Path}}"), info("{{.Host.Conmon.Path}}"));
    assert!(info("{{.Host.OCIRuntime.Path}}").starts_with('/'));
    assert_eq!(info("{{.Store.GraphOptions}}"), "map[]");
    assert!(["v1", "v2"].contains(&info("{{.Host.CgroupsVersion}}").as_str()));
    assert_eq!(info("{{.Store.VolumePath}}"), format!("{}/volumes", world.root().display()));
}

#[test]
fn many_runs_at_once_all_succeed() {
    let (world, image) = world_with("busybox:latest");
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..16)
            .map(|i| {
                let (world, image) = (&world, &image);
                let text = i.to_string();
                scope.spawn(move || {
                    let output = world.loment(["run", "--rm", "--network", "none", image, "echo", &text]);
                    assert_eq!(output.succeeds(), text);
                })
            })
            .collect();
        runs.into_iter().for_each(|r| r.join().unwrap());
    });
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let (world, fs) = world_over_directory();
    for name in ["a", "b"] {
        world.loment(["create", "--network", "none", "--name", name, "--rootfs", &fs, "true"]).succeeds();
    }
    let outer = "exec 3>&1; { sleep 0.2; \"$@\" 2>&3; echo status $? >&3; } | true";
    let mut command = through(&["sh", "-c", outer, "sh"], &world.command(["rm", "a", "b"]));
    assert_eq!(run(&mut command, Patience::NORMAL).succeeds(), "status 0");
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn signals_have_names_numbers_and_dashes_and_who_asked_is_known() {
    let (world, image) = world_with("busybox:latest");
    let script = "trap 'echo got usr2' USR2; echo ready; while :; do sleep 0.05; done";
    world
        .loment(["run", "-d", "--init", "--network", "none", "--name", "c", &image, "sh", "-c", script])
        .succeeds();
    eventually("it is ready", || world.loment(["logs", "c"]).stdout.contains("ready"));
    world.loment(["kill", "-s", "-USR2", "c"]).succeeds();
    eventually("the trap ran", || world.loment(["logs", "c"]).stdout.contains("got usr2"));
    assert_eq!(world.loment(["kill", "-s", "0", "c"]).fails(125), "Error: invalid signal: 0");
    assert_eq!(world.loment(["kill", "-s", "-65", "c"]).fails(125), "Error: valid signals are 1 through 64");
    let by_user = || world.inspect("{{.State.StoppedByUser}}", "c");
    assert_eq!(by_user(), "false");
    world.loment(["kill", "-s", "TERM", "c"]).succeeds();
    world.loment(["wait", "c"]).succeeds();
    assert_eq!(by_user(), "true");
    world.loment(["start", "c"]).succeeds();
    assert_eq!(by_user(), "false");
    world.loment(["rm", "--force", "--time", "0", "c"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}
