//! `--systemd`: what a container has that runs one. That one runs is seen in a machine of its own (`loment::vm`).

use std::fs;

use loment_testkit::World;

use crate::{pid_of, sh, world_with};

/// Mounts of a container that a systemd is given: where, whether they can be written to, and their kind.
const MOUNTS: &str = "while read -r _ where kind options _; do case $where in \
                      /run|/run/lock|/tmp|/var/log/journal) echo $where $kind ${options%%,*};; esac; done </proc/mounts";
const ALL: &str = "/run tmpfs rw\n/tmp tmpfs rw\n/run/lock tmpfs rw\n/var/log/journal tmpfs rw";

fn mode(world: &World, flags: &[&str], image: &str, command: &[&str]) -> String {
    let words = [&["create", "--name", "m", "--network", "none"], flags, &[image], command].concat();
    world.loment(words).succeeds();
    let mode = world.inspect("{{.Config.SystemdMode}} {{.Config.StopSignal}}", "m");
    world.loment(["rm", "m"]).succeeds();
    mode
}

#[test]
fn a_systemd_is_known_by_its_name() {
    let (world, image) = world_with("busybox:latest");
    let (yes, no) = ("true SIGRTMIN+3", "false SIGTERM");
    for (command, expected) in [
        (&["/sbin/init"][..], yes),
        (&["/usr/sbin/init", "--unit=x"], yes),
        (&["/usr/local/sbin/init"], yes),
        (&["/lib/systemd/systemd"], yes),
        (&["systemd"], yes),
        (&["/bin/sh", "-c", "/sbin/init"], yes),
        (&["init"], no),
        (&["sh", "-c", "systemd"], no),
        (&["/lib/systemd/systemd-udevd"], no),
    ] {
        assert_eq!(mode(&world, &[], &image, command), expected, "{command:?}");
    }
    assert_eq!(mode(&world, &["--systemd=false"], &image, &["/sbin/init"]), no);
    assert_eq!(mode(&world, &["--systemd", "True"], &image, &["true"]), no);
    assert_eq!(mode(&world, &["--systemd=Always"], &image, &["true"]), yes);
    assert_eq!(mode(&world, &["--entrypoint", "/sbin/init"], &image, &["--x"]), yes);
    assert_eq!(mode(&world, &["--stop-signal", "INT"], &image, &["/sbin/init"]), "true SIGINT");
    let words = ["create", "--network", "none", "--systemd=maybe", &image, "true"];
    world.loment(words).fails_saying(125, &["--systemd", "always"]);
    // Docker knows no such thing, unless it is told.
    let docker = |flags: &[&str]| {
        let words = [
            &["run", "--rm", "--network", "none"],
            flags,
            &[&image, "sh", "-c", "mount | grep -c ' /run '; true"],
        ]
        .concat();
        world.persona("docker", words).succeeds().to_owned()
    };
    assert_eq!((docker(&[]), docker(&["--systemd=always"])), ("0".into(), "1".into()));
}

#[test]
fn it_has_what_it_expects() {
    let (world, image) = world_with("busybox:latest");
    let always = ["--systemd=always"];
    let sorted = |flags: &[&str]| {
        let said = sh(&world, flags, &image, MOUNTS);
        let mut lines: Vec<String> = said.lines().map(str::to_owned).collect();
        lines.sort_by_key(|line| line.matches('/').count());
        lines.join("\n")
    };
    assert_eq!(sorted(&always), ALL);
    assert_eq!(sorted(&["--systemd=always", "--read-only"]), ALL);
    assert_eq!(
        sh(&world, &always, &image, "echo $container ${#container_uuid}; test -e /run/.containerenv"),
        "loment 32"
    );
    assert_eq!(
        sh(
            &world,
            &["--systemd=always", "-e", "container=x", "-e", "container_uuid=y"],
            &image,
            "echo $container $container_uuid"
        ),
        "x y"
    );
    // What the user says goes before.
    let own = ["--systemd=always", "--tmpfs", "/run:size=1m", "--shm-size-systemd", "2m"];
    assert_eq!(sh(&world, &own, &image, "df -k /run /tmp | awk 'NR > 1 { print $2 }'"), "1024\n2048");
    let id = world.loment([
        "run",
        "-d",
        "--name",
        "c",
        "--network",
        "none",
        "--systemd=always",
        &image,
        "sleep",
        "600",
    ]);
    let environment = fs::read(format!("/proc/{}/environ", pid_of(&world, "c"))).unwrap();
    let uuid = format!("container_uuid={}\0", &id.succeeds()[..32]);
    assert!(String::from_utf8_lossy(&environment).contains(&uuid));
    world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    // It may make groups where it keeps track of processes, and has no power over its limits.
    let groups =
        "cd /sys/fs/cgroup; for g in */; do mkdir $g/x 2>/dev/null && rmdir $g/x && echo $g; done; true";
    let expected: Vec<String> = ["systemd", "unified"]
        .into_iter()
        .filter(|name| fs::exists(format!("/sys/fs/cgroup/{name}")).unwrap())
        .map(|name| format!("{name}/"))
        .collect();
    let may = sh(&world, &always, &image, groups);
    let mut may: Vec<&str> = may.lines().collect();
    may.sort_unstable();
    assert_eq!(may, expected);
    assert_eq!(sh(&world, &[], &image, groups), "");
    // The machine's consoles are not for it, not even with every right.
    let consoles = "ls /dev | grep -c '^tty[0-9]*$'";
    let count = |flags: &[&str]| sh(&world, flags, &image, consoles);
    let here = fs::read_dir("/dev").unwrap().flatten().filter(|e| {
        let name = e.file_name().into_string().unwrap_or_default();
        name.strip_prefix("tty").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
    });
    assert_eq!(count(&["--privileged"]), here.count().to_string());
    assert_eq!(count(&["--privileged", "--systemd=always"]), "1");
    assert_eq!(world.leftovers(), [""; 0]);
}
