//! Layers that registries may not pass on, and that are elsewhere.

use std::path::{Path, PathBuf};
use std::process::Command;

use loment_testkit::{FaultyWay, OciRegistry, Patience, Referrers, Registry, WebServer, World, digest, run};
use serde_json::{Value, json};

use crate::{fixtures, sh, world};

fn skopeo(arguments: &[&str]) -> String {
    let mut skopeo = Command::new("skopeo");
    run(skopeo.arg("--insecure-policy").args(arguments), Patience::NORMAL).succeeds().to_owned()
}

fn raw(place: &str) -> Value {
    serde_json::from_str(&skopeo(&["inspect", "--raw", "--tls-verify=false", place]))
        .expect("a manifest is JSON")
}

/// An image in a directory whose last layer is at an address; that layer's digest.
fn foreign(world: &World, format: &str, url: &str) -> (PathBuf, String) {
    let registry = fixtures().serve();
    let dir = world.path(&format!("image-{format}"));
    let (from, to) = (format!("docker://{}", registry.name("app:latest")), format!("dir:{}", dir.display()));
    skopeo(&["copy", "--src-tls-verify=false", "--format", format, &from, &to]);
    let file = dir.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let layer = manifest["layers"].as_array_mut().unwrap().last_mut().unwrap();
    layer["mediaType"] = json!(match format {
        "oci" => "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        _ => "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    });
    layer["urls"] = json!([url]);
    let digest = layer["digest"].as_str().unwrap().to_owned();
    std::fs::write(&file, serde_json::to_vec(&manifest).unwrap()).unwrap();
    (dir, digest)
}

/// A server with that layer.
fn web(dir: &Path, digest: &str) -> WebServer {
    let files = dir.parent().unwrap().join("www");
    std::fs::create_dir_all(&files).unwrap();
    std::fs::copy(dir.join(digest.trim_start_matches("sha256:")), files.join("layer")).unwrap();
    WebServer::serve(&files)
}

/// Says where the layer is, when that is known: at one address or several.
fn point(dir: &Path, url: &str) {
    let file = dir.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let urls: Vec<&str> = url.split(' ').collect();
    manifest["layers"].as_array_mut().unwrap().last_mut().unwrap()["urls"] = json!(urls);
    std::fs::write(&file, serde_json::to_vec(&manifest).unwrap()).unwrap();
}

#[test]
fn a_layer_that_is_elsewhere_stays_there_and_is_pulled_from_there() {
    for format in ["oci", "v2s2"] {
        let (world, registry, other) = (world(), Registry::with_addresses(), Registry::with_addresses());
        let (dir, layer) = foreign(&world, format, "");
        let web = web(&dir, &layer);
        point(&dir, &format!("http://{}/layer", web.host()));
        let (source, at) =
            (format!("dir:{}", dir.display()), |name: &str| format!("docker://{}", registry.name(name)));
        // As skopeo does it.
        skopeo(&["copy", "--dest-tls-verify=false", "--format", format, &source, &at("theirs:1")]);
        world.loment(["image", "copy", &source, &at("ours:1")]).succeeds();
        world.loment(["image", "copy", &at("ours:1"), &at("again:1")]).succeeds();
        for name in ["ours:1", "again:1"] {
            assert_eq!(raw(&at(name)), raw(&at("theirs:1")), "{format}");
        }
        assert!(!registry.blob_file(&layer).exists());
        // In the other format, and in a layout.
        let to = if format == "oci" { "v2s2" } else { "oci" };
        skopeo(&[
            "copy",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            "--format",
            to,
            &at("ours:1"),
            &at("their-other:1"),
        ]);
        world.loment(["image", "copy", "--format", to, &at("ours:1"), &at("our-other:1")]).succeeds();
        assert_eq!(raw(&at("our-other:1"))["layers"], raw(&at("their-other:1"))["layers"], "{format}");
        let layout = world.path("layout").display().to_string();
        world.loment(["image", "copy", &at("ours:1"), &format!("oci:{layout}:x")]).succeeds();
        assert!(raw(&format!("oci:{layout}:x"))["layers"].to_string().contains("/layer"));
        assert!(!Path::new(&layout).join("blobs/sha256").join(layer.trim_start_matches("sha256:")).exists());
        // A directory has all of it, and the store, too.
        let whole = world.path("whole");
        world.loment(["image", "copy", &at("ours:1"), &format!("dir:{}", whole.display())]).succeeds();
        let bytes = std::fs::read(whole.join(layer.trim_start_matches("sha256:"))).expect("it was fetched");
        assert_eq!(digest(&bytes), layer);
        let image = registry.name("ours:1");
        world.loment(["pull", "--quiet", &image]).succeeds();
        assert!(sh(&world, &[], &image, "echo ran").ends_with("echo ran"));
        let target = other.name("pushed:1");
        let pushed = world.loment(["push", &image, &target]);
        pushed.succeeds();
        let said = format!("Copying blob {layer} skipped: foreign layer");
        assert!(pushed.stderr.contains(&said), "{pushed}");
        assert!(!other.blob_file(&layer).exists());
        let pushed = raw(&format!("docker://{target}"));
        assert_eq!(
            pushed["layers"].as_array().unwrap().last(),
            raw(&at("ours:1"))["layers"].as_array().unwrap().last()
        );
    }
}

