//! The life of pods: made, started, stopped, paused, listed and removed.

use std::process::Command;
use std::time::{Duration, Instant};

use super::{field, inside, member, namespace};
use crate::{pid_of, world_over_directory};

#[test]
fn a_pod_is_started_stopped_and_removed_with_its_containers() {
    let (world, rootfs) = world_over_directory();
    let id = world.loment(["pod", "create", "--name", "p"]).succeeds().to_owned();
    assert_eq!(id.len(), 64);
    for name in ["one", "two"] {
        let program = ["--rootfs", &rootfs, "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done"];
        world.loment([&["create", "--pod", "p", "--name", name][..], &program].concat()).succeeds();
    }
    assert_eq!(field(&world, "p", "{{.State}} {{.NumContainers}}"), "Created 3");
    assert_eq!(world.loment(["pod", "start", "p"]).succeeds(), "p");
    assert_eq!(field(&world, "p", "{{.State}}"), "Running");
    let before = pid_of(&world, "one");
    assert_eq!(world.loment(["pod", "restart", &id[..12]]).succeeds(), id);
    assert_ne!(pid_of(&world, "one"), before);
    assert_eq!(namespace(pid_of(&world, "one"), "net"), namespace(pid_of(&world, "two"), "net"));
    world.loment(["stop", "one"]).succeeds();
    assert_eq!(field(&world, "p", "{{.State}}"), "Degraded");
    world.loment(["start", "one"]).succeeds();
    assert_eq!(world.loment(["pod", "stop", "p"]).succeeds(), "p");
    assert_eq!(field(&world, "p", "{{.State}}"), "Exited");
    assert_eq!(world.inspect("{{.State.ExitCode}}", "two"), "3");
    // One member brings what it needs, and no other.
    world.loment(["start", "two"]).succeeds();
    assert_eq!(field(&world, "p", "{{.State}}"), "Degraded");
    let said = world.loment(["pod", "rm", "p"]).fails(125).to_owned();
    assert!(
        said.contains("not all containers could be removed") && said.contains("as it is running"),
        "{said}"
    );
    assert_eq!(world.loment(["pod", "rm", "--force", "p"]).succeeds(), id);
    assert_eq!(world.loment(["ps", "--all", "--quiet"]).succeeds(), "");
    assert_eq!(world.loment(["pod", "ps", "--quiet"]).succeeds(), "");
    world.loment(["pod", "exists", "p"]).fails(1);
    world.loment(["pod", "create", "--name", "p"]).succeeds();
}

#[test]
fn members_come_and_go_and_the_pod_stays_unless_it_ends_with_them() {
    let (world, rootfs) = world_over_directory();
    world.loment(["pod", "create", "p"]).succeeds();
    world.loment(["run", "--rm", "--pod", "p", "--rootfs", &rootfs, "true"]).succeeds();
    assert_eq!(field(&world, "p", "{{.State}} {{.NumContainers}}"), "Running 1");
    world.loment(["pod", "create", "--name", "q", "--exit-policy", "stop"]).succeeds();
    member(&world, &rootfs, "q", "one", &[]);
    member(&world, &rootfs, "q", "two", &[]);
    world.loment(["stop", "one"]).succeeds();
    assert_eq!(field(&world, "q", "{{.State}}"), "Degraded");
    // However the last one ends: its monitor need not be there to say so.
    let monitor = world.inspect("{{.State.ConmonPid}}", "two");
    let pid = pid_of(&world, "two");
    kill(&monitor);
    kill(&pid.to_string());
    eventually(|| field(&world, "q", "{{.State}}") == "Exited");
    world.loment(["pod", "start", "q"]).succeeds();
    assert_eq!(field(&world, "q", "{{.State}}"), "Running");
    world.loment(["pod", "kill", "q"]).succeeds();
    eventually(|| field(&world, "q", "{{.State}}") == "Exited");
}

#[track_caller]
fn kill(pid: &str) {
    assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
}

