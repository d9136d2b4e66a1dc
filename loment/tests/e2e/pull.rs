//! Images from a real registry: `pull`, `images`, `rmi`, and what containers see of them.

use std::process::Command;

use loment_testkit::{
    Compression, Config, Entry, Image, Layer, Layout, Patience, Registry, Variant, run, skip,
};

use crate::{eventually, fixtures, sh, sleeper, world, world_with};

#[test]
fn every_form_in_which_skopeo_pushes_is_accepted() {
    let world = world();
    let registry = fixtures().serve();
    for tag in ["latest", "zstd", "plain", "docker"] {
        let name = registry.name(&format!("busybox:{tag}"));
        let pulled = world.loment(["pull", "--tls-verify=false", &name]);
        let id = pulled.succeeds();
        assert_eq!(id.len(), 64, "{pulled}");
        assert_eq!(sh(&world, &[], &name, "echo it runs"), "it runs", "{tag}");
    }
}

#[test]
fn an_index_gives_the_image_of_this_machine() {
    let world = world();
    let registry = fixtures().serve();
    let ours = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    for tag in ["latest", "docker"] {
        let name = registry.name(&format!("multi:{tag}"));
        world.loment(["pull", "--quiet", "--tls-verify=false", &name]).succeeds();
        assert_eq!(world.inspect("{{.Architecture}}", &name), ours);
    }
    if ours == "amd64" {
        assert_eq!(sh(&world, &[], &registry.name("multi:latest"), "cat /architecture"), "amd64");
    }
}

#[test]
fn a_platform_can_be_chosen() {
    let world = world();
    let registry = fixtures().serve();
    let name = registry.name("multi:latest");
    world.loment(["pull", "--quiet", "--tls-verify=false", "--platform", "linux/arm64", &name]).succeeds();
    assert_eq!(world.inspect("{{.Architecture}}", &name), "arm64");
}

#[test]
fn a_digest_can_be_pulled_and_run() {
    let world = world();
    let registry = fixtures().serve();
    let name = format!("{}@{}", registry.name("busybox"), registry.digest_of("busybox", "latest"));
    world.loment(["pull", "--quiet", "--tls-verify=false", &name]).succeeds();
    assert_eq!(sh(&world, &[], &name, "echo by digest"), "by digest");
}

#[test]
fn dockers_first_format_is_pulled_by_digest_as_by_tag() {
    let (world, from, to) = (world(), fixtures().serve(), Registry::with_schema1());
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["--insecure-policy", "copy", "--quiet", "--format", "v2s1", "--src-tls-verify=false"]);
    skopeo.args(["--dest-tls-verify=false", &format!("docker://{}", from.name("busybox:latest"))]);
    run(skopeo.arg(format!("docker://{}", to.name("old:1"))), Patience::NORMAL).succeeds();
    let digest = to.digest_of("old", "1");
    let by_digest = format!("{}@{digest}", to.name("old"));
    // The control: it is no digest of all that is sent.
    let mut skopeo = Command::new("skopeo");
    let inspect = ["inspect", "--raw", "--tls-verify=false", &format!("docker://{by_digest}")];
    let raw = run(skopeo.args(inspect), Patience::NORMAL).succeeds().to_owned();
    assert!(raw.contains("\"signatures\"") && loment_testkit::digest(raw.as_bytes()) != digest, "{raw}");
    let id = world.loment(["pull", "--quiet", &to.name("old:1")]).succeeds().to_owned();
    world.loment(["rmi", &id]).succeeds();
    assert_eq!(world.loment(["pull", "--quiet", &by_digest]).succeeds(), id);
    assert_eq!(sh(&world, &[], &by_digest, "echo old"), "old");
    let copied = format!("dir:{}", world.path("copied").display());
    world.loment(["image", "copy", "--quiet", &format!("docker://{by_digest}"), &copied]).succeeds();
}