#[test]
fn a_layer_that_is_nowhere_is_said_to_be() {
    // Debian's refuses most of these addresses.
    let (world, registry) = (world(), OciRegistry::start(Referrers::Kept));
    let (dir, layer) = foreign(&world, "oci", "");
    // Something else is there; nothing is; nobody is; no address that can be asked.
    let web = web(&dir, &layer);
    std::fs::write(dir.parent().unwrap().join("www/other"), "x").unwrap();
    let image = registry.name("x:1");
    for (url, expected) in [
        (format!("http://{}/other", web.host()), "expected"),
        (format!("http://{}/nothing", web.host()), "cannot be had from where its manifest says"),
        ("http://127.0.0.1:9/layer".to_owned(), "cannot connect to 127.0.0.1:9"),
        ("ftp://127.0.0.1/layer".to_owned(), "\"ftp://127.0.0.1/layer\" cannot be fetched"),
    ] {
        point(&dir, &url);
        let target = format!("docker://{image}");
        world.loment(["image", "copy", "--quiet", &format!("dir:{}", dir.display()), &target]).succeeds();
        world.loment(["pull", "--quiet", &image]).fails_saying(125, &[&layer[..20], expected]);
        assert_eq!(world.loment(["images", "--quiet"]).succeeds(), "");
    }
}

#[test]
fn a_layer_is_at_one_of_several_addresses() {
    let (world, registry) = (world(), OciRegistry::start(Referrers::Kept));
    let (dir, layer) = foreign(&world, "oci", "");
    let web = web(&dir, &layer);
    let www = dir.parent().unwrap().join("www");
    let right = std::fs::read(www.join("layer")).unwrap();
    let mut wrong = right.clone();
    *wrong.last_mut().unwrap() ^= 1;
    std::fs::write(www.join("wrong"), &wrong).unwrap();
    std::fs::write(www.join("short"), &right[..right.len() / 2]).unwrap();
    std::fs::write(www.join("garbage"), vec![b'x'; right.len()]).unwrap();
    let broken = FaultyWay::ending(&web.host(), right.len() as u64 / 2);
    let at = |name: &str| format!("http://{}/{name}", web.host());
    let (image, breaks) = (registry.name("x:1"), format!("http://{}/layer", broken.host()));
    let source = format!("dir:{}", dir.display());
    for (urls, there) in [
        (format!("{} {} {}", at("nothing"), at("wrong"), at("layer")), true),
        (format!("{} {} {}", at("short"), at("garbage"), at("layer")), true),
        (format!("{breaks} {}", at("layer")), true),
        (format!("{} {}", at("short"), at("wrong")), false),
    ] {
        point(&dir, &urls);
        world.loment(["image", "copy", "--quiet", &source, &format!("docker://{image}")]).succeeds();
        let pulled = world.loment(["pull", "--quiet", "--retry", "0", &image]);
        let whole = world.path("whole");
        let copy =
            ["image", "copy", "--quiet", &format!("docker://{image}"), &format!("dir:{}", whole.display())];
        let copied = world.loment(copy);
        if there {
            pulled.succeeds();
            copied.succeeds();
            std::fs::remove_dir_all(&whole).unwrap();
            world.loment(["rmi", "--all"]).succeeds();
        } else {
            pulled.fails_saying(125, &[&layer[..20]]);
            assert_ne!(copied.code, 0);
        }
    }
}

#[test]
fn a_layout_need_not_have_what_is_elsewhere() {
    let world = world();
    let (dir, layer) = foreign(&world, "oci", "");
    let web = web(&dir, &layer);
    point(&dir, &format!("http://{}/nothing http://{0}/layer", web.host()));
    let at = |transport: &str, name: &str| format!("{transport}:{}", world.path(name).display());
    let (source, layout, archive) =
        (at("dir", "image-oci"), at("oci", "layout"), at("oci-archive", "one.tar"));
    for to in [&layout, &archive] {
        world.loment(["image", "copy", "--quiet", &source, &format!("{to}:x")]).succeeds();
        // A directory gets it from there, with skopeo as here.
        let (ours, theirs) = (world.path("ours"), world.path("theirs"));
        world
            .loment(["image", "copy", "--quiet", &format!("{to}:x"), &format!("dir:{}", ours.display())])
            .succeeds();
        skopeo(&["copy", &format!("{to}:x"), &format!("dir:{}", theirs.display())]);
        let file = layer.trim_start_matches("sha256:");
        assert_eq!(std::fs::read(ours.join(file)).unwrap(), std::fs::read(theirs.join(file)).unwrap());
        // So does the store.
        world.loment(["pull", "--quiet", &format!("{to}:x")]).succeeds();
        world.loment(["rmi", "--all"]).succeeds();
        std::fs::remove_dir_all(&ours).unwrap();
        std::fs::remove_dir_all(&theirs).unwrap();
    }
    // Of a directory it must be there, for both.
    std::fs::remove_file(dir.join(layer.trim_start_matches("sha256:"))).unwrap();
    let other = at("dir", "other");
    let failed = world.loment(["image", "copy", "--quiet", &source, &other]);
    assert_ne!(failed.code, 0, "{failed}");
    let mut theirs = Command::new("skopeo");
    let theirs =
        run(theirs.args(["--insecure-policy", "copy", &source, &at("dir", "another")]), Patience::NORMAL);
    assert_ne!(theirs.code, 0, "{theirs}");
}
