//! Labels of directories that containers are given: `-v …:z` and `:Z`.

use std::fs;
use std::os::unix::fs::symlink;

use super::{FOREIGN, MOUNT, label_of_file, prepared};
use crate::sh;

/// The label of containers' files, with a type that the policy knows.
const SHARED: &str = "system_u:object_r:mount_t:s0";

#[test]
#[ignore = "run by cargo xtask vm-test"]
fn what_containers_are_given_gets_their_label() {
    let (world, root) = prepared();
    let dir = world.path("data");
    fs::create_dir_all(dir.join("below")).unwrap();
    fs::write(dir.join("below/file"), "").unwrap();
    symlink(world.path("fs/foreign"), dir.join("link")).unwrap();
    let before = label_of_file(&dir);
    let with = |option: &str, labels: &[&str]| {
        let volume = format!("{}:/data:{option}", dir.display());
        let options = labels.iter().flat_map(|label| ["--security-opt", label]).collect::<Vec<_>>();
        sh(&world, &[&["-v", &volume], &options[..]].concat(), &root, "ls /data")
    };
    let is = |label: &str| {
        for path in ["", "below", "below/file"] {
            assert_eq!(label_of_file(dir.join(path)), label, "{path:?}");
        }
        assert_eq!(label_of_file(world.path("fs/foreign")), FOREIGN);
    };
    with("z", &["label=disable"]).succeeds();
    is(&before);
    with("z", &["label=filetype:mount_t"]).succeeds();
    is(SHARED);
    with("ro,Z", &["label=filetype:mount_t", "label=level:s0:c1,c2"]).succeeds();
    is(MOUNT);
    // Programs have no labels yet.
    with("z", &["label=type:container_t"]).fails_saying(125, &["no SELinux label yet"]);
    let etc = ["-v", "/etc:/data:z", "--security-opt", "label=filetype:mount_t"];
    sh(&world, &etc, &root, "true").fails_saying(125, &["/etc", "relabeling of this is not allowed"]);
    // Nor by way of a volume, of which the directory that it is is labelled.
    let bound = |name: &str, device: &str| {
        let device = format!("device={device}");
        world.loment(["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &device, name]).succeeds();
    };
    bound("of-system", "/etc");
    let etc = ["-v", "of-system:/data:z", "--security-opt", "label=filetype:mount_t"];
    sh(&world, &etc, &root, "true").fails_saying(125, &["/etc", "relabeling of this is not allowed"]);
    bound("own", &dir.display().to_string());
    sh(&world, &["-v", "own:/data:z", "--security-opt", "label=filetype:mount_t"], &root, "true").succeeds();
    is(SHARED);
}
