//! Checkpoints of members of pods: what they share is that of the pod, before and after.

use loment_testkit::{Output, World};

use super::engine::logs;
use crate::{eventually, world};

const COUNT: &str =
    "i=0; while :; do i=$((i+1)); echo $i >/tmp/count; echo $i >/dev/shm/seen; sleep 0.1; done";

#[track_caller]
fn member(world: &World, fs: &str, pod: &str) {
    world.loment(["run", "-d", "--pod", pod, "--name", "c", "--rootfs", fs, "sh", "-c", COUNT]).succeeds();
    eventually("it counts", || count(world) > 3);
}

fn count(world: &World) -> u64 {
    let read = || world.loment(["exec", "c", "cat", "/tmp/count"]).stdout.trim().parse().ok();
    (0..50).find_map(|_| read()).unwrap_or_default()
}

#[track_caller]
fn works(world: &World, words: &[&str]) -> Output {
    let output = world.loment([&["container"], words].concat());
    assert_eq!(output.code, 0, "{output}\n{}", logs(world));
    output
}

fn namespaces(world: &World, name: &str) -> Vec<String> {
    let pid = world.inspect("{{.State.Pid}}", name);
    let read = |kind| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().display().to_string();
    ["net", "ipc", "uts", "pid"].map(read).to_vec()
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_member_goes_on_with_what_its_pod_shares() {
    for share in ["ipc,net,uts", "ipc,net,pid,uts"] {
        let (world, fs) = world();
        world.loment(["pod", "create", "--name", "p", "--share", share, "--network", "none"]).succeeds();
        // Another one, which goes on meanwhile.
        world
            .loment(["run", "-d", "--pod", "p", "--name", "other", "--rootfs", &fs, "sleep", "1000"])
            .succeeds();
        member(&world, &fs, "p");
        let shared = namespaces(&world, "c");
        let before = count(&world);
        works(&world, &["checkpoint", "c"]);
        works(&world, &["restore", "c"]);
        eventually("it counts on", || count(&world) > before + 3);
        assert!(count(&world) < before + 1000);
        let now = namespaces(&world, "c");
        assert_eq!(now[..3], shared[..3], "{share}");
        assert_eq!(now[3] == shared[3], share.contains("pid"), "{share}");
        // Its memory is that of the others.
        let seen =
            || world.loment(["exec", "other", "cat", "/dev/shm/seen"]).stdout.trim().parse().unwrap_or(0u64);
        let was = seen();
        eventually("others see it", || seen() > was);
        world.loment(["pod", "rm", "-f", "-t", "0", "p"]).succeeds();
        assert_eq!(world.leftovers(), [""; 0]);
    }
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_member_moves_to_another_pod() {
    let (world, fs) = world();
    for (pod, share) in [("p", "ipc,net,uts"), ("q", "ipc,net,uts"), ("less", "net")] {
        world.loment(["pod", "create", "--name", pod, "--share", share, "--network", "none"]).succeeds();
    }
    member(&world, &fs, "p");
    let archive = world.path("archive").into_os_string().into_string().unwrap();
    let before = count(&world);
    works(&world, &["checkpoint", "--export", &archive, "c"]);
    world.loment(["pod", "rm", "-f", "-t", "0", "p"]).succeeds();
    let import =
        |flags: &[&str]| world.loment([&["container", "restore", "--import", &archive], flags].concat());
    import(&[]).fails_saying(125, &["cannot restore pod container without --pod"]);
    import(&["--pod", "nonesuch"]).fails_saying(125, &["nonesuch"]);
    import(&["--pod", "less"]).fails_saying(125, &["does not share the ipc namespace"]);
    works(&world, &["restore", "--import", &archive, "--pod", "q"]);
    eventually("it counts on", || count(&world) > before + 3);
    assert_eq!(
        world.loment(["ps", "--format", "{{.Names}} {{.PodName}}", "--filter", "name=^c$"]).succeeds(),
        "c q"
    );
    // Its control group is in that of its pod.
    let pid = world.inspect("{{.State.Pid}}", "c");
    let id = world.loment(["pod", "inspect", "--format", "{{.ID}}", "q"]).succeeds().to_owned();
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(groups.contains(&id), "{groups}");
    for pod in ["q", "less"] {
        world.loment(["pod", "rm", "-f", "-t", "0", pod]).succeeds();
    }
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn what_criu_cannot_join_is_refused_by_name() {
    let (world, fs) = world();
    for (share, flags, kind) in [("cgroup", &[][..], "cgroup"), ("net", &["--userns", "auto"], "user")] {
        let flags =
            [&["pod", "create", "--name", "p", "--network", "none", "--share", share], flags].concat();
        world.loment(flags).succeeds();
        let run = ["run", "-d", "--pod", "p", "--name", "c", "--rootfs", &fs, "sleep", "1000"];
        if world.loment(run).code == 0 {
            world
                .loment(["container", "checkpoint", "c"])
                .fails_saying(125, &[&format!("shares its {kind} namespace")]);
            assert_eq!(world.inspect("{{.State.Status}}", "c"), "running");
        } else {
            assert_eq!(kind, "user", "a directory of root's may not be readable for others");
        }
        world.loment(["pod", "rm", "-f", "-t", "0", "p"]).succeeds();
    }
    assert_eq!(world.leftovers(), [""; 0]);
}
