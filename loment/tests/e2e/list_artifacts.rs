//! Artifacts on lists: `manifest add --artifact`, and what lists are about.

use loment_testkit::{Output, Registry, World, digest};
use serde_json::{Value, json};

use crate::{fixtures, world};

const SBOM: &str = "application/vnd.example.sbom+json";
const EMPTY: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

#[track_caller]
fn list(world: &World, arguments: &[&str]) -> Output {
    let output = world.loment([&["manifest"], arguments].concat());
    output.succeeds();
    output
}

#[track_caller]
fn document(world: &World, name: &str) -> Value {
    serde_json::from_str(list(world, &["inspect", name]).succeeds()).unwrap()
}

/// A manifest in a registry by its digest.
fn manifest(registry: &Registry, digest: &Value) -> Value {
    let file = registry.blob_file(digest.as_str().unwrap());
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// What a file has in a registry.
fn blob(registry: &Registry, descriptor: &Value) -> String {
    std::fs::read_to_string(registry.blob_file(descriptor["digest"].as_str().unwrap())).unwrap()
}

#[test]
fn files_become_an_artifact_beside_the_images() {
    let (world, registry) = (world(), fixtures().serve_copy());
    let image = registry.name("busybox:latest");
    world.loment(["pull", "--quiet", &image]).succeeds();
    list(&world, &["create", "l:1", &image]);
    let (sbom, data) = (world.write("sbom.json", "{\"packages\": []}"), world.write("data", b"\0binary"));
    let subject = format!("docker://{image}");
    let flags =
        ["add", "--artifact", "--artifact-type", SBOM, "--artifact-annotation", "a=b", "--annotation", "c=d"];
    let rest = ["--artifact-subject", &subject, "--os", "linux", "--arch", "amd64", "l:1", &sbom, &data];
    list(&world, &[&flags[..], &rest].concat());
    let entry = document(&world, "l:1")["manifests"][1].clone();
    assert_eq!((&entry["artifactType"], &entry["annotations"]), (&SBOM.into(), &json!({ "c": "d" })));
    assert_eq!(entry["platform"], json!({ "os": "linux", "architecture": "amd64" }));
    // The image is what runs, and a prune leaves both.
    assert_eq!(world.loment(["run", "--rm", "--network", "none", "l:1", "echo", "ran"]).succeeds(), "ran");
    world.loment(["image", "prune", "--force"]).succeeds();
    world.loment(["system", "check"]).succeeds();
    list(&world, &["push", "--quiet", "l:1", &format!("docker://{}", registry.name("team/l:1"))]);
    let pushed = registry.manifest("team/l", "1");
    assert_eq!(pushed["manifests"][1], entry);
    let artifact = manifest(&registry, &entry["digest"]);
    assert_eq!(artifact["artifactType"], SBOM);
    assert_eq!(artifact["config"]["digest"], EMPTY);
    assert_eq!(artifact["annotations"], json!({ "a": "b" }));
    assert_eq!(artifact["subject"]["digest"], registry.digest_of("busybox", "latest").as_str());
    let layers = &artifact["layers"];
    let seen = |n: usize| {
        (layers[n]["mediaType"].as_str(), layers[n]["annotations"]["org.opencontainers.image.title"].as_str())
    };
    assert_eq!(seen(0), (Some("application/json"), Some("sbom.json")));
    assert_eq!(seen(1), (Some("application/octet-stream"), Some("data")));
    assert_eq!(
        (blob(&registry, &layers[0]), blob(&registry, &layers[1])),
        ("{\"packages\": []}".into(), "\0binary".into())
    );
    // All of it to a layout, and from there.
    let layout = format!("oci:{}:x", world.path("layout").display());
    list(&world, &["push", "--quiet", "l:1", &layout]);
    let again = format!("docker://{}", registry.name("team/again:1"));
    world.loment(["image", "copy", "--quiet", "--all", &layout, &again]).succeeds();
    assert_eq!(registry.manifest("team/again", "1")["manifests"][1]["digest"], entry["digest"]);
    // Nothing of it stays behind.
    list(&world, &["rm", "l:1"]);
    world.loment(["image", "prune", "--all", "--force"]).succeeds();
    let raw: Value =
        serde_json::from_str(world.loment(["system", "df", "--format", "json"]).succeeds()).unwrap();
    assert_eq!(raw[0]["RawSize"], 0, "{raw}");
}

#[test]
fn what_an_artifact_is_can_be_said_in_all_its_parts() {
    let (world, registry) = (world(), Registry::empty());
    list(&world, &["create", "l"]);
    let (file, config) = (world.write("notes.txt", "notes"), world.write("config", "{\"a\": 1}"));
    let flags =
        ["--artifact-config", &config, "--artifact-config-type", "application/vnd.example.config+json"];
    let more = [
        "--artifact-layer-type",
        "application/vnd.example.notes",
        "--artifact-exclude-titles",
        "--artifact-type=",
    ];
    list(&world, &[&["add", "--artifact"], &flags[..], &more, &["l", &file]].concat());
    // Without anything said.
    list(&world, &["add", "--artifact", "l", &file]);
    let entries = document(&world, "l")["manifests"].clone();
    assert_eq!(entries.as_array().unwrap().len(), 2);
    assert_eq!((entries[0].get("artifactType"), entries[0].get("platform")), (None, None));
    assert_eq!(entries[1]["artifactType"], "application/vnd.unknown.artifact.v1");
    list(
        &world,
        &["push", "--quiet", "--add-compression", "zstd", "l", &format!("docker://{}", registry.name("l:1"))],
    );
    assert_eq!(registry.manifest("l", "1")["manifests"].as_array().unwrap().len(), 2, "none is compressed");
    let said = manifest(&registry, &entries[0]["digest"]);
    assert!(said.get("artifactType").is_none() && said["layers"][0].get("annotations").is_none(), "{said}");
    assert_eq!(said["config"]["mediaType"], "application/vnd.example.config+json");
    assert_eq!(said["layers"][0]["mediaType"], "application/vnd.example.notes");
    assert_eq!(blob(&registry, &said["config"]), "{\"a\": 1}");
    let unsaid = manifest(&registry, &entries[1]["digest"]);
    assert_eq!(
        unsaid["config"],
        json!({ "mediaType": "application/vnd.oci.empty.v1+json", "digest": EMPTY, "size": 2, "data": "e30=" })
    );
    // Entries are found by their files, too; what is not on the list any more is forgotten.
    list(&world, &["annotate", "--annotation", "x=y", "l", &file]);
    let digest = entries[1]["digest"].as_str().unwrap();
    list(&world, &["remove", "l", digest]);
    list(&world, &["remove", "l", entries[0]["digest"].as_str().unwrap()]);
    world
        .loment(["manifest", "annotate", "--annotation", "x=y", "l", &file])
        .fails_saying(125, &["no instance on the list"]);
    for (arguments, words) in [
        (&["add", "--artifact-type", "x", "l", &file][..], "--artifact"),
        (&["add", "--artifact", "l", "/nonesuch"], "/nonesuch"),
        (&["add", "--artifact", "l", "/tmp"], "no regular file"),
        (&["add", "--artifact", "--artifact-config", "/nonesuch", "l", &file], "/nonesuch"),
        (&["annotate", "--subject", "x", "l", &file], "--index"),
    ] {
        let refused = world.loment([&["manifest"], arguments].concat());
        assert!(refused.fails(125).contains(words), "{refused}");
    }
}

#[test]
fn files_that_are_gone_or_others_fail_the_push() {
    let (world, registry) = (world(), Registry::empty());
    list(&world, &["create", "l"]);
    let file = world.write("file", "one");
    list(&world, &["add", "--artifact", "l", &file]);
    let push = ["manifest", "push", "--quiet", "l", &format!("docker://{}", registry.name("l:1"))];
    std::fs::write(&file, "two").unwrap();
    world.loment(push).fails_saying(125, &[&digest(b"one")]);
    std::fs::remove_file(&file).unwrap();
    world.loment(push).fails_saying(125, &[&file]);
    std::fs::write(&file, "one").unwrap();
    world.loment(push).succeeds();
}

#[test]
fn a_list_is_about_something() {
    let (world, registry) = (world(), fixtures().serve_copy());
    let image = registry.name("busybox:latest");
    list(&world, &["create", "l"]);
    list(
        &world,
        &["annotate", "--index", "--annotation", "a=b", "--subject", &format!("docker://{image}"), "l"],
    );
    let subject = document(&world, "l")["subject"].clone();
    let bytes = std::fs::read(registry.blob_file(&registry.digest_of("busybox", "latest"))).unwrap();
    let wanted = json!({
        "mediaType": registry.manifest("busybox", "latest")["mediaType"],
        "digest": registry.digest_of("busybox", "latest"), "size": bytes.len(),
    });
    assert_eq!((subject, &document(&world, "l")["annotations"]["a"]), (wanted.clone(), &"b".into()));
    list(&world, &["push", "--quiet", "l", &format!("docker://{}", registry.name("about:1"))]);
    assert_eq!(registry.manifest("about", "1")["subject"], wanted);
    // What is here is found here: an image, and another list.
    world.loment(["pull", "--quiet", &image]).succeeds();
    list(&world, &["annotate", "--index", "--subject", &image, "l"]);
    assert_eq!(document(&world, "l")["subject"]["digest"], wanted["digest"]);
    list(&world, &["create", "other"]);
    list(&world, &["annotate", "--index", "--subject", "other", "l"]);
    assert_eq!(document(&world, "l")["subject"]["mediaType"], "application/vnd.oci.image.index.v1+json");
}
