//! Tests that take a machine's disk or all of its processors for themselves.

mod churn;
mod full;
mod power;
mod together;

use std::process::Command;

use loment_testkit::{Patience, run};

/// Runs an ignored test in a mount namespace of its own, with which everything it mounts goes.
#[track_caller]
fn in_namespace(test: &str) {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    run(&mut command, Patience::LONG).succeeds();
}
