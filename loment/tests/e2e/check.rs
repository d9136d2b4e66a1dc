//! `system check`: what is damaged is found, and mended from where it came or removed.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use loment_testkit::{Output, Registry, World};

use crate::{eventually, fixtures, sh, sleeper, world, world_with};

/// Changes the content of a file in the only layer that has it.
fn damage(world: &World) -> PathBuf {
    let layers = fs::read_dir(world.root().join("layers")).unwrap().map(|layer| layer.unwrap().path());
    let files = layers.flat_map(|dir| [dir.join("layer.erofs"), dir.join("fs/etc/passwd")]);
    for file in files.filter(|file| file.exists()) {
        let bytes = fs::read(&file).unwrap();
        let text: &[u8] = b"root:x:0:0:root";
        if let Some(at) = bytes.windows(text.len()).position(|window| window == text) {
            let open = fs::OpenOptions::new().write(true).open(&file).unwrap();
            open.write_all_at(b"R", at as u64).unwrap();
            return file;
        }
    }
    panic!("no layer has the file");
}

fn check(world: &World, flags: &[&str]) -> Output {
    world.loment([&["system", "check"], flags].concat())
}

#[track_caller]
fn is_clean(world: &World) {
    // What was removed is deleted by somebody for whom nobody waits.
    eventually("the tombs are emptied", || !check(world, &["--max", "0"]).stdout.contains("/tombs/"));
    let output = check(world, &["--max", "0"]);
    assert_eq!((output.succeeds(), output.stderr.as_str()), ("", ""));
}

#[test]
fn a_store_without_damage_is_nothing_to_talk_about() {
    let (world, image) = world_with("busybox:latest");
    is_clean(&world);
    sleeper(&world, "c", &[], &image);
    is_clean(&world);
    world.loment(["rmi", "--force", &image]).succeeds();
    is_clean(&world);
}

#[test]
fn a_damaged_layer_is_fetched_again() {
    for form in ["dir", "erofs"] {
        is_fetched_again(&format!("loment.form={form}"));
    }
}

#[test]
fn what_is_fetched_again_comes_from_where_it_would_be_pulled_from() {
    let (world, registry) = (world(), fixtures().serve());
    comes_from(&world, &registry.host());
    let image = "images.test/busybox:latest";
    world.loment(["pull", "--quiet", image]).succeeds();
    let id = world.inspect("{{.Id}}", image);
    damage(&world);
    let _ = check(&world, &["--repair"]);
    assert_eq!(world.inspect("{{.Id}}", image), id);
    is_clean(&world);
}

fn is_fetched_again(form: &str) {
    let world = world();
    let registry = fixtures().serve();
    let image = registry.name("busybox:latest");
    for name in [&image, &registry.name("app:latest")] {
        world.loment(["--storage-opt", form, "pull", "--quiet", name]).succeeds();
    }
    world.loment(["create", "--network", "none", "--name", "c", &image, "cat", "/etc/passwd"]).succeeds();
    damage(&world);
    // Not read, not found.
    check(&world, &["--quick"]).succeeds();
    let output = check(&world, &[]);
    output.fails_saying(125, &["damage detected in local storage"]);
    let words = [
        "Damage detected in layer sha256:",
        "other",
        "Damage detected in image",
        "Damage detected in container",
    ];
    words.iter().for_each(|word| assert!(output.stdout.contains(word), "{output}"));
    // To pull what is known to be here fetches nothing; a check has to find the damage.
    world.loment(["pull", "--quiet", &image]).succeeds();
    check(&world, &[]).fails(125);
    let output = check(&world, &["--repair"]);
    let digest = registry.digest_of("busybox", "latest");
    let sentence = format!("again from {}@{digest}", registry.name("busybox"));
    assert!(output.succeeds().contains(&sentence), "{output}");
    is_clean(&world);
    assert!(world.loment(["start", "--attach", "c"]).succeeds().starts_with("root:x:0:0"));
    assert_eq!(world.inspect("{{index .RepoTags 0}}", &image), image);
}

/// What is pulled as `images.test/…` comes from there.
fn comes_from(world: &World, host: &str) {
    let conf = world.dir().join("home/.config/containers/registries.conf");
    fs::create_dir_all(conf.parent().unwrap()).unwrap();
    let table = format!("[[registry]]\nprefix = \"images.test\"\nlocation = {host:?}\n");
    fs::write(&conf, table).unwrap();
}

/// What there is.
fn names_of(world: &World) -> String {
    let names = world.loment(["images", "--sort", "tag", "--format", "{{.Repository}}:{{.Tag}}"]);
    names.succeeds().replace('\n', " ")
}

