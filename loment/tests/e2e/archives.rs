//! `save` and `load`, and archives as places, with Podman and skopeo on the other side.

use std::path::Path;
use std::process::{Command, Stdio};

use loment_testkit::{Output, Patience, World, busybox_rootfs, run, run_with_input};

use crate::engines::command;
use crate::{fixtures, sh, world, world_with};

const APP: &str = "localhost/app:1";

/// `podman ARGUMENTS` in a store of its own.
#[track_caller]
fn podman(world: &World, arguments: &[&str]) -> Output {
    let mut podman = command(world, "podman");
    for (flag, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
        podman.arg(flag).arg(world.dir().join(format!("podman-{name}")));
    }
    podman.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
    run(podman.args(arguments), Patience::NORMAL)
}

#[track_caller]
fn skopeo(arguments: &[&str]) -> String {
    let mut skopeo = Command::new("skopeo");
    run(skopeo.arg("--insecure-policy").args(arguments), Patience::NORMAL).succeeds().to_owned()
}

/// A world with `app:latest` under the name [`APP`] only, and its id.
#[track_caller]
fn world_with_app() -> (World, String) {
    let (world, image) = world_with("app:latest");
    world.loment(["tag", &image, APP]).succeeds();
    world.loment(["untag", &image, &image]).succeeds();
    let id = world.inspect("{{.Id}}", APP);
    (world, id)
}

fn path(world: &World, name: &str) -> String {
    world.path(name).display().to_string()
}

/// The image is gone, is loaded from there, and is the same.
#[track_caller]
fn loads(world: &World, from: &str, name: &str, id: &str) {
    world.loment(["rmi", "--all", "--force"]).succeeds();
    let loaded = world.loment(["load", "--quiet", "--input", from]).succeeds().to_owned();
    assert_eq!(loaded, format!("Loaded image: {name}"));
    let there = if name.starts_with("sha256:") { id } else { name };
    assert_eq!(world.inspect("{{.Id}}", there), id);
    assert_eq!(sh(world, &["--entrypoint", ""], there, "cat /data/seed"), "seed");
}

#[test]
fn podman_and_we_load_what_the_other_saves() {
    let (world, id) = world_with_app();
    for format in ["docker-archive", "oci-archive", "oci-dir", "docker-dir"] {
        let (ours, theirs) =
            (path(&world, &format!("ours-{format}")), path(&world, &format!("theirs-{format}")));
        world.loment(["save", "--quiet", "--format", format, "--output", &ours, APP]).succeeds();
        // It makes names of what is typed, and those must be lower case.
        let typed = if format.ends_with("dir") { format!("ours-{format}") } else { ours.clone() };
        let loaded = podman(&world, &["load", "--quiet", "--input", &typed]).succeeds().to_owned();
        // Of a directory Podman makes a name of the path.
        let name = if format.ends_with("dir") { loaded.rsplit(": ").next().unwrap() } else { APP };
        assert_eq!(loaded, format!("Loaded image: {name}"), "{format}");
        let same =
            podman(&world, &["inspect", "--type", "image", "--format", "{{.Id}} {{.RootFS.Layers}}", name]);
        let layers = world.inspect("{{.RootFS.Layers}}", &id);
        assert_eq!(same.succeeds(), format!("{id} {layers}"), "{format}");
        podman(&world, &["save", "--quiet", "--format", format, "--output", &theirs, name]).succeeds();
        // Where Podman keeps it, it can be read, too.
        world.loment(["rmi", "--all", "--force"]).succeeds();
        let storage = format!("containers-storage:[{}]{name}", world.dir().join("podman-root").display());
        assert_eq!(world.loment(["pull", "--quiet", &storage]).succeeds(), id);
        world.loment(["image", "exists", name]).succeeds();
        let written = world.loment(["push", "--quiet", name, &storage]);
        written.fails_saying(125, &["storage of other tools is only read"]);
        podman(&world, &["rmi", "--all", "--force"]).succeeds();
        // What Podman writes in OCI's format has a configuration that it wrote anew.
        let transport = if format.ends_with("dir") {
            format.replace("docker-dir", "dir").replace("oci-dir", "oci")
        } else {
            format.to_owned()
        };
        let raw = skopeo(&["inspect", "--config", "--raw", &format!("{transport}:{theirs}")]);
        let their_id = loment_testkit::digest(raw.as_bytes()).trim_start_matches("sha256:").to_owned();
        let nameless = format!("sha256:{their_id}");
        let theirs_is = match format {
            "docker-dir" => &nameless,
            "oci-dir" => &format!("{name}:latest"),
            _ => APP,
        };
        loads(&world, &theirs, theirs_is, &their_id);
        let name = if format == "docker-dir" { format!("sha256:{id}") } else { APP.to_owned() };
        loads(&world, &ours, &name, &id);
        world.loment(["tag", &id, APP]).succeeds();
    }
}

