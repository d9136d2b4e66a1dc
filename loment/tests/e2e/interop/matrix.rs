//! skopeo, Podman and Buildah: to and from every form of a place.

use loment_testkit::{Compression, Config, Entry, Image, Layer, Layout, Registry, World};

use serde_json::Value;

use super::{Program, forget, found, ours, path, registries, theirs};
use crate::world;

const NAME: &str = "localhost/app:1";

/// A form in which an image may be in a place.
struct Form {
    name: &'static str,
    transport: &'static str,
    /// What it is called by `push` and `copy`.
    format: Option<&'static str>,
    compression: Option<&'static str>,
    /// What its manifest says that it is.
    manifest: &'static str,
    /// What it says that each layer is.
    layer: &'static str,
    /// Whether a copy to a place of the same kind has the same manifest.
    keeps_bytes: bool,
}

const OCI_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const OCI_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const DOCKER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const OCI: &str = "application/vnd.oci.image.layer.v1.tar";
const DOCKER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";

const FORMS: &[Form] = &[
    Form {
        name: "gzip",
        transport: "docker",
        format: Some("oci"),
        compression: Some("gzip"),
        manifest: OCI_IMAGE,
        layer: OCI_GZIP,
        keeps_bytes: true,
    },
    Form {
        name: "zstd",
        transport: "docker",
        format: Some("oci"),
        compression: Some("zstd"),
        manifest: OCI_IMAGE,
        layer: OCI_ZSTD,
        keeps_bytes: true,
    },
    Form {
        name: "v2s2",
        transport: "docker",
        format: Some("v2s2"),
        compression: None,
        manifest: DOCKER_IMAGE,
        layer: DOCKER_GZIP,
        keeps_bytes: true,
    },
    Form {
        name: "layout",
        transport: "oci",
        format: None,
        compression: None,
        manifest: OCI_IMAGE,
        layer: OCI_GZIP,
        keeps_bytes: true,
    },
    Form {
        name: "layout-zstd",
        transport: "oci",
        format: None,
        compression: Some("zstd"),
        manifest: OCI_IMAGE,
        layer: OCI_ZSTD,
        keeps_bytes: true,
    },
    Form {
        name: "oci-archive",
        transport: "oci-archive",
        format: None,
        compression: None,
        manifest: OCI_IMAGE,
        layer: OCI_GZIP,
        keeps_bytes: true,
    },
    Form {
        name: "docker-archive",
        transport: "docker-archive",
        format: None,
        compression: None,
        manifest: DOCKER_IMAGE,
        layer: DOCKER_GZIP,
        keeps_bytes: false,
    },
    Form {
        name: "dir",
        transport: "dir",
        format: Some("oci"),
        compression: None,
        manifest: OCI_IMAGE,
        layer: OCI_GZIP,
        keeps_bytes: true,
    },
    Form {
        name: "dir-v2s2",
        transport: "dir",
        format: Some("v2s2"),
        compression: None,
        manifest: DOCKER_IMAGE,
        layer: DOCKER_GZIP,
        keeps_bytes: true,
    },
    Form {
        name: "oci-archive-zstd",
        transport: "oci-archive",
        format: None,
        compression: Some("zstd"),
        manifest: OCI_IMAGE,
        layer: OCI_ZSTD,
        keeps_bytes: true,
    },
    Form {
        name: "dir-zstd",
        transport: "dir",
        format: Some("oci"),
        compression: Some("zstd"),
        manifest: OCI_IMAGE,
        layer: OCI_ZSTD,
        keeps_bytes: true,
    },
    // Whatever is asked for, everybody's archives of this kind have plain tars.
    Form {
        name: "docker-archive-zstd",
        transport: "docker-archive",
        format: None,
        compression: Some("zstd"),
        manifest: DOCKER_IMAGE,
        layer: DOCKER_GZIP,
        keeps_bytes: false,
    },
];

impl Form {
    /// A place of this form; in a registry or in a file.
    fn place(&self, registries: &[Registry], who: &str) -> String {
        let Self { name, transport, .. } = self;
        // Relative: Podman and Buildah make names of paths, and those must be lower case.
        let file = format!("{who}-{name}");
        match *transport {
            "docker" => {
                let number = ["gzip", "zstd", "v2s2"].iter().position(|n| n == name).expect("one for each");
                format!("docker://{}", registries[number].name(&format!("{who}:1")))
            }
            // This has no name within.
            "dir" => format!("dir:{file}"),
            _ => format!("{transport}:{file}:{NAME}"),
        }
    }

