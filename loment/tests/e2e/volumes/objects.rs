//! `volume`: what there is without containers.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::{files, left, names};
use crate::{world, world_over_directory};

#[test]
fn a_volume_is_made_listed_inspected_and_removed() {
    let world = world();
    assert_eq!(world.loment(["volume", "create", "--label", "a=b", "v"]).succeeds(), "v");
    let anonymous = world.loment(["volume", "create"]).succeeds().to_owned();
    assert!(anonymous.len() == 64 && anonymous.bytes().all(|b| b.is_ascii_hexdigit()), "{anonymous}");
    let text = world.loment(["volume", "ls"]);
    assert!(
        text.succeeds().starts_with("DRIVER      VOLUME NAME\n") && text.stdout.contains("local       v"),
        "{text}"
    );
    assert_eq!(world.loment(["volume", "ls", "-n", "--filter", "name=^v$"]).succeeds(), "local       v");
    let of =
        |format: &str| world.loment(["volume", "inspect", "--format", format, "v"]).succeeds().to_owned();
    assert_eq!(
        of("{{.Name}} {{.Driver}} {{.Scope}} {{.Labels.a}} {{.Anonymous}} {{.NeedsCopyUp}}"),
        "v local local b false true"
    );
    assert_eq!(files(&world, "v"), world.root().join("volumes/v/_data"));
    assert_eq!(world.inspect("{{.Name}}", "v"), "v");
    // The beginning of a name does, too.
    assert_eq!(world.loment(["volume", "rm", &anonymous[..12]]).succeeds(), anonymous);
    assert_eq!(world.loment(["volume", "exists", "v"]).code, 0);
    assert_eq!(world.loment(["volume", "rm", "v"]).succeeds(), "v");
    assert_eq!(world.loment(["volume", "exists", "v"]).code, 1);
    world.loment(["volume", "rm", "v"]).fails_saying(1, &["no such volume"]);
    world.loment(["volume", "rm", "--force", "v"]).succeeds();
    world.loment(["volume", "inspect", "v"]).fails_saying(125, &["no such volume"]);
    assert_eq!(left(&world), 0);
}

#[test]
fn a_name_is_taken_once_and_names_that_climb_are_refused() {
    let world = world();
    world.loment(["volume", "create", "v"]).succeeds();
    world.loment(["volume", "create", "v"]).fails_saying(125, &["v", "already exists"]);
    assert_eq!(world.loment(["volume", "create", "--ignore", "v"]).succeeds(), "v");
    assert_eq!(world.persona("docker", ["volume", "create", "v"]).succeeds(), "v");
    for bad in ["../x", "a/b", ".new-x", "-v", "..", "a b"] {
        let output = world.loment(["volume", "create", "--", bad]);
        assert_eq!(output.code, 125, "{bad}: {output}");
        assert_eq!(world.loment(["volume", "rm", "--", bad]).code, 1, "{bad}");
    }
    world.loment(["volume", "create", "--driver", "nfs", "w"]).fails_saying(125, &["nfs", "local"]);
    world.loment(["volume", "create", "--opt", "colour=red", "w"]).fails_saying(125, &["colour"]);
    assert_eq!(names(&world), ["v"]);
}

#[test]
fn a_volume_belongs_to_whom_it_is_said() {
    let world = world();
    world.loment(["volume", "create", "--uid", "12", "--gid", "34", "v"]).succeeds();
    let stat = fs::metadata(files(&world, "v")).unwrap();
    assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (12, 34, 0o755));
    assert_eq!(world.loment(["volume", "inspect", "--format", "{{.UID}} {{.GID}}", "v"]).succeeds(), "12 34");
    world.loment(["volume", "create", "--opt", "o=uid=56,gid=78", "w"]).succeeds();
    let stat = fs::metadata(files(&world, "w")).unwrap();
    assert_eq!((stat.uid(), stat.gid()), (56, 78));
}

