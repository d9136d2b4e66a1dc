//! The images that tests share: made once per checkout, pushed by skopeo, kept below cargo's target directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::layer::{Entry, Layer, RawLayer};
use crate::layout::{Layout, Variant};
use crate::tree::sparse_image;
use crate::{Compression, Config, Image, Patience, Registry, debian, run, tree_image};

/// Changes whenever what is made here changes, so that an old cache is not taken for a new one.
const VERSION: &str = "fixtures-6";

/// A registry's storage with the images below.
///
/// | name | what |
/// |---|---|
/// | `busybox:latest` | one layer, OCI, gzip |
/// | `busybox:zstd` | the same with one file more, Zstandard by skopeo |
/// | `busybox:plain` | the same, uncompressed layers |
/// | `busybox:docker` | the same, Docker schema 2 |
/// | `multi:latest` | index of amd64, arm64, s390x, each with an attestation |
/// | `multi:docker` | Docker manifest list of the same without attestations |
/// | `foreign:latest` | only for s390x |
/// | `app:latest` | entry point, user, working directory, environment, volume, stop signal, labels |
/// | `tree:latest` | see [`crate::tree_image`] |
/// | `sparse:latest` | a file of 256 MiB that is a hole but for two places |
/// | `debian:latest` | made by debootstrap; [`Fixtures::debian`] tells whether it is there |
#[derive(Debug)]
pub struct Fixtures {
    dir: PathBuf,
}

impl Fixtures {
    /// The fixtures in `cache`, made now when they are not there. Concurrent tests wait for the one that makes them.
    pub fn cached(cache: &Path) -> Self {
        let dir = cache.join(VERSION);
        let fixtures = Self { dir };
        let made = fixtures.once("images", |storage| {
            push_all(&Registry::fill(storage));
            Ok(())
        });
        made.expect("either made or panicked");
        fixtures
    }

    /// A registry of its own for the caller, which nobody can change.
    pub fn serve(&self) -> Registry {
        Registry::serve(&self.dir.join("images"))
    }

    /// What such a registry serves; not to be changed.
    pub fn storage(&self) -> PathBuf {
        self.dir.join("images")
    }

    /// A registry over a copy, for damage.
    pub fn serve_copy(&self) -> Registry {
        Registry::serve_copy(&self.dir.join("images"))
    }

    /// A registry with `debian:latest`, or why there is none.
    pub fn debian(&self) -> Result<Registry, String> {
        self.once("debian", |storage| {
            let layer = debian::minbase()?;
            let scratch = crate::world::temporary();
            let mut layout = Layout::create(&scratch.path().join("layout"));
            let config = Config::shell().set("Cmd", json!(["bash"]));
            layout.add("debian", &Image::new(config, [layer]), Compression::Gzip);
            let registry = Registry::fill(storage);
            layout.push("debian", &registry.name("debian:latest"), Variant::AsIs);
            Ok(())
        })
        .map(|()| Registry::serve(&self.dir.join("debian")))
    }

    /// Lets one of many processes make `name`; what failed once is not tried again.
    fn once(&self, name: &str, make: impl FnOnce(&Path) -> Result<(), String>) -> Result<(), String> {
        fs::create_dir_all(&self.dir).expect("make the cache directory");
        let lock = fs::File::create(self.dir.join(format!("{name}.lock"))).expect("make a lock file");
        lock.lock().expect("lock the cache");
        let done = self.dir.join(format!("{name}.done"));
        if let Ok(text) = fs::read_to_string(&done) {
            return if text.is_empty() { Ok(()) } else { Err(text) };
        }
        let storage = self.dir.join(name);
        // What an interrupted run left.
        drop(fs::remove_dir_all(&storage));
        let made = make(&storage);
        fs::write(&done, made.as_ref().err().map_or("", String::as_str)).expect("write to the cache");
        made
    }
}