#[test]
fn what_its_registry_does_not_have_is_removed_with_a_sentence() {
    let (world, registry) = (world(), fixtures().serve());
    comes_from(&world, &registry.host());
    let (image, other) = ("images.test/busybox:latest", "images.test/other:1");
    world.loment(["pull", "--quiet", image]).succeeds();
    world.loment(["tag", image, other]).succeeds();
    damage(&world);
    let empty = Registry::empty();
    comes_from(&world, &empty.host());
    let output = check(&world, &["--repair"]);
    assert!(output.succeeds().contains("Cannot fetch image"), "{output}");
    let sentence = format!("with its names {image}, {other}");
    let other_way = format!("with its names {other}, {image}");
    assert!(output.stdout.contains(&sentence) || output.stdout.contains(&other_way), "{output}");
    assert_eq!(world.loment(["images", "-q"]).succeeds(), "");
    is_clean(&world);
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn what_nobody_can_be_asked_for_is_kept_until_somebody_can_or_force_is_used() {
    let (world, registry) = (world(), fixtures().serve());
    comes_from(&world, &registry.host());
    let image = "images.test/busybox:latest";
    world.loment(["pull", "--quiet", image]).succeeds();
    let names = names_of(&world);
    damage(&world);
    // Nobody listens there.
    comes_from(&world, "127.0.0.1:1");
    let output = check(&world, &["--repair"]);
    output.fails_saying(125, &["still present after repair attempt", "repair again when they can be asked"]);
    assert!(output.stdout.contains("Kept image") && output.stdout.contains("connection refused"), "{output}");
    assert_eq!(names_of(&world), names);
    // One that answers something else does not say that the image is gone.
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    comes_from(&world, &busy.local_addr().unwrap().to_string());
    std::thread::spawn(move || {
        for stream in busy.incoming().flatten() {
            let _ = (&stream).read(&mut [0; 4096]);
            let answer = "HTTP/1.1 500 Broken\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = (&stream).write_all(answer.as_bytes());
        }
    });
    check(&world, &["--repair"]).fails_saying(125, &["still present after repair attempt"]);
    assert_eq!(names_of(&world), names);
    comes_from(&world, &registry.host());
    assert!(check(&world, &["--repair"]).succeeds().contains("Fetched image"));
    is_clean(&world);
    damage(&world);
    comes_from(&world, "127.0.0.1:1");
    assert!(check(&world, &["--force"]).succeeds().contains("Removed image"));
    assert_eq!(world.loment(["images", "-q"]).succeeds(), "");
    is_clean(&world);
}

/// Changes one byte of the record of an image.
fn damage_record(world: &World, id: &str, at: usize) {
    let path = world.root().join(format!("images/{id}.json"));
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn an_image_of_an_index_for_another_machine_is_mended_whatever_is_left_of_its_documents() {
    let (world, registry) = (world(), fixtures().serve());
    let image = registry.name("multi:latest");
    let mut ids = Vec::new();
    for platform in ["linux/arm64", "linux/s390x"] {
        world.loment(["pull", "--quiet", "--platform", platform, &image]).succeeds();
        let id = world.inspect("{{.Id}}", &image);
        let record = fs::read_to_string(world.root().join(format!("images/{id}.json"))).unwrap();
        // What no longer is JSON, and every digest in it: its own, of its manifests and of its layers.
        let digests = record.match_indices("sha256:").map(|(at, prefix)| at + prefix.len());
        let places: Vec<usize> = [0].into_iter().chain(digests).collect();
        assert!(places.len() > 4, "{record}");
        for at in places {
            damage_record(&world, &id, at);
            check(&world, &["--quick"]).fails(125);
            let output = check(&world, &["--repair"]);
            assert!(output.succeeds().contains("Wrote the record of image"), "{at}: {output}");
            assert_eq!(world.inspect("{{.Id}}", &image), id);
        }
        // Nobody says what it is for.
        fs::write(world.root().join(format!("images/{id}.json")), "{").unwrap();
        let config = world.root().join(format!("blobs/sha256/{}/{id}", &id[..2]));
        fs::write(config, "{").unwrap();
        let output = check(&world, &["--repair"]);
        assert!(output.succeeds().contains("Fetched image"), "{output}");
        assert_eq!(world.inspect("{{.Id}}", &image), id);
        ids.push(id);
        let there = world.loment(["images", "--quiet", "--no-trunc", "--all"]);
        assert_eq!(there.succeeds().lines().count(), ids.len(), "{there}");
    }
    is_clean(&world);
}

#[test]
fn a_registry_that_wants_a_login_does_not_say_that_an_image_is_gone() {
    let (world, registry) = (world(), fixtures().serve());
    comes_from(&world, &registry.host());
    world.loment(["pull", "--quiet", "images.test/busybox:latest"]).succeeds();
    let names = names_of(&world);
    damage(&world);
    let guarded = Registry::with_password(&fixtures().storage());
    comes_from(&world, &guarded.host());
    let output = check(&world, &["--repair"]);
    output.fails_saying(125, &["still present after repair attempt", "log in and repair again"]);
    let log_in = format!("does not give it: log in to {}", guarded.host());
    assert!(output.stdout.contains("Kept image") && output.stdout.contains(&log_in), "{output}");
    assert_eq!(names_of(&world), names);
    let host = guarded.host();
    world.loment(["login", "--tls-verify=false", "-u", "user", "-p", "secret", &host]).succeeds();
    assert!(check(&world, &["--repair"]).succeeds().contains("Fetched image"));
    is_clean(&world);
}

#[test]
fn content_that_is_changed_on_its_way_does_not_make_an_image_gone() {
    let (world, registry) = (world(), fixtures().serve_copy());
    comes_from(&world, &registry.host());
    world.loment(["pull", "--quiet", "images.test/busybox:latest"]).succeeds();
    let names = names_of(&world);
    damage(&world);
    let manifest = registry.manifest("busybox", "latest");
    let blob = registry.blob_file(manifest["layers"][0]["digest"].as_str().unwrap());
    let sound = fs::read(&blob).unwrap();
    let mut changed = sound.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&blob, changed).unwrap();
    let output = check(&world, &["--repair"]);
    output.fails_saying(125, &["still present after repair attempt"]);
    assert!(output.stdout.contains("Kept image"), "{output}");
    assert_eq!(names_of(&world), names);
    fs::write(&blob, sound).unwrap();
    assert!(check(&world, &["--repair"]).succeeds().contains("Fetched image"));
    is_clean(&world);
}

#[test]
fn what_no_registry_is_known_to_have_is_removed_by_force_only() {
    let (world, image) = world_with("busybox:latest");
    world.loment(["tag", &image, "localhost/mine:1"]).succeeds();
    let archive = world.path("mine.tar").display().to_string();
    world.loment(["save", "--quiet", "--output", &archive, "localhost/mine:1"]).succeeds();
    world.loment(["rmi", "--force", &image, "localhost/mine:1"]).succeeds();
    world.loment(["load", "--quiet", "--input", &archive]).succeeds();
    // Where that is, nobody listens.
    let conf = world.dir().join("home/.config/containers/registries.conf");
    fs::create_dir_all(conf.parent().unwrap()).unwrap();
    fs::write(&conf, "[[registry]]\nprefix = \"localhost\"\nlocation = \"127.0.0.1:1\"\n").unwrap();
    damage(&world);
    let output = check(&world, &["--repair"]);
    output.fails_saying(125, &["still present after repair attempt", "no registry is known to have"]);
    assert!(output.stdout.contains("no registry is known to have it"), "{output}");
    assert_eq!(names_of(&world).trim(), "localhost/mine:1");
    assert!(check(&world, &["--force"]).succeeds().contains("Removed image"));
    assert_eq!(world.loment(["images", "-q"]).succeeds(), "");
    is_clean(&world);
}

#[test]
fn a_record_is_computed_again_where_nobody_can_be_asked() {
    let (world, image) = world_with("busybox:latest");
    let archive = world.path("archive.tar").display().to_string();
    world.loment(["save", "--quiet", "--output", &archive, &image]).succeeds();
    world.loment(["rmi", "--force", &image]).succeeds();
    world.loment(["load", "--quiet", "--input", &archive]).succeeds();
    let id = world.inspect("{{.Id}}", &image);
    let shown = world.loment(["images", "--format", "{{.ID}} {{.Created}} {{.Size}}"]).succeeds().to_owned();
    let path = world.root().join(format!("images/{id}.json"));
    let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    record["size"] = 1.into();
    record["created"] = "2001-01-01T00:00:00Z".into();
    record["platform"]["architecture"] = "s390x".into();
    fs::write(&path, record.to_string()).unwrap();
    let output = check(&world, &["--quick"]);
    output.fails_saying(125, &["damage detected in local storage"]);
    assert!(output.stdout.contains("its record does not say the platform"), "{output}");
    let output = check(&world, &["--repair", "--quick"]);
    assert!(output.succeeds().contains("Wrote the record of image"), "{output}");
    assert_eq!(world.loment(["images", "--format", "{{.ID}} {{.Created}} {{.Size}}"]).succeeds(), shown);
    is_clean(&world);
}

#[test]
fn what_never_came_from_a_registry_is_kept_when_that_does_not_have_it() {
    let (world, registry) = (world(), fixtures().serve());
    let image = registry.name("busybox:latest");
    world.loment(["pull", "--quiet", &image]).succeeds();
    world.loment(["tag", &image, "images.test/mine:1"]).succeeds();
    let archive = world.path("mine.tar").display().to_string();
    world.loment(["save", "--quiet", "--output", &archive, "images.test/mine:1"]).succeeds();
    world.loment(["rmi", "--force", &image]).succeeds();
    world.loment(["load", "--quiet", "--input", &archive]).succeeds();
    let empty = Registry::empty();
    comes_from(&world, &empty.host());
    damage(&world);
    let output = check(&world, &["--repair"]);
    output.fails_saying(125, &["still present after repair attempt", "no registry is known to have"]);
    assert!(output.stdout.contains("Kept image") && output.stdout.contains("rmi --force"), "{output}");
    assert_eq!(names_of(&world).trim(), "images.test/mine:1");
    // As the sentence says.
    world.loment(["rmi", "--force", "images.test/mine:1"]).succeeds();
    is_clean(&world);
    // What was pushed there as it is here came from there as well as if it had been pulled.
    let copy = fixtures().serve_copy();
    let (pulled, pushed) = (copy.name("busybox:latest"), copy.name("mine:1"));
    world.loment(["pull", "--quiet", &pulled]).succeeds();
    world.loment(["tag", &pulled, &pushed]).succeeds();
    world.loment(["push", "--quiet", &pulled, &pushed]).succeeds();
    world.loment(["untag", &pulled, &pulled]).succeeds();
    world.loment(["image", "delete", &format!("docker://{pushed}")]).succeeds();
    damage(&world);
    assert!(check(&world, &["--repair"]).succeeds().contains("Removed image"));
    is_clean(&world);
}

#[test]
fn what_containers_use_is_removed_by_force_only() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "c", &[], &image);
    let file = damage(&world);
    let output = check(&world, &["--repair"]);
    output.fails_saying(125, &["damage in local storage still present after repair attempt"]);
    assert!(output.stdout.contains("Kept image") && output.stdout.contains("Kept container"), "{output}");
    assert!(file.exists());
    assert_eq!(world.inspect("{{.State.Status}}", "c"), "running");
    let output = check(&world, &["--force"]);
    assert!(output.succeeds().contains("Removed container"), "{output}");
    assert_eq!(world.loment(["ps", "-aq"]).succeeds(), "");
    assert_eq!(world.loment(["images", "-q"]).succeeds(), "");
    is_clean(&world);
}

