//! `--cgroups split`: containers with a part of the group of whoever starts them.

use std::fs;
use std::path::Path;

use loment_testkit::{Output, Patience, World, run, skip};

use crate::runtime::id;
use crate::unified::VIEW;
use crate::{eventually, lives, monitor_of, pid_of, through, world_over_directory};

/// In the groups below `$0`, which are made, in each of the hierarchies that follow, up to `--`.
const ENTER: &str = "group=$0; while [ \"$1\" != -- ]; do
    mkdir -p \"$1$group\" && echo $$ >\"$1$group/cgroup.procs\" || exit; shift
done; shift; exec \"$@\"";

/// A group of a test, in all hierarchies, which goes with it.
struct Group(String);

impl Group {
    fn new() -> Self {
        Self(format!("/{}", id("split")))
    }

    /// A command of loment that is started in a part of the group, with nothing but the v2 hierarchy.
    fn in_view(&self, world: &World, part: &str, arguments: &[&str]) -> Output {
        let group = format!("{}{part}", self.0);
        let enter = ["sh", "-c", ENTER, &group, "/sys/fs/cgroup", "--"];
        run(&mut through(&[&VIEW[..], &enter].concat(), &world.command(arguments)), Patience::NORMAL)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        let hierarchies = hierarchies.map(|entry| entry.path()).chain([Path::new("/sys/fs/cgroup").into()]);
        for hierarchy in hierarchies.filter(|path| path.is_dir()) {
            let group = hierarchy.join(&self.0[1..]);
            let parts = ["other/loment-monitors", "loment-monitors", "other", ""];
            for part in parts.map(|part| group.join(part)) {
                // What ends in it is in it for a moment longer.
                for _ in 0..100 {
                    if !part.exists() || fs::remove_dir(&part).is_ok() {
                        break;
                    }
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
            }
        }
    }
}

/// The group of a process in the hierarchy whose line in `/proc/PID/cgroup` has this after its number.
#[track_caller]
fn group_of(pid: u32, hierarchy: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let found = text.lines().find_map(|line| line.split_once(':')?.1.strip_prefix(hierarchy));
    found.unwrap_or_else(|| panic!("no {hierarchy} in {text}")).to_owned()
}

const FLAGS: [&str; 5] = ["--detach", "--network", "none", "--cgroups", "split"];
const SLEEP: &str = "trap 'exit 0' TERM; while :; do sleep 0.05; done";

#[test]
fn the_group_of_the_caller_has_two_parts_on_v2() {
    let (world, rootfs) = world_over_directory();
    let group = Group::new();
    let start = |part: &str, name: &str| {
        let words =
            [&["run"], &FLAGS[..], &["--name", name, "--rootfs", &rootfs, "sh", "-c", SLEEP]].concat();
        group.in_view(&world, part, &words).succeeds().to_owned()
    };
    let (name, others) = (&group.0, format!("{}/loment-monitors", group.0));
    let first = start("", "first");
    assert_eq!(group_of(pid_of(&world, "first"), ":"), format!("{name}/loment-{first}"));
    assert_eq!(group_of(monitor_of(&world, "first"), ":"), others);
    assert_eq!(world.inspect("{{.HostConfig.Cgroups}}", "first"), "split");
    // Whoever has started one is in the other part, and starts more beside the first.
    let second = start("/loment-monitors", "second");
    assert_eq!(group_of(pid_of(&world, "second"), ":"), format!("{name}/loment-{second}"));
    assert_eq!(group_of(monitor_of(&world, "second"), ":"), others);
    let exec = group.in_view(&world, "/loment-monitors", &["exec", "second", "cat", "/proc/self/cgroup"]);
    assert!(exec.succeeds().lines().any(|line| line == "0::/"), "{exec}");
    // Started elsewhere, it is a part of that.
    let monitor = monitor_of(&world, "second");
    world.loment(["stop", "second"]).succeeds();
    eventually("the monitor ends", || !lives(monitor));
    group.in_view(&world, "/other", &["start", "second"]).succeeds();
    assert_eq!(group_of(pid_of(&world, "second"), ":"), format!("{name}/other/loment-{second}"));
    assert_eq!(group_of(monitor_of(&world, "second"), ":"), format!("{name}/other/loment-monitors"));
    world.loment(["rm", "--force", "--time", "0", "first", "second"]).succeeds();
    let left = fs::read_dir(format!("/sys/fs/cgroup/unified{name}"));
    let left = left.into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
    let names: Vec<_> = left.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert!(!names.iter().any(|name| name.contains(&first) || name.contains(&second)), "{names:?}");
}

#[test]
fn it_has_a_part_beside_its_monitor_on_v1() {
    if !Path::new("/sys/fs/cgroup/systemd").exists() {
        return skip("split groups of v1", "this machine has no hierarchy of systemd's");
    }
    let (world, rootfs) = world_over_directory();
    let group = Group::new();
    let enter = ["sh", "-c", ENTER, &group.0, "/sys/fs/cgroup/systemd", "--"];
    let words = [&["run"], &FLAGS[..], &["--name", "c", "--rootfs", &rootfs, "sh", "-c", SLEEP]].concat();
    let started = run(&mut through(&enter, &world.command(words)), Patience::NORMAL);
    let own = format!("{}/loment-{}", group.0, started.succeeds());
    for hierarchy in ["name=systemd:", "memory:"] {
        assert_eq!(group_of(pid_of(&world, "c"), hierarchy), own);
    }
    assert_eq!(group_of(monitor_of(&world, "c"), "name=systemd:"), group.0);
    let monitor = monitor_of(&world, "c");
    world.loment(["rm", "--force", "--time", "0", "c"]).succeeds();
    eventually("the monitor ends", || !lives(monitor));
}

#[test]
fn what_cannot_be_split_is_refused() {
    let (world, rootfs) = world_over_directory();
    let split = ["run", "--rm", "--network", "none", "--cgroups", "split"];
    let root = ["sh", "-c", "echo $$ >/sys/fs/cgroup/cgroup.procs && exec \"$0\" \"$@\""];
    let command = world.command([&split[..], &["--rootfs", &rootfs, "true"]].concat());
    run(&mut through(&[&VIEW[..], &root].concat(), &command), Patience::NORMAL)
        .fails_saying(125, &["root control group, which is not split"]);
    let parent = [&split[..], &["--cgroup-parent", "/x", "--rootfs", &rootfs, "true"]].concat();
    world.loment(parent).fails_saying(125, &["cgroup parent", "--cgroups split"]);
    assert_eq!(world.leftovers(), [""; 0]);
}
