//! Other programs read what we write, and we read what they write, in every form that both know: the same image with the
//! same id and layers, and the same bytes where bytes are kept. What is in a place is told by skopeo, which takes no part.

mod artifacts;
mod indexes;
mod matrix;
mod runs;
mod umoci;

use loment_testkit::{Output, Patience, Registry, World, digest, run};
use serde_json::Value;

use crate::engines::{command, which};

/// A program with a store of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Skopeo,
    Podman,
    Buildah,
}

/// `PROGRAM ARGUMENTS` in its store.
#[track_caller]
fn theirs(world: &World, program: Program, arguments: &[&str]) -> Output {
    let dir = |name: &str| world.dir().join(format!("{program:?}-{name}").to_lowercase());
    let mut command = match program {
        Program::Skopeo => command(world, "skopeo"),
        Program::Podman => command(world, "podman"),
        Program::Buildah => command(world, "buildah"),
    };
    if program == Program::Skopeo {
        command.arg("--insecure-policy");
    } else {
        command.arg("--root").arg(dir("root")).arg("--runroot").arg(dir("run"));
        command.args(["--storage-driver", "vfs"]);
    }
    if program == Program::Podman {
        command.arg("--tmpdir").arg(dir("tmp"));
        command.args(["--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
        // crun of today runs nothing where there are control groups of both versions.
        command.arg("--runtime").arg(which("runc"));
    }
    run(command.args(arguments), Patience::NORMAL)
}

/// What makes an image the same.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts {
    /// The digest of its configuration, without the algorithm.
    id: String,
    /// The digests of its layers' tars.
    layers: Vec<String>,
}

/// A document of an image, byte by byte, as skopeo shows it: the manifest, or with `--config` the configuration.
#[track_caller]
fn raw(world: &World, flags: &[&str], place: &str) -> String {
    let tls: &[&str] = if place.starts_with("docker:") { &["--tls-verify=false"] } else { &[] };
    let output = theirs(world, Program::Skopeo, &[&["inspect", "--raw"], flags, tls, &[place]].concat());
    assert_eq!(output.code, 0, "{output}");
    output.stdout
}

/// What skopeo finds in a place: the manifest, byte by byte, and the facts.
#[track_caller]
fn found(world: &World, place: &str) -> (String, Facts) {
    let (manifest, config) = (raw(world, &[], place), raw(world, &["--config"], place));
    let document: Value = serde_json::from_str(&config).unwrap_or_else(|e| panic!("{place}: {e}: {config}"));
    let layers = document["rootfs"]["diff_ids"].as_array().expect("an image has layers");
    let layers = layers.iter().map(|layer| layer.as_str().expect("digests are text").to_owned()).collect();
    let id = digest(config.as_bytes()).trim_start_matches("sha256:").to_owned();
    (manifest, Facts { id, layers })
}

/// The facts of an image in our store.
#[track_caller]
fn ours(world: &World, image: &str) -> Facts {
    let said = world.inspect("{{.Id}} {{range .RootFS.Layers}}{{.}} {{end}}", image);
    let mut words = said.split_whitespace().map(str::to_owned);
    Facts { id: words.next().expect("an image has an id"), layers: words.collect() }
}

/// Nothing is left in our store.
#[track_caller]
fn forget(world: &World) {
    world.loment(["rmi", "--all", "--force"]).succeeds();
}

/// A path of the test's own.
fn path(world: &World, name: &str) -> String {
    world.path(name).display().to_string()
}

/// Three empty registries, so that no program finds a layer in another compression and takes that.
fn registries() -> [Registry; 3] {
    [Registry::empty(), Registry::empty(), Registry::empty()]
}