#[test]
fn run_pulls_what_is_missing_and_reports_it_on_standard_error() {
    let world = world();
    let registry = fixtures().serve();
    let name = registry.name("busybox:latest");
    let output =
        world.loment(["run", "--rm", "--network", "none", "--tls-verify=false", &name, "echo", "hi"]);
    assert_eq!(output.succeeds(), "hi");
    assert!(output.stderr.contains(&name), "{output}");
    let again = world.loment(["run", "--rm", "--network", "none", &name, "echo", "hi"]);
    assert_eq!((again.succeeds(), again.stderr.as_str()), ("hi", ""));
}

#[test]
fn the_pull_flag_decides_whether_the_registry_is_asked() {
    let world = world();
    let registry = fixtures().serve();
    let name = registry.name("busybox:latest");
    let run = |policy: &str| {
        world.loment([
            "run",
            "--rm",
            "--network",
            "none",
            "--tls-verify=false",
            "--pull",
            policy,
            &name,
            "true",
        ])
    };
    run("never").fails_saying(125, &[&name]);
    run("missing").succeeds();
    run("always").succeeds();
    drop(registry);
    run("never").succeeds();
    run("missing").succeeds();
    run("newer").succeeds();
    run("always").fails_saying(125, &["127.0.0.1"]);
    run("sometimes").fails(125);
}

#[test]
fn a_directory_that_a_layer_only_implies_keeps_its_attributes() {
    let world = world();
    let busybox = std::fs::read("/bin/busybox").unwrap();
    let base = Layer::of([
        Entry::dir("bin"),
        Entry::file("bin/busybox", busybox).mode(0o755),
        Entry::dir("tmp").mode(0o1777).owner(0, 50).mtime(1_234_567_890),
        Entry::dir("var").mode(0o711),
        Entry::dir("var/spool").mode(0o2775),
    ]);
    // As bazel and ko build them: no entries for the parents.
    let top = Layer::of([Entry::file("tmp/x", "x"), Entry::file("var/spool/app/x", "x")]);
    let mut layout = Layout::create(&world.path("layout"));
    layout.add("x", &Image::new(Config::shell(), [base.into(), top.into()]), Compression::Gzip);
    let registry = Registry::empty();
    let name = registry.name("implied:latest");
    layout.push("x", &name, Variant::AsIs);
    let stat = ["/bin/busybox", "stat", "-c", "%a %g %Y", "/tmp", "/var", "/var/spool", "/var/spool/app"];
    let run = ["run", "--rm", "--network", "none", "--tls-verify=false", &name];
    let output = world.loment([&run[..], &stat].concat());
    let expected = "1777 50 1234567890\n711 0 1700000000\n2775 0 1700000000\n755 0 0";
    assert_eq!(output.succeeds(), expected);
}

#[test]
fn a_debian_of_debootstrap_runs() {
    let registry = match fixtures().debian() {
        Ok(registry) => registry,
        Err(why) => return skip("a Debian image made by debootstrap", &why),
    };
    let world = world();
    let name = registry.name("debian:latest");
    let mut pull = world.command(["pull", "--quiet", "--tls-verify=false", &name]);
    run(&mut pull, Patience::LONG).succeeds();
    let script =
        ". /etc/os-release && echo $ID; perl -e 'print 6*7'; id -un; dpkg --verify base-files passwd; echo";
    assert_eq!(sh(&world, &[], &name, script), "debian\n42root\n");
}