#[test]
fn archives_go_through_pipes_and_may_be_compressed() {
    let (world, id) = world_with_app();
    for format in ["docker-archive", "oci-archive"] {
        let saved = world.command(["save", "--format", format, APP]).stdin(Stdio::null()).output().unwrap();
        assert!(saved.status.success() && saved.stderr.is_empty(), "{saved:?}");
        let file = path(&world, "piped");
        std::fs::write(&file, &saved.stdout).unwrap();
        loads(&world, &file, APP, &id);
        for (program, end) in [("gzip", ".gz"), ("zstd", ".zst")] {
            run(Command::new(program).args(["-qfk", &file]), Patience::NORMAL).succeeds();
            loads(&world, &format!("{file}{end}"), APP, &id);
        }
        world.loment(["rmi", "--all"]).succeeds();
        let loaded = run_with_input(&mut world.command(["load"]), &saved.stdout, Patience::NORMAL);
        assert_eq!(loaded.succeeds(), format!("Loaded image: {APP}"));
        assert!(loaded.stderr.contains("Copying blob"), "{loaded}");
        // A named pipe, and a descriptor of one, are archives like any other.
        let (pipe, bytes) = (path(&world, "pipe"), &saved.stdout);
        run(Command::new("mkfifo").arg(&pipe), Patience::NORMAL).succeeds();
        std::thread::scope(|scope| {
            scope.spawn(|| std::fs::write(&pipe, bytes).unwrap());
            loads(&world, &pipe, APP, &id);
        });
        std::fs::remove_file(&pipe).unwrap();
        let script = format!("exec \"$0\" \"$@\" < <(cat {file})");
        let loment = world.command(["load", "--quiet", "-i", "/dev/fd/0"]);
        let mut bash = Command::new("bash");
        bash.args(["-c", &script]).arg(loment.get_program()).args(loment.get_args()).env_clear();
        bash.envs(loment.get_envs().filter_map(|(name, value)| Some((name, value?))));
        assert_eq!(run(&mut bash, Patience::NORMAL).succeeds(), format!("Loaded image: {APP}"));
        // The same bytes every time, where layers need no time to be compressed.
        let again = world.command(["save", "--format", format, APP]).stdin(Stdio::null()).output().unwrap();
        assert!(format == "oci-archive" || again.stdout == saved.stdout, "{format}");
    }
    run(Command::new("xz").args(["-k", &path(&world, "piped")]), Patience::NORMAL).succeeds();
    let xz = world.loment(["load", "--input", &path(&world, "piped.xz")]);
    xz.fails_saying(125, &["is compressed with xz, which is not supported: decompress it first"]);
}

