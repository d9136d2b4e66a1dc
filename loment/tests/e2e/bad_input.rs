//! Bad input gets one clear line, Podman's exit status, and leaves nothing behind.

use std::fs;
use std::process::Command;

use loment_testkit::{
    Compression, Config, Entry, Image, Layer, Layout, Patience, Registry, Variant, World, run,
};

use crate::{fixtures, through, world, world_with};

#[track_caller]
fn nothing_is_left(world: &World) {
    assert_eq!(world.loment(["ps", "-aq"]).succeeds(), "");
    assert_eq!(world.leftovers(), [""; 0]);
}

#[track_caller]
fn refuses(world: &World, arguments: &[&str], status: i32, words: &[&str]) {
    world.loment(arguments).fails_saying(status, words);
    nothing_is_left(world);
}

#[test]
fn an_image_the_registry_does_not_have() {
    let world = world();
    let registry = fixtures().serve();
    let name = registry.name("busybox:no-such-tag");
    let words = [&registry.name("busybox"), "no-such-tag"];
    refuses(&world, &["pull", "-q", "--tls-verify=false", &name], 125, &words);
    let run = ["run", "--rm", "-q", "--network", "none", "--tls-verify=false", &name, "true"];
    refuses(&world, &run, 125, &words);
}

#[test]
fn a_registry_that_does_not_answer() {
    let world = world();
    let name = Registry::empty().name("busybox:latest");
    let host = name.split('/').next().unwrap();
    refuses(&world, &["pull", "-q", "--tls-verify=false", &name], 125, &[host]);
}

/// Limits of sizes are the file system's to keep. That they hold where it does is shown in a machine of its own.
#[test]
fn a_size_where_none_is_kept() {
    let world = world();
    let none = Registry::empty().name("none:latest");
    let root = world.path("memory");
    fs::create_dir(&root).unwrap();
    let create = ["create", "--name", "c", "--network", "none"];
    let over_tmpfs = |arguments: &[&str]| {
        let mut command = world.command(["--root"]);
        command.arg(&root).args(arguments);
        let script = "mount -t tmpfs none \"$1\"; shift; exec \"$@\"";
        let unshare =
            ["unshare", "-m", "--propagation", "private", "sh", "-ec", script, "sh", root.to_str().unwrap()];
        run(&mut through(&unshare, &command), Patience::NORMAL)
    };
    let words = [root.to_str().unwrap(), "on tmpfs, which does not limit", "XFS or ext4"];
    for option in ["size=10m", "inodes=100"] {
        // Nothing is pulled for it: nobody answers there.
        over_tmpfs(&[&create[..], &["--storage-opt", option, &none, "true"]].concat())
            .fails_saying(125, &words);
    }
    let default = ["--storage-opt", "overlay.size=10m"];
    over_tmpfs(&[&default[..], &create, &[&none, "true"]].concat()).fails_saying(125, &words);
    let conf = world.path("storage.conf");
    let with_conf = |text: &str, arguments: &[&str]| {
        fs::write(&conf, text).unwrap();
        let setting = format!("CONTAINERS_STORAGE_CONF={}", conf.display());
        let mut command = world.command(["--root"]);
        command.arg(&root).args(create).args(arguments);
        let script = "mount -t tmpfs none \"$1\"; shift; exec \"$@\"";
        let through_env =
            ["env", &setting, "unshare", "-m", "--propagation", "private", "sh", "-ec", script, "sh"];
        run(&mut through(&[&through_env[..], &[root.to_str().unwrap()]].concat(), &command), Patience::NORMAL)
    };
    for text in ["[storage.options]\nsize = \"10m\"", "[storage.options.overlay]\ninodes = \"100\""] {
        with_conf(text, &[&none, "true"]).fails_saying(125, &words);
    }
    let zero = with_conf("[storage.options]\nsize = \"10m\"", &["--storage-opt", "size=0", &none, "true"]);
    assert!(zero.code == 125 && !zero.stderr.contains("tmpfs"), "{zero}");
    with_conf("[storage.options]\nsize = \"x\"", &[&none, "true"])
        .fails_saying(125, &["\"x\"", "storage.conf"]);
    let without = over_tmpfs(&[&default[..], &create, &["--storage-opt", "size=0", &none, "true"]].concat());
    assert!(without.code == 125 && !without.stderr.contains("tmpfs"), "{without}");
    let directory = [&create[..], &["--storage-opt", "size=10m", "--rootfs", "/", "true"]].concat();
    refuses(&world, &directory, 125, &["directory \"/\"", ":O"]);
    for bad in ["size=", "size=x", "size=-1", "inodes=", "quota=1", "size"] {
        refuses(
            &world,
            &[&create[..], &["--storage-opt", bad, &none, "true"]].concat(),
            125,
            &[bad, "size=SIZE"],
        );
    }
}

