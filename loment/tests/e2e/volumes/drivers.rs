//! Volumes that are file systems, and archives of volumes.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};

use super::{files, names};
use crate::{sh, sleeper, world, world_with};

/// A program that is ended, whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_volume_begins_as_the_files_of_an_image() {
    let (world, image) = world_with("busybox:latest");
    let option = format!("image={image}");
    let create = |name: &str, more: &[&str]| {
        let words = ["volume", "create", "--driver", "image", "--opt", &option];
        world.loment([&words[..], more, &[name]].concat())
    };
    assert_eq!(create("tools", &[]).succeeds(), "tools");
    let shown = world.loment(["volume", "inspect", "--format", "{{.Driver}} {{.Options.image}}", "tools"]);
    assert_eq!(shown.succeeds(), format!("image {image}"));
    assert_eq!(world.loment(["volume", "ls", "-q", "--filter", "driver=image"]).succeeds(), "tools");
    // All files are there as they are in the image, and can be changed; the image cannot be, nor has it to stay.
    let list = "cd $0 && find . -xdev \\( -path ./proc -o -path ./sys -o -path ./dev -o -path ./etc -o -path ./run -o -path ./tools \\) -prune -o -print0 | \
        sort -z | xargs -0 stat -c '%n %a %u %g %F' | grep -v '^\\. '";
    let of = |directory: &str| sh(&world, &["-v", "tools:/tools"], &image, &list.replace("$0", directory));
    assert_eq!(of("/tools"), of("/"));
    sh(&world, &["-v", "tools:/tools"], &image, "echo changed >/tools/bin/new && rm /tools/bin/sh");
    assert_eq!(sh(&world, &["-v", "tools:/x"], &image, "cat /x/bin/new; ls /bin/sh"), "changed\n/bin/sh");
    world.loment(["rmi", &image]).succeeds();
    assert!(files(&world, "tools").join("bin/new").exists());
    // What it cannot be is refused, and nothing is left.
    create("x", &[]).fails_saying(125, &["image not known"]);
    for (flags, hint) in [
        (&["-d", "image"][..], "--opt image=IMAGE"),
        (&["-d", "image", "-o", "type=tmpfs"], "the option image only"),
    ] {
        world.loment([&["volume", "create"], flags].concat()).fails_saying(125, &[hint]);
    }
    assert_eq!(names(&world), ["tools"]);
    world.loment(["volume", "rm", "tools"]).succeeds();
}

#[test]
fn a_volume_that_is_a_file_system_is_one_for_all_that_run() {
    let (world, image) = world_with("busybox:latest");
    let options = [
        "volume",
        "create",
        "-o",
        "type=tmpfs",
        "-o",
        "device=tmpfs",
        "-o",
        "o=size=1m,uid=12,mode=0700",
        "t",
    ];
    world.loment(options).succeeds();
    sleeper(&world, "one", &["-v", "t:/t"], &image);
    world.loment(["exec", "one", "sh", "-c", "echo shared > /t/x"]).succeeds();
    let script = "cat /t/x; grep ' /t ' /proc/mounts; stat -c '%u %a' /t";
    let seen = sh(&world, &["-v", "t:/t"], &image, script);
    assert!(
        seen.starts_with("shared\ntmpfs /t tmpfs rw,nosuid,nodev,") && seen.contains("size=1024k"),
        "{seen}"
    );
    assert!(seen.ends_with("\n12 700"), "{seen}");
    // The host sees it when that is wanted.
    assert!(!files(&world, "t").join("x").exists());
    let shown = world.loment(["volume", "mount", "t"]).succeeds().to_owned();
    assert_eq!(fs::read_to_string(format!("{shown}/x")).unwrap(), "shared\n");
    world.loment(["rm", "--force", "--time", "0", "one"]).succeeds();
    assert_eq!(sh(&world, &["-v", "t:/t"], &image, "cat /t/x"), "shared");
    assert_eq!(world.loment(["volume", "unmount", "t"]).succeeds(), "t");
    assert!(!files(&world, "t").join("x").exists());
    // With the last one it goes.
    assert_eq!(sh(&world, &["-v", "t:/t"], &image, "ls /t"), "");
    let users = world.runroot().join("volumes");
    assert_eq!(fs::read_dir(users).unwrap().count(), 0);
    world.loment(["volume", "mount", "t"]).succeeds();
    world.loment(["volume", "rm", "t"]).succeeds();
    assert_eq!(names(&world), [""; 0]);
}

