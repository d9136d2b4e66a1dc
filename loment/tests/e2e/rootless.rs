//! An ordinary user's containers. Other modules run as one, too: see `xtask test`.

mod ids;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use loment_testkit::{Ids, ORDINARY_USER, Patience, World, run};

use crate::{eventually, fixtures, monitor_of, pid_of, sh, sleeper, world_over_directory};

fn world(ids: Ids) -> World {
    World::of_user(Path::new(env!("CARGO_BIN_EXE_loment")), ids)
}

#[track_caller]
fn world_with(ids: Ids, image: &str) -> (World, String) {
    let world = world(ids);
    let registry = fixtures().serve();
    let name = registry.name(image);
    world.loment(["pull", "--quiet", "--tls-verify=false", &name]).succeeds();
    (world, name)
}

/// Processes of the user whose environment or arguments name this world.
fn processes(world: &World) -> Vec<String> {
    let dir = world.dir().display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        let is_users = fs::metadata(entry.path()).is_ok_and(|meta| meta.uid() == ORDINARY_USER);
        let text = String::from_utf8_lossy(&[read("cmdline"), read("environ")].concat()).into_owned();
        if is_users && text.contains(&dir) {
            found.push(text);
        }
    }
    found
}

#[test]
fn root_in_a_container_is_the_user_outside() {
    let (world, image) = world_with(Ids::Many, "busybox:latest");
    let shared = world.path("shared");
    fs::create_dir(&shared).unwrap();
    let volume = format!("{}:/shared", shared.display());
    let script = "id -u; cat /proc/self/uid_map; touch /shared/root /shared/own; chown 5:6 /shared/root";
    let shown = sh(&world, &["-v", &volume], &image, script);
    let words: Vec<&str> = shown.split_whitespace().collect();
    assert_eq!(words, ["0", "0", &ORDINARY_USER.to_string(), "1", "1", "400000", "65536"]);
    let owner = |name: &str| fs::metadata(shared.join(name)).map(|meta| (meta.uid(), meta.gid())).unwrap();
    assert_eq!(owner("own"), (ORDINARY_USER, ORDINARY_USER));
    assert_eq!(owner("root"), (400_004, 400_005));
    let document = world.loment(["info", "--format", "{{.Host.Security.Rootless}}"]);
    assert_eq!(document.succeeds(), "true");
}

#[test]
fn files_are_where_the_user_keeps_things() {
    let world = world(Ids::Many);
    let [data, runtime] = ["data", "runtime"].map(|name| world.path(name));
    fs::create_dir(&runtime).unwrap();
    let mut command = world.bare();
    command.env("XDG_DATA_HOME", &data).env("XDG_RUNTIME_DIR", &runtime).args(["ps", "-a"]);
    run(&mut command, Patience::NORMAL).succeeds();
    assert!(data.join("loment/containers").is_dir() && runtime.join("loment").is_dir());
    run(world.bare().args(["ps", "-a"]), Patience::NORMAL).succeeds();
    assert!(world.dir().join("home/.local/share/loment/containers").is_dir());
}

