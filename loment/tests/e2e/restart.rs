//! restart, pause, unpause; what is started again by itself, and what ends by itself.

use std::process::{Command, Stdio};
use std::time::Instant;

use loment_testkit::World;

use crate::{eventually, lives, monitor_of, pid_of, sleeper, world_with};

/// A container with a policy, in the background.
fn started(world: &World, image: &str, policy: &[&str], script: &str) {
    let mut words = vec!["run", "-d", "--network", "none", "--name", "c"];
    words.extend(policy);
    words.extend([image, "sh", "-c", script]);
    world.loment(words).succeeds();
    // What has handlers says when they are there: until then signals do nothing to process 1.
    if script.contains("echo ready") {
        ready(world, 1);
    }
}

/// Waits until the container has said so often that it is ready.
fn ready(world: &World, times: usize) {
    eventually("it is ready", || world.loment(["logs", "c"]).stdout.matches("ready").count() == times);
}

fn state(world: &World) -> String {
    world.inspect("{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}", "c")
}

#[test]
fn a_restarted_container_has_another_process_and_what_it_wrote() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "c", &[], &image);
    world.loment(["exec", "c", "touch", "/kept"]).succeeds();
    let (pid, monitor) = (pid_of(&world, "c"), monitor_of(&world, "c"));
    assert_eq!(world.loment(["restart", "-t", "1", "c"]).succeeds(), "c");
    assert!(!lives(pid) && !lives(monitor) && lives(pid_of(&world, "c")));
    world.loment(["exec", "c", "ls", "/kept"]).succeeds();
    world.loment(["stop", "-t", "0", "c"]).succeeds();
    world.loment(["restart", "c"]).succeeds();
    assert_eq!(world.inspect("{{.State.Status}}", "c"), "running");
    world.loment(["restart", "nobody"]).fails(125);
    // One that does not run is left alone.
    world.loment(["create", "--network", "none", "--name", "d", &image, "true"]).succeeds();
    assert_eq!(world.loment(["restart", "--running", "-t", "0"]).succeeds().len(), 64);
    world.loment(["rm", "-f", "-a"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_container_with_rm_stays_over_a_restart() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "c", &["--rm"], &image);
    world.loment(["restart", "-t", "0", "c"]).succeeds();
    assert_eq!(world.inspect("{{.State.Status}} {{.HostConfig.AutoRemove}}", "c"), "running true");
    world.loment(["stop", "-t", "0", "c"]).succeeds();
    eventually("it is removed", || world.loment(["ps", "-aq"]).stdout.is_empty());
    eventually("nothing is left", || world.leftovers().is_empty());
}

