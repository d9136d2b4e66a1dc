//! Volumes, and containers with volumes.

use std::fs;

use super::Scene;
use crate::{eventually, fixtures};

/// The image of [`crate::fixtures`] that has a volume with something in it.
fn scene() -> (Scene, String) {
    let scene = Scene::new("dir");
    let registry = fixtures().serve();
    let name = registry.name("app:latest");
    scene.loment(&["pull", "--quiet", "--tls-verify=false", &name]).succeeds();
    (scene, name)
}

impl Scene {
    /// As `kill_everywhere`. In the end, when all containers and volumes are removed, nothing of them is there.
    fn kill_volumes(&self, arguments: &[&str], again: &[i32], holds: &dyn Fn(&str)) {
        self.at_every_change(2000, arguments, &|_, when| {
            self.loment(&["ps", "-a", "-q"]).succeeds();
            self.loment(&["volume", "ls", "-q"]).succeeds();
            let output = self.loment(arguments);
            assert!(output.code == 0 || again.contains(&output.code), "{when}: {output}");
            holds(when);
            self.loment(&["rm", "--force", "--all", "--volumes"]).succeeds();
            let volumes = self.root().join("volumes");
            let anonymous: Vec<_> =
                fs::read_dir(&volumes).into_iter().flatten().flatten().map(|e| e.file_name()).collect();
            let is_named = |name: &std::ffi::OsString| {
                name.to_str().is_some_and(|name| name.len() < 64 && !name.starts_with('.'))
            };
            // Those of one that was removed at its end go with what is left of that, which is somebody's work for a minute.
            let tombs = fs::read_dir(self.root().join("tombs")).unwrap();
            let is_tomb = |name: std::ffi::OsString| name.len() == 64;
            let is_swept = tombs.flatten().any(|entry| is_tomb(entry.file_name()));
            assert!(is_swept || anonymous.iter().all(is_named), "{when}: {anonymous:?}");
            self.loment(&["volume", "prune", "--all", "--force"]).succeeds();
            for dir in ["volumes", "containers"] {
                let left = fs::read_dir(self.root().join(dir)).map_or(0, Iterator::count);
                assert_eq!(left, 0, "{when}: {dir}");
            }
            // What is put back has no tombs.
            for tomb in fs::read_dir(self.root().join("tombs")).unwrap().flatten() {
                remove_groups(&tomb.file_name().to_string_lossy());
            }
        });
    }
}

/// What the next one who lists containers does when a tomb is older than a minute.
fn remove_groups(id: &str) {
    let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().map(|entry| entry.unwrap().path());
    for hierarchy in hierarchies.chain(["/sys/fs/cgroup".into()]) {
        for name in [format!("loment-{id}"), format!("loment-{id}-monitor")] {
            let group = hierarchy.join(name);
            eventually("its group is empty", || !group.exists() || fs::remove_dir(&group).is_ok());
        }
    }
}

#[test]
fn volumes_are_made_and_removed_killed_before_every_change() {
    let scene = Scene::new("dir");
    // The second time there is one, or none.
    scene.kill_volumes(&["volume", "create", "--label", "a=b", "v"], &[125], &|when| {
        let shown = scene.loment(&["volume", "inspect", "--format", "{{.Labels.a}}", "v"]);
        assert_eq!(shown.succeeds(), "b", "{when}");
    });
    scene.loment(&["volume", "create", "v"]).succeeds();
    fs::write(scene.root().join("volumes/v/_data/x"), "x").unwrap();
    scene.kill_volumes(&["volume", "rm", "v"], &[1], &|when| {
        assert_eq!(scene.loment(&["volume", "exists", "v"]).code, 1, "{when}");
    });
}

#[test]
fn a_container_with_new_volumes_killed_before_every_change() {
    let (scene, image) = scene();
    let flags = ["run", "--network", "none", "--entrypoint", "", "--user", "0", "-v", "new:/data"];
    // The second time the name may be taken.
    let run = [&flags[..], &["--name", "c", "-v", "/anonymous", &image, "cat", "/data/seed"]].concat();
    scene.kill_volumes(&run, &[125], &|when| {
        let seen = scene.loment(&[&flags[..], &["--rm", &image, "cat", "/data/seed"]].concat());
        assert_eq!(seen.succeeds(), "seed", "{when}");
    });
}

#[test]
fn a_container_that_goes_with_its_volumes_killed_before_every_change() {
    let (scene, image) = scene();
    let run = [
        "run",
        "--rm",
        "--network",
        "none",
        "--entrypoint",
        "",
        "--user",
        "0",
        "-v",
        "/anonymous",
        &image,
        "true",
    ];
    scene.kill_volumes(&run, &[], &|_| ());
    scene.loment(&["create", "--network", "none", "--name", "c", "-v", "/anonymous", &image]).succeeds();
    scene.kill_volumes(&["rm", "--volumes", "c"], &[1], &|when| {
        assert_eq!(scene.loment(&["container", "exists", "c"]).code, 1, "{when}");
    });
}
