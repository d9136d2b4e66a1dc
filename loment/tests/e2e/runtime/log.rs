//! Errors as engines read them.

use std::fs;

use serde_json::Value;

use super::runtime;
use crate::world;

#[test]
fn errors_are_appended_to_the_log_in_its_format() {
    let world = world();
    let file = world.path("log");
    let path = file.to_str().unwrap();
    runtime(&world, &["--log", path, "--log-format", "json", "state", "no\"body"]).fails(1);
    runtime(&world, &["--log", &format!("file:{path}"), "--log-format", "json", "state", "nobody"]).fails(1);
    let log = fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = log.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    for line in &lines {
        assert_eq!(line["level"], "error");
        assert!(line["time"].as_str().unwrap().starts_with("20"), "{line}");
    }
    assert_eq!(lines[1]["msg"], "container \"nobody\" does not exist");
    fs::remove_file(&file).unwrap();
    runtime(&world, &["--debug", "--log", path, "state", "nobody"]).fails(1);
    let log = fs::read_to_string(&file).unwrap();
    assert!(log.contains("level=error msg=\"container \\\"nobody\\\" does not exist\""), "{log}");
}

#[test]
fn errors_on_standard_error_are_for_people_unless_a_format_is_asked_for() {
    let world = world();
    let said =
        |arguments: &[&str]| runtime(&world, &[arguments, &["state", "nobody"]].concat()).fails(1).to_owned();
    assert_eq!(said(&[]), "loment-runtime: error: container \"nobody\" does not exist");
    let line: Value = serde_json::from_str(&said(&["--log-format", "json"])).unwrap();
    assert_eq!(
        (line["level"].as_str(), line["msg"].as_str()),
        (Some("error"), Some("container \"nobody\" does not exist"))
    );
    assert!(said(&["--log-format", "text"]).contains("level=error msg=\"container"));
    let log = world.path("log");
    assert!(
        said(&["--log", log.to_str().unwrap(), "--log-format", "json"])
            .starts_with("loment-runtime: error: ")
    );
}

#[test]
fn global_flags_of_both_runtimes_are_understood() {
    let world = world();
    for flags in [
        &["--debug"][..],
        &["--log-level", "error"],
        &["--rootless", "auto"],
        &["--rootless=true"],
        &["--systemd-cgroup"],
        &["--cgroup-manager", "disabled"],
        &["--cgroup-manager=systemd"],
        &["--criu", "criu"],
    ] {
        runtime(&world, &[flags, &["list"]].concat()).succeeds();
    }
    for (flags, word) in [
        (&["--log-format", "xml"][..], "xml"),
        (&["--rootless", "maybe"], "maybe"),
        (&["--cgroup-manager", "mine"], "mine"),
        (&["--log", "/no/such/dir/log"], "/no/such/dir/log"),
        (&["--nonsense"], "--nonsense"),
    ] {
        runtime(&world, &[flags, &["list"]].concat()).fails_saying(1, &[word]);
    }
    runtime(&world, &["frobnicate"]).fails_saying(1, &["unknown command \"frobnicate\""]);
}
