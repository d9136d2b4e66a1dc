//! `pause` and `resume`.

use super::{Guard, bundle, runtime};
use crate::{eventually, world};

#[test]
fn a_paused_container_stands_still_until_it_is_resumed() {
    let world = world();
    let dir = bundle(&world, "while :; do date +%N > /tick; sleep 0.02; done", |_| ());
    let c = Guard::start(&world, "pause", &dir);
    let tick = || std::fs::read_to_string(dir.join("rootfs/tick")).unwrap_or_default();
    let changes = || {
        let before = tick();
        move |now: String| now != before
    };
    let changed = changes();
    eventually("it runs", || changed(tick()));
    runtime(&world, &["resume", &c.id]).fails_saying(1, &["container not paused"]);
    runtime(&world, &["pause", &c.id]).succeeds();
    assert_eq!(c.status(), "paused");
    runtime(&world, &["pause", &c.id]).fails_saying(1, &["it is paused"]);
    let before = tick();
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(tick(), before);
    runtime(&world, &["exec", &c.id, "/bin/true"]).fails_saying(255, &["cannot exec in a paused container"]);
    runtime(&world, &["delete", &c.id]).fails_saying(1, &["that is not stopped: paused"]);
    runtime(&world, &["resume", &c.id]).succeeds();
    assert_eq!(c.status(), "running");
    let changed = changes();
    eventually("it goes on", || changed(tick()));
}

#[test]
fn a_paused_container_can_be_killed() {
    let world = world();
    let dir = bundle(&world, "sleep 60", |_| ());
    let c = Guard::start(&world, "pausekill", &dir);
    runtime(&world, &["pause", &c.id]).succeeds();
    runtime(&world, &["kill", &c.id, "KILL"]).succeeds();
    eventually("it ends", || c.status() == "stopped");
}