#[test]
fn what_is_saved_through_a_link_is_where_it_leads() {
    let (world, id) = world_with_app();
    let (target, link, through) = (path(&world, "a.tar"), path(&world, "link"), path(&world, "through"));
    std::os::unix::fs::symlink("link", &through).unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    // To nothing yet, and then to a file; an archive that is there is not replaced.
    for before in [None, Some("")] {
        if let Some(before) = before {
            std::fs::write(&target, before).unwrap();
        }
        world.loment(["save", "--quiet", "-o", &through, APP]).succeeds();
        assert!(std::fs::symlink_metadata(&through).unwrap().is_symlink());
        assert_eq!(std::fs::read_link(&link).unwrap(), Path::new(&target));
        loads(&world, &target, APP, &id);
    }
    // One that fails leaves what was there.
    let before = std::fs::read(&target).unwrap();
    world.loment(["save", "--quiet", "-o", &link, "nonesuch"]).fails(125);
    assert!(std::fs::read(&target).unwrap() == before);
    // Links of others in a directory where anybody may put some are theirs, as for the kernel.
    let shared = world.path("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::set_permissions(&shared, std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
    let (trap, victim) = (shared.join("trap").display().to_string(), path(&world, "victim"));
    std::os::unix::fs::symlink(&victim, &trap).unwrap();
    std::os::unix::fs::lchown(&trap, Some(1234), Some(1234)).unwrap();
    let refused = world.loment(["save", "--quiet", "-o", &trap, APP]);
    refused.fails_saying(125, &["cannot follow", "permission denied"]);
    assert!(!Path::new(&victim).exists());
    let around = path(&world, "around");
    std::os::unix::fs::symlink("around", &around).unwrap();
    world.loment(["save", "--quiet", "-o", &around, APP]).fails_saying(125, &["cannot follow"]);
}

#[test]
fn what_is_saved_over_a_file_keeps_its_owner_and_mode() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let (world, id) = world_with_app();
    let file = path(&world, "kept.tar");
    std::fs::write(&file, "").unwrap();
    chown(&file, Some(1234), Some(2345)).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    for format in ["docker-archive", "oci-archive", "oci-archive"] {
        let before = std::fs::metadata(&file).unwrap();
        world.loment(["save", "--quiet", "--format", format, "-o", &file, APP]).succeeds();
        let after = std::fs::metadata(&file).unwrap();
        assert_eq!((after.uid(), after.gid(), after.mode() & 0o7777), (1234, 2345, 0o640), "{format}");
        assert_ne!(after.ino(), before.ino(), "it is replaced as a whole");
        loads(&world, &file, APP, &id);
    }
    // One that is mounted stays what it is, and so does the mode of a new one.
    let (inside, outside) = (path(&world, "inside.tar"), path(&world, "outside.tar"));
    std::fs::write(&inside, "").unwrap();
    std::fs::write(&outside, "old").unwrap();
    let script = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh", &outside, &inside]);
    let save = world.command(["save", "--quiet", "--format", "oci-archive", "-o", &inside, APP]);
    unshare.arg(save.get_program()).args(save.get_args());
    for (name, value) in save.get_envs() {
        value.map(|value| unshare.env(name, value));
    }
    run(&mut unshare, Patience::NORMAL).succeeds();
    assert_eq!(std::fs::read(&inside).unwrap(), b"");
    loads(&world, &outside, APP, &id);
}

