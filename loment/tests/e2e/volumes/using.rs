//! Containers that have volumes.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::{files, left, names};
use crate::{eventually, sh, sleeper, world_over_directory, world_with};

/// `--entrypoint ""` and a user, for the image that has a volume.
const APP: [&str; 4] = ["--entrypoint", "", "--user", "0"];

#[test]
fn a_named_volume_keeps_what_is_written_and_is_filled_from_the_image_once() {
    let (world, image) = world_with("app:latest");
    let flags = [&APP[..], &["-v", "v:/data"]].concat();
    assert_eq!(
        sh(&world, &flags, &image, "cat /data/seed; stat -c ' %u:%g %a' /data /data/seed"),
        "seed 1000:1000 755\n 1000:1000 644"
    );
    sh(&world, &flags, &image, "rm /data/seed; echo mine > /data/own");
    assert_eq!(sh(&world, &flags, &image, "ls /data; cat /data/own"), "own\nmine");
    assert_eq!(fs::read_to_string(files(&world, "v").join("own")).unwrap(), "mine\n");
    assert_eq!(names(&world), ["v"]);
    // As with Podman, programs in it have no power by its own bits.
    let options = sh(&world, &flags, &image, "grep ' /data ' /proc/mounts");
    assert!(options.contains("nosuid,nodev"), "{options}");
    let flags = [&APP[..], &["-v", "v:/data:suid,dev,noexec,ro"]].concat();
    let options = sh(&world, &flags, &image, "grep ' /data ' /proc/mounts");
    assert!(!options.contains("nosuid") && !options.contains("nodev"), "{options}");
    assert!(options.contains("noexec") && options.contains(" ro,"), "{options}");
}

#[test]
fn a_volume_that_nobody_has_filled_takes_the_owner_of_where_it_is_mounted() {
    let (world, image) = world_with("app:latest");
    let owner = |name: &str| fs::metadata(files(&world, name)).map(|m| (m.uid(), m.gid())).unwrap();
    sh(&world, &["--entrypoint", "", "-v", "a:/home/app"], &image, "true");
    assert_eq!(owner("a"), (1000, 1000));
    // Nothing is there: it is for the container's user.
    sh(&world, &["--entrypoint", "", "--user", "55:66", "-v", "b:/nowhere"], &image, "touch /nowhere/x");
    assert_eq!(owner("b"), (55, 66));
    sh(&world, &[&APP[..], &["-v", "c:/data:nocopy"]].concat(), &image, "test ! -e /data/seed");
    assert_eq!(owner("c"), (1000, 1000));
    // One that was empty all the time is filled when something is there to fill it with.
    assert_eq!(sh(&world, &[&APP[..], &["-v", "c:/data"]].concat(), &image, "cat /data/seed"), "seed");
    // An owner that was chosen stays.
    world.loment(["volume", "create", "--uid", "7", "d"]).succeeds();
    assert_eq!(sh(&world, &[&APP[..], &["-v", "d:/data"]].concat(), &image, "cat /data/seed"), "seed");
    assert_eq!(owner("d"), (7, 0));
}

#[test]
fn with_users_of_its_own_a_volume_has_their_ids_outside() {
    let (world, image) = world_with("app:latest");
    let flags =
        ["--entrypoint", "", "--user", "0", "--uidmap", "0:100000:65536", "-v", "v:/data", "-v", "w:/none"];
    assert_eq!(sh(&world, &flags, &image, "stat -c %u /data/seed /none; touch /data/new"), "1000\n0");
    let owner = |path: &str| fs::metadata(world.root().join("volumes").join(path)).unwrap().uid();
    assert_eq!((owner("v/_data/seed"), owner("v/_data/new"), owner("w/_data")), (101_000, 100_000, 100_000));
}

#[test]
fn whoever_maps_ids_has_the_files_of_the_image_as_they_are_there() {
    let (world, image) = world_with("app:latest");
    let head = ["--entrypoint", "", "--user", "5", "--uidmap", "0:100000:65536"];
    let flags =
        [&head[..], &["-v", "v:/data:idmap", "-v", "w:/none:idmap", "-v", "u:/given:U,idmap"]].concat();
    let script = "stat -c %u /data/seed /none /given";
    assert_eq!(sh(&world, &flags, &image, script), "1000\n5\n5");
    let owner = |path: &str| fs::metadata(world.root().join("volumes").join(path)).unwrap().uid();
    assert_eq!((owner("v/_data/seed"), owner("w/_data"), owner("u/_data")), (1000, 5, 5));
}

