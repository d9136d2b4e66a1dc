//! Runtimes that are killed while they make a container.

use std::process::Stdio;
use std::time::Duration;

use super::groups;
use crate::runtime::{bundle, command, id, runtime};
use crate::world;

#[test]
fn what_a_killed_creator_leaves_is_deleted_by_force() {
    let world = world();
    let dir = bundle(&world, "true", |_| ());
    let root = world.dir().join("runtime");
    for step in 0..50u64 {
        let verb = if step % 2 == 0 { "run" } else { "create" };
        let id = id(&format!("killed-{step}"));
        let mut creator = command(&world, &[verb, "--bundle", dir.to_str().unwrap(), &id]);
        let mut creator =
            creator.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(step * 300));
        creator.kill().unwrap();
        creator.wait().unwrap();
        runtime(&world, &["delete", "--force", &id]).succeeds();
        assert!(!root.join(&id).exists(), "{verb} killed after {} us", step * 300);
        assert_eq!(groups(&format!("loment-{id}")), Vec::<std::path::PathBuf>::new(), "{verb} {step}");
    }
}