#[test]
fn names_that_are_none() {
    let world = world();
    for name in ["upper/CASE", "a b", "host:port/x", "x:", "x@sha256:12", "../x", "http://host/x"] {
        refuses(&world, &["pull", "-q", name], 125, &[name]);
    }
}

/// The digests of the only layer and of the configuration of `busybox:latest`.
fn parts(registry: &Registry) -> (String, String) {
    let manifest = registry.manifest("busybox", "latest");
    let digest = |v: &serde_json::Value| v["digest"].as_str().unwrap().to_owned();
    (digest(&manifest["layers"][0]), digest(&manifest["config"]))
}

#[track_caller]
fn pull_fails(damage: impl FnOnce(&Registry), words: &[&str]) {
    let world = world();
    let registry = fixtures().serve_copy();
    damage(&registry);
    let name = registry.name("busybox:latest");
    refuses(&world, &["pull", "-q", "--tls-verify=false", &name], 125, words);
    assert_eq!(world.loment(["images", "-q"]).succeeds(), "");
    let layers = fs::read_dir(world.root().join("layers")).into_iter().flatten().count();
    assert_eq!(layers, 0, "a damaged layer was kept");
}

#[test]
fn a_layer_of_another_content_than_its_digest_says() {
    pull_fails(
        |registry| {
            let file = registry.blob_file(&parts(registry).0);
            let mut bytes = fs::read(&file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0xff;
            fs::write(&file, bytes).unwrap();
        },
        &["sha256:"],
    );
}

#[test]
fn a_layer_that_is_good_gzip_of_something_else() {
    pull_fails(
        |registry| {
            let other = Compression::Gzip.apply(&Layer::of([Entry::file("evil", "x")]).into_bytes());
            fs::write(registry.blob_file(&parts(registry).0), other).unwrap();
        },
        &["sha256:"],
    );
}

#[test]
fn a_layer_that_ends_too_early() {
    pull_fails(
        |registry| {
            let file = registry.blob_file(&parts(registry).0);
            let bytes = fs::read(&file).unwrap();
            fs::write(&file, &bytes[..bytes.len() - 1000]).unwrap();
        },
        &["sha256:"],
    );
}

#[test]
fn a_layer_that_the_registry_lost() {
    pull_fails(|registry| fs::remove_file(registry.blob_file(&parts(registry).0)).unwrap(), &["sha256:"]);
}

#[test]
fn a_configuration_of_another_content() {
    pull_fails(
        |registry| {
            let file = registry.blob_file(&parts(registry).1);
            let text = fs::read_to_string(&file).unwrap().replacen("\"sh\"", "\"no\"", 1);
            fs::write(&file, text).unwrap();
        },
        &["sha256:"],
    );
}

#[test]
fn a_manifest_that_is_not_the_digest_asked_for() {
    let world = world();
    let registry = fixtures().serve_copy();
    let digest = registry.digest_of("busybox", "latest");
    let file = registry.blob_file(&digest);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text + " ").unwrap();
    let name = format!("{}@{digest}", registry.name("busybox"));
    refuses(&world, &["pull", "-q", "--tls-verify=false", &name], 125, &["sha256:"]);
}

#[test]
fn an_image_for_another_platform() {
    let world = world();
    let registry = fixtures().serve();
    let multi = registry.name("multi:latest");
    let wanted = ["pull", "-q", "--tls-verify=false", "--platform", "linux/riscv64", &multi];
    refuses(&world, &wanted, 125, &["riscv64"]);
    // Podman takes the only image there is, says so, and fails to run it.
    let foreign = registry.name("foreign:latest");
    let output = world.loment(["run", "--rm", "--network", "none", "--tls-verify=false", &foreign, "/x"]);
    assert!(output.code >= 125, "{output}");
    assert!(output.stderr.contains("s390x"), "{output}");
    nothing_is_left(&world);
}