fn push_all(registry: &Registry) {
    let scratch = crate::world::temporary();
    let mut layout = Layout::create(&scratch.path().join("layout"));
    let busybox = Image::new(Config::shell(), [busybox_layer()]);
    let foreign = |arch: &str| Image::new(Config::shell(), [mark(arch)]).on("linux", arch);
    let multi =
        [foreign("arm64"), Image::new(Config::shell(), [busybox_layer(), mark("amd64")]), foreign("s390x")];
    layout.add("busybox", &busybox, Compression::Gzip);
    layout.add("plain", &busybox, Compression::None);
    // Of other content: skopeo does not compress anew what it finds in the registry in another form.
    let other = Image::new(Config::shell(), [busybox_layer_and(Some(Entry::file("etc/kind", "zstd")))]);
    layout.add("for-zstd", &other, Compression::None);
    layout.add("foreign", &foreign("s390x"), Compression::Gzip);
    layout.add("app", &app(), Compression::Gzip);
    layout.add("tree", &tree_image(), Compression::Gzip);
    layout.add("sparse", &sparse_image(), Compression::Gzip);
    layout.add_index("multi", &multi, Compression::Gzip, true);
    layout.add_index("multi-docker", &multi, Compression::Gzip, false);
    for (tag, name, variant) in [
        ("plain", "busybox:plain", Variant::AsIs),
        ("for-zstd", "busybox:zstd", Variant::OciZstd),
        ("busybox", "busybox:latest", Variant::AsIs),
        ("busybox", "busybox:docker", Variant::DockerSchema2),
        ("foreign", "foreign:latest", Variant::AsIs),
        ("app", "app:latest", Variant::AsIs),
        ("tree", "tree:latest", Variant::AsIs),
        ("sparse", "sparse:latest", Variant::AsIs),
        ("multi", "multi:latest", Variant::AsIs),
        ("multi-docker", "multi:docker", Variant::DockerSchema2),
    ] {
        layout.push(tag, &registry.name(name), variant);
    }
}

/// Says for which platform a layer is.
fn mark(architecture: &str) -> RawLayer {
    Layer::of([Entry::file("architecture", architecture)]).into()
}

fn app() -> Image {
    let config = Config::shell()
        .set("Env", json!(["PATH=/usr/local/bin:/usr/bin:/bin", "FROM_IMAGE=yes", "OVERRIDE=image"]))
        .set("Entrypoint", json!(["/bin/sh", "-c", "echo entry \"$0\" \"$@\""]))
        .set("Cmd", json!(["first", "second"]))
        .set("User", json!("app"))
        .set("WorkingDir", json!("/work/dir"))
        .set("Volumes", json!({ "/data": {} }))
        .set("StopSignal", json!("SIGUSR1"))
        .set("ExposedPorts", json!({ "8080/tcp": {} }))
        .set("Labels", json!({ "org.example.kind": "app" }));
    let data =
        Layer::of([Entry::dir("data").owner(1000, 1000), Entry::file("data/seed", "seed").owner(1000, 1000)]);
    Image::new(config, [busybox_layer(), data.into()])
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n\
                      nobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\napp:x:1000:\nextra:x:2000:app\nnogroup:x:65534:\n";

/// The names of busybox's own commands.
fn applets() -> Vec<String> {
    let output = run(Command::new("/bin/busybox").arg("--list"), Patience::NORMAL);
    output.succeeds().lines().map(str::to_owned).collect()
}

/// Debian's static busybox with a link per command, and the files that a system has.
pub(crate) fn busybox_layer() -> RawLayer {
    busybox_layer_and(None)
}

fn busybox_layer_and(extra: Option<Entry>) -> RawLayer {
    let busybox =
        fs::read("/bin/busybox").expect("read /bin/busybox: is the package busybox-static installed?");
    let dirs = ["bin", "etc", "home", "root", "usr", "usr/bin", "var"];
    let mut layer = Layer::of(dirs.map(Entry::dir)).with(Entry::dir("tmp").mode(0o1777));
    layer = layer.with(Entry::dir("home/app").owner(1000, 1000));
    layer = layer.with(Entry::file("bin/busybox", busybox).mode(0o755));
    layer = layer.with(Entry::file("etc/passwd", PASSWD)).with(Entry::file("etc/group", GROUP));
    for applet in applets().iter().filter(|a| *a != "busybox") {
        layer = layer.with(Entry::symlink(&format!("bin/{applet}"), "busybox"));
    }
    extra.into_iter().fold(layer, Layer::with).into()
}

/// The same as a directory, for `--rootfs` and bundles.
pub fn busybox_rootfs(dir: &Path) {
    for name in ["bin", "dev", "etc", "home/app", "proc", "root", "sys", "tmp", "usr/bin", "var"] {
        fs::create_dir_all(dir.join(name)).expect("make a directory");
    }
    fs::set_permissions(dir.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("set permissions");
    fs::copy("/bin/busybox", dir.join("bin/busybox")).expect("copy busybox");
    fs::write(dir.join("etc/passwd"), PASSWD).expect("write passwd");
    fs::write(dir.join("etc/group"), GROUP).expect("write group");
    for applet in applets().iter().filter(|a| *a != "busybox") {
        std::os::unix::fs::symlink("busybox", dir.join("bin").join(applet)).expect("make a link");
    }
}
