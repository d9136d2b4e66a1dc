//! Time namespaces.

use std::fs;

use serde_json::json;

use super::{add_namespace, assert_gone, run};
use crate::world;

#[test]
fn clocks_have_offsets_of_their_own() {
    let world = world();
    let output = run(&world, "clocks", "cut -d. -f1 /proc/uptime; readlink /proc/self/ns/time", |config| {
        add_namespace(config, json!({ "type": "time" }));
        config["linux"]["timeOffsets"] =
            json!({ "boottime": { "secs": 5_000_000 }, "monotonic": { "nanosecs": 5 } });
    });
    let lines: Vec<_> = output.succeeds().lines().collect();
    let host: f64 = fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap();
    let seen: f64 = lines[0].parse().unwrap();
    assert!((seen - host - 5_000_000.0).abs() < 60.0, "{seen} inside, {host} outside");
    assert_ne!(lines[1], fs::read_link("/proc/self/ns/time").unwrap().to_str().unwrap());
}

#[test]
fn offsets_that_make_no_sense_are_refused_by_name() {
    let cases = [
        (json!({ "realtime": { "secs": 1 } }), true, "realtime"),
        (json!({ "boottime": { "nanosecs": 1_000_000_000u32 } }), true, "1000000000 ns"),
        (json!({ "boottime": { "secs": 1 } }), false, "new time namespace"),
        // Before the machine was started.
        (json!({ "boottime": { "secs": -9_000_000_000i64 } }), true, "boottime -9000000000"),
    ];
    for (offsets, with_namespace, part) in cases {
        let world = world();
        let output = run(&world, "offsets", "true", |config| {
            if with_namespace {
                add_namespace(config, json!({ "type": "time" }));
            }
            config["linux"]["timeOffsets"] = offsets;
        });
        assert_ne!(output.code, 0, "{part}");
        assert!(output.stderr.contains(part), "{part}: {output}");
        assert_gone(&world, "offsets");
    }
}
