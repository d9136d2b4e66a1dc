//! Images on their way out: `push` and `image copy`, to a real registry and to directories.

use std::process::Command;

use loment_testkit::{Output, Patience, Registry, World, run};

use crate::{fixtures, sh, world, world_with};

/// `skopeo ARGUMENTS`, which must succeed; what it prints.
#[track_caller]
fn skopeo(arguments: &[&str]) -> String {
    let mut skopeo = Command::new("skopeo");
    run(skopeo.arg("--insecure-policy").args(arguments), Patience::NORMAL).succeeds().to_owned()
}

/// The id of an image in the store.
#[track_caller]
fn id(world: &World, image: &str) -> String {
    world.inspect("{{.Id}}", image)
}

#[test]
fn a_pushed_image_is_pulled_again_and_runs() {
    let (world, registry) = (world(), fixtures().serve_copy());
    let image = registry.name("app:latest");
    world.loment(["pull", "--quiet", &image]).succeeds();
    let (repository, _) = image.rsplit_once('/').unwrap();
    let before = id(&world, &image);
    for (name, flags) in [
        ("gzip", &[][..]),
        ("docker", &["--format", "v2s2"]),
        ("zstd", &["--compression-format", "zstd", "--compression-level", "5", "--force-compression"]),
    ] {
        let (target, file) = (format!("{repository}/pushed/{name}:1"), world.write("digest", ""));
        let push = [&["push", "--quiet", "--digestfile", &file], flags, &[&image, &target]].concat();
        world.loment(push).succeeds();
        let digest = std::fs::read_to_string(&file).unwrap();
        let theirs = skopeo(&[
            "inspect",
            "--tls-verify=false",
            "--format",
            "{{.Digest}}",
            &format!("docker://{target}"),
        ]);
        assert_eq!(theirs, digest, "{name}");
        let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{target}")]);
        assert_eq!(raw.contains("vnd.docker.distribution.manifest.v2"), name == "docker", "{raw}");
        assert_eq!(raw.contains("tar+zstd"), name == "zstd", "{raw}");
        world.loment(["rmi", "--all"]).succeeds();
        world.loment(["pull", "--quiet", &target]).succeeds();
        assert_eq!(id(&world, &target), before, "{name}");
        assert!(sh(&world, &[], &target, "echo ran").ends_with("echo ran"));
        // It is there: nothing is sent.
        let again = world.loment(["push", &target]);
        again.succeeds();
        let blobs = again.stderr.lines().filter(|line| line.starts_with("Copying blob "));
        assert!(blobs.clone().count() > 0 && blobs.clone().all(|l| l.ends_with("already exists")), "{again}");
        world.loment(["pull", "--quiet", &image]).succeeds();
    }
}

#[test]
fn layers_are_taken_from_any_repository_the_image_is_known_from() {
    let (world, registry) = (world(), fixtures().serve_copy());
    let image = registry.name("app:latest");
    world.loment(["pull", "--quiet", &image]).succeeds();
    let tag = registry.name("another/repository:1");
    // One of these is there.
    world.loment(["tag", &image, &tag]).succeeds();
    world.loment(["tag", &image, &registry.name("a/name/that/is/nowhere:1")]).succeeds();
    let pushed = world.loment(["push", &tag]);
    pushed.succeeds();
    let blobs = pushed.stderr.lines().filter(|line| line.starts_with("Copying blob "));
    assert!(blobs.clone().count() > 0 && blobs.clone().all(|l| l.ends_with("already exists")), "{pushed}");
}

/// How many layers were sent, and how many were there.
fn sent_and_there(pushed: &Output) -> (usize, usize) {
    pushed.succeeds();
    let blobs: Vec<_> = pushed.stderr.lines().filter(|line| line.starts_with("Copying blob ")).collect();
    let there = blobs.iter().filter(|line| line.ends_with("already exists")).count();
    (blobs.len() - there, there)
}

#[test]
fn layers_are_taken_from_another_repository_when_one_has_lost_them() {
    let (world, registry) = (world(), fixtures().serve_copy());
    let image = registry.name("app:latest");
    for other in ["one/app", "two/app"] {
        let (from, to) = (format!("docker://{image}"), format!("docker://{}:1", registry.name(other)));
        skopeo(&["copy", "--src-tls-verify=false", "--dest-tls-verify=false", &from, &to]);
    }
    for name in ["app:latest", "one/app:1", "two/app:1"] {
        world.loment(["pull", "--quiet", &registry.name(name)]).succeeds();
    }
    // What two of three had is gone.
    let blob = registry.blob_file(&registry.digest_of("app", "latest"));
    let repositories = blob.ancestors().nth(5).expect("it is deep in the storage").join("repositories");
    for lost in ["app", "one"] {
        std::fs::remove_dir_all(repositories.join(lost)).expect("the registry has it");
    }
    let pushed = world.loment(["push", &image, &registry.name("new/app:1")]);
    let (sent, there) = sent_and_there(&pushed);
    assert!(sent == 0 && there > 0, "{pushed}");
}

