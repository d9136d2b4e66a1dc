//! An ordinary user, in a login session.

use std::fs;
use std::process::Command;

use loment_testkit::{Patience, run};

use crate::world;

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn the_session_has_what_containers_without_root_need() {
    world();
    let uid = run(Command::new("id").arg("-u"), Patience::NORMAL).succeeds().to_owned();
    assert_ne!(uid, "0");
    assert_eq!(std::env::var("XDG_RUNTIME_DIR").unwrap(), format!("/run/user/{uid}"));
    let slice = format!("/sys/fs/cgroup/user.slice/user-{uid}.slice");
    let session = fs::read_to_string("/proc/self/cgroup").unwrap();
    assert!(session.contains("/session-"), "{session}");
    let delegated = fs::read_to_string(format!("{slice}/user@{uid}.service/cgroup.controllers")).unwrap();
    assert!(["memory", "pids"].iter().all(|c| delegated.contains(c)), "{delegated}");
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--map-auto", "cat", "/proc/self/uid_map"]);
    let map = run(&mut unshare, Patience::NORMAL);
    assert_eq!(map.succeeds().lines().count(), 2, "own and subordinate ids: {map}");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn questions_that_need_no_rights_are_answered() {
    let (world, _) = world();
    assert!(world.loment(["version"]).succeeds().contains("Version:"));
}
