//! umoci: it unpacks and changes layouts that we write, and we run what it makes.

use std::os::unix::fs::MetadataExt;

use loment_testkit::{Patience, World, busybox_rootfs, run};

use super::{forget, found, ours};
use crate::engines::command;
use crate::{sh, world, world_with};

/// `umoci ARGUMENTS`, which must succeed; what it prints.
#[track_caller]
fn umoci(world: &World, arguments: &[&str]) -> String {
    run(command(world, "umoci").args(arguments), Patience::NORMAL).succeeds().to_owned()
}

#[test]
fn umoci_unpacks_and_changes_what_we_write() {
    let (world, image) = world_with("app:latest");
    let facts = ours(&world, &image);
    world.loment(["push", "--quiet", &image, "oci:layout:app"]).succeeds();
    // It throws away what nothing refers to, and that is nothing of ours.
    umoci(&world, &["gc", "--layout", "layout"]);
    assert_eq!(found(&world, "oci:layout:app").1, facts);
    umoci(&world, &["unpack", "--image", "layout:app", "bundle"]);
    let seed = world.path("bundle/rootfs/data/seed");
    assert_eq!(std::fs::read_to_string(&seed).unwrap(), "seed");
    assert_eq!(seed.metadata().unwrap().uid(), 1000);
    // Not below /data: what is in an image's volumes does not count for it.
    std::fs::remove_file(world.path("bundle/rootfs/etc/group")).unwrap();
    std::fs::write(world.path("bundle/rootfs/home/more"), "more\n").unwrap();
    umoci(&world, &["repack", "--image", "layout:changed", "bundle"]);
    umoci(&world, &["config", "--image", "layout:changed", "--config.env", "MADE=umoci"]);
    assert_eq!(umoci(&world, &["ls", "--layout", "layout"]), "app\nchanged");
    let (manifest, changed) = found(&world, "oci:layout:changed");
    assert_eq!((changed.layers.len(), &changed.layers[..2]), (3, &facts.layers[..]));
    forget(&world);
    assert_eq!(world.loment(["pull", "--quiet", "oci:layout:changed"]).succeeds(), changed.id);
    assert_eq!(ours(&world, &changed.id), changed);
    let script = "echo $MADE; cd /etc; echo g*; cat /home/more";
    assert_eq!(sh(&world, &["--entrypoint", ""], &changed.id, script), "umoci\ng*\nmore");
    world.loment(["image", "copy", "--quiet", "oci:layout:changed", "oci:copied:x"]).succeeds();
    assert_eq!(found(&world, "oci:copied:x"), (manifest, changed));
}

#[test]
fn a_layout_that_umoci_makes_is_read_and_runs() {
    let world = world();
    busybox_rootfs(&world.path("fs"));
    umoci(&world, &["init", "--layout", "layout"]);
    umoci(&world, &["new", "--image", "layout:1"]);
    umoci(&world, &["insert", "--image", "layout:1", "fs", "/"]);
    world.write("greeting", "hello of umoci\n");
    umoci(&world, &["insert", "--image", "layout:1", "greeting", "/etc/greeting"]);
    let program = ["--config.cmd", "cat", "--config.cmd", "/etc/greeting"];
    umoci(&world, &[&["config", "--image", "layout:1", "--config.env", "PATH=/bin"], &program[..]].concat());
    let (_, facts) = found(&world, "oci:layout:1");
    assert_eq!(world.loment(["pull", "--quiet", "oci:layout:1"]).succeeds(), facts.id);
    assert_eq!(ours(&world, &facts.id), facts);
    let greeting = world.loment(["run", "--rm", "--network", "none", &facts.id]);
    assert_eq!(greeting.succeeds(), "hello of umoci");
}
