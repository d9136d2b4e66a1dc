//! User namespaces and mounts with other owners.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::process::Command;

use serde_json::{Value, json};

use super::{add_namespace, assert_gone, run};
use crate::runtime::{Guard, bundle, command as runtime_command, id, runtime};
use crate::world;

const FIRST: u32 = 100_000;

pub(super) fn mapped(config: &mut Value) {
    add_namespace(config, json!({ "type": "user" }));
    let mapping = json!([{ "containerID": 0, "hostID": FIRST, "size": 65536 }]);
    config["linux"]["uidMappings"] = mapping.clone();
    config["linux"]["gidMappings"] = mapping;
}

#[test]
fn the_superuser_of_a_container_is_somebody_else_on_the_host() {
    let world = world();
    let script = "id -u; cat /proc/self/uid_map; echo > /dev/null && touch /dev/shm/made && ls -ln /dev/shm/made; \
                  touch /etc/passwd; stat -c %u /proc/self";
    let output = run(&world, "users", script, |config| {
        mapped(config);
        let shm = json!({ "destination": "/dev/shm", "type": "tmpfs", "source": "shm" });
        config["mounts"].as_array_mut().unwrap().push(shm);
        config["process"]["oomScoreAdj"] = json!(100);
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 64, "hard": 128 }]);
    });
    let lines: Vec<_> = output.stdout.lines().collect();
    assert_eq!(lines[0], "0");
    assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
    assert_eq!(lines[2].split_whitespace().nth(2), Some("0"), "{output}");
    // The files of the bundle are the host's root's.
    assert!(
        output.stderr.contains("/etc/passwd: Permission denied") || output.stderr.contains("passwd"),
        "{output}"
    );
}

#[test]
fn message_queues_belong_to_the_superuser_of_the_container() {
    let world = world();
    let output = run(&world, "queues", "stat -c '%u %g %a' /dev/mqueue", |config| {
        mapped(config);
        let queues = json!({ "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue" });
        config["mounts"].as_array_mut().unwrap().push(queues);
    });
    assert_eq!(output.succeeds(), "0 0 1777");
}

#[test]
fn a_program_that_enters_is_in_the_user_namespace_with_limits_of_its_own() {
    let world = world();
    let dir = bundle(&world, "sleep 1000", |config| {
        mapped(config);
        add_namespace(config, json!({ "type": "cgroup" }));
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 64, "hard": 128 }]);
    });
    let c = Guard::start(&world, "enter", &dir);
    let pid = c.pid();
    assert_eq!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), FIRST);
    let script = "id -u; readlink /proc/self/ns/user; ulimit -n; ulimit -Hn";
    let output = runtime(&world, &["exec", &c.id, "/bin/sh", "-c", script]);
    let namespace = fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
    let expected = ["0", namespace.to_str().unwrap(), "64", "128"];
    assert_eq!(output.succeeds().lines().collect::<Vec<_>>(), expected);

    // Another container joins it, with everything that belongs to it.
    let other = crate::world();
    let output = run(
        &other,
        "join",
        "id -u; readlink /proc/self/ns/user; readlink /proc/self/ns/net; ps | grep -c 'sleep 100[0]'",
        |c| {
            let own =
                |kind: &str, file: &str| json!({ "type": kind, "path": format!("/proc/{pid}/ns/{file}") });
            c["linux"]["namespaces"] = json!([own("user", "user"), own("network", "net"), own("pid", "pid"), { "type": "mount" }, { "type": "uts" }]);
        },
    );
    let network = fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    let expected = ["0", namespace.to_str().unwrap(), network.to_str().unwrap(), "1"];
    assert_eq!(output.succeeds().lines().collect::<Vec<_>>(), expected);
}

