//! An ordinary user, in a login session.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use loment_testkit::{Output, Patience, World, run};
use serde_json::{Value, json};

use crate::{eventually, group, setting, sh, sleeper, world};

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

fn uid() -> String {
    run(Command::new("id").arg("-u"), Patience::NORMAL).succeeds().to_owned()
}

/// The group of the user's systemd, which was given to the user with these controllers.
fn users_group() -> (PathBuf, String) {
    let uid = uid();
    let group = PathBuf::from(format!("/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service"));
    let controllers = fs::read_to_string(group.join("cgroup.controllers")).unwrap();
    (group, controllers)
}

fn monitor(world: &World) -> u32 {
    world.inspect("{{.State.ConmonPid}}", "c").parse().unwrap()
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn limits_take_effect_in_a_scope_of_the_users_systemd() {
    let (world, fs) = world();
    let (given, controllers) = users_group();
    let pid = sleeper(&world, &["--memory", "64m", "--pids-limit", "33"], &fs);
    let id = world.inspect("{{.Id}}", "c");
    let scope = given.join(format!("user.slice/loment-{id}.scope"));
    assert_eq!(group(pid, ""), scope.join("container"));
    assert_eq!(group(monitor(&world), ""), scope.join("monitor"), "outside of the session");
    assert_eq!(setting(pid, "memory", &["memory.max"]), (64 << 20).to_string());
    assert_eq!(setting(pid, "pids", &["pids.max"]), "33");
    let seen = world.loment(["exec", "c", "cat", "/proc/self/cgroup", "/sys/fs/cgroup/pids.max"]);
    assert_eq!(seen.succeeds(), "0::/\n33");
    let cpus = ["run", "--rm", "--network", "none", "--cpus", "0.5", "--rootfs", &fs];
    let output = world.loment([&cpus[..], &["cat", "/sys/fs/cgroup/cpu.max"]].concat());
    match controllers.split_whitespace().any(|c| c == "cpu") {
        true => assert_eq!(output.succeeds(), "50000 100000"),
        false => {
            output.fails_saying(125, &["--cpus", "cpu cgroup controller was not delegated", "Delegate="])
        }
    }
    // Nothing that was not asked for fails.
    assert_eq!(sh(&world, &[], &fs, "echo usual").succeeds(), "usual");
    world.loment(["rm", "--force", "--time", "0", "c"]).succeeds();
    eventually("the scope is gone", || !scope.exists());
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_users_container_is_looked_at_paused_and_changed_as_roots_is() {
    let (world, fs) = world();
    let pid = sleeper(&world, &["--memory", "64m"], &fs);
    let stats = world.loment(["stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", "c"]);
    assert!(stats.succeeds().contains("/ 67.11MB"), "{stats}");
    assert!(world.loment(["top", "c", "comm"]).succeeds().contains("sleep"));
    world.loment(["pause", "c"]).succeeds();
    assert!(fs::read_to_string(group(pid, "").join("cgroup.events")).unwrap().contains("frozen 1"));
    assert_eq!(world.inspect("{{.State.Status}}", "c"), "paused");
    world.loment(["unpause", "c"]).succeeds();
    world.loment(["update", "--memory", "32m", "--pids-limit", "44", "c"]).succeeds();
    assert_eq!(setting(pid, "memory", &["memory.max"]), (32 << 20).to_string());
    assert_eq!(setting(pid, "pids", &["pids.max"]), "44");
    let (_, controllers) = users_group();
    if !controllers.split_whitespace().any(|c| c == "cpuset") {
        let refused = world.loment(["update", "--cpuset-cpus", "0", "c"]);
        refused.fails_saying(125, &["cpuset cgroup controller is not passed on", "Delegate="]);
    }
    // Its next life has them, too, however soon.
    for _ in 0..3 {
        world.loment(["restart", "--time", "0", "c"]).succeeds();
        let pid: u32 = world.inspect("{{.State.Pid}}", "c").parse().unwrap();
        assert_eq!(setting(pid, "pids", &["pids.max"]), "44");
        world.loment(["stop", "--time", "0", "c"]).succeeds();
        world.loment(["start", "c"]).succeeds();
    }
    world.loment(["rm", "--force", "--time", "0", "c"]).succeeds();
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn too_much_memory_is_reported_of_a_users_container() {
    let (world, fs) = world();
    for _ in 0..4 {
        let flags =
            ["run", "--network", "none", "--name", "c", "--replace", "-m", "16m", "--memory-swap", "16m"];
        world.loment([&flags[..], &["--rootfs", &fs, "tail", "/dev/zero"]].concat()).fails(137);
        assert_eq!(world.inspect("{{.State.OOMKilled}} {{.State.ExitCode}}", "c"), "true 137");
    }
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_users_pod_is_limited_in_a_slice_that_goes_with_it() {
    let (world, fs) = world();
    world.loment(["pod", "create", "--name", "p", "--network", "none", "--memory", "64m"]).succeeds();
    let flags = ["run", "--detach", "--pod", "p", "--name", "c", "--rootfs", &fs, "sh", "-c"];
    world.loment([&flags[..], &[crate::SLEEP]].concat()).succeeds();
    let pid: u32 = world.inspect("{{.State.Pid}}", "c").parse().unwrap();
    let slice = group(pid, "").ancestors().nth(2).unwrap().to_owned();
    let pod = world.loment(["pod", "inspect", "--format", "{{.Id}}", "p"]);
    let name = format!("user-loment_pod_{}.slice", pod.succeeds());
    assert_eq!(slice, users_group().0.join("user.slice").join(name));
    assert_eq!(fs::read_to_string(slice.join("memory.max")).unwrap().trim(), (64 << 20).to_string());
    world.loment(["pod", "rm", "--force", "--time", "0", "p"]).succeeds();
    eventually("the slice is gone", || !slice.exists());
}

/// Runs a command of the user's in a service of the user's systemd.
fn in_service(command: &Command) -> Output {
    let mut service = Command::new("systemd-run");
    service.args(["--user", "--quiet", "--pipe", "--wait", "--collect"]);
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("--setenv={}={}", name.to_str()?, value?.to_str()?)));
    service.args(variables).arg(command.get_program()).args(command.get_args());
    run(&mut service, Patience::NORMAL)
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn without_systemd_groups_are_made_where_the_user_may_make_some() {
    let (world, fs) = world();
    let flags =
        ["--cgroup-manager", "cgroupfs", "run", "--detach", "--network", "none", "--name", "c", "-m", "64m"];
    let words = [&flags[..], &["--rootfs", &fs, "sh", "-c", crate::SLEEP]].concat();
    // This session's group is root's.
    world.loment(&words).fails_saying(125, &["--memory", "this user may make none here"]);
    in_service(&world.command(&words)).succeeds();
    let pid: u32 = world.inspect("{{.State.Pid}}", "c").parse().unwrap();
    let id = world.inspect("{{.Id}}", "c");
    let ours = users_group().0.join("loment");
    assert_eq!(group(pid, ""), ours.join(format!("loment-{id}")));
    assert_eq!(group(monitor(&world), ""), ours.join(format!("loment-{id}-monitor")));
    assert_eq!(setting(pid, "memory", &["memory.max"]), (64 << 20).to_string());
    world.loment(["pause", "c"]).succeeds();
    world.loment(["unpause", "c"]).succeeds();
    world.loment(["rm", "--force", "--time", "0", "c"]).succeeds();
    eventually("its groups are gone", || {
        let left = fs::read_dir(&ours).unwrap().flatten();
        left.filter(|e| e.file_name().to_string_lossy().contains(&id)).count() == 0
    });
}

/// A service that ends, or is stopped, takes nothing with it.
#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_users_container_outlives_the_service_that_started_it() {
    let (world, fs) = world();
    let flags = ["run", "--detach", "--network", "none", "--name", "c", "--rootfs", &fs];
    in_service(&world.command([&flags[..], &["sh", "-c", crate::SLEEP]].concat())).succeeds();
    assert_eq!(world.loment(["exec", "c", "echo", "still"]).succeeds(), "still");
    world.loment(["stop", "c"]).succeeds();
    assert_eq!(world.inspect("{{.State.ExitCode}}", "c"), "0");
}

/// A service whose group is the user's has limits for its containers in it, and they end with it.
#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_service_that_delegates_is_split_for_its_container() {
    let (world, fs) = world();
    let flags =
        ["run", "--network", "none", "--cgroups", "split", "--name", "c", "-m", "64m", "--rootfs", &fs];
    let command = world.command([&flags[..], &["sh", "-c", crate::SLEEP]].concat());
    let mut service = Command::new("systemd-run");
    service.args(["--user", "--quiet", "--collect", "--unit=split", "--property=Delegate=yes"]);
    let variables = command.get_envs();
    service.args(variables.filter_map(|(n, v)| Some(format!("--setenv={}={}", n.to_str()?, v?.to_str()?))));
    run(service.arg(command.get_program()).args(command.get_args()), Patience::NORMAL).succeeds();
    let status = || world.loment(["ps", "--format", "{{.State}}"]).stdout;
    eventually("it runs", || status().trim() == "running");
    let pid: u32 = world.inspect("{{.State.Pid}}", "c").parse().unwrap();
    let unit = users_group().0.join("app.slice/split.service");
    assert_eq!(group(pid, ""), unit.join(format!("loment-{}", world.inspect("{{.Id}}", "c"))));
    assert_eq!(group(monitor(&world), ""), unit.join("loment-monitors"));
    assert_eq!(setting(pid, "memory", &["memory.max"]), (64 << 20).to_string());
    assert_ne!(setting(pid, "pids", &["pids.max"]), "max");
    world.loment(["pause", "c"]).succeeds();
    world.loment(["unpause", "c"]).succeeds();
    let mut stop = Command::new("systemctl");
    run(stop.args(["--user", "stop", "split.service"]), Patience::NORMAL).succeeds();
    eventually("its group is gone", || !unit.exists());
    assert_eq!(status(), "");
    world.loment(["rm", "c"]).succeeds();
}
