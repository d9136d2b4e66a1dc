//! An ordinary user, in a login session.

use std::fs;
use std::process::Command;

use loment_testkit::{Patience, run};
use serde_json::{Value, json};

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

/// A user's own systemd makes scopes, too, in the groups that were given to the user. The runtime is root of a user namespace
/// then, as engines without root have it.
#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_users_container_is_a_scope_of_the_users_systemd() {
    let (world, fs) = world();
    let uid = run(Command::new("id").arg("-u"), Patience::NORMAL).succeeds().to_owned();
    let script = "cat /proc/self/cgroup";
    let dir = crate::bundle(
        &world,
        &fs,
        script,
        &json!({ "pids": { "limit": 33 }, "memory": { "limit": 64 << 20 } }),
    );
    let file = format!("{dir}/config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    config["linux"]["cgroupsPath"] = json!("vm-user.slice:loment:user");
    fs::write(&file, config.to_string()).unwrap();
    world.named("loment-runtime", ["--version"]).succeeds();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--map-auto", "--mount"]);
    command.arg(world.dir().join("loment-runtime")).arg("--root").arg(world.dir().join("state"));
    command.args(["--systemd-cgroup", "--rootless", "false", "run", "--bundle", &dir, "u"]);
    let output = run(&mut command, Patience::NORMAL);
    let scope =
        format!("/user.slice/user-{uid}.slice/user@{uid}.service/vm.slice/vm-user.slice/loment-user.scope");
    assert!(output.succeeds().contains(&scope), "{output}");
    let mut state = Command::new("systemctl");
    state.args(["--user", "show", "--value", "--property", "LoadState", "loment-user.scope"]);
    assert_eq!(run(&mut state, Patience::NORMAL).succeeds(), "not-found");
}
