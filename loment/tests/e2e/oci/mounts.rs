//! Mounts that cannot be made as they are asked for.

use std::fs;

use serde_json::json;

use super::{assert_gone, run};
use crate::world;

#[test]
fn files_are_not_mounted_on_directories_nor_the_reverse() {
    let host = world();
    let (file, dir) = (host.path("file"), host.path("dir"));
    fs::write(&file, "").unwrap();
    fs::create_dir(&dir).unwrap();
    let a_directory = "it is a directory, but what is there in the container is a file";
    let a_file = "it is a file, but what is there in the container is a directory";
    let cases = [
        (json!({ "destination": "/dir", "type": "bind", "source": file, "options": ["bind"] }), a_file),
        (json!({ "destination": "/file", "type": "bind", "source": dir, "options": ["bind"] }), a_directory),
        (json!({ "destination": "/file", "type": "proc", "source": "proc" }), a_directory),
        (json!({ "destination": "/file", "type": "tmpfs", "source": "tmpfs" }), a_directory),
    ];
    for (mount, reason) in cases {
        let world = world();
        let rootfs = world.path("bundle/rootfs");
        let output = run(&world, "mismatch", "echo never", |config| {
            fs::create_dir(rootfs.join("dir")).unwrap();
            fs::write(rootfs.join("file"), "").unwrap();
            config["mounts"].as_array_mut().unwrap().push(mount.clone());
        });
        assert_ne!(output.code, 0);
        let place = mount["destination"].as_str().unwrap();
        assert!(output.stderr.contains(place) && output.stderr.contains(reason), "{output}");
        assert_gone(&world, "mismatch");
    }
}
