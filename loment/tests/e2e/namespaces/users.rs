//! User namespaces of the machine's root: users that no other container has, and those of a namespace that is there.

use std::collections::BTreeSet;

use loment_testkit::{Patience, World, run};

use crate::{pid_of, sh, sleeper, world_with};

/// First and number of the users of a container, inside and outside.
#[track_caller]
fn map(world: &World, name: &str) -> Vec<u64> {
    let text = world.loment(["exec", name, "cat", "/proc/self/uid_map"]);
    text.succeeds().split_whitespace().map(|word| word.parse().unwrap()).collect()
}

#[test]
fn containers_with_users_of_their_own_have_none_in_common() {
    let (world, image) = world_with("busybox:latest");
    for name in ["a", "b"] {
        sleeper(&world, name, &["--userns", "auto"], &image);
    }
    let (a, b) = (map(&world, "a"), map(&world, "b"));
    assert_eq!((a[0], a[2], b[2]), (0, 65536, 65536));
    assert_eq!(b[1], a[1] + 65536, "one after the other");
    let script = "touch /x; stat -c %u:%g /x /bin/busybox; test ! -O /proc/1/ns || true";
    assert_eq!(sh(&world, &["--userns", "auto:size=1024"], &image, script), "0:0\n0:0");
    // Also of those that were said.
    sleeper(&world, "c", &["--uidmap", &format!("0:{}:5000", b[1] + 65536)], &image);
    sleeper(&world, "d", &["--userns", "auto:size=100,gidmapping=7:1007:1"], &image);
    assert_eq!(map(&world, "d"), [0, b[1] + 65536 + 5000, 100]);
    let gids = world.loment(["exec", "d", "cat", "/proc/self/gid_map"]);
    assert!(
        gids.succeeds().split_whitespace().collect::<Vec<_>>().windows(3).any(|w| w == ["7", "1007", "1"])
    );
    world.loment(["rm", "-f", "-t", "0", "a"]).succeeds();
    sleeper(&world, "e", &["--userns", "auto"], &image);
    assert_eq!(map(&world, "e"), a, "what is free again is used");
    let run = ["run", "--rm", "--network", "none", "--userns", "auto:size=2147483640", &image, "true"];
    world.loment(run).fails_saying(125, &["2147483640", "remove containers", "/etc/subuid"]);
    for bad in ["auto:size=x", "auto:colour=red", "auto:uidmapping=1"] {
        let run = ["run", "--rm", "--network", "none", "--userns", bad, &image, "true"];
        world.loment(run).fails_saying(125, &[bad, "use "]);
    }
    // One that is made as another has others.
    world.loment(["container", "clone", "--name", "copy", "e"]).succeeds();
    world.loment(["start", "copy"]).succeeds();
    let copy = map(&world, "copy");
    assert!(copy[2] == 65536 && copy[1] != a[1], "{copy:?}");
    // What is made at the same moment, too.
    let names = ["f", "g", "h", "i"];
    std::thread::scope(|scope| {
        for name in names {
            let (world, image) = (&world, &image);
            scope.spawn(move || sleeper(world, name, &["--userns", "auto:size=1000"], image));
        }
    });
    let firsts: BTreeSet<u64> = names.iter().map(|name| map(&world, name)[1]).collect();
    assert_eq!(firsts.len(), names.len());
}

#[test]
fn a_pod_has_users_of_its_own() {
    let (world, image) = world_with("busybox:latest");
    world.loment(["pod", "create", "--name", "p", "--userns", "auto:size=2048"]).succeeds();
    sleeper(&world, "a", &["--pod", "p"], &image);
    sleeper(&world, "b", &["--pod", "p"], &image);
    sleeper(&world, "c", &["--userns", "auto:size=2048"], &image);
    let [a, b, c] = ["a", "b", "c"].map(|name| map(&world, name));
    assert_eq!((&a, a[2]), (&b, 2048));
    assert_eq!(c[1], a[1] + 2048);
    assert_eq!(world.loment(["exec", "a", "stat", "-c", "%u", "/bin/busybox"]).succeeds(), "0");
}

#[test]
fn a_namespace_that_is_there_is_joined() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "a", &["--uidmap", "0:100000:65536"], &image);
    let path = format!("ns:/proc/{}/ns/user", pid_of(&world, "a"));
    let script = "readlink /proc/self/ns/user; cat /proc/self/uid_map; touch /x; stat -c %u /x /bin/busybox";
    let said = sh(&world, &["--userns", &path], &image, script);
    let namespace = std::fs::read_link(path.strip_prefix("ns:").unwrap()).unwrap();
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(words, [namespace.to_str().unwrap(), "0", "100000", "65536", "0", "0"]);
    for (path, why) in
        [("ns:/nowhere", "/nowhere"), ("ns:/proc/self/ns/net", "/proc/self/ns/net"), ("ns:x", "absolute")]
    {
        let mut run_ = world.command(["run", "--rm", "--network", "none", "--userns", path, &image, "true"]);
        run(&mut run_, Patience::NORMAL).fails_saying(125, &[why]);
    }
    world.loment(["rm", "-f", "-t", "0", "a"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}
