//! `update` and `events`.

use serde_json::{Value, json};

use super::{Guard, bundle, command, runtime};
use crate::{eventually, world};

#[test]
fn resource_limits_that_may_not_be_set_are_refused_at_create() {
    let world = world();
    let dir = bundle(&world, "true", |config| {
        // Above /proc/sys/fs/nr_open for everybody.
        config["process"]["rlimits"] =
            json!([{ "type": "RLIMIT_NOFILE", "soft": u64::MAX, "hard": u64::MAX }]);
    });
    let output = runtime(&world, &["create", "--bundle", dir.to_str().unwrap(), &super::id("rlimits")]);
    output.fails_saying(1, &["set the limit Nofile to unlimited:unlimited", "Operation not permitted"]);
    assert_eq!(runtime(&world, &["list"]).succeeds().lines().count(), 1);
}

#[test]
fn update_changes_limits_of_a_running_container() {
    let world = world();
    let dir = bundle(&world, "sleep 60", |c| {
        c["linux"]["resources"] = json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 100}});
    });
    let c = Guard::start(&world, "update", &dir);
    let stats = || -> Value {
        let output = runtime(&world, &["events", "--stats", &c.id]);
        serde_json::from_str(output.succeeds()).unwrap()
    };
    let before = stats();
    assert_eq!((before["type"].as_str(), before["id"].as_str()), (Some("stats"), Some(c.id.as_str())));
    assert_eq!(before["data"]["memory"]["usage"]["limit"], 64 << 20);
    assert_eq!(before["data"]["pids"], json!({"current": 1, "limit": 100}));
    assert!(before["data"]["cpu"]["usage"]["total"].as_u64().unwrap() > 0);
    runtime(&world, &["update", "--memory", "32m", "--pids-limit", "50", &c.id]).succeeds();
    assert_eq!(stats()["data"]["memory"]["usage"]["limit"], 32 << 20);
    assert_eq!(stats()["data"]["pids"]["limit"], 50);
    let resources = json!({"memory": {"limit": 48 << 20}, "cpu": {"cpus": "", "mems": ""}, "blockIO": {},
        "devices": [{"allow": true, "access": "rwm"}]});
    let file = world.write("resources.json", resources.to_string());
    runtime(&world, &["update", "--resources", &file, &c.id]).succeeds();
    assert_eq!(stats()["data"]["memory"]["usage"]["limit"], 48 << 20);
    let mut update = command(&world, &["update", "--resources", "-", &c.id]);
    let input = json!({"pids": {"limit": 20}}).to_string();
    let patience = loment_testkit::Patience::NORMAL;
    loment_testkit::run_with_input(&mut update, input.as_bytes(), patience).succeeds();
    assert_eq!(stats()["data"]["pids"]["limit"], 20);
    runtime(&world, &["update", "--memory", "lots", &c.id]).fails_saying(1, &["--memory", "lots"]);
    runtime(&world, &["update", "--l3-cache-schema", "L3:0=f", &c.id])
        .fails_saying(1, &["no class of resctrl"]);
}

#[test]
fn events_go_on_until_the_container_ends() {
    let world = world();
    let dir = bundle(&world, "sleep 60", |_| ());
    let c = Guard::start(&world, "events", &dir);
    let mut events = command(&world, &["events", "--interval", "100ms", &c.id]);
    let mut events = events.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(events.stdout.take().unwrap()));
    for _ in 0..2 {
        let event: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(event["type"], "stats");
    }
    runtime(&world, &["kill", &c.id, "KILL"]).succeeds();
    eventually("events ends", || events.try_wait().unwrap().is_some_and(|s| s.success()));
}

#[test]
fn without_control_groups_the_container_stays_in_the_callers() {
    let world = world();
    let dir = bundle(&world, "cat /proc/self/cgroup", |_| ());
    let (path, id) = (dir.to_str().unwrap(), super::id("nogroup"));
    let flags = ["--cgroup-manager", "disabled", "run", "--bundle", path, &id];
    let output = runtime(&world, &flags);
    assert!(!output.succeeds().contains(&id), "{output}");
}

#[test]
fn where_systemd_does_not_answer_a_scope_is_refused_and_nothing_is_left() {
    if std::path::Path::new("/run/systemd/system").exists() {
        return loment_testkit::skip("a scope without systemd", "systemd runs here");
    }
    let world = world();
    let dir = bundle(&world, "true", |_| ());
    let id = super::id("noscope");
    let flags = ["--systemd-cgroup", "run", "--bundle", dir.to_str().unwrap(), &id];
    runtime(&world, &flags).fails_saying(1, &["connect to systemd at /run/dbus/system_bus_socket"]);
    runtime(&world, &["state", &id]).fails_saying(1, &["does not exist"]);
}