#[test]
fn anonymous_volumes_go_with_their_container_when_that_is_wanted() {
    let (world, image) = world_with("app:latest");
    let run = |flags: &[&str]| {
        let head = ["run", "--network", "none", "--entrypoint", "", "--user", "0", "-v", "/anon"];
        world
            .loment([&head, flags, &[&image, "sh", "-c", "touch /anon/x /data/y"]].concat())
            .succeeds()
            .to_owned()
    };
    run(&["--rm"]);
    eventually("they are gone", || left(&world) == 0);
    run(&["--name", "kept"]);
    let made = names(&world);
    assert!(made.len() == 2 && made.iter().all(|name| name.len() == 64), "{made:?}");
    world.loment(["rm", "kept"]).succeeds();
    assert_eq!(names(&world), made);
    world.loment(["volume", "prune", "--force"]).succeeds();
    run(&["--name", "gone"]);
    world.loment(["rm", "--volumes", "gone"]).succeeds();
    assert_eq!(left(&world), 0);
    // What another container has stays until that goes.
    run(&["--name", "one"]);
    world
        .loment([
            "create",
            "--network",
            "none",
            "--name",
            "two",
            "--volumes-from",
            "one",
            "--image-volume",
            "ignore",
            &image,
        ])
        .succeeds();
    world.loment(["rm", "-v", "one"]).succeeds();
    assert_eq!(names(&world).len(), 2);
    world.loment(["rm", "-v", "two"]).succeeds();
    assert_eq!(left(&world), 0);
}

#[test]
fn volumes_of_the_image_are_what_is_asked_for() {
    let (world, image) = world_with("app:latest");
    let of = |way: &str| {
        let flags = [&APP[..], &["--image-volume", way]].concat();
        sh(
            &world,
            &flags,
            &image,
            "grep -c ' /data ' /proc/mounts; grep ' /data ' /proc/mounts | cut -d' ' -f3; ls /data",
        )
    };
    assert!(of("anonymous").starts_with("1\n") && of("anonymous").ends_with("\nseed"));
    assert!(of("bind").ends_with("\nseed"));
    assert_eq!(of("tmpfs"), "1\ntmpfs");
    let ignored = world.loment(
        [
            &["run", "--rm", "--network", "none"],
            &APP[..],
            &["--image-volume", "ignore", &image, "sh", "-c", "grep -c ' /data ' /proc/mounts; ls /data"],
        ]
        .concat(),
    );
    assert_eq!(ignored.succeeds(), "0\nseed");
    world
        .loment(["create", "--network", "none", "--image-volume", "sometimes", &image])
        .fails_saying(125, &["sometimes", "tmpfs"]);
    // What the user mounts there is instead of it.
    assert_eq!(sh(&world, &[&APP[..], &["--tmpfs", "/data:notmpcopyup"]].concat(), &image, "ls /data"), "");
    eventually("nothing is left", || left(&world) == 0);
}

#[test]
fn volumes_come_from_other_containers() {
    let (world, image) = world_with("busybox:latest");
    let host = world.path("host");
    fs::create_dir(&host).unwrap();
    let bind = format!("{}:/host", host.display());
    let head = ["create", "--network", "none", "--name"];
    world
        .loment([&head[..], &["one", "-v", "v:/v", "-v", &bind, "-v", "/anon", &image, "true"]].concat())
        .succeeds();
    let script = "touch /v/x /host/y /anon/z; cut -d' ' -f2,4 /proc/mounts | grep -E '^/(v|host|anon) ' | cut -d, -f1 | sort";
    assert_eq!(sh(&world, &["--volumes-from", "one"], &image, script), "/anon rw\n/host rw\n/v rw");
    assert!(host.join("y").exists() && files(&world, "v").join("x").exists());
    assert_eq!(
        sh(&world, &["--volumes-from", "one:ro,z"], &image, &script.replace("touch", "true")),
        "/anon ro\n/host ro\n/v ro"
    );
    // The user's own come first.
    assert_eq!(sh(&world, &["--volumes-from", "one", "-v", "w:/v"], &image, "ls /v"), "");
    world
        .loment(["create", "--network", "none", "--volumes-from", "nobody", &image])
        .fails_saying(125, &["nobody"]);
    world
        .loment(["create", "--network", "none", "--volumes-from", "one:U", &image])
        .fails_saying(125, &["\"U\"", "ro or rw"]);
    // Those that came along keep the volume.
    world.loment([&head[..], &["two", "--volumes-from", "one", &image, "true"]].concat()).succeeds();
    world.loment(["rm", "one"]).succeeds();
    world.loment(["volume", "rm", "v"]).fails_saying(2, &["volume is being used"]);
}

