//! Commands that print documents: `state`, `list`, `ps`, `spec`, `features`.

use std::process::Command;

use loment_testkit::skip;
use serde_json::{Value, json};

use super::{Guard, bundle, document, runtime, schema};
use crate::world;

/// Holds a document against the specification's schema, where that is present.
fn assert_valid(file: &str, value: &Value) {
    match schema::directory() {
        None => skip(file, "set LOMENT_RUNTIME_SPEC_SCHEMA to the runtime specification's schema directory"),
        Some(dir) => assert_eq!(schema::problems(&dir, file, value), Vec::<String>::new(), "{value:#}"),
    }
}

#[test]
fn state_and_list_show_what_runc_shows() {
    let world = world();
    let dir = bundle(&world, "sleep 60", |c| c["annotations"] = json!({"a": "b"}));
    let c = Guard::start(&world, "documents", &dir);
    let state = document(&world, &c.id);
    assert_valid("state-schema.json", &state);
    let names: Vec<&str> = state.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected =
        ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "annotations", "owner"];
    expected.sort_unstable();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    assert_eq!(state["annotations"], json!({"a": "b"}));
    assert_eq!((state["owner"].as_str(), state["bundle"].as_str()), (Some("root"), dir.to_str()));
    let list: Value = serde_json::from_str(runtime(&world, &["list", "-f", "json"]).succeeds()).unwrap();
    assert_eq!(list, json!([state]));
    assert_eq!(runtime(&world, &["list", "-q"]).succeeds(), c.id);
    let table = runtime(&world, &["list"]);
    assert!(table.succeeds().starts_with("ID"), "{table}");
    assert!(table.stdout.contains(&format!("{}  ", c.pid())), "{table}");
    runtime(&world, &["list", "-f", "yaml"]).fails_saying(1, &["yaml"]);
}

#[test]
fn runcs_state_has_the_same_fields() {
    let world = world();
    let dir = bundle(&world, "sleep 60", |c| c["annotations"] = json!({"a": "b"}));
    let ours = Guard::start(&world, "ours", &dir);
    let id = super::id("runcs");
    let root = world.dir().join("runc-root");
    let runc = |arguments: &[&str]| {
        let mut command = Command::new("runc");
        command.arg("--root").arg(&root).args(arguments).stdin(std::process::Stdio::null());
        command
    };
    let create = ["run", "--detach", "--bundle", dir.to_str().unwrap(), &id];
    let started = runc(&create).stdout(std::process::Stdio::null()).status().unwrap();
    let state = runc(&["state", &id]).output().unwrap();
    let deleted = runc(&["delete", "--force", &id]).status().unwrap();
    assert!(started.success() && deleted.success());
    let (state, own): (Value, Value) =
        (serde_json::from_slice(&state.stdout).unwrap(), document(&world, &ours.id));
    let kinds = |v: &Value| -> Vec<(String, bool)> {
        v.as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.is_string())).collect()
    };
    let (mut theirs, mut own) = (kinds(&state), kinds(&own));
    theirs.sort();
    own.sort();
    assert_eq!(own, theirs);
}

#[test]
fn ps_lists_the_containers_processes_only() {
    let world = world();
    let dir = bundle(&world, "sleep 61 & wait", |_| ());
    let c = Guard::start(&world, "ps", &dir);
    crate::eventually("both run", || {
        let pids: Vec<i64> =
            serde_json::from_str(runtime(&world, &["ps", "-f", "json", &c.id]).succeeds()).unwrap();
        pids.len() == 2 && pids.contains(&c.pid())
    });
    let table = runtime(&world, &["ps", &c.id]);
    assert_eq!(table.succeeds().lines().count(), 3, "{table}");
    assert!(table.stdout.starts_with("UID") && table.stdout.contains("sleep 61"), "{table}");
    let table = runtime(&world, &["ps", &c.id, "-o", "pid,comm", "-e"]);
    assert_eq!(table.succeeds().lines().count(), 3, "{table}");
    runtime(&world, &["ps", &c.id, "-o", "comm", "-e"]).fails_saying(1, &["no column PID"]);
}

#[test]
fn spec_writes_a_configuration_that_runs_and_never_overwrites() {
    let world = world();
    let dir = bundle(&world, "true", |_| ());
    let path = dir.to_str().unwrap();
    runtime(&world, &["spec", "--bundle", path]).fails_saying(1, &["exists: remove it first"]);
    for flags in [&[][..], &["--rootless"]] {
        let _ = std::fs::remove_file(dir.join("config.json"));
        runtime(&world, &[&["spec", "--bundle", path], flags].concat()).succeeds();
        let file = dir.join("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_valid("config-schema.json", &config);
        let has = |kind: &str| {
            let list = config["linux"]["namespaces"].as_array().unwrap();
            list.iter().any(|n| n["type"] == kind)
        };
        let v2 = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        assert_eq!((has("pid"), has("cgroup")), (true, v2));
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sh", "-c", "hostname; id -u"]);
        std::fs::write(&file, config.to_string()).unwrap();
        let output = runtime(&world, &["run", "--bundle", path, &super::id("spec")]);
        assert_eq!(output.succeeds(), "loment\n0", "{flags:?}");
    }
}

#[test]
fn features_are_as_the_schema_says() {
    let world = world();
    let output = runtime(&world, &["features"]);
    let features: Value = serde_json::from_str(output.succeeds()).unwrap();
    assert_valid("features-schema.json", &features);
    assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
    assert!(features["hooks"].as_array().unwrap().contains(&json!("createRuntime")));
    assert!(features["mountOptions"].as_array().unwrap().contains(&json!("rro")));
    assert!(features["mountOptions"].as_array().unwrap().contains(&json!("copy-symlink")));
    // What changes the runtime is what an engine must not take from everybody.
    let unsafe_ones = features["potentiallyUnsafeConfigAnnotations"].as_array().unwrap();
    for name in features["annotations"]["loment.config-annotations"].as_str().unwrap().split(',') {
        assert!(unsafe_ones.iter().any(|prefix| name.starts_with(prefix.as_str().unwrap())), "{name}");
    }
    assert!(features["linux"]["capabilities"].as_array().unwrap().contains(&json!("CAP_SYS_ADMIN")));
}
