//! Whose namespaces containers have: their own, the host's, those of other containers.

mod users;

use std::path::PathBuf;

use loment_testkit::World;

use crate::{pid_of, sh, sleeper, world_over_directory, world_with};

/// The namespace a process is in.
#[track_caller]
fn namespace(process: impl std::fmt::Display, kind: &str) -> PathBuf {
    std::fs::read_link(format!("/proc/{process}/ns/{kind}")).unwrap()
}

/// The flag and the file in /proc of each kind that can be the host's and another container's.
const KINDS: [(&str, &str); 5] =
    [("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts"), ("--cgroupns", "cgroup"), ("--network", "net")];

/// Runs a command in a new container over a directory; what it prints.
#[track_caller]
fn prints(world: &World, rootfs: &str, flags: &[&str], script: &str) -> String {
    let network = if flags.contains(&"--network") { &[][..] } else { &["--network", "none"] };
    let head = [&["run", "--rm"], network, flags, &["--rootfs", rootfs, "sh", "-c", script]].concat();
    world.loment(head).succeeds().to_owned()
}

#[test]
fn namespaces_are_its_own_or_the_hosts_or_those_of_another_or_at_a_path() {
    let (world, rootfs) = world_over_directory();
    sleeper(&world, "a", &["--rootfs"], &rootfs);
    let a = pid_of(&world, "a");
    for (flag, file) in KINDS {
        let (hosts, others) = (namespace("self", file), namespace(a, file));
        assert_ne!(hosts, others, "{flag}");
        let script = format!("readlink /proc/self/ns/{file}");
        let seen = |mode: &str| PathBuf::from(prints(&world, &rootfs, &[flag, mode], &script));
        assert_eq!(seen("host"), hosts, "{flag}");
        assert_eq!(seen("container:a"), others, "{flag}");
        assert_eq!(seen(&format!("ns:/proc/{a}/ns/{file}")), others, "{flag}");
        let own = seen(if flag == "--network" { "none" } else { "private" });
        assert!(own != hosts && own != others, "{flag}");
    }
}

#[test]
fn what_belongs_to_a_namespace_goes_with_it() {
    let (world, rootfs) = world_over_directory();
    sleeper(&world, "a", &["--hostname", "alpha", "--rootfs"], &rootfs);
    // Processes.
    let ps = prints(&world, &rootfs, &["--pid", "container:a"], "ps -o args");
    assert!(ps.contains("trap 'exit 0' TERM"), "{ps}");
    // Shared memory is not only a namespace.
    prints(&world, &rootfs, &["--ipc", "container:a"], "echo shared >/dev/shm/b");
    assert_eq!(world.loment(["exec", "a", "cat", "/dev/shm/b"]).succeeds(), "shared");
    assert_eq!(prints(&world, &rootfs, &["--ipc", "shareable"], "ls /dev/shm"), "");
    assert_eq!(prints(&world, &rootfs, &["--ipc", "none"], "grep -c shm /proc/self/mountinfo || true"), "0");
    let host = "stat -c %d /dev/shm";
    let device = std::os::unix::fs::MetadataExt::dev(&std::fs::metadata("/dev/shm").unwrap());
    assert_eq!(prints(&world, &rootfs, &["--ipc", "host"], host), device.to_string());
    // A name, also as files say it, and hosts that are known.
    assert_eq!(
        prints(&world, &rootfs, &["--uts", "container:a"], "hostname; cat /etc/hostname"),
        "alpha\nalpha"
    );
    let hosts = prints(&world, &rootfs, &["--network", "container:a"], "cat /etc/hosts");
    assert!(hosts.contains("alpha a"), "{hosts}");
}

#[test]
fn another_containers_users_are_joined() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "a", &["--uidmap", "0:100000:65536"], &image);
    let script = "readlink /proc/self/ns/user; cat /proc/self/uid_map; touch /x; stat -c %u /x";
    let said = sh(&world, &["--network", "none", "--userns", "container:a"], &image, script);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(PathBuf::from(lines[0]), namespace(pid_of(&world, "a"), "user"));
    assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
    assert_eq!(lines[2], "0");
    // All of them at once, as a pod has it.
    let all =
        ["pid", "ipc", "uts", "cgroupns", "userns", "network"].map(|kind| format!("--{kind}=container:a"));
    let flags: Vec<_> = all.iter().map(String::as_str).collect();
    let script = "hostname; ls -d /proc/1/fd >/dev/null; mount | grep -c /dev/shm";
    let said = sh(&world, &flags, &image, script);
    assert_eq!(said.lines().last(), Some("1"), "{said}");
}