#[test]
fn images_has_podmans_columns() {
    let (world, image) = world_with("busybox:latest");
    let output = world.loment(["images"]);
    let lines: Vec<_> = output.succeeds().lines().collect();
    let columns: Vec<_> = lines[0].split("  ").map(str::trim).filter(|c| !c.is_empty()).collect();
    assert_eq!(columns, ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]);
    let row: Vec<_> = lines[1].split("  ").map(str::trim).filter(|c| !c.is_empty()).collect();
    let (repository, tag) = image.rsplit_once(':').unwrap();
    assert_eq!((row[0], row[1], row[2].len()), (repository, tag, 12));
    assert_eq!(lines.len(), 2);
    let format = world.loment(["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]);
    assert_eq!(format.succeeds(), format!("{image} {}", row[2]));
    let quiet = world.loment(["images", "-q", "--no-trunc"]);
    assert_eq!(quiet.succeeds().len(), "sha256:".len() + 64);
    let json: serde_json::Value =
        serde_json::from_str(world.loment(["images", "--format", "json"]).succeeds()).unwrap();
    assert_eq!(json[0]["Names"][0], image.as_str());
}

#[test]
fn rmi_removes_names_then_the_image_and_its_layers() {
    let (world, image) = world_with("busybox:latest");
    let output = world.loment(["rmi", &image]);
    assert!(output.succeeds().contains(&format!("Untagged: {image}")), "{output}");
    assert!(output.stdout.contains("Deleted: "), "{output}");
    assert_eq!(world.loment(["images", "-q"]).succeeds(), "");
    let layers = std::fs::read_dir(world.root().join("layers")).unwrap().count();
    assert_eq!(layers, 0, "layers are left");
}

#[test]
fn an_image_in_use_is_kept_unless_forced() {
    let (world, image) = world_with("busybox:latest");
    world.loment(["create", "--network", "none", "--name", "user", &image, "true"]).succeeds();
    world.loment(["rmi", &image]).fails_saying(2, &["use"]);
    world.loment(["rmi", "--force", &image]).succeeds();
    assert_eq!(world.loment(["ps", "-aq"]).succeeds(), "");
    world.loment(["rmi", &image]).fails_saying(1, &[&image]);
    world.loment(["rmi", "--ignore", &image]).succeeds();
}

#[test]
fn removing_all_images_spares_those_in_use() {
    let world = world();
    let registry = fixtures().serve();
    let [used, free] = ["busybox:latest", "app:latest"].map(|name| registry.name(name));
    for name in [&used, &free] {
        world.loment(["pull", "--quiet", name]).succeeds();
    }
    sleeper(&world, "c", &[], &used);
    world.loment(["rmi", "--all"]).fails_saying(2, &["image used by", "in use by a container"]);
    assert_eq!(world.loment(["images", "--format", "{{.Repository}}:{{.Tag}}"]).succeeds(), used);
    assert_eq!(world.inspect("{{.State.Status}}", "c"), "running");
    world.loment(["rmi", "--all", "--force"]).succeeds();
    assert_eq!(world.loment(["ps", "-aq"]).succeeds(), "");
    assert_eq!(world.loment(["images", "-q"]).succeeds(), "");
}

#[test]
fn nobody_waits_for_the_files_of_what_is_removed() {
    let (world, _) = world_with("busybox:latest");
    let tomb = world.root().join("tombs/tomb-large");
    for dir in 0..20 {
        let dir = tomb.join(dir.to_string());
        std::fs::create_dir_all(&dir).unwrap();
        (0..500).for_each(|file| drop(std::fs::File::create(dir.join(file.to_string())).unwrap()));
    }
    // Not the store's to delete.
    let other = world.root().join("tombs/other");
    std::fs::create_dir(&other).unwrap();
    world.loment(["images"]).succeeds();
    eventually("it is deleted", || !tomb.exists());
    assert!(other.exists());
    std::fs::remove_dir(other).unwrap();
}

#[test]
fn layers_are_shared_between_images_and_pulled_once() {
    let world = world();
    let registry = fixtures().serve();
    for name in ["busybox:latest", "app:latest", "tree:latest", "busybox:docker"] {
        world.loment(["pull", "--quiet", "--tls-verify=false", &registry.name(name)]).succeeds();
    }
    // busybox, app's data, and the four of the tree.
    assert_eq!(std::fs::read_dir(world.root().join("layers")).unwrap().count(), 6);
}

#[test]
fn a_registry_on_the_loopback_device_may_speak_plain_http() {
    let world = world();
    let registry = fixtures().serve();
    world.loment(["pull", "--quiet", &registry.name("busybox:latest")]).succeeds();
}
