//! Kernels older than the one these tests are written on.

use crate::{sh, world};

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn an_overlay_is_made_where_layers_cannot_be_given_one_by_one() {
    let (world, fs) = world();
    let output = sh(&world, &[], &format!("{fs}:O"), "echo x >/new && cat /new");
    assert_eq!(output.succeeds(), "x");
    assert!(!world.path("fs/new").exists());
}