#[test]
fn lists_and_documents_show_volumes() {
    let (world, image) = world_with("app:latest");
    let head = ["create", "--network", "none", "--name"];
    world.loment([&head[..], &["c", "-v", "v:/v:ro", &image]].concat()).succeeds();
    world.loment([&head[..], &["other", "--image-volume", "ignore", &image]].concat()).succeeds();
    let of = |filter: &str| {
        world.loment(["ps", "-a", "--filter", filter, "--format", "{{.Names}}"]).succeeds().to_owned()
    };
    assert_eq!((of("volume=v"), of("volume=/v"), of("volume=v:/v")), ("c".into(), "c".into(), "c".into()));
    assert_eq!((of("volume=w"), of("volume=v:/w")), (String::new(), String::new()));
    let ps = world.loment(["ps", "-a", "--filter", "name=c", "--format", "{{.LocalVolumes}} {{.Mounts}}"]);
    assert_eq!(ps.succeeds(), "2 [/v /data]");
    let document = world.inspect("{{json .Mounts}}", "c");
    let mounts: serde_json::Value = serde_json::from_str(&document).unwrap();
    let v = &mounts[0];
    assert_eq!(
        (v["Type"].as_str(), v["Name"].as_str(), v["Driver"].as_str()),
        (Some("volume"), Some("v"), Some("local"))
    );
    assert_eq!(v["Source"].as_str(), files(&world, "v").to_str());
    assert_eq!((v["Destination"].as_str(), v["RW"].as_bool()), (Some("/v"), Some(false)));
    assert_eq!(v["Options"], serde_json::json!(["ro", "nosuid", "nodev", "rbind"]));
    let docker = world.persona("docker", ["inspect", "--format", "{{json .Mounts}}", "c"]);
    let docker: serde_json::Value = serde_json::from_str(docker.succeeds()).unwrap();
    assert_eq!(docker[0]["Mode"], "ro");
    assert!(docker[0].get("Options").is_none() && docker[0]["Name"] == "v");
    fs::write(files(&world, "v").join("x"), vec![1; 100_000]).unwrap();
    world.loment(["volume", "create", "unused"]).succeeds();
    fs::write(files(&world, "unused").join("y"), vec![1; 5_000]).unwrap();
    let df = world.loment([
        "system",
        "df",
        "--format",
        "{{.Type}} {{.Total}} {{.Active}} {{.RawSize}} {{.RawReclaimable}}",
    ]);
    let row = df.succeeds().lines().find(|line| line.starts_with("Local Volumes")).unwrap().to_owned();
    let numbers: Vec<u64> = row.split(' ').skip(2).map(|n| n.parse().unwrap()).collect();
    assert_eq!(numbers[..2], [3, 2], "{row}");
    assert!(numbers[2] > 100_000 && numbers[3] > 0 && numbers[3] < 10_000, "{row}");
    let verbose = world.loment(["system", "df", "-v"]);
    assert!(
        verbose.succeeds().lines().any(|line| line.starts_with("unused ") && line.contains(" 0 ")),
        "{verbose}"
    );
    let pruned = world.loment(["system", "prune", "--force", "--volumes"]);
    assert!(pruned.succeeds().contains("Deleted Volumes\n") && pruned.stdout.contains("unused"), "{pruned}");
    assert_eq!(left(&world), 0, "their containers went, too");
}

#[test]
fn a_running_container_counts_and_a_missing_volume_is_named() {
    let (world, dir) = world_over_directory();
    sleeper(&world, "c", &["-v", "v:/v", "--rootfs"], &dir);
    let count = world.loment(["volume", "inspect", "--format", "{{.MountCount}}", "v"]);
    assert_eq!(count.succeeds(), "1");
    world.loment(["volume", "rm", "--force", "v"]).succeeds();
    assert_eq!(world.loment(["container", "exists", "c"]).code, 1);
    world
        .loment(["create", "--network", "none", "--name", "d", "-v", "w:/w", "--rootfs", &dir, "true"])
        .succeeds();
    fs::remove_dir_all(world.root().join("volumes/w")).unwrap();
    world.loment(["start", "d"]).fails_saying(125, &["volume w", "not there any more"]);
}

#[test]
fn files_are_copied_into_volumes_and_out_of_them() {
    let (world, image) = world_with("app:latest");
    world.loment(["create", "--network", "none", "--name", "c", "-v", "v:/data", &image]).succeeds();
    let file = world.write("new", "new");
    // The container has never run: what the image has there comes first.
    world.loment(["cp", &file, "c:/data/new"]).succeeds();
    let data = files(&world, "v");
    assert_eq!(fs::read_to_string(data.join("seed")).unwrap(), "seed");
    assert_eq!(fs::read_to_string(data.join("new")).unwrap(), "new");
    let to = world.path("back").display().to_string();
    world.loment(["cp", "c:/data", &to]).succeeds();
    assert_eq!(fs::read_to_string(world.path("back/seed")).unwrap(), "seed");
    // Neither changes nor exports have what is in volumes.
    assert!(!world.loment(["diff", "c"]).succeeds().contains("/data/new"));
}