    /// What a layer is that another program writes: skopeo leaves them as they are in the layout when it copies to a directory.
    fn layer_by(&self, program: Program) -> &'static str {
        match (program, self.transport, self.compression, self.format) {
            (Program::Skopeo, "dir", None, Some("v2s2")) => DOCKER,
            (Program::Skopeo, "dir", None, _) => OCI,
            _ => self.layer,
        }
    }

    /// Media types say what is there, and nothing else.
    #[track_caller]
    fn is_that_of(&self, manifest: &str, layer: &str) {
        let document: Value = serde_json::from_str(manifest).expect("manifests are JSON");
        let layers = document["layers"].as_array().expect("an image has layers");
        let types: Vec<_> = layers.iter().map(|layer| layer["mediaType"].as_str()).collect();
        assert_eq!(types, [Some(layer); 2], "{}: {manifest}", self.name);
        // OCI leaves it to the index whether an image says of itself what it is.
        let own = document["mediaType"].as_str().unwrap_or(OCI_IMAGE);
        assert_eq!(own, self.manifest, "{}: {manifest}", self.name);
    }

    /// Flags of `push`.
    fn flags(&self, compression: &'static str, force: Option<&'static str>) -> Vec<&'static str> {
        let format = self.format.map(|format| ["--format", format]);
        let compression = self.compression.map(|c| [compression, c]);
        let force = force.filter(|_| self.compression.is_some());
        format.into_iter().flatten().chain(compression.into_iter().flatten()).chain(force).collect()
    }
}

/// A small image of two layers: marks, links and attributes.
fn layout(world: &World) -> String {
    let base = Layer::of([
        Entry::dir("d").mode(0o751),
        Entry::file("d/file", "one").owner(1000, 7).xattr("user.x", b"y"),
        Entry::file("gone", "x"),
        Entry::hardlink("d/hard", "d/file"),
    ]);
    let top =
        Layer::of([Entry::whiteout("gone"), Entry::symlink("soft", "/d/file"), Entry::file("d/file", "two")]);
    let mut layout = Layout::create(&world.path("layout"));
    layout.add("x", &Image::new(Config::shell(), [base.into(), top.into()]), Compression::None);
    format!("oci:{}:x", layout.dir().display())
}

fn matrix(program: Program) {
    let world = world();
    let from = layout(&world);
    let (_, facts) = found(&world, &from);
    let registries = registries();
    let run = |arguments: &[&str]| theirs(&world, program, arguments);
    for form in FORMS {
        let (our_place, their_place) = (form.place(&registries, "ours"), form.place(&registries, "theirs"));
        // We write.
        world.loment(["pull", "--quiet", &from]).succeeds();
        let id = facts.id.as_str();
        let flags = form.flags("--compression-format", Some("--force-compression"));
        world.loment([&["push", "--quiet"], &flags[..], &[id, &our_place]].concat()).succeeds();
        let (manifest, seen) = found(&world, &our_place);
        assert_eq!(seen, facts, "{}", form.name);
        form.is_that_of(&manifest, form.layer);
        forget(&world);
        // They read, and write. Into directories they compress only when they are told to.
        let for_dir = |flag: &'static str| (form.transport == "dir").then_some(flag);
        match program {
            Program::Skopeo => {
                let copy = form.flags("--dest-compress-format", for_dir("--dest-compress"));
                let tls = form.transport == "docker";
                let tls = |side: &'static str| tls.then_some(side);
                let read = format!("oci:{}:x", path(&world, &format!("read-{}", form.name)));
                let source = tls("--src-tls-verify=false");
                let words = ["copy", "--quiet"].into_iter().chain(source).chain([our_place.as_str(), &read]);
                run(&words.collect::<Vec<_>>()).succeeds();
                assert_eq!(found(&world, &read).1.layers, facts.layers, "{}", form.name);
                let destination = tls("--dest-tls-verify=false");
                let words = ["copy", "--quiet"].into_iter().chain(copy).chain(destination);
                run(&words.chain([from.as_str(), &their_place]).collect::<Vec<_>>()).succeeds();
            }
            Program::Podman | Program::Buildah => {
                let pulled = run(&["pull", "--quiet", "--tls-verify=false", &our_place]);
                assert_eq!(pulled.succeeds().trim_start_matches("sha256:"), id, "{}: {pulled}", form.name);
                let force = for_dir("--compress").filter(|_| program == Program::Podman);
                let flags = form.flags("--compression-format", force);
                let push = [&["push", "--quiet", "--tls-verify=false"], &flags[..], &[id, &their_place]];
                run(&push.concat()).succeeds();
                run(&["rmi", "--all", "--force"]).succeeds();
            }
        }
        let (manifest, seen) = found(&world, &their_place);
        assert_eq!(seen, facts, "{}", form.name);
        form.is_that_of(&manifest, form.layer_by(program));
        // We read.
        let pulled = world.loment(["pull", "--quiet", &their_place]);
        assert_eq!(pulled.succeeds(), id, "{}", form.name);
        assert_eq!(ours(&world, id), facts, "{}", form.name);
        forget(&world);
        // Past the store, the bytes stay.
        let copied = form.place(&registries, "copied");
        world.loment(["image", "copy", "--quiet", &their_place, &copied]).succeeds();
        let (again, seen) = found(&world, &copied);
        assert_eq!(seen, facts, "{}", form.name);
        assert!(again == manifest || !form.keeps_bytes, "{}: {again}\n{manifest}", form.name);
    }
}

#[test]
fn skopeo_and_we_read_what_the_other_writes() {
    matrix(Program::Skopeo);
}

#[test]
fn podman_and_we_read_what_the_other_writes() {
    matrix(Program::Podman);
}

#[test]
fn buildah_and_we_read_what_the_other_writes() {
    matrix(Program::Buildah);
}