#[test]
fn several_images_and_names_are_saved_at_once() {
    let world = world();
    let registry = fixtures().serve();
    for (image, name) in
        [("app:latest", APP), ("busybox:latest", "localhost/bb:1"), ("multi:latest", "localhost/multi:1")]
    {
        let image = registry.name(image);
        world.loment(["pull", "--quiet", &image]).succeeds();
        world.loment(["tag", &image, name]).succeeds();
        world.loment(["untag", &image, &image]).succeeds();
    }
    let file = path(&world, "all.tar");
    let id = world.inspect("{{.Id}}", APP);
    // Without -m, what follows are names.
    world.loment(["save", "--quiet", "--output", &file, APP, "localhost/other:2", "quay.io/x/y"]).succeeds();
    world.loment(["rmi", APP]).succeeds();
    let loaded = world.loment(["load", "--quiet", "--input", &file]);
    assert_eq!(
        loaded.succeeds(),
        format!("Loaded image: {APP}\nLoaded image: localhost/other:2\nLoaded image: quay.io/x/y:latest")
    );
    let multi = path(&world, "multi.tar");
    let names = [APP, "localhost/bb:1", "localhost/multi:1", "localhost/other:2"];
    world.loment([&["save", "--quiet", "-m", "--output", &multi], &names[..]].concat()).succeeds();
    let tags = skopeo(&["list-tags", &format!("docker-archive:{}", path(&world, "multi.tar"))]);
    assert!(
        ["app:1", "bb:1", "multi:1", "other:2"].iter().all(|tag| tags.contains(&format!("localhost/{tag}"))),
        "{tags}"
    );
    world.loment(["rmi", "--all", "--force"]).succeeds();
    let loaded = world.loment(["load", "--quiet", "--input", &path(&world, "multi.tar")]);
    assert_eq!(
        loaded.succeeds(),
        format!(
            "Loaded image: {APP}\nLoaded image: localhost/other:2\nLoaded image: localhost/bb:1\nLoaded image: localhost/multi:1"
        )
    );
    assert_eq!(world.inspect("{{.Id}}", APP), id);
    // By its id it has no name.
    let file = path(&world, "nameless.tar");
    world.loment(["save", "--quiet", "--output", &file, &id[..12]]).succeeds();
    world.loment(["rmi", "--all", "--force"]).succeeds();
    let loaded = world.loment(["load", "--quiet", "--input", &file]).succeeds().to_owned();
    assert_eq!(loaded, format!("Loaded image: sha256:{id}"));
    // Docker's words.
    assert_eq!(
        world.persona("docker", ["load", "-i", &file]).succeeds(),
        format!("Loaded image ID: sha256:{id}")
    );
    world.persona("docker", ["tag", &id, "hub:1"]).succeeds();
    world.persona("docker", ["tag", &id, "hub:2"]).succeeds();
    world.persona("docker", ["save", "-o", &file, "hub"]).succeeds();
    assert_eq!(
        world.persona("docker", ["load", "-i", &file]).succeeds(),
        "Loaded image: hub:1\nLoaded image: hub:2"
    );
}

#[test]
fn a_root_file_system_becomes_an_image() {
    let world = world();
    let rootfs = world.path("rootfs");
    busybox_rootfs(&rootfs);
    let file = path(&world, "rootfs.tar");
    let mut tar = Command::new("tar");
    run(tar.args(["-C", &path(&world, "rootfs"), "-cf", &file, "."]), Patience::LONG).succeeds();
    let changes =
        ["CMD [\"sh\",\"-c\",\"echo $A $PWD\"]", "ENV A=\"b c\"", "WORKDIR /proc", "LABEL k=v", "USER 1:2"];
    let changes: Vec<_> = changes.iter().flat_map(|change| ["--change", change]).collect();
    let import =
        [&["import", "--message", "from a test"][..], &changes, &[&file, "localhost/made:1"]].concat();
    let id = world.loment(import).succeeds().trim_start_matches("sha256:").to_owned();
    assert_eq!(
        world.inspect("{{.Id}} {{.Config.User}} {{.Config.Labels.k}}", "localhost/made:1"),
        format!("{id} 1:2 v")
    );
    assert_eq!(
        world.loment(["run", "--rm", "--network", "none", "localhost/made:1"]).succeeds(),
        "b c /proc"
    );
    assert!(world.loment(["history", "localhost/made:1"]).succeeds().contains("from a test"));
    // Compressed, from a pipe, for another machine.
    run(Command::new("gzip").arg(&file), Patience::LONG).succeeds();
    let mut piped = world.command(["import", "--quiet", "--arch", "arm", "--variant", "v7", "-"]);
    let input = std::fs::read(format!("{file}.gz")).unwrap();
    let other = run_with_input(&mut piped, &input, Patience::LONG).succeeds().to_owned();
    assert_eq!(
        world.inspect("{{.Architecture}} {{.RootFS.Layers}}", &other),
        format!("arm {}", world.inspect("{{.RootFS.Layers}}", &id))
    );
    // Podman agrees with what is in it.
    world.loment(["save", "--quiet", "--output", &path(&world, "made.tar"), "localhost/made:1"]).succeeds();
    podman(&world, &["load", "--quiet", "--input", &path(&world, "made.tar")]).succeeds();
    let config = podman(
        &world,
        &[
            "inspect",
            "--type",
            "image",
            "--format",
            "{{.Id}} {{.Config.Cmd}} {{(index .History 0).Comment}}",
            "localhost/made:1",
        ],
    );
    assert_eq!(config.succeeds(), format!("{id} [sh -c echo $A $PWD] from a test"));
    let fails = |arguments: &[&str], words: &[&str]| {
        world.loment([&["import"], arguments].concat()).fails_saying(125, words);
    };
    fails(&["/nonesuch"], &["/nonesuch", "no such file or directory"]);
    fails(&["--change", "FROM x", &file], &["invalid change \"FROM x\" - invalid instruction FROM"]);
    fails(&[&world.write("text", "no tar"), "localhost/x"], &["truncated"]);
    fails(&[&format!("{file}.gz"), "UPPER"], &["must be lowercase"]);
}