/// Pushes an image with one more layer over busybox and pulls it.
#[track_caller]
fn hostile(layer: Layer) {
    let world = world();
    let canary = world.path("canary");
    let registry = Registry::empty();
    let mut layout = Layout::create(&world.path("layout"));
    layout.add("x", &Image::new(Config::shell(), [layer.into()]), Compression::Gzip);
    let name = registry.name("hostile:latest");
    layout.push("x", &name, Variant::AsIs);
    let output = world.loment(["pull", "-q", "--tls-verify=false", &name]);
    // Either refused, or unpacked so that everything stays inside.
    if output.code != 0 {
        assert_eq!(output.code, 125, "{output}");
        assert_eq!(output.stderr.trim_end().lines().count(), 1, "{output}");
        assert_eq!(world.loment(["images", "-q"]).succeeds(), "");
        nothing_is_left(&world);
    }
    assert!(!canary.exists(), "{output}");
    assert!(!std::path::Path::new("/tmp/loment-escaped").exists(), "{output}");
    assert!(!world.dir().join("loment-escaped").exists(), "{output}");
}

#[test]
fn tar_entries_that_climb_with_dots() {
    let dots = "../".repeat(12) + "tmp/loment-escaped";
    hostile(Layer::of([Entry::file(&dots, "x").raw_name()]));
    hostile(Layer::of([Entry::file("a/../../../../../../../../../tmp/loment-escaped", "x").raw_name()]));
}

#[test]
fn tar_entries_with_absolute_names() {
    hostile(Layer::of([Entry::file("/tmp/loment-escaped", "x").raw_name()]));
}

#[test]
fn tar_entries_through_symbolic_links() {
    hostile(Layer::of([Entry::symlink("out", "/tmp"), Entry::file("out/loment-escaped", "x")]));
    let up = "../".repeat(12) + "tmp";
    hostile(Layer::of([Entry::symlink("out", &up), Entry::file("out/loment-escaped", "x")]));
    hostile(Layer::of([
        Entry::symlink("loment-escaped", "/tmp/loment-escaped"),
        Entry::file("loment-escaped", "x"),
    ]));
}

#[test]
fn hard_links_to_files_of_the_host() {
    let before =
        fs::metadata("/etc/hostname").map(|m| std::os::unix::fs::MetadataExt::nlink(&m)).unwrap_or(0);
    hostile(Layer::of([
        Entry::hardlink("mine", "/etc/hostname").raw_name(),
        Entry::file("mine", "overwritten"),
    ]));
    hostile(Layer::of([Entry::symlink("etc", "/etc"), Entry::hardlink("mine", "etc/hostname").raw_name()]));
    let after = fs::metadata("/etc/hostname").map(|m| std::os::unix::fs::MetadataExt::nlink(&m)).unwrap_or(0);
    assert_eq!(before, after, "a link to a file of the host was made");
}

#[test]
fn whiteouts_of_what_is_outside() {
    fs::write("/tmp/loment-test-whiteout", "x").unwrap();
    hostile(Layer::of([
        Entry::file("../../../../../../../../../tmp/.wh.loment-test-whiteout", "").raw_name()
    ]));
    hostile(Layer::of([Entry::symlink("t", "/tmp"), Entry::file("t/.wh.loment-test-whiteout", "")]));
    let kept = fs::remove_file("/tmp/loment-test-whiteout");
    assert!(kept.is_ok(), "a file of the host was removed");
}

#[test]
fn a_full_disk_during_a_pull() {
    let world = world();
    let registry = fixtures().serve();
    let small = world.path("small");
    fs::create_dir(&small).unwrap();
    let mounted = Small::mount(&small, "12m");
    let root = small.join("root");
    let pull = |image: &str| {
        let mut command = world.bare();
        command.arg("--root").arg(&root).arg("--runroot").arg(world.runroot());
        run(command.args(["pull", "-q", "--tls-verify=false", &registry.name(image)]), Patience::NORMAL)
    };
    pull("tree:latest").fails_saying(125, &["no space left on device"]);
    let used = fs::read_dir(root.join("staging")).into_iter().flatten().count();
    assert_eq!(used, 0, "what was being made is still there");
    // And the store still works: what fits can be pulled.
    pull("busybox:latest").succeeds();
    drop(mounted);
}

/// A small tmpfs that is unmounted whatever happens.
pub(crate) struct Small<'a>(&'a std::path::Path);

impl<'a> Small<'a> {
    pub(crate) fn mount(path: &'a std::path::Path, size: &str) -> Self {
        let options = format!("size={size}");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "small"]).arg(path), Patience::NORMAL)
            .succeeds();
        Self(path)
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.0).status());
    }
}