#[track_caller]
fn eventually(holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "it does not come to that");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_pod_is_paused_as_a_whole() {
    let (world, rootfs) = world_over_directory();
    let id = world.loment(["pod", "create", "p"]).succeeds().to_owned();
    member(&world, &rootfs, "p", "one", &[]);
    assert_eq!(world.loment(["pod", "unpause", "p"]).succeeds(), "", "nothing is paused");
    assert_eq!(world.loment(["pod", "pause", "p"]).succeeds(), id);
    assert_eq!(field(&world, "p", "{{.State}}"), "Paused");
    assert_eq!(world.loment(["pod", "unpause", "--all"]).succeeds(), id);
    assert_eq!(field(&world, "p", "{{.State}}"), "Running");
    assert_eq!(world.loment(["pod", "kill", "--signal", "TERM", "--latest"]).succeeds(), id);
    eventually(|| world.inspect("{{.State.Status}}", "one") == "exited");
    assert_eq!(field(&world, "p", "{{.State}}"), "Degraded");
}

#[test]
fn init_containers_come_before_the_others() {
    let (world, rootfs) = world_over_directory();
    world.loment(["pod", "create", "p"]).succeeds();
    let create = |name: &str, flags: &[&str], script: &str| {
        let head = ["create", "--pod", "p", "--name", name];
        world.loment([&head[..], flags, &["--rootfs", &rootfs, "sh", "-c", script]].concat()).succeeds();
    };
    create("first", &["--init-ctr", "once"], "sleep 0.3; echo 1 >>/dev/shm/order");
    create("each", &["--init-ctr", "always"], "echo 2 >>/dev/shm/order");
    create("main", &[], "cat /dev/shm/order; sleep 1000");
    world.loment(["pod", "start", "p"]).succeeds();
    eventually(|| world.loment(["logs", "main"]).succeeds() == "1\n2");
    world.loment(["container", "exists", "first"]).fails(1);
    world.loment(["container", "exists", "each"]).succeeds();
    world.loment(["pod", "stop", "--time", "0", "p"]).succeeds();
    world.loment(["rm", "main"]).succeeds();
    create("bad", &["--init-ctr", "always"], "exit 7");
    create("main", &[], "sleep 1000");
    let said = world.loment(["pod", "start", "p"]).fails(125).to_owned();
    assert!(said.contains("exited with code 7"), "{said}");
    assert_eq!(world.inspect("{{.State.Status}}", "main"), "created");
    let said =
        world.loment(["create", "--init-ctr", "once", "--rootfs", &rootfs, "true"]).fails(125).to_owned();
    assert!(said.contains("add --pod NAME"), "{said}");
}

#[test]
fn lists_have_podmans_columns_and_filters() {
    let (world, rootfs) = world_over_directory();
    let id = world.loment(["pod", "create", "--name", "web", "--label", "tier=front"]).succeeds().to_owned();
    world.loment(["pod", "create", "--name", "db", "--infra=false"]).succeeds();
    member(&world, &rootfs, "web", "one", &[]);
    let table = world.loment(["pod", "ps"]).succeeds().to_owned();
    let head: Vec<_> =
        table.lines().next().unwrap().split("  ").map(str::trim).filter(|c| !c.is_empty()).collect();
    assert_eq!(head, ["POD ID", "NAME", "STATUS", "CREATED", "INFRA ID", "# OF CONTAINERS"]);
    let names = |filter: &str| {
        let said = world.loment(["pod", "ps", "--filter", filter, "--format", "{{.Name}}"]);
        said.succeeds().to_owned()
    };
    for (filter, expected) in [
        ("name=we", "web"),
        ("label=tier", "web"),
        ("label=tier=back", ""),
        ("label!=tier", "db"),
        ("status=running", "web"),
        ("status=created", "db"),
        ("ctr-names=one", "web"),
        ("ctr-number=0", "db"),
        ("ctr-status=running", "web"),
        ("until=1h", ""),
        (&format!("id={}", &id[..8]), "web"),
    ] {
        assert_eq!(names(filter), expected, "{filter}");
    }
    let said = world.loment(["pod", "ps", "--filter", "x=y"]).fails(125).to_owned();
    assert!(said.contains("ctr-names"), "{said}");
    let json: serde_json::Value =
        serde_json::from_str(world.loment(["pod", "ps", "--format", "json"]).succeeds()).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 2);
    assert_eq!(world.loment(["pod", "ps", "--sort", "name", "--format", "{{.Name}}"]).succeeds(), "db\nweb");
    assert_eq!(
        world
            .loment(["pod", "ps", "--ctr-names", "--noheading", "--filter", "name=web"])
            .succeeds()
            .split_whitespace()
            .last(),
        Some(&*format!("{}-infra,one", &id[..12]))
    );
    // Its processes, its output, what it uses.
    assert!(world.loment(["pod", "top", "web", "args"]).succeeds().contains("while :"));
    inside(&world, "one", "echo said >/proc/1/fd/1");
    assert!(world.loment(["pod", "logs", "web"]).succeeds().contains("said"));
    assert!(world.loment(["pod", "logs", "--container", "one", "web"]).succeeds().contains("said"));
    assert!(world.loment(["pod", "stats", "--no-stream", "web"]).succeeds().contains("one"));
    assert_eq!(world.loment(["inspect", "--type", "pod", "--format", "{{.Name}}", &id]).succeeds(), "web");
}

