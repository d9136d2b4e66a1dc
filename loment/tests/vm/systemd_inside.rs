//! A systemd as the program of a container.

use crate::{eventually, world};

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_systemd_runs_services_in_a_container_and_ends_when_asked() {
    let (world, _) = world();
    let words = [
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "c",
        "--memory",
        "512m",
        "--rootfs",
        "/:O",
        "/sbin/init",
        "--unit=basic.target",
    ];
    world.loment(words).succeeds();
    let inside = |script: &str| world.loment(["exec", "c", "sh", "-c", script]);
    eventually("it is up", || inside("systemctl is-active basic.target").stdout.trim() == "active");
    // A service of its own, in a group of its own below the container's.
    let service =
        inside("systemd-run --quiet --wait --pipe --unit=inner sh -c 'cat /proc/self/cgroup; echo done >&2'");
    assert!(service.succeeds().contains("/system.slice/inner.service"), "{service}");
    assert!(service.stderr.contains("done"), "{service}");
    let names = inside("systemctl show --property=Virtualization --value");
    assert_ne!(names.succeeds(), "", "it knows that it is in a container");
    // Its limits are not its own to change.
    let limit = "for f in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do \
                 test -e $f && echo 1g >$f; done 2>/dev/null; cat /sys/fs/cgroup/memory.max \
                 /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; true";
    assert_eq!(inside(limit).succeeds(), (512 << 20).to_string());
    let state = world.inspect("{{.Config.SystemdMode}} {{.Config.StopSignal}}", "c");
    assert_eq!(state, "true SIGRTMIN+3");
    world.loment(["stop", "-t", "60", "c"]).succeeds();
    assert_eq!(world.inspect("{{.State.ExitCode}}", "c"), "0");
    world.loment(["start", "c"]).succeeds();
    eventually("it is up again", || inside("systemctl is-active basic.target").stdout.trim() == "active");
    world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}