#[test]
fn a_paused_container_does_nothing_until_it_may() {
    let (world, image) = world_with("busybox:latest");
    started(&world, &image, &[], "trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; echo x; done");
    let lines = || world.loment(["logs", "c"]).stdout.lines().count();
    eventually("it writes", || lines() > 2);
    assert_eq!(world.loment(["pause", "c"]).succeeds(), "c");
    assert_eq!(world.inspect("{{.State.Status}} {{.State.Paused}}", "c"), "paused true");
    // Podman's words, and Docker's.
    assert_eq!(world.loment(["ps", "--format", "{{.Status}}"]).succeeds(), "Paused");
    assert!(world.persona("docker", ["ps"]).succeeds().contains("(Paused)"));
    let before = lines();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(lines(), before);
    assert!(world.loment(["exec", "c", "true"]).fails(125).contains("paused"));
    assert!(world.loment(["pause", "c"]).fails(125).contains("paused"));
    world.loment(["rm", "c"]).fails(2);
    assert_eq!(world.loment(["unpause", "c"]).succeeds(), "c");
    eventually("it goes on", || lines() > before + 2);
    assert!(world.loment(["unpause", "c"]).fails(125).contains("running"));
    // It hears the signal although it was paused.
    world.loment(["pause", "--all"]).succeeds();
    world.loment(["stop", "c"]).succeeds();
    assert_eq!(state(&world), "exited 7 0");
    world.loment(["start", "c"]).succeeds();
    world.loment(["pause", "c"]).succeeds();
    world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn what_fails_is_started_again_as_often_as_allowed() {
    let (world, image) = world_with("busybox:latest");
    let script = "echo run >>/runs; exit 3";
    started(&world, &image, &["--restart", "on-failure:2"], script);
    eventually("it gives up", || state(&world) == "exited 3 2");
    assert_eq!(world.inspect("{{.HostConfig.RestartPolicy.Name}}", "c"), "on-failure");
    assert_eq!(world.inspect("{{.HostConfig.RestartPolicy.MaximumRetryCount}}", "c"), "2");
    world.loment(["start", "c"]).succeeds();
    eventually("its count begins anew", || state(&world) == "exited 3 2");
    world.loment(["rm", "c"]).succeeds();
    started(&world, &image, &["--restart", "on-failure"], "exit 0");
    eventually("its end is recorded", || state(&world) == "exited 0 0");
    world.loment(["rm", "c"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn what_is_stopped_is_not_started_again() {
    let (world, image) = world_with("busybox:latest");
    let again = ["--restart", "always"];
    started(&world, &image, &again, "sleep 0.1");
    eventually("it was started twice", || {
        world.inspect("{{.RestartCount}}", "c").parse::<u32>().unwrap() > 1
    });
    // While it runs, and while it waits.
    world.loment(["stop", "-t", "0", "c"]).succeeds();
    let before = state(&world);
    assert!(before.starts_with("exited "), "{before}");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(state(&world), before);
    world.loment(["rm", "c"]).succeeds();

    started(&world, &image, &again, "exit 1");
    eventually("it waits", || world.inspect("{{.State.Status}}", "c") == "restarting");
    assert!(world.loment(["ps"]).succeeds().contains("Restarting (1) "));
    assert_eq!(world.inspect("{{.State.Restarting}}", "c"), "true");
    world.loment(["rm", "c"]).fails(2);
    world.loment(["stop", "c"]).succeeds();
    assert!(state(&world).starts_with("exited 1 "), "{}", state(&world));
    world.loment(["rm", "c"]).succeeds();

    started(
        &world,
        &image,
        &["--restart", "unless-stopped"],
        "trap 'exit 4' TERM; trap 'exit 5' USR1; echo ready; while :; do sleep 0.02; done",
    );
    world.loment(["kill", "-s", "TERM", "c"]).succeeds();
    eventually("its end is recorded", || state(&world) == "exited 4 0");
    world.loment(["start", "c"]).succeeds();
    world.loment(["kill", "c"]).succeeds();
    assert_eq!(state(&world), "exited 137 0");
    world.loment(["start", "c"]).succeeds();
    ready(&world, 3);
    // Any other signal is none that asks it to end.
    let pid = pid_of(&world, "c");
    world.loment(["kill", "-s", "USR1", "c"]).succeeds();
    eventually("it is started again", || {
        world.inspect("{{.RestartCount}}", "c") == "1" && pid_of(&world, "c") != pid
    });
    world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

/// A machine that shuts down asks every process to end, and waits for it.
#[test]
fn a_monitor_that_is_asked_to_end_starts_nothing_again() {
    let (world, image) = world_with("busybox:latest");
    let ask = |signal: &str| {
        let monitor = world.inspect("{{.State.ConmonPid}}", "c");
        assert!(Command::new("kill").args([signal, &monitor]).status().unwrap().success());
        monitor.parse().unwrap()
    };
    let again = ["--restart", "always"];
    let script = "trap 'exit 4' TERM; trap 'echo again' HUP; echo ready; while :; do sleep 0.02; done";
    started(&world, &image, &again, script);
    // That is how services are told to read their configuration again.
    ask("-HUP");
    eventually("it has been told", || world.loment(["logs", "c"]).stdout.contains("again"));
    let monitor = ask("-TERM");
    eventually("its monitor has ended", || !lives(monitor));
    assert_eq!(state(&world), "exited 4 0");
    // Nobody has stopped it.
    let id = world.inspect("{{.Id}}", "c");
    assert_eq!(world.loment(["system", "boot", "--dry-run"]).succeeds(), id);
    world.loment(["rm", "c"]).succeeds();

    started(&world, &image, &again, "exit 1");
    eventually("it waits", || world.inspect("{{.State.Status}}", "c") == "restarting");
    let monitor = ask("-TERM");
    eventually("its monitor has ended", || !lives(monitor));
    assert!(state(&world).starts_with("exited 1 "), "{}", state(&world));
    world.loment(["rm", "c"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn an_attached_front_end_sees_the_first_end() {
    let (world, image) = world_with("busybox:latest");
    let words = ["run", "--network", "none", "--name", "c", "--restart", "always", &image];
    world.loment(words.into_iter().chain(["sh", "-c", "echo out; exit 9"])).fails(9);
    eventually("it was started again", || world.inspect("{{.RestartCount}}", "c") != "0");
    world.loment(["rm", "-f", "c"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_stop_is_carried_out_although_its_front_end_was_killed() {
    let (world, image) = world_with("busybox:latest");
    started(&world, &image, &[], "trap '' TERM; echo ready; while :; do sleep 0.02; done");
    let mut stop = world.command(["stop", "-t", "1", "c"]).stdout(Stdio::null()).spawn().unwrap();
    let asked = Instant::now();
    eventually("it is asked", || asked.elapsed().as_millis() > 200);
    stop.kill().unwrap();
    stop.wait().unwrap();
    eventually("it is killed", || state(&world) == "exited 137 0");
    world.loment(["rm", "c"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_container_is_killed_when_its_time_is_over() {
    let (world, image) = world_with("busybox:latest");
    let begin = Instant::now();
    let words = ["run", "--network", "none", "--name", "c", "--timeout", "1", &image, "sleep", "600"];
    // As with Podman, whose conmon counts it as -1.
    world.loment(words).fails(255);
    assert!(begin.elapsed().as_millis() >= 1000);
    assert_eq!(world.inspect("{{.State.Status}} {{.State.ExitCode}}", "c"), "exited -1");
    assert_eq!(world.loment(["wait", "c"]).succeeds(), "-1");
    world.loment(["rm", "c"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_stop_waits_for_ever_if_it_is_told_to() {
    let (world, image) = world_with("busybox:latest");
    started(
        &world,
        &image,
        &[],
        "trap 'sleep 0.5; exit 6' USR2; trap '' TERM; echo ready; while :; do sleep 0.02; done",
    );
    world.loment(["stop", "--time", "-1", "--signal", "USR2", "c"]).succeeds();
    assert_eq!(state(&world), "exited 6 0");
    world.loment(["rm", "c"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_restart_that_fails_counts_and_a_policy_cannot_go_with_rm() {
    let (world, image) = world_with("busybox:latest");
    for words in [["--rm", "--restart", "always"].as_slice(), &["--restart", "sometimes"]] {
        let all = [&["run", "--network", "none"], words, &[&image, "true"]].concat();
        world.loment(all).fails(125);
    }
    // Its program is gone when it is to be started again.
    started(&world, &image, &["--restart", "on-failure:1"], "rm /bin/sh; exit 1");
    eventually("it gives up", || state(&world) == "exited 127 1");
    assert!(world.inspect("{{.State.Error}}", "c").contains("sh"));
    world.loment(["rm", "c"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn killing_the_worker_that_records_an_end_loses_nothing() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "c", &[], &image);
    let monitor = monitor_of(&world, "c");
    // Every child of the monitor that is not the container is killed as soon as it is seen.
    let pid = pid_of(&world, "c");
    let script = format!(
        "kill -9 {pid}; for i in $(seq 2000); do \
         for p in $(cat /proc/{monitor}/task/*/children 2>/dev/null); do [ $p = {pid} ] || kill -9 $p; done; \
         [ -d /proc/{monitor} ] || exit 0; done"
    );
    Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status().unwrap();
    eventually("its end is recorded", || state(&world) == "exited 137 0");
    world.loment(["rm", "c"]).succeeds();
    eventually("nothing is left", || world.leftovers().is_empty());
}