#[test]
fn who_needs_others_starts_them_and_keeps_them() {
    let (world, rootfs) = world_over_directory();
    let create = |name: &str, flags: &[&str]| {
        let head = ["create", "--name", name, "--network", "none"];
        world
            .loment([&head[..], flags, &["--rootfs", &rootfs, "sleep", "1000"]].concat())
            .succeeds()
            .to_owned()
    };
    let a = create("a", &[]);
    let b = create("b", &["--pid", "container:a", "--stop-timeout", "0"]);
    create("c", &["--requires", "b"]);
    world.loment(["start", "c"]).succeeds();
    for name in ["a", "b", "c"] {
        assert_eq!(world.inspect("{{.State.Status}}", name), "running", "{name}");
    }
    assert_eq!(world.inspect("{{.HostConfig.PidMode}}", "b"), format!("container:{a}"));
    assert_eq!(world.inspect("{{json .Dependencies}}", "c"), format!("[\"{b}\"]"));
    let said = world.loment(["rm", "--force", "a"]).fails(125).to_owned();
    assert!(
        said.contains(&format!(
            "container {a} has dependent containers which must be removed before it: {b}"
        )),
        "{said}"
    );
    assert_eq!(world.inspect("{{.State.Status}}", "a"), "running", "it was left alone");
    world.loment(["rm", "--force", "--depend", "--time", "0", "a"]).succeeds();
    assert_eq!(world.loment(["ps", "--all", "--quiet"]).succeeds(), "");
    // In the order in which it can be done.
    create("a", &[]);
    create("b", &["--ipc", "container:a"]);
    create("c", &["--network", "container:b"]);
    world.loment(["rm", "--all"]).succeeds();
    assert_eq!(world.loment(["ps", "--all", "--quiet"]).succeeds(), "");
}

#[test]
fn who_needs_a_healthy_one_waits_for_that() {
    let (world, rootfs) = world_over_directory();
    let create = |name: &str, flags: &[&str], script: &str| {
        let head = ["create", "--name", name, "--network", "none", "--stop-timeout", "0"];
        world.loment([&head[..], flags, &["--rootfs", &rootfs, "sh", "-c", script]].concat())
    };
    let check = ["--health-cmd", "test -e /ready", "--health-interval", "100ms", "--health-retries", "3"];
    // Its checks fail until it is ready, and do not count.
    let slow = [&check[..], &["--health-start-period", "60s"]].concat();
    create("slow", &slow, "sleep 1; touch /ready; exec sleep 1000").succeeds();
    create("first", &["--requires", "slow:healthy"], "test -e /ready && exec sleep 1000").succeeds();
    create("second", &["--requires", "first"], "exec sleep 1000").succeeds();
    world.loment(["start", "second"]).succeeds();
    for name in ["slow", "first", "second"] {
        assert_eq!(world.inspect("{{.State.Status}}", name), "running", "{name}");
    }
    let id = world.inspect("{{.Id}}", "slow");
    assert_eq!(world.inspect("{{json .Dependencies}}", "first"), format!("[\"{id}\"]"));
    std::fs::remove_file(std::path::Path::new(&rootfs).join("ready")).unwrap();
    create("bad", &check, "exec sleep 1000").succeeds();
    create("third", &["--requires", "bad:healthy"], "exec sleep 1000").succeeds();
    world
        .loment(["start", "third"])
        .fails_saying(125, &["needs container", "to be healthy, which is unhealthy"]);
    assert_eq!(world.inspect("{{.State.Status}}", "third"), "created");
    create("fourth", &["--requires", "second:healthy"], "true").fails_saying(125, &["has no health check"]);
}