#[test]
fn filters_choose_volumes_and_prune_removes_the_nameless_ones_first() {
    let (world, dir) = world_over_directory();
    world.loment(["volume", "create", "--label", "kind=a", "one"]).succeeds();
    world.loment(["volume", "create", "--label", "kind=b", "--label", "x", "two"]).succeeds();
    let nameless = world.loment(["volume", "create"]).succeeds().to_owned();
    world
        .loment(["create", "--network", "none", "--name", "c", "-v", "used:/d", "--rootfs", &dir, "true"])
        .succeeds();
    let of = |filters: &[&str]| {
        let flags = filters.iter().flat_map(|f| ["--filter", f]);
        let output = world.loment(["volume", "ls", "-q"].into_iter().chain(flags));
        output.succeeds().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of(&["label=kind"]), ["one", "two"]);
    assert_eq!(of(&["label=kind=a"]), ["one"]);
    assert_eq!(of(&["label=kind", "label=x"]), ["two"]);
    assert_eq!(of(&["name=^one$", "name=two"]), ["one", "two"]);
    assert_eq!(of(&["label!=kind", "dangling=true"]), [nameless.as_str()]);
    assert_eq!(of(&["dangling=false"]), ["used"]);
    assert_eq!(of(&["anonymous=true"]), [nameless.as_str()]);
    assert_eq!(of(&["since=one", "anonymous=false"]), ["two", "used"]);
    assert_eq!(of(&["driver=nfs"]), [""; 0]);
    assert_eq!(of(&["until=24h"]), [""; 0]);
    world.loment(["volume", "ls", "--filter", "colour=red"]).fails_saying(125, &["colour=red", "label"]);
    assert_eq!(world.loment(["volume", "prune", "--dry-run"]).succeeds(), nameless);
    let asked = world.loment(["volume", "prune"]);
    assert!(asked.code != 0 && asked.stdout.contains("anonymous local volumes"), "{asked}");
    assert_eq!(world.loment(["volume", "prune", "--force"]).succeeds(), nameless);
    assert_eq!(names(&world), ["one", "two", "used"]);
    assert_eq!(
        world.loment(["volume", "prune", "--force", "--all", "--filter", "label=kind=a"]).succeeds(),
        "one"
    );
    let docker = world.persona("docker", ["volume", "prune", "-f", "--filter", "all=1"]);
    assert!(docker.succeeds().starts_with("Deleted Volumes:\ntwo\n\nTotal reclaimed space: "), "{docker}");
    assert_eq!(names(&world), ["used"]);
}

#[test]
fn one_in_use_is_removed_with_its_containers_by_force_only() {
    let (world, dir) = world_over_directory();
    let id = world
        .loment(["create", "--network", "none", "--name", "c", "-v", "v:/d", "--rootfs", &dir, "true"])
        .succeeds()
        .to_owned();
    world.loment(["volume", "rm", "v"]).fails_saying(2, &["v", &id, "volume is being used"]);
    // Docker's flag means another thing.
    world.persona("docker", ["volume", "rm", "-f", "v"]).fails_saying(1, &["volume is being used"]);
    let mounted = world.loment(["volume", "inspect", "--format", "{{.MountCount}}", "v"]);
    assert_eq!(mounted.succeeds(), "0");
    world.loment(["volume", "rm", "--force", "v"]).succeeds();
    assert_eq!(world.loment(["container", "exists", "c"]).code, 1);
    assert_eq!(left(&world), 0);
}

#[test]
fn a_damaged_record_hides_no_other() {
    let world = world();
    world.loment(["volume", "create", "bad"]).succeeds();
    world.loment(["volume", "create", "good"]).succeeds();
    fs::write(world.root().join("volumes/bad/volume.json"), "{").unwrap();
    let listed = world.loment(["volume", "ls", "-q"]);
    assert_eq!(listed.succeeds(), "bad\ngood");
    assert!(listed.stderr.contains("bad"), "{listed}");
    world.loment(["volume", "inspect", "bad"]).fails_saying(125, &["volume.json"]);
    // Nobody knows whether it is meant.
    assert_eq!(world.loment(["volume", "prune", "--all", "--force"]).succeeds(), "good");
    assert_eq!(world.loment(["volume", "rm", "bad"]).succeeds(), "bad");
}

#[test]
fn documents_have_the_form_of_each_peer() {
    let world = world();
    world.loment(["volume", "create", "--label", "a=b", "v"]).succeeds();
    let keys = |output: &str| -> Vec<String> {
        let document: serde_json::Value = serde_json::from_str(output).unwrap();
        let one = document.get(0).unwrap_or(&document);
        one.as_object().unwrap().keys().cloned().collect()
    };
    let podman = world.loment(["volume", "inspect", "v"]);
    let expected = [
        "CreatedAt",
        "Driver",
        "Labels",
        "MountCount",
        "Mountpoint",
        "Name",
        "NeedsChown",
        "NeedsCopyUp",
        "Options",
        "Scope",
    ];
    assert_eq!(keys(podman.succeeds()), expected);
    assert_eq!(keys(world.loment(["volume", "ls", "--format", "json"]).succeeds()), expected);
    let docker = world.persona("docker", ["volume", "inspect", "v"]);
    assert_eq!(
        keys(docker.succeeds()),
        ["CreatedAt", "Driver", "Labels", "Mountpoint", "Name", "Options", "Scope"]
    );
    let docker = world.persona("docker", ["volume", "ls", "--format", "json"]);
    assert_eq!(
        keys(docker.succeeds()),
        [
            "Availability",
            "Driver",
            "Group",
            "Labels",
            "Links",
            "Mountpoint",
            "Name",
            "Scope",
            "Size",
            "Status"
        ]
    );
    assert_eq!(
        world.persona("docker", ["volume", "ls", "--format", "{{.Name}} {{.Labels}}"]).succeeds(),
        "v a=b"
    );
    assert_eq!(
        world.loment(["volume", "ls", "--format", "table {{.Name}} {{.MountCount}}"]).succeeds(),
        "VOLUME NAME  MOUNT COUNT\nv            0"
    );
    world.loment(["volume", "ls", "--format", "{{.Nope}}"]).fails_saying(125, &["Nope"]);
}

