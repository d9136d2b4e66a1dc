//! Namespaces of others that a container joins by path.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::{assert_gone, run};
use crate::runtime::{Guard, bundle, runtime};
use crate::world;

/// The container's namespace of that kind is the one at this path.
fn join(config: &mut Value, kind: &str, path: &str) {
    let list = config["linux"]["namespaces"].as_array_mut().unwrap();
    list.retain(|n| n["type"] != kind);
    list.push(json!({ "type": kind, "path": path }));
}

/// A process with a mount namespace of its own, ended when this is dropped.
struct Owner(Child);

impl Owner {
    fn new() -> Self {
        let mut command = Command::new("unshare");
        let child =
            command.args(["--mount", "sh", "-c", "echo ready; exec sleep 1000"]).stdout(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Self(child)
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/mnt", self.0.id())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_joined_mount_namespace_becomes_the_containers() {
    let (world, owner) = (world(), Owner::new());
    let namespace = fs::read_link(owner.namespace()).unwrap();
    let dir = bundle(&world, "sleep 1000", |config| {
        join(config, "mount", &owner.namespace());
        config["root"]["readonly"] = json!(true);
        let extra = json!({ "destination": "/extra", "type": "tmpfs", "source": "tmpfs" });
        config["mounts"].as_array_mut().unwrap().push(extra);
        let odd = json!({ "path": "/dev/odd", "type": "c", "major": 1, "minor": 3 });
        config["linux"]["devices"] = json!([odd]);
    });
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let c = Guard::start(&world, "guest", &dir);
    let script =
        "readlink /proc/self/ns/mnt; touch /new 2>/dev/null && echo written; touch /extra/new && ls /dev/odd";
    let output = runtime(&world, &["exec", &c.id, "/bin/sh", "-c", script]);
    assert_eq!(output.succeeds(), format!("{}\n/dev/odd", namespace.display()));
    let after = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let of_bundle = |text: &str| text.lines().filter(|l| l.contains(dir.to_str().unwrap())).count();
    assert_eq!(of_bundle(&before), of_bundle(&after), "it spreads to the host");
}

#[test]
fn the_mount_namespace_of_the_host_is_not_joined() {
    let world = world();
    let output = run(&world, "host", "echo never", |config| join(config, "mount", "/proc/self/ns/mnt"));
    assert_ne!(output.code, 0);
    assert!(output.stderr.contains("/proc/self/ns/mnt: it is the host's"), "{output}");
    assert_gone(&world, "host");
}

#[test]
fn hooks_of_creation_are_not_run_in_a_mount_namespace_of_others() {
    let world = world();
    let output = run(&world, "hooked", "echo never", |config| {
        join(config, "mount", "/proc/self/ns/mnt");
        config["hooks"] = json!({ "createContainer": [{ "path": "/bin/true" }] });
    });
    assert_ne!(output.code, 0);
    let text = "invalid hooks.createContainer: they need a mount namespace of the container's own";
    assert!(output.stderr.contains(text), "{output}");
    assert_gone(&world, "hooked");
}

#[test]
fn a_pid_namespace_whose_first_process_has_ended_is_named_as_that() {
    let (first, second) = (world(), world());
    let dir = bundle(&first, "sleep 1000", |_| ());
    let owner = Guard::start(&first, "owner", &dir);
    let namespace = fs::File::open(format!("/proc/{}/ns/pid", owner.pid())).unwrap();
    drop(owner);
    let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
    let output = run(&second, "late", "echo never", |config| join(config, "pid", &path));
    assert_ne!(output.code, 0);
    assert!(output.stderr.contains("the first process of the pid namespace it joins has ended"), "{output}");
    assert_gone(&second, "late");
}
