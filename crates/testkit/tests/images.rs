//! The fixtures themselves, against tools that know nothing of us.

use std::path::Path;
use std::process::Command;

use loment_testkit::{Fixtures, Patience, Terminal, run};
use serde_json::Value;

fn fixtures() -> Fixtures {
    Fixtures::cached(Path::new(env!("CARGO_TARGET_TMPDIR")))
}

fn inspect(name: &str) -> Value {
    let mut skopeo = Command::new("skopeo");
    let name = format!("docker://{name}");
    let output = run(skopeo.args(["inspect", "--raw", "--tls-verify=false", &name]), Patience::LONG);
    serde_json::from_str(output.succeeds()).unwrap()
}

#[test]
fn every_image_has_the_form_its_name_says() {
    let registry = fixtures().serve();
    let layer_type = |tag: &str| {
        let manifest = inspect(&registry.name(&format!("busybox:{tag}")));
        manifest["layers"][0]["mediaType"].as_str().unwrap().to_owned()
    };
    assert_eq!(layer_type("latest"), "application/vnd.oci.image.layer.v1.tar+gzip");
    assert_eq!(layer_type("zstd"), "application/vnd.oci.image.layer.v1.tar+zstd");
    assert_eq!(layer_type("plain"), "application/vnd.oci.image.layer.v1.tar");
    assert_eq!(layer_type("docker"), "application/vnd.docker.image.rootfs.diff.tar.gzip");
    let media_type = |name: &str| inspect(&registry.name(name))["mediaType"].as_str().unwrap().to_owned();
    assert_eq!(media_type("multi:latest"), "application/vnd.oci.image.index.v1+json");
    assert_eq!(media_type("multi:docker"), "application/vnd.docker.distribution.manifest.list.v2+json");
}

#[test]
fn an_index_has_attestations_beside_its_platforms() {
    let registry = fixtures().serve();
    let index = inspect(&registry.name("multi:latest"));
    let platforms: Vec<_> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["platform"]["architecture"].as_str().unwrap())
        .collect();
    assert_eq!(platforms, ["unknown", "arm64", "unknown", "amd64", "unknown", "s390x"]);
}

#[test]
fn umoci_unpacks_the_tree() {
    let registry = fixtures().serve();
    let dir = tempfile::Builder::new().prefix("loment-test-").tempdir_in("/tmp").unwrap();
    let layout = format!("oci:{}/layout:tree", dir.path().display());
    let source = format!("docker://{}", registry.name("tree:latest"));
    let copy = ["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", &source, &layout];
    run(Command::new("skopeo").args(copy), Patience::LONG).succeeds();
    let bundle = dir.path().join("bundle");
    let image = format!("{}/layout:tree", dir.path().display());
    run(Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle), Patience::LONG).succeeds();
    let read = |p: &str| std::fs::read_to_string(bundle.join("rootfs").join(p)).unwrap();
    assert_eq!(read("replaced"), "new content");
    assert_eq!(read("again"), "third");
    assert!(!bundle.join("rootfs/opaque/old1").exists());
    assert!(!bundle.join("rootfs/gone/file").exists());
}

#[test]
fn debian_is_served_or_its_absence_explained() {
    match fixtures().debian() {
        Ok(registry) => {
            let manifest = inspect(&registry.name("debian:latest"));
            assert!(manifest["layers"][0]["size"].as_u64().unwrap() > 20_000_000);
        }
        Err(why) => loment_testkit::skip("an image made by debootstrap", &why),
    }
}

#[test]
fn a_program_at_a_terminal_sees_one() {
    let mut terminal = Terminal::start(Command::new("/bin/busybox").arg("sh").env("PS1", "ready> "));
    terminal.shows("ready> ");
    terminal.resize(50, 100);
    terminal.types("stty size; tty; exit 7\n");
    terminal.shows("50 100");
    terminal.shows("/dev/pts/");
    assert_eq!(terminal.ends(), 7);
}
