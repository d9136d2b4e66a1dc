//! Runtimes that are killed while they make a container.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::runtime::{bundle, id, runtime};
use crate::world;

/// Control groups of that name, anywhere.
fn groups(name: &str) -> Vec<std::path::PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).unwrap().flatten().map(|e| e.path()).chain([root.to_owned()]);
    hierarchies.map(|h| h.join(name)).filter(|g| g.exists()).collect()
}

#[test]
fn what_a_killed_creator_leaves_is_deleted_by_force() {
    let world = world();
    let dir = bundle(&world, "true", |_| ());
    runtime(&world, &["--version"]).succeeds();
    let root = world.dir().join("runtime");
    for step in 0..50u64 {
        let command = if step % 2 == 0 { "run" } else { "create" };
        let id = id(&format!("killed-{step}"));
        let mut creator = Command::new(world.dir().join("loment-runtime"));
        creator.arg("--root").arg(&root).args([command, "--bundle"]).arg(&dir).arg(&id);
        let mut creator =
            creator.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(step * 300));
        creator.kill().unwrap();
        creator.wait().unwrap();
        runtime(&world, &["delete", "--force", &id]).succeeds();
        assert!(!root.join(&id).exists(), "{command} killed after {} us", step * 300);
        assert_eq!(groups(&format!("loment-{id}")), Vec::<std::path::PathBuf>::new(), "{command} {step}");
    }
}
