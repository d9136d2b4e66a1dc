//! What the machine must be like for the other tests to say anything.

use std::fs;
use std::path::Path;

use crate::world;

/// Each controller that has a limit among our flags.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn systemd_runs_with_every_controller() {
    world();
    assert_eq!(fs::read_to_string("/proc/1/comm").unwrap(), "systemd\n");
    let unified = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").ok();
    for controller in CONTROLLERS {
        match &unified {
            Some(text) => assert!(text.split_whitespace().any(|c| c == controller), "{text}"),
            None => assert!(Path::new("/sys/fs/cgroup").join(controller).is_dir(), "{controller}"),
        }
    }
}
