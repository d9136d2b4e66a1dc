//! Things that are no images, as oras pushes them, and what refers to an image.

use std::path::{Path, PathBuf};
use std::process::Command;

use loment_registry::Options;
use loment_testkit::{OciRegistry, Output, Patience, Referrers, Registry, World, digest, oras, run, skip};
use serde_json::{Value, json};

use super::{Program, raw, theirs};
use crate::{fixtures, world};

const SBOM: &str = "application/vnd.example.sbom+json";
const NOTE: &str = "application/vnd.example.note";

/// Python with oras, unless it cannot be had.
fn python() -> Option<PathBuf> {
    match oras(Path::new(env!("CARGO_TARGET_TMPDIR"))) {
        Ok(python) => Some(python),
        Err(why) => {
            skip("artifacts of oras", &why);
            None
        }
    }
}

/// `oras.py ARGUMENTS` in the directory of the world.
#[track_caller]
fn run_oras(world: &World, python: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(python);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", world.dir().join("home"));
    command.args(["-c", include_str!("oras.py")]).args(arguments).current_dir(world.path(""));
    run(&mut command, Patience::NORMAL)
}

/// Pushes a file with oras as an artifact that may refer to a manifest. What the registry says the digest is, and the subject.
#[track_caller]
fn push(
    world: &World,
    python: &Path,
    target: &str,
    file: &str,
    kind: &str,
    subject: &str,
) -> (String, String) {
    let said = run_oras(world, python, &["push", target, file, kind, subject]);
    let (digest, subject) = said.succeeds().split_once(' ').expect("it prints two");
    (digest.to_owned(), subject.to_owned())
}

/// What refers to a digest in the repository, in the order of digests, and whether the registry keeps the list.
#[track_caller]
fn referrers(host: &str, repository: &str, digest: &str, kind: Option<&str>) -> (Vec<String>, bool) {
    let options = Options { insecure: true, ..Options::default() };
    let registry = loment_registry::Registry::new(host, options).expect("that is a host");
    let digest = digest.parse().expect("that is a digest");
    let found = registry.referrers(repository, &digest, kind).expect("it lists them");
    let mut digests: Vec<_> = found.manifests.iter().map(|m| m.digest().to_string()).collect();
    digests.sort_unstable();
    (digests, found.by_api)
}

/// A world with files to push, and the image `team/app:1` in a registry; its digest.
fn pushed_image(world: &World, host: &str) -> String {
    world.write("config.json", "{}");
    world.write("sbom.json", vec![b'x'; 12_345]);
    world.write("note.txt", "a note\n");
    let source = fixtures().serve();
    let (from, to) =
        (format!("docker://{}", source.name("busybox:latest")), format!("docker://{host}/team/app:1"));
    world.loment(["image", "copy", "--quiet", "--digestfile", "digest", &from, &to]).succeeds();
    std::fs::read_to_string(world.path("digest")).unwrap()
}

/// As oras wants to have it.
fn subject(world: &World, host: &str) -> String {
    let bytes = raw(world, &[], &format!("docker://{host}/team/app:1"));
    let manifest: Value = serde_json::from_str(&bytes).unwrap();
    let subject = json!({ "mediaType": manifest["mediaType"], "digest": digest(bytes.as_bytes()), "size": bytes.len() });
    subject.to_string()
}

#[test]
fn an_artifact_of_oras_is_shown_and_copied_unchanged() {
    let Some(python) = python() else { return };
    let (world, registry, debians) = (world(), OciRegistry::start(Referrers::Kept), Registry::empty());
    let host = registry.host();
    pushed_image(&world, &host);
    let target = registry.name("team/notes:1");
    let (digest_of, subject) = push(&world, &python, &target, "note.txt", NOTE, "");
    assert_eq!(subject, "-");
    let bytes = registry.manifest("team/notes", "1").unwrap();
    assert_eq!(digest(&bytes), digest_of);
    let bytes = String::from_utf8(bytes).unwrap();
    let place = format!("docker://{target}");
    assert_eq!(world.loment(["image", "inspect", "--raw", &place]).stdout, bytes);
    // From place to place, the last one a registry again, and one of another kind.
    let last = debians.name("team/copied:1");
    let places =
        [&place, "oci:layout:note", "oci-archive:note.tar:note", "dir:note", &format!("docker://{last}")];
    for pair in places.windows(2) {
        world.loment(["image", "copy", "--quiet", "--all", pair[0], pair[1]]).succeeds();
        assert_eq!(raw(&world, &[], pair[1]), bytes, "{}", pair[1]);
        assert_eq!(world.loment(["image", "inspect", "--raw", pair[1]]).stdout, bytes, "{}", pair[1]);
    }
    assert_eq!(debians.digest_of("team/copied", "1"), digest_of);
    run_oras(&world, &python, &["pull", &last, "pulled"]).succeeds();
    assert_eq!(std::fs::read_to_string(world.path("pulled/note.txt")).unwrap(), "a note\n");
    // It is no image.
    let pulled = world.loment(["pull", "--quiet", &target]);
    pulled.fails_saying(125, &[NOTE]);
    assert_eq!(world.loment(["images", "--quiet"]).succeeds(), "");
}