#[test]
fn what_happens_to_volumes_is_told() {
    let world = world();
    world.loment(["volume", "create", "v"]).succeeds();
    world.loment(["volume", "rm", "v"]).succeeds();
    world.loment(["volume", "prune", "-f"]).succeeds();
    let told = |persona: &str| {
        let flags = [
            "events",
            "--stream=false",
            "--since",
            "1h",
            "--filter",
            "type=volume",
            "--format",
            "{{.Name}} {{.Status}}",
        ];
        let flags = if persona == "docker" {
            vec![
                "events",
                "--since",
                "1h",
                "--until",
                "0s",
                "--filter",
                "type=volume",
                "--format",
                "{{.Actor.ID}} {{.Action}}",
            ]
        } else {
            flags.to_vec()
        };
        let output = world.persona(persona, flags);
        output.succeeds().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(told("podman"), ["v create", "v remove", " prune"]);
    assert_eq!(told("docker"), ["v create", "v destroy", " prune"]);
}

#[test]
fn what_scripts_look_for_is_said_as_podman_says_it() {
    let (world, dir) = world_over_directory();
    let bogus = world.loment(["volume", "create", "-o", "type=bind", "-o", "device=/bogus", "v"]);
    assert_eq!(
        bogus.fails(125),
        "Error: invalid volume option device for driver 'local': faccessat /bogus: no such file or directory"
    );
    world.loment(["volume", "create", "--label", "b=c,d", "--label", "a", "v"]).succeeds();
    let pruned = world.loment(["volume", "prune"]);
    assert_eq!(pruned.succeeds().lines().nth(1), Some("No dangling anonymous volumes found"), "{pruned}");
    // Labels are one text in a list, whose values can still be asked for.
    let list = |format: &str| world.loment(["volume", "ls", "--format", format]).succeeds().to_owned();
    assert_eq!(list("{{json .Labels}} {{.Label \"b\"}}"), "\"a=,b=c,d\" c,d");
    // What is said twice is said; Docker refuses it.
    let create = ["create", "--network", "none"];
    let rest = ["--rootfs", dir.as_str(), "true"];
    for flags in
        [["-v", "v:/m", "-v", "v:/m"], ["-v", "/tmp:/m", "-v", "/tmp:/m"], ["--tmpfs", "/m", "--tmpfs", "/m"]]
    {
        world.loment([&create[..], &flags, &rest].concat()).succeeds();
        let docker = world.persona("docker", [&create[..], &flags, &rest].concat());
        docker.fails_saying(1, &["duplicate mount destination"]);
    }
    let other = [&create[..], &["-v", "v:/m", "-v", "w:/m"], &rest].concat();
    assert_eq!(world.loment(other).fails(125), "Error: /m: duplicate mount destination");
    assert_eq!(world.loment(["volume", "rm", "--force", "--time", "-1", "v"]).succeeds(), "v");
    world.loment(["rm", "--all"]).succeeds();
    assert_eq!(left(&world), 0);
}

#[test]
fn what_is_damaged_is_found_and_removed_by_force_only() {
    let (world, dir) = world_over_directory();
    for name in ["whole", "record", "none", "data", "used"] {
        world.loment(["volume", "create", name]).succeeds();
    }
    let create = ["create", "--network", "none", "--name", "c", "-v", "used:/d", "--rootfs", &dir, "true"];
    world.loment(create).succeeds();
    let check = |flags: &[&str]| world.loment([&["system", "check"], flags].concat());
    check(&[]).succeeds();
    let of = |name: &str| world.root().join("volumes").join(name);
    std::fs::write(of("record").join("volume.json"), "{").unwrap();
    std::fs::remove_file(of("none").join("volume.json")).unwrap();
    for name in ["data", "used"] {
        std::fs::remove_dir(of(name).join("_data")).unwrap();
    }
    let found = check(&[]);
    for name in ["record", "none", "data", "used"] {
        assert!(found.stdout.contains(&format!("Damage detected in volume {name}:")), "{found}");
    }
    assert!(found.code == 125 && !found.stdout.contains("volume whole"), "{found}");
    let kept = check(&["--repair"]);
    assert!(kept.code == 125 && kept.stdout.contains("Kept volume record"), "{kept}");
    let forced = check(&["--force"]);
    assert!(
        forced.stdout.contains("Removed volume none") && forced.stdout.contains("Kept volume used"),
        "{forced}"
    );
    assert_eq!(names(&world), ["used", "whole"]);
    world.loment(["rm", "c"]).succeeds();
    check(&["--force"]).succeeds();
    assert_eq!(names(&world), ["whole"]);
}

#[test]
fn docker_sees_where_volumes_without_names_are() {
    let (world, dir) = world_over_directory();
    let create =
        ["create", "--network", "none", "--name", "c", "-v", "/a", "-v", "v:/v", "--rootfs", &dir, "true"];
    world.loment(create).succeeds();
    let inspect = ["inspect", "--format", "{{json .Config.Volumes}}", "c"];
    assert_eq!(world.persona("docker", inspect).succeeds(), r#"{"/a":{}}"#);
    assert_eq!(world.loment(inspect).succeeds(), "null");
}
