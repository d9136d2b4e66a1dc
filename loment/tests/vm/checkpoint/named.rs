//! Docker's `checkpoint` and `start --checkpoint`.

use loment_testkit::World;

use super::engine::logs;
use crate::{eventually, world};

const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i >/dev/shm/count; sleep 0.1; done";

fn count(world: &World) -> u64 {
    let read = || world.loment(["exec", "c", "cat", "/dev/shm/count"]).stdout.trim().parse().ok();
    (0..50).find_map(|_| read()).unwrap_or_default()
}

#[track_caller]
fn works(world: &World, words: &[&str]) -> String {
    let output = world.loment(words);
    assert_eq!(output.code, 0, "{output}\n{}", logs(world));
    output.succeeds().to_owned()
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_goes_on_from_any_of_its_checkpoints() {
    let (world, fs) = world();
    let dir = world.path("elsewhere").into_os_string().into_string().unwrap();
    world
        .loment([
            "run",
            "-d",
            "--network",
            "none",
            "--restart",
            "always",
            "--name",
            "c",
            "--rootfs",
            &fs,
            "sh",
            "-c",
            COUNT,
        ])
        .succeeds();
    eventually("it counts", || count(&world) > 3);
    assert_eq!(works(&world, &["checkpoint", "create", "--leave-running", "c", "early"]), "early");
    let early = count(&world);
    eventually("it counts on", || count(&world) > early + 30);
    let late = count(&world);
    works(&world, &["checkpoint", "create", "--checkpoint-dir", &dir, "c", "late"]);
    assert_eq!(world.inspect("{{.State.Status}} {{.State.Checkpointed}}", "c"), "exited true");
    assert_eq!(works(&world, &["checkpoint", "ls", "c"]), "CHECKPOINT NAME\nearly");
    assert_eq!(works(&world, &["checkpoint", "ls", "--checkpoint-dir", &dir, "c"]), "CHECKPOINT NAME\nlate");
    world.loment(["checkpoint", "create", "c", "early"]).fails(125);
    for _ in 0..2 {
        assert_eq!(works(&world, &["start", "--checkpoint", "early", "c"]), "c");
        eventually("it counts", || count(&world) > early);
        assert!(count(&world) < late);
        world.loment(["checkpoint", "create", "c", "early"]).fails_saying(125, &["already exists"]);
        world.loment(["stop", "-t", "0", "c"]).succeeds();
    }
    works(&world, &["start", "--checkpoint", "late", "--checkpoint-dir", &dir, "c"]);
    eventually("it counts", || count(&world) > late);
    world.loment(["stop", "-t", "0", "c"]).succeeds();
    works(&world, &["checkpoint", "rm", "c", "early"]);
    world.loment(["checkpoint", "rm", "c", "early"]).fails_saying(125, &["does not exist"]);
    world.loment(["start", "--checkpoint", "early", "c"]).fails_saying(125, &["does not exist"]);
    works(&world, &["checkpoint", "rm", "--checkpoint-dir", &dir, "c", "late"]);
    world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}