#[test]
fn layers_that_were_compressed_anew_are_taken_from_where_they_were_sent() {
    let (world, from, registry) = (world(), fixtures().serve(), Registry::empty());
    let image = from.name("app:latest");
    world.loment(["pull", "--quiet", &image]).succeeds();
    let push = |to: &str| {
        let pushed = world.loment(["push", "--compression-format", "zstd", &image, &registry.name(to)]);
        pushed.succeeds();
        sent_and_there(&pushed)
    };
    let (sent, there) = push("one/app:1");
    assert!(sent > 0 && there == 0, "{sent} {there}");
    assert_eq!(push("two/app:1"), (0, sent));
    // Where it was sent last is asked first, and who has lost it is passed over.
    let blob = registry.blob_file(&registry.digest_of("one/app", "1"));
    let repositories = blob.ancestors().nth(5).expect("it is deep in the storage").join("repositories");
    std::fs::remove_dir_all(repositories.join("two")).expect("the registry has it");
    assert_eq!(push("three/app:1"), (0, sent));
    skopeo(&["inspect", "--tls-verify=false", &format!("docker://{}", registry.name("three/app:1"))]);
}

#[test]
fn layers_of_the_image_that_one_was_made_of_are_not_sent() {
    let (world, registry) = (world(), fixtures().serve_copy());
    let image = registry.name("app:latest");
    world.loment(["pull", "--quiet", &image]).succeeds();
    let run = ["run", "--name", "a", "--network", "none", &image, "sh", "-c", "echo made >/made"];
    world.loment(run).succeeds();
    let made = registry.name("team/made:1");
    world.loment(["commit", "a", &made]).succeeds();
    let pushed = world.loment(["push", &made]);
    let (sent, there) = sent_and_there(&pushed);
    assert!(sent == 1 && there > 0, "{pushed}");
    world.loment(["rm", "a"]).succeeds();
    world.loment(["rmi", "--all"]).succeeds();
    world.loment(["pull", "--quiet", &made]).succeeds();
    assert!(sh(&world, &[], &made, "cat /made").ends_with("made"));
}

#[test]
fn images_are_copied_past_the_store() {
    let (world, registry) = (world(), fixtures().serve_copy());
    let image = registry.name("busybox:latest");
    world.loment(["pull", "--quiet", &image]).succeeds();
    let (repository, _) = image.rsplit_once('/').unwrap();
    let layout = world.path("layout").display().to_string();
    let dir = world.path("dir").display().to_string();
    let places = [
        format!("docker://{image}"),
        format!("oci:{layout}:x"),
        format!("dir:{dir}"),
        format!("docker://{repository}/copied/bb:2"),
    ];
    for pair in places.windows(2) {
        world.loment(["image", "copy", "--all", &pair[0], &pair[1]]).succeeds();
    }
    let raw = |place: &str| skopeo(&["inspect", "--raw", "--tls-verify=false", place]);
    assert!(places.iter().all(|place| raw(place) == raw(&places[0])));
    world.loment(["pull", "--quiet", &format!("{repository}/copied/bb:2")]).succeeds();
    assert_eq!(id(&world, &format!("{repository}/copied/bb:2")), id(&world, &image));
}

#[test]
fn an_image_is_copied_from_one_registry_to_another() {
    let (world, from, to) = (world(), fixtures().serve(), loment_testkit::Registry::empty());
    let (source, target) = (from.name("app:latest"), to.name("team/app:1"));
    let copy = ["image", "copy", &format!("docker://{source}"), &format!("docker://{target}")];
    world.loment(copy).succeeds();
    assert_eq!(to.digest_of("team/app", "1"), from.digest_of("app", "latest"));
    world.loment(["pull", "--quiet", &target]).succeeds();
}

#[test]
fn what_cannot_be_pushed_is_said_in_one_line() {
    let (world, image) = world_with("busybox:latest");
    world.loment(["push", "nonesuch"]).fails_saying(125, &["nonesuch: image not known"]);
    let (repository, _) = image.rsplit_once('/').unwrap();
    let target = format!("{repository}/x:1");
    let level = ["push", "--compression-level", "12", &image, &target];
    world.loment(level).fails_saying(125, &["invalid value 12 for --compression-level: use 1 to 9"]);
    let archive = world.loment(["push", &image, "sif:/tmp/x"]);
    archive.fails_saying(125, &["\"sif\" is not supported"]);
    let copy = world.loment(["image", "copy", &image, &format!("docker://{target}")]);
    copy.fails_saying(125, &["invalid image name", "is not supported: use docker://, oci:, "]);
    let nobody = world.loment(["push", "--quiet", &image, "127.0.0.1:9/x:1"]);
    nobody.fails_saying(125, &["127.0.0.1:9", "connection refused"]);
    let file = world.write("file", "x");
    world.loment(["push", "--quiet", &image, &format!("dir:{file}")]).fails_saying(125, &[&file]);
}