#[test]
fn one_that_is_needed_is_not_removed_at_its_end() {
    let (world, rootfs) = world_over_directory();
    let run =
        ["run", "--detach", "--rm", "--network", "none", "--name", "a", "--rootfs", &rootfs, "sleep", "1000"];
    world.loment(run).succeeds();
    let run = [
        "run",
        "--rm",
        "--detach",
        "--name",
        "b",
        "--network",
        "container:a",
        "--rootfs",
        &rootfs,
        "sleep",
        "1000",
    ];
    world.loment(run).succeeds();
    world.loment(["stop", "--time", "0", "a"]).succeeds();
    assert_eq!(world.inspect("{{.State.Status}}", "a"), "exited");
    world.loment(["stop", "--time", "0", "b"]).succeeds();
    // Nobody needs it any more.
    world.loment(["start", "a"]).succeeds();
    world.loment(["stop", "--time", "0", "a"]).succeeds();
    assert_eq!(world.loment(["ps", "--all", "--quiet"]).succeeds(), "");
}

#[test]
fn a_namespace_is_looked_for_at_each_start() {
    let (world, rootfs) = world_over_directory();
    sleeper(&world, "a", &["--rootfs"], &rootfs);
    let create = ["create", "--name", "b", "--network", "none", "--ipc", "container:a", "--rootfs", &rootfs];
    world.loment([&create[..], &["readlink", "/proc/self/ns/ipc"]].concat()).succeeds();
    for _ in 0..2 {
        let seen = world.loment(["start", "--attach", "b"]).succeeds().to_owned();
        assert_eq!(PathBuf::from(seen), namespace(pid_of(&world, "a"), "ipc"));
        world.loment(["kill", "a"]).succeeds();
        world.loment(["start", "a"]).succeeds();
    }
}

#[test]
fn what_cannot_be_shared_is_refused() {
    let (world, rootfs) = world_over_directory();
    sleeper(&world, "a", &["--ipc", "private", "--rootfs"], &rootfs);
    let cases: [(&[&str], &str); 9] = [
        (
            &["--ipc", "container:a"],
            "is private, and joining it is not allowed: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
        ),
        (&["--pid", "container:none-such"], "no container with name or ID \"none-such\" found"),
        (&["--pid", "container:a", "--init"], "--init needs one of the container's own"),
        (
            &["--pid", "everybody"],
            "invalid value \"everybody\" for --pid: use private, host, container:NAME or ns:PATH",
        ),
        (&["--uts", "ns:relative"], "its path must be absolute"),
        (&["--uts", "host", "--hostname", "x"], "invalid hostname \"x\": it is that of --uts host"),
        (&["--userns", "private"], "add --uidmap or --subuidname"),
        (&["--userns", "host", "--uidmap", "0:1:1"], "excludes --uidmap"),
        (&["--subuidname", "nobody-has-this"], "/etc/subuid gives that name nothing"),
    ];
    for (flags, said) in cases {
        let run = [&["run", "--rm", "--network", "none"], flags, &["--rootfs", &rootfs, "true"]].concat();
        let output = world.loment(run);
        assert!(output.fails(125).contains(said), "{flags:?}: {output}");
    }
    assert_eq!(world.loment(["ps", "--all", "--quiet"]).succeeds().lines().count(), 1);
}

#[test]
fn root_keeps_its_id_by_having_the_hosts_users() {
    let (world, image) = world_with("app:latest");
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    let script = "id -u; cat /proc/self/uid_map; readlink /proc/self/ns/user";
    let hosts = format!("{}\n{}", map.trim_end(), namespace("self", "user").display());
    let run = |flags: &[&str]| sh(&world, &[&["--entrypoint", ""], flags].concat(), &image, script);
    assert_eq!(run(&["--userns", "keep-id"]), format!("0\n{hosts}"), "whoever the image says");
    assert_eq!(run(&["--userns", "keep-id", "--user", "7"]), format!("7\n{hosts}"));
    assert_eq!(run(&["--userns", "ns:/proc/self/ns/user", "--user", "0"]), format!("0\n{hosts}"));
    let nomap = world.loment(["create", "--network", "none", "--userns", "nomap", &image]);
    assert_eq!(nomap.fails(125), "Error: nomap is only supported in rootless mode");
}
