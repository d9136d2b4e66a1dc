//! `system reset`, `migrate` and `renumber`.

use std::fs;
use std::path::Path;

use loment_testkit::{Faults, Ids, Patience, World, run, run_with_input};

use crate::{eventually, fixtures, lives, monitor_of, pid_of, sleeper, world_over_directory, world_with};

/// One of everything, some of it running. The processes of the container that runs.
#[track_caller]
fn fill(world: &World, image: &str) -> [u32; 2] {
    sleeper(world, "c", &["-v", "data:/data", "-v", "/anonymous"], image);
    world.loment(["create", "--name", "d", "--requires", "c", "--network", "none", image, "true"]).succeeds();
    world.loment(["pod", "create", "--name", "p"]).succeeds();
    world.loment(["run", "-d", "--pod", "p", "--name", "m", image, "sleep", "1000"]).succeeds();
    world.loment(["create", "--name", "n", "--network", "container:m", image, "true"]).succeeds();
    world.loment(["tag", image, "localhost/other:1"]).succeeds();
    world.loment(["volume", "create", "unused"]).succeeds();
    world.loment_with_input(["secret", "create", "s", "-"], "x").succeeds();
    [pid_of(world, "c"), monitor_of(world, "c")]
}

/// Nothing is there, and everything works.
#[track_caller]
fn is_new(world: &World) {
    for command in [
        &["ps", "--all", "--quiet"][..],
        &["pod", "ps", "--quiet"],
        &["images", "--all", "--quiet"],
        &["volume", "ls", "--quiet"],
        &["secret", "ls", "--quiet"],
        &["events", "--stream=false", "--since", "1h"],
    ] {
        assert_eq!(world.loment(command).succeeds(), "", "{command:?}");
    }
    world.loment(["system", "check"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
    for part in ["layers", "images", "refs", "by-blob", "volumes", "secrets", "pods", "partial"] {
        let left: Vec<_> = fs::read_dir(world.root().join(part)).into_iter().flatten().flatten().collect();
        assert!(left.is_empty(), "{part}: {left:?}");
    }
    for directory in fs::read_dir(world.root().join("blobs/sha256")).unwrap().flatten() {
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "{directory:?}");
    }
}

#[test]
fn all_there_is_goes_and_a_store_that_works_stays() {
    let (world, image) = world_with("busybox:latest");
    let processes = fill(&world, &image);
    world.loment(["image", "mount", &image]).succeeds();
    world.loment(["mount", "d"]).succeeds();
    let refused = world.loment_with_input(["system", "reset"], "n\n");
    assert!(refused.succeeds().contains("all containers") && refused.stdout.contains("all volumes"));
    world.loment(["system", "reset"]).fails_saying(125, &["--force"]);
    assert!(processes.into_iter().all(lives));
    world.loment_with_input(["system", "reset"], "y\n").succeeds();
    eventually("its processes have ended", || !processes.into_iter().any(lives));
    is_new(&world);
    let registry = fixtures().serve();
    let name = registry.name("busybox:latest");
    world.loment(["pull", "--quiet", "--tls-verify=false", &name]).succeeds();
    world.loment(["run", "--rm", "--network", "none", &name, "true"]).succeeds();
    world.loment(["system", "reset", "--force"]).succeeds();
    // Once more, of nothing.
    world.loment(["system", "reset", "--force"]).succeeds();
    is_new(&world);
}

#[test]
fn what_is_damaged_or_half_made_goes_too() {
    let (world, image) = world_with("busybox:latest");
    fill(&world, &image);
    let entry = |part: &str| fs::read_dir(world.root().join(part)).unwrap().flatten().next().unwrap().path();
    fs::write(entry("images"), "{").unwrap();
    fs::write(entry("pods").join("pod.json"), "{").unwrap();
    let id = world.inspect("{{.Id}}", "d");
    fs::write(world.root().join("containers").join(&id).join("container.json"), "{").unwrap();
    for part in ["containers", "volumes", "secrets"] {
        let name = if part == "containers" { "a".repeat(64) } else { "half".to_owned() };
        fs::create_dir(world.root().join(part).join(name)).unwrap();
    }
    fs::create_dir(world.root().join("staging/half")).unwrap();
    fs::write(world.root().join("volumes/unused/volume.json"), "{").unwrap();
    world.loment(["system", "reset", "--force"]).succeeds();
    is_new(&world);
}

#[test]
fn links_lead_nowhere() {
    let (world, rootfs) = world_over_directory();
    world.loment(["volume", "create", "v"]).succeeds();
    world.loment(["create", "--network", "none", "--rootfs", &rootfs, "true"]).succeeds();
    let outside = world.path("outside");
    fs::create_dir_all(outside.join("_data")).unwrap();
    fs::write(outside.join("_data/kept"), "").unwrap();
    let data = world.root().join("volumes/v/_data");
    fs::remove_dir(&data).unwrap();
    for link in [
        data,
        world.root().join("volumes/evil"),
        world.root().join("containers").join("b".repeat(64)),
        world.root().join("images/evil.json"),
        world.root().join("partial/evil"),
        world.runroot().join("containers").join("c".repeat(64)),
    ] {
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&outside, link).unwrap();
    }
    world.loment(["system", "reset", "--force"]).succeeds();
    is_new(&world);
    assert!(outside.join("_data/kept").exists() && Path::new(&rootfs).join("bin").exists());
}

