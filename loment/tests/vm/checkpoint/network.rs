//! Networks of a restored container.

use std::fs;
use std::process::{Child, Command};

use loment_testkit::skip;
use serde_json::json;

use super::{COUNT, Case};
use crate::eventually;

/// A process that is ended whatever happens.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn open_connections_go_on() {
    let c = Case::new("tcp");
    let script = "sleep 1000 | nc -l -p 7777 >/out/received & \
        sleep 0.5; i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done | nc 127.0.0.1 7777";
    c.start(&c.bundle(script, |_| {}));
    let received = || -> Vec<u64> {
        let text = fs::read_to_string(c.world.path("out/received")).unwrap_or_default();
        let whole = text.rsplit_once('\n').map(|(lines, _)| lines).unwrap_or_default();
        whole.lines().map(|l| l.parse().unwrap()).collect()
    };
    eventually("something is received", || received().len() > 3);
    // Not without being asked to.
    let images = c.path("refused");
    let refused = c.quietly(&mut c.ours(&["checkpoint", "--image-path", &images, &c.id]));
    refused.fails_saying(1, &["criu failed: checkpoint by ", "Connected TCP socket", "refused/dump.log"]);
    let before = received().len();
    eventually("it goes on, or not", || received().len() > before + 3 || c.status() == "stopped");
    let log = fs::read_to_string(c.world.path("refused/dump.log")).unwrap();
    if c.status() == "stopped" && log.contains("with interrupted system call") {
        skip(
            "open connections",
            "CRIU has interrupted the poll of busybox's nc, which ends of that, under runc as well",
        );
        return;
    }
    c.save(&["--tcp-established"]);
    let before = received().len();
    c.restore(&["--tcp-established"]);
    eventually("it goes on", || received().len() > before + 3);
    // Nothing is lost, nothing comes twice.
    let numbers = received();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_network_of_somebody_elses_is_joined_again() {
    let c = Case::new("joined");
    let holder = Holder(Command::new("unshare").args(["--net", "sleep", "300"]).spawn().unwrap());
    let path = format!("/proc/{}/ns/net", holder.0.id());
    let ours = fs::read_link("/proc/self/ns/net").unwrap();
    eventually("there is a network", || fs::read_link(&path).is_ok_and(|link| link != ours));
    let theirs = fs::read_link(&path).unwrap();
    let dir = c.bundle(COUNT, |config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        let network = namespaces.iter_mut().find(|n| n["type"] == "network").unwrap();
        network["path"] = json!(path);
    });
    let network = || fs::read_link(format!("/proc/{}/ns/net", c.pid())).unwrap();
    c.start(&dir);
    c.counts_from(0);
    assert_eq!(network(), theirs);
    c.save(&[]);
    let saved = c.count();
    c.restore(&[]);
    c.counts_from(saved);
    assert_eq!(network(), theirs);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn loopback_of_a_network_of_its_own_is_up() {
    let c = Case::new("lo");
    c.start(&c.bundle(COUNT, |_| {}));
    c.counts_from(0);
    c.save(&[]);
    c.restore(&[]);
    let ping = c.quietly_read(&["exec", &c.id, "/bin/ifconfig", "lo"]);
    assert!(ping.succeeds().contains("UP LOOPBACK"), "{ping}");
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn a_container_without_a_cgroup_namespace_sees_its_groups_again() {
    let c = Case::new("groups");
    let dir = c.bundle(COUNT, |config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "cgroup");
    });
    c.start(&dir);
    c.counts_from(0);
    let list = || c.quietly_read(&["exec", &c.id, "/bin/ls", "/sys/fs/cgroup"]).succeeds().to_owned();
    let before = list();
    c.save(&[]);
    let saved = c.count();
    c.restore(&[]);
    c.counts_from(saved);
    assert_eq!(list(), before);
}
