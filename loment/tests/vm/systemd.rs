//! Groups that systemd makes: `loment-runtime --systemd-cgroup`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use loment_testkit::{Output, Patience, World, run, skip};
use serde_json::{Value, json};

use crate::groups::{disturb, lives, systemctl};
use crate::{SLEEP, bundle, eventually, group, setting, sleeper, world};

const ID: &str = "vm-scope";
const UNIT: &str = "loment-vm-scope.scope";

/// A scope that is stopped whatever happens.
struct Scope(&'static str);

impl Drop for Scope {
    fn drop(&mut self) {
        // One that is gone is what is wanted.
        drop(Command::new("systemctl").args(["stop", self.0]).output());
    }
}

/// A [`bundle`] for a scope in that slice.
fn scope_bundle(world: &World, fs: &str, script: &str, resources: &Value) -> String {
    let dir = bundle(world, fs, script, resources);
    let file = format!("{dir}/config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    config["linux"]["cgroupsPath"] = json!(format!("vm-test.slice:loment:{ID}"));
    config["annotations"] = json!({ "org.systemd.property.TimeoutStopUSec": "uint64 7000000" });
    fs::write(file, config.to_string()).unwrap();
    dir
}

/// `PROGRAM --root DIR --systemd-cgroup ARGUMENTS`, with nothing of ours inherited.
#[track_caller]
fn with_systemd(world: &World, program: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("sh");
    // A container that goes on must not keep our pipes.
    let errors = if arguments.contains(&"--detach") {
        format!("2>{}", errors(world).display())
    } else {
        String::new()
    };
    command.args(["-c", &format!("exec \"$@\" >/dev/null </dev/null {errors}"), "sh"]).arg(program);
    command.arg("--root").arg(world.dir().join("runtime")).arg("--systemd-cgroup").args(arguments);
    run(&mut command, Patience::NORMAL)
}

/// What a container's maker said that goes on.
fn errors(world: &World) -> PathBuf {
    world.dir().join("errors")
}

#[track_caller]
fn ours(world: &World, arguments: &[&str]) -> Output {
    world.named("loment-runtime", ["--version"]).succeeds();
    with_systemd(world, &world.dir().join("loment-runtime"), arguments)
}

/// Starts a container in a scope and returns its first process.
#[track_caller]
fn start(world: &World, fs: &str, resources: &Value) -> u32 {
    let dir = scope_bundle(world, fs, SLEEP, resources);
    let pid_file = format!("{dir}/pid");
    ours(world, &["run", "--detach", "--bundle", &dir, "--pid-file", &pid_file, ID]).succeeds();
    fs::read_to_string(pid_file).unwrap().trim().parse().unwrap()
}

#[track_caller]
fn show(property: &str) -> String {
    let mut command = Command::new("systemctl");
    command.args(["show", "--value", "--property", property, UNIT]);
    run(&mut command, Patience::NORMAL).succeeds().to_owned()
}

fn limits() -> Value {
    json!({
        "memory": { "limit": 64 << 20, "swap": 96 << 20 },
        "cpu": { "quota": 50000, "period": 100_000, "shares": 512, "cpus": "1", "mems": "0" },
        "pids": { "limit": 33 },
    })
}

/// Everything that [`limits`] writes.
fn settings(pid: u32) -> Vec<String> {
    let files: [(&str, &[&str]); 6] = [
        ("memory", &["memory.limit_in_bytes", "memory.max"]),
        ("memory", &["memory.memsw.limit_in_bytes", "memory.swap.max"]),
        ("cpu", &["cpu.cfs_quota_us", "cpu.max"]),
        ("cpu", &["cpu.shares", "cpu.weight"]),
        ("cpuset", &["cpuset.cpus"]),
        ("pids", &["pids.max"]),
    ];
    files.iter().map(|(controller, files)| setting(pid, controller, files)).collect()
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_is_a_scope_with_its_limits() {
    let (world, fs) = world();
    let _scope = Scope(UNIT);
    let pid = start(&world, &fs, &limits());
    let group = group(pid, "memory");
    assert!(group.ends_with(format!("vm.slice/vm-test.slice/{UNIT}")), "{}", group.display());
    assert_eq!(show("Slice"), "vm-test.slice");
    assert_eq!(show("Delegate"), "yes");
    assert_eq!(show("TimeoutStopUSec"), "7s");
    assert_eq!(show("TasksMax"), "33");
    let written = settings(pid);
    assert_eq!(written[0], (64 << 20).to_string());
    assert!(written[2].starts_with("50000"), "{written:?}");
    assert_eq!(written[4..], ["1", "33"]);
    ours(&world, &["delete", "--force", ID]).succeeds();
    assert!(!lives(pid));
    eventually("its group is gone", || !group.exists());
    assert_eq!(show("LoadState"), "not-found");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn limits_of_a_scope_stay_when_systemd_arranges_its_groups() {
    let (world, fs) = world();
    let _scope = Scope(UNIT);
    let pid = start(&world, &fs, &limits());
    let before = settings(pid);
    disturb();
    assert_eq!(settings(pid), before);
    ours(&world, &["delete", "--force", ID]).succeeds();
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn stopping_the_scope_ends_the_container() {
    let (world, fs) = world();
    let _scope = Scope(UNIT);
    let pid = start(&world, &fs, &json!({}));
    ours(&world, &["exec", ID, "true"]).succeeds();
    systemctl(&["stop", UNIT]);
    assert!(!lives(pid));
    assert_eq!(show("LoadState"), "not-found");
    ours(&world, &["delete", ID]).succeeds();
    // The id and the unit can be used again.
    start(&world, &fs, &json!({}));
    ours(&world, &["delete", "--force", ID]).succeeds();
}

/// `run.oci.systemd.subgroup` and `run.oci.delegate-cgroup`, as crun documents them.
#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_manages_a_group_in_its_scope() {
    let (world, fs) = world();
    let _scope = Scope(UNIT);
    let resources = json!({ "memory": { "limit": 64 << 20 }, "pids": { "limit": 50 } });
    let dir = scope_bundle(&world, &fs, SLEEP, &resources);
    let file = format!("{dir}/config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    config["annotations"] =
        json!({ "run.oci.systemd.subgroup": "container", "run.oci.delegate-cgroup": "payload" });
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "cgroup" }));
    fs::write(file, config.to_string()).unwrap();
    let pid_file = format!("{dir}/pid");
    let run = ["run", "--detach", "--bundle", &dir, "--pid-file", &pid_file, ID];
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        ours(&world, &run).fails(1);
        assert!(fs::read_to_string(errors(&world)).unwrap().contains("not supported on cgroup v1"));
        assert_eq!(show("LoadState"), "not-found");
        return;
    }
    ours(&world, &run).succeeds();
    let pid = fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
    for _ in 0..2 {
        let payload = group(pid, "memory");
        assert!(payload.ends_with(format!("{UNIT}/container/payload")), "{}", payload.display());
        let read = |file: &str| fs::read_to_string(payload.join(file)).unwrap().trim().to_owned();
        assert_eq!([read("../memory.max"), read("../pids.max")], ["67108864", "50"]);
        // Controllers are there, limits are not.
        assert_eq!([read("memory.max"), read("pids.max"), read("../cgroup.procs")], ["max", "max", ""]);
        // Nobody can be in the container's group itself.
        ours(&world, &["exec", ID, "/bin/sh", "-c", "grep 0:: /proc/self/cgroup > /member"]).succeeds();
        assert_eq!(fs::read_to_string(format!("{fs}/member")).unwrap(), "0::/payload\n");
        disturb();
    }
    let payload = group(pid, "memory");
    ours(&world, &["delete", "--force", ID]).succeeds();
    assert!(!lives(pid) && !payload.exists());
    assert_eq!(show("LoadState"), "not-found");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_program_that_ends_leaves_no_scope() {
    let (world, fs) = world();
    let _scope = Scope(UNIT);
    let dir = scope_bundle(&world, &fs, "exit 7", &json!({ "memory": { "limit": 1 << 20 } }));
    for _ in 0..3 {
        ours(&world, &["run", "--bundle", &dir, ID]).fails(7);
        assert_eq!(show("LoadState"), "not-found");
    }
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_that_cannot_be_made_leaves_no_scope() {
    let (world, fs) = world();
    let _scope = Scope(UNIT);
    let dir = scope_bundle(&world, &fs, "true", &json!({ "cpu": { "cpus": "4000" } }));
    let output = ours(&world, &["run", "--bundle", &dir, ID]);
    assert!(output.code != 0 && output.stderr.contains("cpuset.cpus"), "{output}");
    assert_eq!(show("LoadState"), "not-found");
    let path = format!("{dir}/config.json");
    let bad = fs::read_to_string(&path).unwrap().replace("vm-test.slice:loment:", "/a/b/");
    fs::write(&path, bad).unwrap();
    let output = ours(&world, &["run", "--bundle", &dir, ID]);
    assert!(output.code != 0 && output.stderr.contains("slice:prefix:name"), "{output}");
}

/// The control: what runc and crun of the same machine tell systemd, we tell it, too, and the same.
#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_scope_has_the_properties_that_its_peers_give_it() {
    let (world, fs) = world();
    let properties = [
        "Slice",
        "Delegate",
        "DefaultDependencies",
        "MemoryMax",
        "MemorySwapMax",
        "MemoryLimit",
        "CPUQuotaPerSecUSec",
        // Not CPUWeight: older ones convert shares by another formula.
        "CPUShares",
        "AllowedCPUs",
        "AllowedMemoryNodes",
        "TasksMax",
    ];
    let all = || properties.map(show);
    let own = {
        let _scope = Scope(UNIT);
        start(&world, &fs, &limits());
        let own = all();
        ours(&world, &["delete", "--force", ID]).succeeds();
        own
    };
    for peer in ["runc", "crun"] {
        let Some(program) =
            ["/usr/sbin", "/usr/bin"].iter().map(|d| Path::new(d).join(peer)).find(|p| p.exists())
        else {
            skip("the properties of a scope", &format!("the machine has no {peer}"));
            continue;
        };
        let _scope = Scope(UNIT);
        let dir = scope_bundle(&world, &fs, SLEEP, &limits());
        let output = with_systemd(&world, &program, &["run", "--detach", "--bundle", &dir, ID]);
        if output.code != 0 {
            let said = fs::read_to_string(errors(&world)).unwrap_or_default();
            skip("the properties of a scope", &format!("{peer} says {said:?}"));
            continue;
        }
        let theirs = all();
        with_systemd(&world, &program, &["delete", "--force", ID]).succeeds();
        // crun limits a group in its scope, and does not tell systemd.
        let known = if peer == "crun" { 3 } else { properties.len() };
        for ((name, own), theirs) in properties.iter().zip(&own).zip(&theirs).take(known) {
            assert_eq!(own, theirs, "{name} of {peer}");
        }
    }
}

/// Whether systemd manages the groups of this machine, so that the engine lets it.
fn is_default() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn the_engine_has_systemd_make_groups_where_it_manages_them() {
    let (world, fs) = world();
    let manager = world.loment(["info", "--format", "{{.host.cgroupManager}}"]);
    assert_eq!(manager.succeeds(), if is_default() { "systemd" } else { "cgroupfs" });
    let pid = sleeper(&world, &[], &fs);
    let id = world.inspect("{{.Id}}", "c");
    let name = if is_default() { format!("machine.slice/loment-{id}.scope") } else { format!("loment-{id}") };
    assert_eq!(world.inspect("{{.State.CgroupPath}}", "c"), format!("/{name}"));
    assert!(group(pid, "pids").ends_with(name), "{}", group(pid, "pids").display());
    world.loment(["rm", "--force", "--time", "0", "c"]).succeeds();
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn both_managers_can_be_asked_for_and_take_a_parent() {
    let (world, fs) = world();
    for (manager, parent, path) in [
        ("systemd", "vm-own.slice", "vm.slice/vm-own.slice/loment-ID.scope"),
        ("cgroupfs", "/vm-own/deep", "vm-own/deep/loment-ID"),
    ] {
        let flags = ["--cgroup-manager", manager, "run", "--detach", "--network", "none", "--name", "c"];
        let rest = ["--cgroup-parent", parent, "-m", "64m", "--rootfs", &fs, "sh", "-c", SLEEP];
        world.loment([flags.as_slice(), &rest].concat()).succeeds();
        let pid: u32 = world.inspect("{{.State.Pid}}", "c").parse().unwrap();
        let path = path.replace("ID", &world.inspect("{{.Id}}", "c"));
        assert!(group(pid, "memory").ends_with(&path), "{}", group(pid, "memory").display());
        let memory = || setting(pid, "memory", &["memory.limit_in_bytes", "memory.max"]);
        assert_eq!(memory(), (64 << 20).to_string());
        assert_eq!(world.loment(["exec", "c", "echo", "in"]).succeeds(), "in");
        let dir = group(pid, "memory");
        world.loment(["rm", "--force", "--time", "0", "c"]).succeeds();
        eventually("its group is gone", || !dir.exists());
        if manager == "cgroupfs" {
            fs::remove_dir(dir.parent().unwrap()).unwrap();
        }
    }
    let run = ["--cgroup-manager", "systemd", "run", "--cgroup-parent", "a/b", "--rootfs", &fs, "true"];
    let output = world.loment(run);
    assert!(output.code == 125 && output.stderr.contains("slice"), "{output}");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_whose_scope_is_stopped_is_recorded_and_can_be_started_again() {
    let (world, fs) = world();
    let flags = ["--cgroup-manager", "systemd", "run", "--detach", "--network", "none", "--name", "c"];
    world.loment([flags.as_slice(), &["--rootfs", &fs, "sh", "-c", SLEEP]].concat()).succeeds();
    let unit = format!("loment-{}.scope", world.inspect("{{.Id}}", "c"));
    systemctl(&["stop", &unit]);
    // Its program was sent its stop signal.
    assert_eq!(world.loment(["wait", "c"]).succeeds(), "0");
    assert_eq!(world.inspect("{{.State.Status}} {{.State.OOMKilled}}", "c"), "exited false");
    world.loment(["start", "c"]).succeeds();
    systemctl(&["is-active", &unit]);
    world.loment(["stop", "c"]).succeeds();
    eventually("the scope is gone", || state_of(&unit) == "not-found");
}

fn state_of(unit: &str) -> String {
    let mut state = Command::new("systemctl");
    state.args(["show", "--value", "--property", "LoadState", unit]);
    run(&mut state, Patience::NORMAL).succeeds().to_owned()
}

/// systemd removes a scope as soon as it is empty, and with it the count.
#[test]
#[ignore = "run by cargo xtask vm-test"]
fn too_much_memory_is_reported_of_a_scope_too() {
    let (world, fs) = world();
    for _ in 0..8 {
        let flags = ["--cgroup-manager", "systemd", "run", "--network", "none", "--name", "c", "--replace"];
        let rest = ["-m", "16m", "--memory-swap", "16m", "--rootfs", &fs, "tail", "/dev/zero"];
        world.loment([flags.as_slice(), &rest].concat()).fails(137);
        assert_eq!(world.inspect("{{.State.OOMKilled}} {{.State.ExitCode}}", "c"), "true 137");
    }
}

/// A scope that ends while its monitor stands still, so that the count is gone before it can be read; whether that is recorded
/// as a lack of memory. `end` makes it end.
fn ends_unseen(world: &World, fs: &str, limit: &str, end: impl FnOnce(u32)) -> String {
    let flags =
        ["--cgroup-manager", "systemd", "run", "--detach", "--network", "none", "--name", "c", "--replace"];
    let script = "until [ -e /tmp/go ]; do sleep 0.1; done; exec tail /dev/zero";
    let rest = ["-m", limit, "--memory-swap", limit, "--tmpfs", "/tmp", "--rootfs", fs, "sh", "-c", script];
    world.loment([flags.as_slice(), &rest].concat()).succeeds();
    let pid: u32 = world.inspect("{{.State.Pid}}", "c").parse().unwrap();
    let monitor = world.inspect("{{.State.ConmonPid}}", "c");
    let group = group(pid, "memory");
    let signal =
        |name: &str| run(Command::new("kill").args([name, &monitor]), Patience::NORMAL).succeeds().to_owned();
    signal("-STOP");
    end(pid);
    eventually("the scope is gone", || !group.exists());
    signal("-CONT");
    assert_eq!(world.loment(["wait", "c"]).succeeds(), "137");
    world.inspect("{{.State.OOMKilled}}", "c")
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn too_much_memory_is_reported_of_a_scope_that_is_gone() {
    if !is_default() {
        return skip("a scope that is gone with its count", "on v1 its group for memory is ours");
    }
    let (world, fs) = world();
    let go = |pid: u32| fs::write(format!("/proc/{pid}/root/tmp/go"), "").unwrap();
    for _ in 0..3 {
        assert_eq!(ends_unseen(&world, &fs, "16m", go), "true");
    }
    // Another one's lack of memory is not its own.
    let kill = |pid: u32| {
        let other = crate::world();
        let flags = ["--cgroup-manager", "systemd", "run", "--network", "none", "--name", "other"];
        let rest = ["-m", "16m", "--memory-swap", "16m", "--rootfs", &other.1, "tail", "/dev/zero"];
        other.0.loment([flags.as_slice(), &rest].concat()).fails(137);
        assert_eq!(other.0.inspect("{{.State.OOMKilled}}", "other"), "true");
        run(Command::new("kill").args(["-KILL", &pid.to_string()]), Patience::NORMAL).succeeds();
    };
    assert_eq!(ends_unseen(&world, &fs, "64m", kill), "false");
}