#[test]
fn a_program_that_is_missing_or_cannot_be_executed() {
    let (world, image) = world_with("busybox:latest");
    let run = |program: &'static str| ["run", "--rm", "--network", "none", image.as_str(), program];
    refuses(&world, &run("no-such-program"), 127, &["no-such-program"]);
    refuses(&world, &run("/no/such/program"), 127, &["/no/such/program"]);
    refuses(&world, &run("/etc/passwd"), 126, &["/etc/passwd"]);
    refuses(&world, &run("/etc"), 126, &["/etc"]);
}

#[test]
fn an_image_without_a_command() {
    let (world, image) = world_with("busybox:latest");
    refuses(&world, &["run", "--rm", "--network", "none", "--entrypoint", "", &image], 125, &["command"]);
}

#[test]
fn a_name_that_is_in_use_or_not_allowed() {
    let (world, image) = world_with("busybox:latest");
    world.loment(["create", "--network", "none", "--name", "taken", &image, "true"]).succeeds();
    world
        .loment(["run", "--network", "none", "--name", "taken", &image, "true"])
        .fails_saying(125, &["taken", "in use"]);
    for name in ["../x", "a b", "-x", "a/b"] {
        let output = world.loment(["create", "--network", "none", &format!("--name={name}"), &image, "true"]);
        assert_eq!(output.code, 125, "{output}");
    }
    assert_eq!(world.loment(["ps", "-aq"]).succeeds().lines().count(), 1);
}

#[test]
fn bad_values_of_flags() {
    let (world, image) = world_with("busybox:latest");
    for (flag, value) in [
        ("--memory", "much"),
        ("--memory", "-5"),
        ("--cpus", "x"),
        ("--cpuset-cpus", "9999"),
        ("--pids-limit", "some"),
        ("--ulimit", "nofile"),
        ("--ulimit", "nosuch=1"),
        ("--ulimit", "nofile=2:1"),
        ("--cap-add", "CAP_FLY"),
        ("--security-opt", "nonsense"),
        ("--security-opt", "seccomp=/no/such/file"),
        ("--device", "/dev/no-such-device"),
        ("--shm-size", "-1"),
        ("--stop-signal", "SIGNOPE"),
        ("--stop-timeout", "soon"),
        ("--network", "no-such-network"),
        ("--env-file", "/no/such/file"),
        ("--user", "no-such-user"),
        ("--user", "0:no-such-group"),
        ("--volume", "relative/path:/x"),
        ("--volume", "/tmp:relative"),
        ("--volume", "/tmp:/x:nonsense"),
        ("--tmpfs", "relative"),
        ("--workdir", "relative"),
        ("--hostname", "has space"),
        ("--log-driver", "carrier-pigeon"),
    ] {
        let arguments = ["run", "--rm", "--network=none", &format!("{flag}={value}"), &image, "true"];
        let output = world.loment(arguments);
        assert!(matches!(output.code, 125 | 126), "{output}");
        assert!(!output.stderr.is_empty() && !output.stderr.contains("panicked"), "{output}");
        assert_eq!(world.leftovers(), [""; 0], "{output}");
    }
}

#[test]
fn unknown_flags_and_commands() {
    let world = world();
    for arguments in
        [&["run", "--no-such-flag", "x"][..], &["no-such-command"], &["--no-such-flag"], &["run"], &["rm"]]
    {
        let output = world.loment(arguments);
        assert_eq!(output.code, 125, "{output}");
        assert_eq!(output.stdout, "", "{output}");
        assert!(!output.stderr.is_empty(), "{output}");
    }
    for (arguments, message) in [
        (&["run", "-h"][..], "Error: flag needs an argument: 'h' in -h\nSee 'loment run --help'"),
        (&["run", "--name"], "Error: flag needs an argument: --name\nSee 'loment run --help'"),
        (&["run", "--nonesuch", "x"], "Error: unknown flag: --nonesuch\nSee 'loment run --help'"),
        (&["rm", "-ax", "c"], "Error: unknown shorthand flag: 'x' in -x\nSee 'loment rm --help'"),
        (&["bad", "--invalid"], "Error: unknown flag: --invalid\nSee 'loment --help'"),
    ] {
        assert_eq!(world.loment(arguments).fails(125), message);
    }
}

#[test]
fn containers_that_do_not_exist() {
    let world = world();
    for command in ["start", "stop", "kill", "logs", "wait", "inspect"] {
        world.loment([command, "nothing"]).fails_saying(125, &["nothing"]);
    }
    world.loment(["rm", "nothing"]).fails_saying(1, &["nothing"]);
    world.loment(["rmi", "nothing"]).fails_saying(1, &["nothing"]);
}