#[test]
fn a_volume_can_be_a_directory_of_the_host() {
    let (world, image) = world_with("app:latest");
    let host = world.path("host");
    fs::create_dir(&host).unwrap();
    let device = format!("device={}", host.display());
    world.loment(["volume", "create", "-o", "type=none", "-o", "o=bind,ro", "-o", &device, "b"]).succeeds();
    fs::write(host.join("f"), "f").unwrap();
    assert_eq!(
        sh(
            &world,
            &["--entrypoint", "", "-v", "b:/data"],
            &image,
            "cat /data/f; touch /data/x 2>/dev/null || echo ' ro'"
        ),
        "f ro"
    );
    world.loment(["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &device, "c"]).succeeds();
    fs::remove_file(host.join("f")).unwrap();
    // One that is empty is filled like any other.
    assert_eq!(
        sh(&world, &["--entrypoint", "", "--user", "0", "-v", "c:/data"], &image, "cat /data/seed"),
        "seed"
    );
    assert_eq!(fs::read_to_string(host.join("seed")).unwrap(), "seed");
    world.loment(["volume", "rm", "b", "c"]).succeeds();
    assert!(host.join("seed").exists(), "it is the host's");
    let missing = ["volume", "create", "-o", "type=bind", "-o", "device=/nowhere", "d"];
    world.loment(missing).fails_saying(125, &["/nowhere"]);
    // Tests have no file system that keeps limits; `vm quota::*` has.
    world.loment(["volume", "create", "-o", "o=size=1m", "d"]).fails_saying(125, &["prjquota"]);
    world.loment(["volume", "create", "-o", "o=size=much", "d"]).fails_saying(125, &["size=much", "10g"]);
    assert_eq!(names(&world), [""; 0]);
    world.loment(["volume", "create", "-o", "type=nosuchfs", "-o", "device=x", "d"]).succeeds();
    let run = ["run", "--rm", "--network", "none", "-v", "d:/d", &image, "true"];
    world.loment(run).fails_saying(125, &["volume-d"]);
}

#[test]
fn archives_of_volumes_are_written_and_read() {
    let (world, image) = world_with("app:latest");
    sh(
        &world,
        &["--entrypoint", "", "--user", "0", "-v", "v:/data"],
        &image,
        "mkdir /data/d; echo x > /data/d/x; chown 7:8 /data/d/x",
    );
    let tar = world.path("v.tar").display().to_string();
    world.loment(["volume", "export", "--output", &tar, "v"]).succeeds();
    let listed = Command::new("tar").args(["-tvf", &tar, "--numeric-owner"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.lines().any(|line| line.contains(" 7/8 ") && line.ends_with("d/x")), "{listed}");
    world.loment(["volume", "create", "w"]).succeeds();
    world.loment(["volume", "import", "w", &tar]).succeeds();
    assert_eq!(fs::read_to_string(files(&world, "w").join("d/x")).unwrap(), "x\n");
    // Its content is what was imported: nothing is copied to it any more.
    assert_eq!(
        sh(&world, &["--entrypoint", "", "-v", "w:/data"], &image, "cat /data/seed; stat -c %u:%g /data/d/x"),
        "seed7:8"
    );
    let piped = world.loment(["volume", "export", "w"]);
    assert!(piped.code == 0 && !piped.stdout.is_empty(), "{piped}");
    // All of it is text.
    let read = fs::read_to_string(&tar).unwrap();
    world.loment(["volume", "create", "p"]).succeeds();
    world.loment_with_input(["volume", "import", "p", "-"], &read).succeeds();
    assert!(files(&world, "p").join("seed").exists());
    world.loment(["volume", "import", "nobody", &tar]).fails_saying(125, &["no such volume"]);
    let no_tar = world.write("none", "this is no tar");
    assert_eq!(world.loment(["volume", "import", "w", &no_tar]).code, 125);
    let reload = world.loment(["volume", "reload"]);
    assert!(reload.succeeds().starts_with("Added:"), "{reload}");
}

#[test]
fn an_archive_leads_out_of_no_volume() {
    let world = world();
    let (dir, host) = (world.path("dir"), world.path("host"));
    for dir in [&dir, &host] {
        fs::create_dir(dir).unwrap();
    }
    symlink(&host, dir.join("link")).unwrap();
    fs::write(world.path("evil"), "evil").unwrap();
    let tar = world.path("evil.tar").display().to_string();
    let made = Command::new("tar")
        .current_dir(world.path("."))
        .args([
            "-cf",
            &tar,
            "-P",
            "-C",
            "dir",
            "link",
            "-C",
            "..",
            "--transform",
            "s,^evil$,link/evil,",
            "evil",
        ])
        .status()
        .unwrap();
    assert!(made.success());
    world.loment(["volume", "create", "v"]).succeeds();
    let _ = world.loment(["volume", "import", "v", &tar]);
    assert_eq!(fs::read_dir(&host).unwrap().count(), 0);
}

#[test]
fn an_import_from_a_slow_source_keeps_nobody_waiting() {
    let (world, image) = world_with("app:latest");
    let dir = world.path("files");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("imported"), "x").unwrap();
    let tar =
        Command::new("tar").args(["-C", dir.to_str().unwrap(), "-c", "imported"]).output().unwrap().stdout;
    world.loment(["volume", "create", "v"]).succeeds();
    let import = world.command(["volume", "import", "v", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut import = Running(import);
    let mut pipe = import.0.stdin.take().unwrap();
    // Nothing has come yet: it is a volume like any other.
    let use_it = ["--entrypoint", "", "-v", "v:/data"];
    world.loment(["volume", "create", "w"]).succeeds();
    pipe.write_all(&tar[..1536]).unwrap();
    crate::eventually("its content begins", || files(&world, "v").join("imported").exists());
    // It has not ended, and who uses it does not wait.
    assert_eq!(sh(&world, &use_it, &image, "cat /data/imported; ls /data"), "ximported");
    assert!(import.0.try_wait().unwrap().is_none());
    pipe.write_all(&tar[1536..]).unwrap();
    drop(pipe);
    assert!(import.0.wait().unwrap().success());
    // One that is removed meanwhile is not said to have got it.
    let mut import = world.command(["volume", "import", "w", "-"]);
    let mut import = Running(import.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut pipe = import.0.stdin.take().unwrap();
    pipe.write_all(&tar[..1536]).unwrap();
    crate::eventually("its content begins", || files(&world, "w").join("imported").exists());
    world.loment(["volume", "rm", "w"]).succeeds();
    pipe.write_all(&tar[1536..]).unwrap();
    drop(pipe);
    let mut said = String::new();
    import.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!import.0.wait().unwrap().success() && said.contains("no such volume"), "{said}");
}

#[test]
fn archives_are_decompressed_and_what_is_none_changes_nothing() {
    let (world, image) = world_with("app:latest");
    let dir = world.path("files");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("imported"), "x").unwrap();
    for (flag, name) in [("-z", "gz"), ("--zstd", "zst")] {
        let tar = world.path(name).display().to_string();
        let arguments = ["-C", dir.to_str().unwrap(), flag, "-cf", &tar, "imported"];
        assert!(Command::new("tar").args(arguments).status().unwrap().success());
        world.loment(["volume", "create", name]).succeeds();
        world.loment(["volume", "import", name, &tar]).succeeds();
        assert_eq!(fs::read_to_string(files(&world, name).join("imported")).unwrap(), "x");
    }
    let none = world.write("none", "this is no tar");
    world.loment(["volume", "create", "v"]).succeeds();
    world.loment(["volume", "import", "v", &none]).fails_saying(125, &["volume v", "no tar archive"]);
    // It is still what the image fills.
    assert_eq!(sh(&world, &["--entrypoint", "", "-v", "v:/data"], &image, "cat /data/seed"), "seed");
}

#[test]
fn devices_that_cannot_be_any_are_refused() {
    let world = world();
    let create = |options: &[&str]| {
        let options = options.iter().flat_map(|option| ["-o", option]).collect::<Vec<_>>();
        world.loment([&["volume", "create"], &options[..], &["v"]].concat())
    };
    for (options, words) in [
        (&["type=none", "o=bind", "device=relative"][..], "use an absolute path"),
        (&["o=bind", "device=./relative"], "use an absolute path"),
        (&["type=none", "o=bind"], "device=DIRECTORY"),
        (&["type=bind"], "device=DIRECTORY"),
        (&["type=ext4"], "device=PATH"),
    ] {
        create(options).fails_saying(125, &[words]);
    }
    assert_eq!(names(&world), [""; 0]);
    create(&["type=tmpfs"]).succeeds();
}

#[test]
fn a_device_or_a_part_that_is_not_there_is_named() {
    let (world, image) = world_with("busybox:latest");
    let missing = ["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/no/where", "b"];
    world.loment(missing).succeeds();
    let run = |flags: &[&str]| {
        world.loment([&["run", "--rm", "--network", "none"], flags, &[&image, "true"]].concat())
    };
    run(&["-v", "b:/d"]).fails_saying(125, &["volume b", "/no/where"]);
    let part = "type=volume,src=v,dst=/d,subpath=not/there";
    run(&["--mount", part]).fails_saying(125, &["subpath not/there"]);
    run(&["--mount", &format!("type=image,src={image},dst=/d,subpath=nor/here")])
        .fails_saying(125, &["subpath nor/here"]);
}