#[test]
fn what_refers_to_an_image_is_listed_by_the_registry_or_under_a_tag() {
    let Some(python) = python() else { return };
    for kept in [Referrers::Kept, Referrers::Unfiltered] {
        let (world, registry) = (world(), OciRegistry::start(kept));
        let host = registry.host();
        let image = pushed_image(&world, &host);
        let subject = subject(&world, &host);
        assert_eq!(referrers(&host, "team/app", &image, None), (vec![], true));
        let mut artifacts = Vec::new();
        for (tag, file, kind) in
            [("sbom", "sbom.json", SBOM), ("note", "note.txt", NOTE), ("again", "sbom.json", NOTE)]
        {
            let target = format!("{host}/team/app:{tag}");
            let (artifact, understood) = push(&world, &python, &target, file, kind, &subject);
            assert_eq!(understood, image);
            artifacts.push((tag, artifact));
        }
        let sorted = |tags: &[&str]| {
            let of = artifacts.iter().filter(|(tag, _)| tags.contains(tag));
            let mut digests: Vec<_> = of.map(|(_, digest)| digest.clone()).collect();
            digests.sort_unstable();
            digests
        };
        let all = ["sbom", "note", "again"];
        assert_eq!(referrers(&host, "team/app", &image, None), (sorted(&all), true));
        assert_eq!(referrers(&host, "team/app", &image, Some(SBOM)), (sorted(&["sbom"]), true));
        assert_eq!(referrers(&host, "team/app", &image, Some(NOTE)), (sorted(&["note", "again"]), true));
        // Where registries keep no list, whoever writes there keeps it: we do, and others can read it.
        let (debians, small) = (Registry::empty(), OciRegistry::start(Referrers::Unknown));
        for other in [debians.host(), small.host()] {
            for tag in ["1"].iter().chain(&all) {
                let (from, to) =
                    (format!("docker://{host}/team/app:{tag}"), format!("docker://{other}/team/app:{tag}"));
                world.loment(["image", "copy", "--quiet", "--all", &from, &to]).succeeds();
            }
            assert_eq!(referrers(&other, "team/app", &image, None), (sorted(&all), false));
            assert_eq!(referrers(&other, "team/app", &image, Some(SBOM)), (sorted(&["sbom"]), false));
            let tag = image.replace(':', "-");
            let index: Value =
                serde_json::from_str(&raw(&world, &[], &format!("docker://{other}/team/app:{tag}"))).unwrap();
            let sbom =
                index["manifests"].as_array().unwrap().iter().find(|m| m["artifactType"] == SBOM).unwrap();
            assert_eq!(sbom["annotations"]["org.example.file"], "sbom.json");
            let tags = run_oras(&world, &python, &["tags", &format!("{other}/team/app")]);
            assert!(tags.succeeds().contains(&tag), "{tags}");
            let pulled = format!("pulled-{}", other.replace(':', "-"));
            let by_digest = format!("{other}/team/app@{}", artifacts[0].1);
            run_oras(&world, &python, &["pull", &by_digest, &pulled]).succeeds();
            assert_eq!(std::fs::read(world.path(&pulled).join("sbom.json")).unwrap(), [b'x'; 12_345]);
        }
        // What is deleted is no longer listed, wherever the list is.
        for (host, by_api) in [(host, true), (small.host(), false)] {
            let place = format!("docker://{host}/team/app@{}", artifacts[1].1);
            world.loment(["image", "delete", &place]).succeeds();
            assert_eq!(referrers(&host, "team/app", &image, None), (sorted(&["sbom", "again"]), by_api));
        }
        let skopeo = theirs(
            &world,
            Program::Skopeo,
            &["list-tags", "--tls-verify=false", &format!("docker://{}/team/app", small.host())],
        );
        assert!(skopeo.succeeds().contains("again"), "{skopeo}");
    }
}
