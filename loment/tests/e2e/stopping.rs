//! Containers that were asked to end and take their time.

use std::process::Stdio;

use loment_testkit::World;

use crate::{eventually, sleeper, world_over_directory};

const DEAF: &str = "trap : TERM; : >/dev/shm/ready; while :; do sleep 0.05; done";

fn deaf(world: &World, name: &str, rootfs: &str) {
    let run = ["run", "--detach", "--network", "none", "--name", name, "--rootfs", rootfs, "sh", "-c", DEAF];
    world.loment(run).succeeds();
    let ready = format!("/proc/{}/root/dev/shm/ready", crate::pid_of(world, name));
    eventually("it is ready", || std::path::Path::new(&ready).exists());
}

#[test]
fn who_had_to_be_killed_is_named() {
    let (world, rootfs) = world_over_directory();
    let words = |name: &str| {
        format!(
            "level=warning msg=\"StopSignal SIGTERM failed to stop container {name} in 1 seconds, resorting to SIGKILL\""
        )
    };
    deaf(&world, "a", &rootfs);
    deaf(&world, "b", &rootfs);
    let stopped = world.loment(["stop", "--time", "1", "a"]);
    assert_eq!(stopped.succeeds(), "a");
    assert!(stopped.stderr.starts_with("time=\"") && stopped.stderr.contains(&words("a")), "{stopped}");
    let removed = world.loment(["rm", "--force", "--time", "1", "b"]);
    assert_eq!(removed.succeeds(), "b");
    assert!(removed.stderr.contains(&words("b")), "{removed}");
    // Not who ends by itself, nor who was not asked; and Docker says nothing.
    sleeper(&world, "c", &["--rootfs"], &rootfs);
    assert_eq!(world.loment(["stop", "c"]).stderr, "");
    deaf(&world, "d", &rootfs);
    assert_eq!(world.loment(["stop", "--time", "0", "d"]).stderr, "");
    world.loment(["start", "a"]).succeeds();
    assert_eq!(world.persona("docker", ["stop", "--time", "1", "a"]).stderr, "");
}

#[test]
fn a_container_is_stopping_until_it_has_ended() {
    let (world, rootfs) = world_over_directory();
    deaf(&world, "c", &rootfs);
    for time in ["20", "-1"] {
        let mut stop = world.command(["stop", "--time", time, "c"]).stdout(Stdio::null()).spawn().unwrap();
        assert_eq!(world.loment(["wait", "--condition", "stopping", "c"]).succeeds(), "-1");
        let inspected = world.inspect("{{.State.Status}} {{.State.Running}}", "c");
        assert_eq!(inspected, "stopping false");
        let listed = ["ps", "--filter", "status=stopping", "--format", "{{.Names}} {{.State}} {{.Status}}"];
        assert_eq!(world.loment(listed).succeeds(), "c stopping Stopping");
        for (words, said) in [
            (&["exec", "c", "true"][..], "can only create exec sessions on running containers"),
            (&["start", "c"], "it must be in Created or Stopped state to be started"),
            (&["pause", "c"], "can only pause running containers"),
        ] {
            world.loment(words).fails_saying(125, &["as it is stopping", said]);
        }
        let words = "as it is stopping - running or paused containers cannot be removed without force: container state improper";
        world.loment(["rm", "c"]).fails_saying(2, &[words]);
        // Docker does not know that.
        let state = ["inspect", "--format", "{{.State.Status}} {{.State.Running}}", "c"];
        assert_eq!(world.persona("docker", state).succeeds(), "running true");
        world.persona("docker", ["exec", "c", "true"]).succeeds();
        world.loment(["kill", "c"]).succeeds();
        assert!(stop.wait().unwrap().success());
        assert_eq!(world.inspect("{{.State.Status}} {{.State.ExitCode}}", "c"), "exited 137");
        world.loment(["start", "c"]).succeeds();
        assert_eq!(world.inspect("{{.State.Status}}", "c"), "running");
        let ready = format!("/proc/{}/root/dev/shm/ready", crate::pid_of(&world, "c"));
        eventually("it is ready", || std::path::Path::new(&ready).exists());
    }
    // A signal is no stop.
    world.loment(["kill", "--signal", "TERM", "c"]).succeeds();
    assert_eq!(world.inspect("{{.State.Status}}", "c"), "running");
}

#[test]
fn standard_output_can_be_left_out() {
    let (world, rootfs) = world_over_directory();
    let run = ["--noout", "run", "--network", "none", "--name", "c", "--rootfs", &rootfs, "echo", "x"];
    let ran = world.loment(run);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    assert_eq!(world.loment(["--noout=false", "stop", "c"]).succeeds(), "c");
    let failed = world.loment(["--noout", "stop", "nobody"]);
    assert!(failed.code == 125 && failed.stderr.contains("no such container"), "{failed}");
}