#[test]
fn a_running_container_is_stopped_by_force_so_that_its_layer_can_be_replaced() {
    let world = world();
    let registry = fixtures().serve();
    let image = registry.name("busybox:latest");
    world.loment(["pull", "--quiet", &image]).succeeds();
    sleeper(&world, "c", &[], &image);
    damage(&world);
    check(&world, &["--repair"]).fails(125);
    assert_eq!(world.inspect("{{.State.Status}}", "c"), "running");
    let output = check(&world, &["--repair", "--force"]);
    assert!(output.succeeds().contains("Stopped container"), "{output}");
    is_clean(&world);
    world.loment(["start", "c"]).succeeds();
}

#[test]
fn damaged_documents_do_not_outlive_a_repair() {
    let world = world();
    let registry = fixtures().serve();
    let image = registry.name("busybox:latest");
    world.loment(["pull", "--quiet", &image]).succeeds();
    let entries =
        |dir: &str| fs::read_dir(world.root().join(dir)).unwrap().map(|entry| entry.unwrap().path());
    for record in entries("images") {
        fs::write(record, "").unwrap();
    }
    fs::write(world.root().join("refs/nonsense"), "{").unwrap();
    check(&world, &["--quick"]).fails(125);
    let output = check(&world, &["--repair"]);
    assert!(output.succeeds().contains("Removed name nonsense"), "{output}");
    assert!(output.stdout.contains("Wrote the record of image"), "{output}");
    is_clean(&world);
    assert_eq!(sh(&world, &[], &image, "echo again"), "again");
    for blob in entries("blobs/sha256").flat_map(|dir| fs::read_dir(dir).unwrap()) {
        fs::write(blob.unwrap().path(), "").unwrap();
    }
    check(&world, &["--repair"]).succeeds();
    assert_eq!(sh(&world, &[], &image, "echo again"), "again");
}