#[test]
fn nothing_stays_behind_a_container() {
    let (world, image) = world_with(Ids::Many, "busybox:latest");
    sleeper(&world, "c", &[], &image);
    sleeper(&world, "d", &[], &image);
    let users = |name: &str| fs::read_link(format!("/proc/{}/ns/user", pid_of(&world, name))).unwrap();
    assert_eq!(users("c"), users("d"), "who comes joins the namespace that is there");
    assert_eq!(world.loment(["exec", "c", "id", "-u"]).succeeds(), "0");
    assert!(world.loment(["top", "c", "user", "args"]).succeeds().contains("root"));
    world.loment(["rm", "-f", "-t", "0", "c", "d"]).succeeds();
    eventually("nobody is there", || processes(&world).is_empty());
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn containers_share_networks_and_pods_without_root() {
    let (world, image) = world_with(Ids::Many, "busybox:latest");
    sleeper(&world, "c", &[], &image);
    let network = |flags: &[&str]| {
        let arguments = [&["run", "--rm"], flags, &[&image, "readlink", "/proc/self/ns/net"]].concat();
        world.loment(arguments).succeeds().to_owned()
    };
    assert_eq!(network(&["--network", "container:c"]), network(&["--network", "container:c"]));
    assert_ne!(network(&["--network", "none"]), network(&["--network", "container:c"]));
    let host = fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    assert_eq!(network(&["--network", "host"]), host);
    world.loment(["pod", "create", "--name", "p", "--share", "net,ipc,uts,pid"]).succeeds();
    world.loment(["run", "-d", "--pod", "p", "--name", "m", &image, "sleep", "1000"]).succeeds();
    let member = fs::read_link(format!("/proc/{}/ns/net", pid_of(&world, "m"))).unwrap();
    assert_eq!(network(&["--pod", "p"]), member.display().to_string());
    world.loment(["pod", "rm", "-f", "-t", "0", "p"]).succeeds();
    // What shows namespaces of the machine is the machine's own.
    let script = "test -d /sys/class/net && test -d /proc/1 && cat /proc/sys/kernel/osrelease";
    sh(&world, &["--pid", "host", "--ipc", "host", "--uts", "host"], &image, script);
}

#[test]
fn without_control_groups_limits_are_refused_and_defaults_left_out() {
    let (world, image) = world_with(Ids::Many, "busybox:latest");
    let shown = sh(&world, &["--cgroupns", "host"], &image, "cat /proc/self/cgroup");
    assert!(!shown.contains("loment-"), "{shown}");
    for limit in [["-m", "100m"], ["--cpus", "1"], ["--pids-limit", "10"], ["--cpu-shares", "5"]] {
        let arguments = [&["run", "--rm", "--network", "none"], &limit[..], &[&image, "true"]].concat();
        world.loment(arguments).fails_saying(125, &["need a control group", "run it as root"]);
    }
    world.loment(["pod", "create", "-m", "100m"]).fails_saying(125, &["control group"]);
    sleeper(&world, "c", &["--ulimit", "nofile=100:200"], &image);
    assert_eq!(world.loment(["exec", "c", "sh", "-c", "ulimit -n"]).succeeds(), "100");
    world.loment(["pause", "c"]).fails_saying(125, &["freezer", "pause"]);
    assert_eq!(world.inspect("{{.HostConfig.PidsLimit}} {{.HostConfig.Cgroups}}", "c"), "0 disabled");
}

#[test]
fn one_id_is_enough_and_that_is_said_once() {
    let (world, image) = world_with(Ids::One, "busybox:latest");
    let maps = sh(&world, &[], &image, "id -u; cat /proc/self/uid_map /proc/self/setgroups");
    let words: Vec<&str> = maps.split_whitespace().collect();
    assert_eq!(words, ["0", "0", &ORDINARY_USER.to_string(), "1", "deny"]);
    let ps = || {
        let mut ps = world.bare();
        ps.arg("--root").arg(world.path("other")).arg("--runroot").arg(world.path("run")).args(["ps", "-q"]);
        let output = run(&mut ps, Patience::NORMAL);
        output.succeeds();
        output.stderr
    };
    let first = ps();
    assert!(first.contains("/etc/subuid") && first.contains("said once"), "{first}");
    assert_eq!(ps(), "");
    world.loment(["system", "check"]).succeeds();
}

#[test]
fn a_program_can_be_run_where_the_containers_are() {
    let (world, image) = world_with(Ids::Many, "busybox:latest");
    let shown = world.loment(["unshare", "sh", "-c", "id -u; echo $CONTAINERS_GRAPHROOT; exit 3"]);
    assert_eq!((shown.code, shown.stdout.lines().next()), (3, Some("0")), "{shown}");
    assert!(shown.stdout.contains(&world.root().display().to_string()));
    world.loment(["unshare", "no-such-program"]).fails_saying(127, &["no-such-program"]);
    world.loment(["create", "--name", "c", &image]).succeeds();
    for command in [&["mount", "c"][..], &["image", "mount", &image], &["unmount", "c"]] {
        world.loment(command).fails_saying(125, &["unshare", command[0]]);
    }
    // In it, mounts are seen, and the user's own containers are known.
    let script = r#"set -e
        dir=$("$0" --root "$1" --runroot "$2" mount c)
        ls "$dir/bin/busybox" && "$0" --root "$1" --runroot "$2" unmount c
        "$0" info --format '{{.Host.Security.Rootless}}'"#;
    let binary = world.dir().join("accounts/loment");
    let [binary, root, runroot] =
        [binary, world.root(), world.runroot()].map(|path| path.display().to_string());
    let shown = world.loment(["unshare", "sh", "-c", script, &binary, &root, &runroot]);
    assert!(shown.succeeds().contains("bin/busybox") && shown.stdout.trim_end().ends_with("true"), "{shown}");
}

#[test]
fn what_only_root_can_do_is_left_out_or_refused() {
    let (world, image) = world_with(Ids::Many, "busybox:latest");
    let root = world.loment(["run", "--rm", "--network", "none", "--rootfs", "/:O", "true"]);
    root.fails_saying(125, &["/", "ordinary user"]);
    let device = sh(&world, &["--device", "/dev/null:/dev/mine"], &image, "echo x >/dev/mine && echo ok");
    assert_eq!(device, "ok");
    let mounted = sh(&world, &["--privileged"], &image, "mkdir /m && mount -t tmpfs t /m && echo mounted");
    assert_eq!(mounted, "mounted");
    // Owners that the user has not.
    let registry = fixtures().serve();
    let tree = registry.name("tree:latest");
    world.loment(["pull", "-q", "--tls-verify=false", &tree]).fails_saying(125, &["123456", "/etc/subuid"]);
    assert_eq!(world.loment(["images", "-q"]).succeeds().lines().count(), 1);
    world.loment(["system", "check"]).succeeds();
}

#[test]
fn what_an_image_is_does_not_depend_on_who_unpacked_it() {
    let (world, image) = world_with(Ids::Many, "app:latest");
    let registry = fixtures().serve_copy();
    let to = registry.name("again:1");
    world.loment(["push", "-q", "--tls-verify=false", &image, &format!("docker://{to}")]).succeeds();
    world.loment(["system", "check", "--max", "0"]).succeeds();
    // A directory that is made anew hides what was in it.
    let mut from = image.clone();
    for (name, script) in [("a", "mkdir /d && touch /d/old"), ("b", "rm -r /d && mkdir /d && touch /d/new")] {
        let run = ["run", "--network", "none", "--name", name, "--user", "root", "--entrypoint", "sh", &from];
        world.loment([&run[..], &["-c", script]].concat()).succeeds();
        world.loment(["commit", "-q", name, &format!("of-{name}")]).succeeds();
        from = format!("of-{name}");
    }
    let run = ["run", "--rm", "--network", "none", "--entrypoint", "ls", &from, "/d"];
    assert_eq!(world.loment(run).succeeds(), "new");
}

#[test]
fn root_can_do_without_control_groups_too() {
    let (world, fs) = world_over_directory();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let shown = |flags: &[&str]| {
        let head = ["run", "--rm", "--network", "none", "--cgroupns", "host"];
        let tail = ["--rootfs", &fs, "cat", "/proc/self/cgroup"];
        world.loment([&head[..], flags, &tail].concat()).succeeds().to_owned()
    };
    assert_eq!(shown(&["--cgroups", "disabled"]), own.trim_end());
    assert!(shown(&["--cgroups", "enabled"]).contains("loment-"));
    let limited =
        ["run", "--rm", "--network", "none", "--cgroups", "disabled", "-m", "100m", "--rootfs", &fs, "true"];
    world.loment(limited).fails_saying(125, &["--memory", "--cgroups disabled"]);
    world
        .loment(["run", "--network", "none", "--cgroups", "some", "--rootfs", &fs, "true"])
        .fails_saying(125, &["some", "no-conmon"]);
    for (mode, has_own) in [("no-conmon", false), ("enabled", true)] {
        sleeper(&world, "c", &["--cgroups", mode, "--rootfs"], &fs);
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", monitor_of(&world, "c"))).unwrap();
        assert_eq!(groups.contains("-monitor"), has_own, "{mode}: {groups}");
        assert_eq!(world.inspect("{{.HostConfig.Cgroups}}", "c"), if has_own { "default" } else { mode });
        world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    }
    world.loment(["unshare", "true"]).fails_saying(125, &["use unshare with rootless"]);
}
