//! Pods: containers that share namespaces and are started, stopped and removed together.

mod clone;
mod life;
mod members;

use std::path::PathBuf;

use loment_testkit::World;

/// The namespace a process is in.
#[track_caller]
pub(super) fn namespace(process: impl std::fmt::Display, kind: &str) -> PathBuf {
    std::fs::read_link(format!("/proc/{process}/ns/{kind}")).unwrap()
}

/// A member that runs until it is asked to end.
#[track_caller]
pub(super) fn member(world: &World, rootfs: &str, pod: &str, name: &str, flags: &[&str]) {
    let head = ["run", "-d", "--pod", pod, "--name", name];
    let program = ["--rootfs", rootfs, "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"];
    world.loment([&head[..], flags, &program].concat()).succeeds();
}

/// What a program in a container prints.
#[track_caller]
pub(super) fn inside(world: &World, name: &str, script: &str) -> String {
    world.loment(["exec", name, "sh", "-c", script]).succeeds().to_owned()
}

#[track_caller]
pub(super) fn field(world: &World, pod: &str, template: &str) -> String {
    world.loment(["pod", "inspect", "--format", template, pod]).succeeds().to_owned()
}