#[test]
fn mounts_have_the_owners_that_are_asked_for() {
    let (first, world) = (world(), world());
    let source = first.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "").unwrap();
    chown(source.join("file"), Some(1000), Some(1000)).unwrap();
    let bind = |options: Value, mappings: Option<Value>| {
        let mut mount = json!({ "destination": "/mnt", "type": "bind", "source": source.to_str().unwrap(), "options": options });
        if let Some(m) = mappings {
            (mount["uidMappings"], mount["gidMappings"]) = (m.clone(), m);
        }
        mount
    };
    let owner = "stat -c '%u %g' /mnt/file";
    let map = json!([{ "containerID": 1000, "hostID": 2000, "size": 1 }]);
    let output = run(&world, "own", owner, |config| {
        config["mounts"].as_array_mut().unwrap().push(bind(json!(["bind"]), Some(map)));
    });
    assert_eq!(output.succeeds(), "2000 2000");
    // Without mappings of its own: as the container's users are.
    let world = crate::world();
    let output = run(
        &world,
        "theirs",
        &format!("{owner}; touch /mnt/new; {}", owner.replace("file", "new")),
        |config| {
            mapped(config);
            // Its root may not make anything in the bundle's files, which are the host's root's.
            fs::create_dir(world.path("bundle").join("rootfs/mnt")).unwrap();
            config["mounts"].as_array_mut().unwrap().push(bind(json!(["bind", "idmap"]), None));
        },
    );
    assert_eq!(output.succeeds(), "1000 1000\n0 0");
    let made = fs::metadata(source.join("new")).unwrap();
    assert_eq!((made.uid(), made.gid()), (0, 0), "on the host");
    let world = crate::world();
    let output = run(&world, "none", owner, |config| {
        config["mounts"].as_array_mut().unwrap().push(bind(json!(["bind", "idmap"]), None));
    });
    assert_ne!(output.code, 0);
    assert!(output.stderr.contains("needs a user namespace"), "{output}");
}

#[test]
fn mappings_that_make_no_sense_are_refused_by_name() {
    let line = |size: u32| json!([{ "containerID": 0, "hostID": FIRST, "size": size }]);
    let without_root = json!([{ "containerID": 1, "hostID": FIRST, "size": 10 }]);
    let cases: [(Value, Value, bool, &str); 6] = [
        (line(1), without_root, true, "linux.gidMappings: no line maps the container's id 0"),
        (line(1), json!([]), true, "gidMappings"),
        (line(0), line(1), true, "size"),
        (line(1), line(1), false, "user namespace"),
        (json!([]), json!([]), true, "uidMappings"),
        (json!(vec![line(1)[0].clone(); 341]), line(1), true, "341"),
    ];
    for (uid, gid, with_namespace, part) in cases {
        let world = world();
        let output = run(&world, "map", "true", |config| {
            if with_namespace {
                add_namespace(config, json!({ "type": "user" }));
            }
            (config["linux"]["uidMappings"], config["linux"]["gidMappings"]) = (uid, gid);
        });
        assert_ne!(output.code, 0, "{part}");
        assert!(output.stderr.contains(part), "{part}: {output}");
        assert_gone(&world, "map");
    }
}

#[test]
fn the_number_that_means_no_change_is_nobodys() {
    const NOBODYS: u32 = u32::MAX;
    let device =
        |owner: &str| json!({ "path": "/dev/x", "type": "c", "major": 1, "minor": 3, owner: NOBODYS });
    let cases: [(&str, &str, Value); 5] = [
        ("process.user.uid", "/process/user", json!({ "uid": NOBODYS, "gid": 0 })),
        ("process.user.gid", "/process/user", json!({ "uid": 0, "gid": NOBODYS })),
        (
            "process.user.additionalGids",
            "/process/user",
            json!({ "uid": 0, "gid": 0, "additionalGids": [1, NOBODYS] }),
        ),
        ("/dev/x uid", "/linux/devices", json!([device("uid")])),
        ("/dev/x gid", "/linux/devices", json!([device("gid")])),
    ];
    for (name, place, value) in cases {
        let world = world();
        let output = run(&world, "nobody", "echo never", |config| {
            config["linux"]["devices"] = json!([]);
            *config.pointer_mut(place).unwrap() = value;
        });
        output.fails_saying(1, &[name, "4294967295 is nobody's number"]);
        assert_gone(&world, "nobody");
    }
    let world = world();
    let output = run(&world, "nobody", "echo never", |config| {
        mapped(config);
        config["linux"]["gidMappings"] = json!([{ "containerID": 0, "hostID": NOBODYS, "size": 1 }]);
    });
    output.fails_saying(1, &["linux.gidMappings", "goes beyond 4294967294"]);
    // Who enters a container cannot be nobody, either.
    let dir = bundle(&world, "sleep 1000", |_| ());
    let c = Guard::start(&world, "nobody", &dir);
    let number = NOBODYS.to_string();
    for (flag, value) in [("-u", number.clone()), ("-u", format!("0:{number}")), ("-g", number)] {
        let output = runtime(&world, &["exec", flag, &value, &c.id, "/bin/true"]);
        output.fails_saying(255, &["4294967295"]);
    }
}

