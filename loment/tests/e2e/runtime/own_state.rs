//! The state directory: what is not ours is left alone.

use std::fs;

use serde_json::{Value, json};

use super::{Guard, bundle, runtime};
use crate::world;

#[test]
fn state_that_is_not_ours_is_refused_by_every_command_and_kept() {
    let world = world();
    let cases = [
        (
            "state.json",
            json!({"id": "x", "init_process_pid": 1, "config": {}}).to_string(),
            "belongs to runc",
        ),
        ("status", json!({"pid": 1, "bundle": "/b"}).to_string(), "belongs to crun"),
        ("state.json", json!({"version": 4711, "id": "x"}).to_string(), "is of version 4711"),
        ("state.json", "{\"version\": 2, \"i".to_owned(), "is damaged"),
    ];
    let dir = world.dir().join("runtime/x");
    for (name, text, words) in cases {
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(name), &text).unwrap();
        for command in [
            &["state", "x"][..],
            &["start", "x"],
            &["kill", "x", "KILL"],
            &["kill", "-a", "x", "KILL"],
            &["delete", "x"],
            &["delete", "--force", "x"],
            &["pause", "x"],
            &["update", "x"],
        ] {
            runtime(&world, command).fails_saying(1, &[words, "\"x\""]);
        }
        let bundle = bundle(&world, "true", |_| ());
        runtime(&world, &["run", "--bundle", bundle.to_str().unwrap(), "x"])
            .fails_saying(1, &["already exists"]);
        let list = runtime(&world, &["list", "--format", "json"]);
        assert_eq!(list.succeeds(), "[]");
        assert!(list.stderr.contains(words), "{list}");
        assert_eq!(fs::read_to_string(dir.join(name)).unwrap(), text);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        fs::remove_dir_all(&dir).unwrap();
    }
}

#[test]
fn what_a_killed_creator_left_does_not_take_the_id_forever() {
    let world = world();
    let bundle = bundle(&world, "exit 5", |_| ());
    let dir = world.dir().join("runtime/x");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("config.json"), "{}").unwrap();
    assert_eq!(runtime(&world, &["run", "--bundle", bundle.to_str().unwrap(), "x"]).code, 5);
    fs::create_dir_all(&dir).unwrap();
    runtime(&world, &["delete", "--force", "x"]).succeeds();
    assert!(!dir.exists());
    // But only that.
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("photos"), "").unwrap();
    runtime(&world, &["delete", "--force", "x"]).fails_saying(1, &["photos"]);
    assert!(dir.join("photos").exists());
}

#[test]
fn the_state_directory_is_for_its_owner_only() {
    use std::os::unix::fs::MetadataExt;
    let world = world();
    let bundle = bundle(&world, "sleep 60", |_| ());
    let c = Guard::create(&world, "mode", &bundle);
    for dir in [world.dir().join("runtime"), world.dir().join("runtime").join(&c.id)] {
        assert_eq!(fs::metadata(dir).unwrap().mode() & 0o777, 0o700);
    }
    let config: Value = serde_json::from_slice(
        &fs::read(world.dir().join("runtime").join(&c.id).join("config.json")).unwrap(),
    )
    .unwrap();
    assert_eq!(config["hostname"], "bundle");
}