#[test]
fn what_others_show_in_a_volume_is_said_and_stays() {
    let (world, _) = world_over_directory();
    world.loment(["volume", "create", "v"]).succeeds();
    let data = world.root().join("volumes/v/_data");
    rustix::mount::mount("none", &data, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
    fs::write(data.join("kept"), "").unwrap();
    world.loment(["system", "reset", "--force"]).fails_saying(125, &["volume v", "mounted"]);
    assert!(data.join("kept").exists());
    rustix::mount::unmount(&data, rustix::mount::UnmountFlags::empty()).unwrap();
    world.loment(["system", "reset", "--force"]).succeeds();
    is_new(&world);
}

/// A full store whose reset is killed before its N-th change, and then done again; how many changes it made, if it came to its end.
#[track_caller]
fn killed(nth: u64) -> Option<u64> {
    let (world, image) = world_with("busybox:latest");
    fill(&world, &image);
    let faults = Faults::below([world.root(), world.runroot()]);
    let stopped = faults.kill_before(nth, &mut world.command(["system", "reset", "--force"]));
    for command in [&["ps", "--all"][..], &["pod", "ps"], &["images"], &["volume", "ls"], &["secret", "ls"]] {
        let shown = world.loment(command);
        assert_eq!(shown.code, 0, "{:?}: {command:?}: {shown}", stopped.before);
    }
    let again = world.loment(["system", "reset", "--force"]);
    assert_eq!(again.code, 0, "{:?}: {again}", stopped.before);
    is_new(&world);
    stopped.code.map(|_| stopped.changes)
}

#[test]
fn a_reset_that_is_killed_is_finished_by_the_next() {
    let all = killed(u64::MAX).expect("it comes to its end");
    assert!(all > 50, "{all} changes are too few to be all");
    // Some of them.
    for nth in (1..=all).step_by(usize::try_from(all / 12).unwrap()) {
        killed(nth);
    }
}

#[test]
fn a_migration_stops_what_runs() {
    let (world, rootfs) = world_over_directory();
    sleeper(&world, "c", &["--rootfs"], &rootfs);
    world.loment(["create", "--name", "d", "--network", "none", "--rootfs", &rootfs, "true"]).succeeds();
    let id = world.inspect("{{.Id}}", "c");
    let migrated = world.loment(["system", "migrate", "--new-runtime", "crun", "--migrate-db"]);
    assert_eq!(migrated.succeeds(), format!("stopped {id}"));
    assert_eq!(world.inspect("{{.State.Status}}", "c"), "exited");
    assert_eq!(world.inspect("{{.State.Status}}", "d"), "created");
    assert_eq!(world.loment(["system", "migrate"]).succeeds(), "");
    assert_eq!(world.loment(["system", "renumber"]).succeeds(), "");
    world.loment(["start", "c"]).succeeds();
}

#[test]
fn an_ordinary_user_migrates_to_other_ids_and_resets() {
    let world = World::of_user(Path::new(env!("CARGO_BIN_EXE_loment")), Ids::Many);
    let registry = fixtures().serve();
    let image = registry.name("busybox:latest");
    world.loment(["pull", "--quiet", "--tls-verify=false", &image]).succeeds();
    sleeper(&world, "c", &[], &image);
    fs::write(world.dir().join("accounts/subuid"), "loment-test:500000:65536\n").unwrap();
    let ids = || {
        let map = ["run", "--rm", "--network", "none", &image, "cat", "/proc/self/uid_map"];
        world.loment(map).succeeds().split_whitespace().nth(4).map(str::to_owned)
    };
    assert_eq!(ids().as_deref(), Some("400000"), "who comes joins the namespace that is there");
    world.loment(["system", "migrate"]).succeeds();
    assert_eq!(ids().as_deref(), Some("500000"));
    world.loment(["system", "reset", "--force"]).succeeds();
    is_new(&world);
}

#[test]
fn an_answer_is_read_as_podman_reads_it() {
    let (world, _) = world_over_directory();
    let mut command = world.command(["system", "reset"]);
    let output = run_with_input(&mut command, b"Yes\n", Patience::NORMAL);
    assert!(output.succeeds().trim_end().ends_with("[y/N]"), "{}", output.stdout);
    run(&mut world.command(["system", "reset", "--nope"]), Patience::NORMAL).fails(125);
}