#[test]
fn what_cannot_be_saved_or_loaded_is_said_in_one_line() {
    let (world, id) = world_with_app();
    let file = path(&world, "x.tar");
    let save = |arguments: &[&str], words: &[&str]| {
        world.loment([&["save", "--quiet"], arguments].concat()).fails_saying(125, words);
    };
    save(&["-o", &file, "nonesuch"], &["nonesuch: image not known"]);
    save(&["-o", &file, "-m", APP, "nonesuch"], &["nonesuch: image not known"]);
    save(&["-o", &file, "--compress", APP], &["--compress can only be set when --format is 'docker-dir'"]);
    save(&["--format", "oci-dir", APP], &["format oci-dir is a directory: say which with --output"]);
    save(
        &["-o", &file, "-m", "--format", "oci-archive", APP, APP],
        &["only docker-archive holds several images"],
    );
    assert!(!Path::new(&file).exists());
    let bad = world.loment(["save", "--format", "x", "-o", &file, APP]);
    assert!(
        bad.fails(125).contains("format value must be one of oci-dir oci-archive docker-dir docker-archive")
    );
    world.loment(["save", "--quiet", "-o", &file, APP]).succeeds();
    save(&["-o", &file, APP], &["docker-archive doesn't support modifying existing images"]);
    save(&["-o", "/nonesuch/dir/x", APP], &["/nonesuch/dir", "no such file or directory"]);
    let full = world.loment(["save", "--quiet", "-o", "/dev/full", APP]);
    full.fails_saying(125, &["no space left on device"]);
    let load = |input: &str, words: &[&str]| {
        world.loment(["load", "--quiet", "--input", input]).fails_saying(125, words);
    };
    load("/nonesuch", &["/nonesuch", "no such file or directory"]);
    load(&path(&world, ""), &["payload does not match any of the supported image formats"]);
    load(
        &world.write("text", "this is no archive of anything"),
        &["text", "does not match any of the supported image formats"],
    );
    load(&world.write("empty", ""), &["payload does not match any of the supported image formats"]);
    let mut tar = Command::new("tar");
    run(tar.args(["-cf", &path(&world, "other.tar"), "-C", "/etc", "hostname"]), Patience::NORMAL).succeeds();
    load(&path(&world, "other.tar"), &["payload does not match any of the supported image formats"]);
    // A damaged archive leaves nothing.
    world.loment(["rmi", "--all", "--force"]).succeeds();
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(4).rposition(|w| w == b"seed").unwrap();
    bytes[at] ^= 1;
    let damaged = world.write("damaged.tar", &bytes);
    load(&damaged, &["expected sha256:"]);
    load(&world.write("short.tar", &bytes[..bytes.len() / 2]), &["truncated"]);
    assert_eq!(world.loment(["images", "--quiet"]).succeeds(), "");
    loads(&world, &file, APP, &id);
}

