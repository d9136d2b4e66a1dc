//! runc as a control: the same is done by both, and each restores what the other has saved.

use std::process::{Command, Stdio};

use super::{COUNT, Case};
use crate::eventually;
use crate::limits::groups_left;

/// Runs a command of runc's without streams.
#[track_caller]
fn succeeds(c: &Case, command: &mut Command) {
    let errors = c.world.path("runc-errors");
    let file = std::fs::File::create(&errors).unwrap();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).status().unwrap();
    let said = std::fs::read_to_string(errors).unwrap();
    assert!(status.success(), "{command:?}: {said}\n{}", c.logs());
}

/// As [`succeeds`], for a container that keeps the streams.
#[track_caller]
fn starts(c: &Case, command: &mut Command) {
    let null = Stdio::null;
    let status = command.stdin(null()).stdout(null()).stderr(null()).status().unwrap();
    assert!(status.success(), "{command:?}\n{}", c.logs());
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn runc_does_the_same_here() {
    let c = Case::new("runc");
    let (dir, images) = (c.bundle(COUNT, |_| {}), c.path("images"));
    starts(&c, &mut c.runc(&["run", "--detach", "--bundle", &dir, &c.id]));
    c.counts_from(0);
    succeeds(&c, &mut c.runc(&["checkpoint", "--image-path", &images, &c.id]));
    let saved = c.count();
    starts(&c, &mut c.runc(&["restore", "--detach", "--image-path", &images, "--bundle", &dir, &c.id]));
    c.counts_from(saved);
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn what_runc_has_saved_is_restored() {
    let c = Case::new("fromrunc");
    let (dir, images) = (c.bundle(COUNT, |_| {}), c.path("images"));
    starts(&c, &mut c.runc(&["run", "--detach", "--bundle", &dir, &c.id]));
    c.counts_from(0);
    succeeds(&c, &mut c.runc(&["checkpoint", "--image-path", &images, &c.id]));
    let saved = c.count();
    c.restore(&[]);
    c.counts_from(saved);
    c.quietly_read(&["exec", &c.id, "/bin/true"]).succeeds();
}

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn runc_restores_what_we_have_saved() {
    let c = Case::new("torunc");
    let (dir, images) = (c.bundle(COUNT, |_| {}), c.path("images"));
    c.start(&dir);
    c.counts_from(0);
    c.save(&[]);
    let saved = c.count();
    starts(&c, &mut c.runc(&["restore", "--detach", "--image-path", &images, "--bundle", &dir, &c.id]));
    c.counts_from(saved);
    succeeds(&c, &mut c.runc(&["kill", &c.id, "KILL"]));
    eventually("it has ended", || c.runc(&["delete", &c.id]).output().is_ok_and(|o| o.status.success()));
    // CRIU has made the group of ours again, of which runc knows nothing.
    for group in groups_left(&c.world).iter().filter(|group| group.ends_with(&c.id)) {
        std::fs::remove_dir(group).unwrap();
    }
}
