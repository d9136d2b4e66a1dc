//! Volumes: objects, and what containers see of them.

mod care;
mod drivers;
mod mounts;
mod objects;
mod using;

use loment_testkit::World;

/// The names of all volumes.
#[track_caller]
fn names(world: &World) -> Vec<String> {
    world.loment(["volume", "ls", "-q"]).succeeds().lines().map(str::to_owned).collect()
}

/// Where a volume has its files.
#[track_caller]
fn files(world: &World, name: &str) -> std::path::PathBuf {
    world.loment(["volume", "inspect", "--format", "{{.Mountpoint}}", name]).succeeds().into()
}

/// What is left of volumes on disk.
fn left(world: &World) -> usize {
    std::fs::read_dir(world.root().join("volumes")).map_or(0, Iterator::count)
}