#[test]
fn places_of_all_kinds_are_pulled_from_and_pushed_to() {
    let (world, id) = world_with_app();
    let places = [
        format!("docker-archive:{}:{APP}", path(&world, "a.tar")),
        format!("oci-archive:{}:{APP}", path(&world, "b.tar")),
        format!("oci:{}:{APP}", path(&world, "layout")),
        format!("dir:{}", path(&world, "dir")),
    ];
    for place in &places {
        world.loment(["push", "--quiet", APP, place]).succeeds();
    }
    for place in &places {
        world.loment(["rmi", "--all", "--force"]).succeeds();
        let pulled = world.loment(["pull", "--quiet", place]);
        assert_eq!(pulled.succeeds(), id, "{place}");
        let named = world.loment(["image", "exists", APP]).code == 0;
        assert_eq!(named, !place.starts_with("dir:"), "{place}");
    }
    // From place to place, each kind to each, and through the store.
    for from in &places {
        for (number, to) in ["docker-archive:", "oci-archive:", "oci:", "dir:"].iter().enumerate() {
            let to = format!("{to}{}", path(&world, &format!("copied-{number}")));
            world.loment(["image", "copy", "--quiet", from, &to]).succeeds();
            let config = skopeo(&["inspect", "--config", "--raw", &to]);
            assert_eq!(loment_testkit::digest(config.as_bytes()), format!("sha256:{id}"), "{from} {to}");
            world
                .loment(["image", "copy", "--quiet", &to, "containers-storage:localhost/again:1"])
                .succeeds();
            assert_eq!(world.inspect("{{.Id}}", "localhost/again:1"), id);
            let back = format!("oci-archive:{}", path(&world, "back"));
            world
                .loment(["image", "copy", "--quiet", &format!("containers-storage:{}", &id[..12]), &back])
                .succeeds();
            let dir = Path::new(to.split_once(':').unwrap().1).to_owned();
            drop(std::fs::remove_file(&dir).or_else(|_| std::fs::remove_dir_all(&dir)));
        }
    }
    world
        .loment([
            "image",
            "copy",
            "containers-storage:localhost/again:1",
            "containers-storage:localhost/third:1",
        ])
        .succeeds();
    assert_eq!(world.inspect("{{.Id}}", "localhost/third:1"), id);
    // What the store cannot do is not passed over.
    for flags in
        [&["--all"][..], &["--format", "oci"], &["--dest-compress-format", "zstd"], &["--dest-compress"]]
    {
        let copy =
            [&["image", "copy"][..], flags, &[places[0].as_str(), "containers-storage:localhost/not:1"]];
        world.loment(copy.concat()).fails_saying(125, &["store", "is not supported yet"]);
    }
    assert_eq!(world.loment(["image", "exists", "localhost/not:1"]).code, 1);
    let gone = world.loment(["image", "copy", "containers-storage:nonesuch", &places[3]]);
    gone.fails_saying(125, &["nonesuch: image not known"]);
    let daemon = world.loment([
        "image",
        "copy",
        "--dest-daemon-host",
        "tcp://127.0.0.1:1",
        &places[0],
        "docker-daemon:x:1",
    ]);
    daemon.fails_saying(125, &["only unix:///PATH is supported"]);
    let nobody = world.loment([
        "image",
        "copy",
        "--quiet",
        "--src-daemon-host",
        "/nonesuch",
        "docker-daemon:x:1",
        &places[3],
    ]);
    nobody.fails_saying(125, &["/nonesuch", "no such file or directory"]);
    let to_nobody =
        ["image", "copy", "--quiet", "--dest-daemon-host", "/nonesuch", &places[0], "docker-daemon:x:1"];
    world.loment(to_nobody).fails_saying(125, &["/nonesuch", "no such file or directory"]);
}