#[test]
fn names_are_those_of_containers_too() {
    let (world, rootfs) = world_over_directory();
    world.loment(["pod", "create", "p"]).succeeds();
    let said = world.loment(["create", "--name", "p", "--rootfs", &rootfs, "true"]).fails(125).to_owned();
    assert!(said.contains("in use"), "{said}");
    world.loment(["create", "--name", "c", "--rootfs", &rootfs, "true"]).succeeds();
    let said = world.loment(["pod", "create", "c"]).fails(125).to_owned();
    assert!(said.contains("in use"), "{said}");
    world.loment(["pod", "create", "--replace", "--name", "p"]).succeeds();
    assert_eq!(world.loment(["pod", "ps", "--quiet"]).succeeds().lines().count(), 1);
    let infra = field(&world, "p", "{{.InfraContainerID}}");
    let said = world.loment(["rm", "--force", &infra]).fails(125).to_owned();
    assert!(said.contains("cannot be removed without removing the pod"), "{said}");
    world.loment(["container", "prune", "--force"]).succeeds();
    world.loment(["container", "exists", &infra]).succeeds();
    for (flags, hint) in [
        (&["--share", "x"][..], "Options are"),
        (&["--exit-policy", "x"], "continue or stop"),
        (&["--name", "a/b"], "names must match"),
        (&["--hostname", "a b"], "hostname"),
        (&["--uidmap", "x"], "x"),
    ] {
        let said = world.loment([&["pod", "create"][..], flags].concat()).fails(125).to_owned();
        assert!(said.contains(hint), "{flags:?}: {said}");
    }
    // Nothing is left of those that could not be made.
    assert_eq!(world.loment(["pod", "ps", "--quiet"]).succeeds().lines().count(), 1);
    assert_eq!(world.loment(["ps", "--all", "--quiet"]).succeeds().lines().count(), 1);
    world.loment(["pod", "rm", "nobody"]).fails(1);
}

#[test]
fn what_is_kept_for_a_pod_ends_with_its_monitor_and_its_members_live_on() {
    let (world, rootfs) = world_over_directory();
    world.loment(["pod", "create", "p"]).succeeds();
    member(&world, &rootfs, "p", "one", &[]);
    let infra = field(&world, "p", "{{.InfraContainerID}}");
    let monitor = world.inspect("{{.State.ConmonPid}}", &infra);
    kill(&monitor);
    eventually(|| world.inspect("{{.State.Status}}", &infra) == "exited");
    assert_eq!(inside(&world, "one", "hostname"), "p");
    assert_eq!(field(&world, "p", "{{.State}}"), "Degraded");
    world.loment(["pod", "restart", "p"]).succeeds();
    assert_eq!(field(&world, "p", "{{.State}}"), "Running");
    let restarts =
        ["events", "--stream=false", "--filter", "event=restart", "--format", "{{.Type}} {{.Name}}"];
    assert_eq!(world.loment(restarts).succeeds(), "container one\npod p");
    world.loment(["pod", "rm", "--force", "--time", "0", "p"]).succeeds();
}

