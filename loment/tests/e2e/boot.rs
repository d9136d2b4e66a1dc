//! What runs whenever the machine does.

use std::process::Command;

use loment_testkit::{Patience, World, run};

use crate::{eventually, monitor_of, pid_of, world_over_directory};

fn create(world: &World, rootfs: &str, name: &str, flags: &[&str]) {
    let head = ["create", "--network", "none", "--stop-timeout", "0", "--name", name];
    world.loment([&head[..], flags, &["--rootfs", rootfs, "sleep", "1000"]].concat()).succeeds();
}

/// What a loss of power does to a container: nobody writes that it ended.
fn lose(world: &World, name: &str) {
    let pids = [monitor_of(world, name).to_string(), pid_of(world, name).to_string()];
    run(Command::new("kill").arg("-9").args(pids), Patience::NORMAL).succeeds();
    eventually("it has ended", || world.inspect("{{.State.Status}}", name) == "exited");
}

#[test]
fn what_is_to_run_whenever_the_machine_does_is_started_after_what_it_needs() {
    let (world, rootfs) = world_over_directory();
    create(&world, &rootfs, "needed", &[]);
    create(&world, &rootfs, "always", &["--restart", "always", "--requires", "needed"]);
    create(&world, &rootfs, "lost", &["--restart", "unless-stopped"]);
    create(&world, &rootfs, "stopped", &["--restart", "unless-stopped"]);
    create(&world, &rootfs, "failing", &["--restart", "on-failure"]);
    create(&world, &rootfs, "broken", &["--restart", "always", "--volume", "/etc/hostname:/etc/passwd/x"]);
    for name in ["lost", "stopped", "failing"] {
        world.loment(["start", name]).succeeds();
    }
    world.loment(["stop", "stopped"]).succeeds();
    lose(&world, "lost");
    lose(&world, "failing");
    let id = |name: &str| world.inspect("{{.Id}}", name);
    let (always, lost, broken) = (id("always"), id("lost"), id("broken"));
    let planned = world.loment(["system", "boot", "--dry-run"]);
    assert_eq!(planned.succeeds(), [always.as_str(), &lost, &broken].join("\n"));
    let booted = world.loment(["system", "boot"]);
    booted.fails(125);
    assert_eq!(booted.stdout.lines().collect::<Vec<_>>(), [always, lost]);
    let states = world.loment(["ps", "--all", "--sort", "created", "--format", "{{.Names}} {{.State}}"]);
    let expected = [
        "needed running",
        "always running",
        "lost running",
        "stopped exited",
        "failing exited",
        "broken created",
    ];
    assert_eq!(states.succeeds().lines().collect::<Vec<_>>(), expected);
    // It harms nothing to do it again.
    world.loment(["rm", "broken"]).succeeds();
    assert_eq!(world.loment(["system", "boot"]).succeeds(), "");
}

/// Records of containers that are removed at their end are not flushed.
#[test]
fn a_record_of_which_a_power_cut_left_only_the_name_is_none() {
    let (world, rootfs) = world_over_directory();
    let create = ["create", "--rm", "--network", "none", "--name", "c", "--rootfs", &rootfs, "true"];
    for left in [&b""[..], &[0; 4096]] {
        let id = world.loment(create).succeeds().to_owned();
        let record = world.root().join("containers").join(&id).join("container.json");
        std::fs::write(&record, left).unwrap();
        assert_ne!(
            world.loment(["ps", "--all", "--quiet"]).succeeds(),
            "",
            "it was not there at the last boot"
        );
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        std::fs::File::options().write(true).open(&record).unwrap().set_modified(long_ago).unwrap();
        assert_eq!(world.loment(["ps", "--all", "--quiet"]).succeeds(), "");
        assert!(!world.root().join("containers").join(&id).exists());
        world.loment(create).succeeds();
        world.loment(["rm", "c"]).succeeds();
    }
}
