//! Capabilities that cannot be granted: left out, and said so (config.md, "Linux Process", capabilities).

use std::process::Command;

use serde_json::{Value, json};

use crate::runtime::{bundle, command, id};
use crate::world;

fn asked(config: &mut Value, bounding: &[&str]) {
    let all = json!(["CAP_KILL", "CAP_NET_RAW"]);
    config["process"]["capabilities"] =
        json!({ "bounding": bounding, "effective": all, "permitted": all, "inheritable": all });
}

#[test]
fn what_cannot_be_granted_is_left_out_with_a_warning() {
    let world = world();
    let script = "grep -E 'CapInh|CapEff' /proc/self/status";
    let message = "warning: capabilities that cannot be granted are left out: CAP_NET_RAW";

    // Nobody inherits what is not in the bounding set.
    let dir = bundle(&world, script, |config| asked(config, &["CAP_KILL"]));
    let arguments = ["run", "--bundle", dir.to_str().unwrap(), &id("left-out")];
    let output = loment_testkit::run(&mut command(&world, &arguments), loment_testkit::Patience::NORMAL);
    assert_eq!(output.succeeds(), "CapInh:\t0000000000000020\nCapEff:\t0000000000000020");
    assert!(output.stderr.contains(message), "{output}");

    // Nor gives away what it does not hold.
    let dir = bundle(&world, script, |config| asked(config, &["CAP_KILL", "CAP_NET_RAW"]));
    let runtime = command(&world, &["run", "--bundle", dir.to_str().unwrap(), &id("not-held")]);
    let mut poorer = Command::new("setpriv");
    poorer.args(["--bounding-set=-net_raw", "--"]).arg(runtime.get_program()).args(runtime.get_args());
    let output = loment_testkit::run(&mut poorer, loment_testkit::Patience::NORMAL);
    assert_eq!(output.succeeds(), "CapInh:\t0000000000000020\nCapEff:\t0000000000000020");
    assert!(output.stderr.contains(message), "{output}");
}