#[test]
fn pods_that_have_ended_are_pruned() {
    let (world, rootfs) = world_over_directory();
    let mut ids = Vec::new();
    for name in ["over", "running", "new"] {
        ids.push(world.loment(["pod", "create", name]).succeeds().to_owned());
    }
    for pod in ["over", "running"] {
        member(&world, &rootfs, pod, &format!("of-{pod}"), &[]);
    }
    world.loment(["pod", "stop", "over"]).succeeds();
    assert_eq!(world.loment(["pod", "prune", "--force"]).succeeds(), ids[0]);
    world.loment(["pod", "stop", "running"]).succeeds();
    let said = world.loment(["system", "prune", "--force"]).succeeds().to_owned();
    assert!(said.contains(&format!("Deleted Pods\n{}", ids[1])), "{said}");
    // One that was never started has not ended.
    assert_eq!(world.loment(["pod", "ps", "--format", "{{.Name}}"]).succeeds(), "new");
    world.loment(["container", "exists", "of-over"]).fails(1);
}

#[test]
fn a_pod_that_ends_with_its_members_is_there_until_all_are_started_and_for_the_next() {
    let (world, rootfs) = world_over_directory();
    world.loment(["pod", "create", "--name", "p", "--exit-policy", "stop"]).succeeds();
    let create = |name: &str, flags: &[&str], script: &str| {
        let head = ["create", "--pod", "p", "--name", name];
        world.loment([&head[..], flags, &["--rootfs", &rootfs, "sh", "-c", script]].concat()).succeeds();
    };
    create("first", &["--init-ctr", "always"], "echo prepared >/dev/shm/x");
    create("short", &[], "true");
    create("long", &[], "cat /dev/shm/x; sleep 1000");
    world.loment(["pod", "start", "p"]).succeeds();
    eventually(|| world.loment(["logs", "long"]).succeeds() == "prepared");
    // It stays when the last one is only started again.
    let infra = field(&world, "p", "{{.InfraContainerID}}");
    let began = world.inspect("{{.State.StartedAt}}", &infra);
    world.loment(["restart", "--time", "0", "long"]).succeeds();
    assert_eq!(world.inspect("{{.State.StartedAt}} {{.State.Status}}", &infra), format!("{began} running"));
    // Who comes when it ends gets another.
    for _ in 0..5 {
        world.loment(["kill", "long"]).succeeds();
        world.loment(["start", "long"]).succeeds();
    }
    assert_eq!(world.inspect("{{.State.Status}}", "long"), "running");
}

#[test]
fn a_stop_beside_a_start_ends_what_is_kept() {
    let (world, _rootfs) = world_over_directory();
    world.loment(["pod", "create", "p"]).succeeds();
    let infra = field(&world, "p", "{{.InfraContainerID}}");
    for _ in 0..10 {
        let mut start = world.command(["pod", "start", "p"]).spawn().unwrap();
        world.loment(["pod", "stop", "--time", "1", "p"]).succeeds();
        start.wait().unwrap();
        world.loment(["pod", "stop", "--time", "1", "p"]).succeeds();
        assert_ne!(world.inspect("{{.State.Status}}", &infra), "running");
    }
}

#[test]
fn a_pod_is_removed_whole_or_not_at_all_while_its_members_are_started() {
    let (world, rootfs) = world_over_directory();
    let (mut whole, mut gone) = (0, 0);
    for n in 0..12 {
        world.loment(["pod", "create", "p"]).succeeds();
        for name in ["a", "b", "c"] {
            let create = ["create", "--pod", "p", "--name", name, "--rootfs", &rootfs, "sleep", "60"];
            world.loment(create).succeeds();
        }
        let mut start = world.command(["start", "c"]).stderr(std::process::Stdio::null()).spawn().unwrap();
        // Somewhere in what a start does.
        std::thread::sleep(std::time::Duration::from_millis(n * 12));
        let removed = world.loment(["pod", "rm", "p"]).code == 0;
        let started = start.wait().unwrap().success();
        let left = ["a", "b", "c"].map(|name| world.loment(["container", "exists", name]).code == 0);
        assert_eq!(left, [!removed; 3], "removed: {removed}, started: {started}");
        if removed {
            gone += 1
        } else {
            whole += 1
        }
        if !removed {
            world.loment(["pod", "rm", "--force", "--time", "0", "p"]).succeeds();
        }
    }
    println!("{whole} stayed, {gone} went");
    assert_eq!(world.leftovers(), [""; 0]);
}