#[test]
fn a_namespace_of_another_kind_is_not_joined() {
    let world = world();
    let output = run(&world, "kind", "true", |config| {
        let list = config["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|n| n["type"] != "network");
        list.push(json!({ "type": "network", "path": "/proc/self/ns/uts" }));
    });
    assert_ne!(output.code, 0);
    assert!(output.stderr.contains("/proc/self/ns/uts: it is not a net namespace"), "{output}");
    assert_gone(&world, "kind");
}

/// What the host has made read-only, free of devices, or covered, stays so for somebody who is root in a user namespace only.
#[test]
fn mounts_of_the_host_keep_their_locks_in_a_user_namespace() {
    let world = world();
    let host = world.path("host");
    fs::create_dir(&host).unwrap();
    // In a mount namespace of its own, which ends with it.
    let dir = bundle(
        &world,
        "mount -o remount,bind,rw /mnt 2>&1; touch /mnt/x 2>/dev/null && echo written; \
         umount /mnt/secret 2>/dev/null; cat /mnt/secret/s 2>/dev/null; \
         mount -o remount,bind,rw,dev /mnt 2>/dev/null; head -c1 /mnt/zero 2>/dev/null | wc -c; \
         mount -o remount,bind,rw / 2>/dev/null; touch /x 2>/dev/null && echo written; echo done",
        |config| {
            mapped(config);
            let all = json!(["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]);
            config["process"]["capabilities"] =
                json!({ "bounding": all, "effective": all, "permitted": all });
            let mount = json!({ "destination": "/mnt", "type": "bind", "source": host.to_str().unwrap(), "options": ["rbind"] });
            config["mounts"].as_array_mut().unwrap().push(mount);
        },
    );
    fs::create_dir(dir.join("rootfs/mnt")).unwrap();
    runtime(&world, &["--version"]).succeeds();
    let script = "set -e; cd \"$1\"; mount -t tmpfs none host; mkdir host/secret; echo topsecret > host/secret/s; \
                  mknod -m 666 host/zero c 1 5; mount -t tmpfs none host/secret; \
                  mount -o remount,bind,ro,nodev,nosuid host; mount --bind bundle/rootfs bundle/rootfs; \
                  mount -o remount,bind,ro bundle/rootfs; shift; exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
        .arg(host.parent().unwrap());
    command.arg(world.dir().join("loment-runtime")).arg("--root").arg(world.dir().join("runtime"));
    command.args(["run", "--bundle"]).arg(&dir).arg(id("locks"));
    let output = loment_testkit::run(&mut command, loment_testkit::Patience::NORMAL);
    let text = output.succeeds();
    assert!(text.ends_with("done") && !text.contains("written") && !text.contains("topsecret"), "{output}");
    assert!(text.lines().any(|line| line.trim() == "0"), "no byte of the device: {output}");
}

#[test]
fn nodes_of_the_host_cannot_be_changed_by_a_container_with_its_numbers() {
    let world = world();
    let before = fs::metadata("/dev/full").unwrap();
    let output = run(
        &world,
        "nodes",
        "chmod 600 /dev/full; chown 1 /dev/full; echo > /dev/null; echo done",
        |config| {
            add_namespace(config, json!({ "type": "user" }));
            let mapping = json!([{ "containerID": 0, "hostID": 0, "size": 65536 }]);
            config["linux"]["uidMappings"] = mapping.clone();
            config["linux"]["gidMappings"] = mapping;
        },
    );
    assert_eq!(output.succeeds(), "done");
    let after = fs::metadata("/dev/full").unwrap();
    assert_eq!(
        (before.ctime(), before.ctime_nsec(), before.mode()),
        (after.ctime(), after.ctime_nsec(), after.mode())
    );
}

#[test]
fn a_helper_that_is_killed_does_not_keep_its_creator_waiting() {
    let first = world();
    let dir = bundle(&first, "sleep 1000", mapped);
    let c = Guard::start(&first, "joined", &dir);
    let second = world();
    let dir = bundle(&second, "true", |config| {
        add_namespace(config, json!({ "type": "user", "path": format!("/proc/{}/ns/user", c.pid()) }));
    });
    // The first that joins a namespace is the helper.
    let mut command = Command::new("strace");
    command.args(["--follow-forks", "--output=/dev/null", "--trace=setns", "--inject=setns:signal=SIGKILL"]);
    let creator = runtime_command(&second, &["run", "--bundle"]);
    command.arg(creator.get_program()).args(creator.get_args()).arg(&dir).arg(id("killed-helper"));
    let output = loment_testkit::run(&mut command, loment_testkit::Patience::NORMAL);
    assert_ne!(output.code, 0);
    assert!(output.stderr.contains("its process was killed"), "{output}");
    assert_gone(&second, "killed-helper");
}
