//! Files on their way into containers and out of them.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use loment_testkit::{Patience, World, run};

use crate::{eventually, sleeper, world_over_directory, world_with};

/// A directory with files of every kind that can be copied.
fn tree(world: &World) -> PathBuf {
    let dir = world.path("tree");
    std::fs::create_dir_all(dir.join("sub/deep")).unwrap();
    std::fs::write(dir.join("file"), "content\n").unwrap();
    std::fs::write(dir.join("sub/deep/script"), "#!/bin/sh\n").unwrap();
    run(Command::new("touch").args(["-d", "2001-02-03 04:05:06.7"]).arg(dir.join("file")), Patience::NORMAL)
        .succeeds();
    symlink("file", dir.join("link")).unwrap();
    std::fs::hard_link(dir.join("file"), dir.join("hard")).unwrap();
    let hole = std::fs::File::create(dir.join("hole")).unwrap();
    hole.set_len(3 << 20).unwrap();
    std::fs::write(dir.join("n".repeat(200)), "").unwrap();
    for (path, owner) in [("sub", 7), ("sub/deep/script", 8)] {
        std::os::unix::fs::chown(dir.join(path), Some(owner), Some(owner + 1)).unwrap();
    }
    run(Command::new("chmod").arg("4755").arg(dir.join("sub/deep/script")), Patience::NORMAL).succeeds();
    dir
}

/// What is in a directory: names, kinds, modes, sizes, seconds, and owners if they matter.
fn listed(dir: &Path, owners: bool) -> Vec<String> {
    let format = if owners { "%P %y %m %s %T@ %l %U:%G\n" } else { "%P %y %m %s %T@ %l\n" };
    let mut find = Command::new("find");
    find.arg(dir).args([
        "-mindepth",
        "1",
        "(",
        "-type",
        "d",
        "-printf",
        "%P %y %m\n",
        ")",
        "-o",
        "-printf",
        format,
    ]);
    let mut lines: Vec<_> = run(&mut find, Patience::NORMAL).succeeds().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Does something with a container while it runs, before it ever did, and with users of its own.
fn in_all_states(image: &str, world: &World, test: impl Fn(&str)) {
    for (n, users) in [&[][..], &["--uidmap", "0:100000:65536"]].into_iter().enumerate() {
        sleeper(world, &format!("running{n}"), users, image);
        test(&format!("running{n}"));
        let create = ["create", "--network", "none", "--name"];
        let name = format!("created{n}");
        world.loment([&create[..], &[&name], users, &[image, "true"]].concat()).succeeds();
        test(&name);
    }
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let (world, image) = world_with("busybox:latest");
    let tree = tree(&world);
    let wanted = listed(&tree, true);
    in_all_states(&image, &world, |name| {
        let out = world.path(&format!("out-{name}"));
        world
            .loment(["cp", "--archive=false", tree.to_str().unwrap(), &format!("{name}:/tmp/copy")])
            .succeeds();
        world.persona("docker", ["cp", "-a", &format!("{name}:/tmp/copy"), out.to_str().unwrap()]).succeeds();
        assert_eq!(listed(&out, true), wanted, "{name}");
        let hard = std::fs::metadata(out.join("hard")).unwrap();
        assert_eq!(hard.nlink(), 2);
    });
}

#[test]
fn what_is_where_decides_what_a_path_means() {
    let (world, image) = world_with("busybox:latest");
    let tree = tree(&world);
    let tree = tree.to_str().unwrap();
    in_all_states(&image, &world, |name| {
        let at = |path: &str| format!("{name}:{path}");
        let has = |path: &str| {
            let out = world.path("has");
            let _ = std::fs::remove_dir_all(&out);
            let _ = std::fs::remove_file(&out);
            world.loment(["cp", &at(path), out.to_str().unwrap()]).code == 0
        };
        let cp = |from: &str, to: &str| world.loment(["cp", from, to]);
        // Files.
        cp(&format!("{tree}/file"), &at("/tmp")).succeeds();
        cp(&format!("{tree}/file"), &at("/tmp/renamed")).succeeds();
        cp(&format!("{tree}/file"), &at("tmp/renamed")).succeeds();
        assert!(has("/tmp/file") && has("/tmp/renamed"));
        cp(&format!("{tree}/file"), &at("/tmp/none/")).fails_saying(125, &["no such directory"]);
        cp(&format!("{tree}/file"), &at("/no/where")).fails_saying(125, &["there is no directory /no"]);
        cp(&at("/no/such"), "/tmp/x").fails_saying(125, &["/no/such: No such file"]);
        // Directories: new, existing, and what is in them.
        cp(tree, &at("/tmp/new")).succeeds();
        assert!(has("/tmp/new/sub/deep/script") && !has("/tmp/new/tree"));
        cp(tree, &at("/tmp/new")).succeeds();
        assert!(has("/tmp/new/tree/sub/deep"));
        cp(&format!("{tree}/."), &at("/tmp/new")).succeeds();
        cp(&format!("{tree}/sub/."), &at("/var")).succeeds();
        assert!(has("/var/deep/script") && !has("/var/sub"));
        // One of another kind in the way.
        cp(tree, &at("/tmp/file")).fails_saying(125, &["--overwrite"]);
        world.loment(["cp", "--overwrite", tree, &at("/tmp/file")]).succeeds();
        assert!(has("/tmp/file/sub"));
        // Within one container.
        cp(&at("/tmp/new/sub"), &at("/tmp/again")).succeeds();
        assert!(has("/tmp/again/deep/script"));
        // Out: a link is what it leads to.
        let link = world.path("link");
        cp(&at("/tmp/new/link"), link.to_str().unwrap()).succeeds();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_file());
        std::fs::remove_file(&link).unwrap();
        world.persona("docker", ["cp", &at("/tmp/new/link"), link.to_str().unwrap()]).succeeds();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        std::fs::remove_file(&link).unwrap();
    });
    world.loment(["cp", tree, "/tmp/x"]).fails_saying(125, &["one of the paths must be in a container"]);
    world.loment(["cp", tree, "nobody:/tmp"]).fails_saying(125, &["no container with name or ID \"nobody\""]);
}

#[test]
fn an_archive_comes_and_goes_through_standard_streams() {
    let (world, image) = world_with("busybox:latest");
    let tree = tree(&world);
    sleeper(&world, "a", &[], &image);
    world.loment(["cp", "--archive=false", tree.to_str().unwrap(), "a:/tmp/tree"]).succeeds();
    let archive = world.path("archive");
    let out = std::fs::File::create(&archive).unwrap();
    assert!(world.command(["cp", "a:/tmp/tree", "-"]).stdout(out).status().unwrap().success());
    let unpacked = world.path("unpacked");
    std::fs::create_dir(&unpacked).unwrap();
    run(Command::new("tar").arg("-C").arg(&unpacked).arg("-xpf").arg(&archive), Patience::NORMAL).succeeds();
    assert_eq!(listed(&unpacked.join("tree"), true), listed(&tree, true));
    // What GNU tar writes, sparse files too.
    let theirs = world.path("theirs");
    run(
        Command::new("tar")
            .arg("-C")
            .arg(&tree)
            .args(["--format=posix", "--sparse", "-cf"])
            .arg(&theirs)
            .arg("."),
        Patience::NORMAL,
    )
    .succeeds();
    world.loment(["exec", "a", "mkdir", "/opt"]).succeeds();
    let input = std::fs::File::open(&theirs).unwrap();
    assert!(world.command(["cp", "--archive=false", "-", "a:/opt"]).stdin(input).status().unwrap().success());
    let back = world.path("back");
    world.persona("docker", ["cp", "-a", "a:/opt/.", back.to_str().unwrap()]).succeeds();
    assert_eq!(listed(&back, true), listed(&tree, true));
    world.loment_with_input(["cp", "-", "a:/tmp"], &"no archive".repeat(100)).fails(125);
    world.loment_with_input(["cp", "-", "a:/etc/passwd"], "").fails_saying(125, &["Not a directory"]);
}

#[test]
fn owners_are_those_of_the_container() {
    let (world, image) = world_with("busybox:latest");
    let file = world.write("owned", "x");
    std::os::unix::fs::chown(&file, Some(77), Some(78)).unwrap();
    for users in [&[][..], &["--uidmap", "0:100000:65536"]] {
        sleeper(&world, "a", &[users, &["--user", "5:6"]].concat(), &image);
        world.loment(["cp", &file, "a:/tmp/user"]).succeeds();
        world.loment(["cp", "--archive=false", &file, "a:/tmp/same"]).succeeds();
        world.persona("docker", ["cp", &file, "a:/tmp/root"]).succeeds();
        world.persona("docker", ["cp", "-a", &file, "a:/tmp/archive"]).succeeds();
        let stat =
            ["exec", "a", "stat", "-c", "%u:%g", "/tmp/user", "/tmp/same", "/tmp/root", "/tmp/archive"];
        assert_eq!(world.loment(stat).succeeds(), "5:6\n77:78\n0:0\n77:78");
        // What is mounted is replaced in place, and seen by the container.
        let hosts = world.write("hosts", "1.2.3.4 here\n");
        world.loment(["cp", &hosts, "a:/etc/hosts"]).succeeds();
        assert_eq!(world.loment(["exec", "a", "cat", "/etc/hosts"]).succeeds(), "1.2.3.4 here");
        world.loment(["rm", "--force", "--time", "0", "a"]).succeeds();
    }
}

#[test]
fn volumes_are_part_of_a_container_whether_it_runs_or_not() {
    let (world, image) = world_with("busybox:latest");
    let volume = world.path("volume");
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("there"), "").unwrap();
    let mount = format!("{}:/vol", volume.display());
    world.loment(["create", "--network", "none", "--name", "a", "-v", &mount, &image, "true"]).succeeds();
    let file = world.write("file", "x");
    world.loment(["cp", &file, "a:/vol/new"]).succeeds();
    assert!(volume.join("new").exists());
    let out = world.path("out");
    world.loment(["cp", "a:/vol", out.to_str().unwrap()]).succeeds();
    assert!(out.join("there").exists());
    world.loment(["start", "--attach", "a"]).succeeds();
    world.loment(["rm", "a"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn nothing_leads_out_of_a_container_nor_out_of_where_files_go() {
    let (world, rootfs) = world_over_directory();
    sleeper(&world, "a", &["--rootfs"], &rootfs);
    let outside = world.path("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    let (outside, file) = (outside.to_str().unwrap(), world.write("file", "mine"));
    let links = format!(
        "ln -s {outside} /absolute; ln -s ../../../../../..{outside} /relative; ln -s {outside}/secret /file; \
         ln -s /proc/1/root{outside} /magic"
    );
    world.loment(["exec", "a", "sh", "-c", &links]).succeeds();
    for path in ["/absolute/secret", "/relative/secret", "/file", "/magic/secret"] {
        let out = world.path("out");
        let copied = world.loment(["cp", &format!("a:{path}"), out.to_str().unwrap()]);
        assert!(copied.code == 125 && !out.exists(), "{path}: {copied}");
        world.loment(["cp", &file, &format!("a:{path}")]);
        assert_eq!(std::fs::read_to_string(format!("{outside}/secret")).unwrap(), "secret", "{path}");
    }
    // An archive that goes through a link it brings.
    let evil = world.path("evil");
    std::fs::create_dir(&evil).unwrap();
    symlink(outside, evil.join("x")).unwrap();
    let tar = world.path("evil.tar");
    run(Command::new("tar").arg("-C").arg(&evil).arg("-cf").arg(&tar).arg("x"), Patience::NORMAL).succeeds();
    std::fs::remove_file(evil.join("x")).unwrap();
    std::fs::create_dir(evil.join("x")).unwrap();
    std::fs::write(evil.join("x/secret"), "theirs").unwrap();
    run(Command::new("tar").arg("-C").arg(&evil).arg("-rf").arg(&tar).arg("x/secret"), Patience::NORMAL)
        .succeeds();
    world.command(["cp", "-", "a:/tmp"]).stdin(std::fs::File::open(&tar).unwrap()).status().unwrap();
    assert_eq!(std::fs::read_to_string(format!("{outside}/secret")).unwrap(), "secret");
    // One with names that go up.
    run(
        Command::new("tar")
            .arg("-C")
            .arg(&evil)
            .args(["-P", "--transform=s|^x|../../x|", "-cf"])
            .arg(&tar)
            .arg("x"),
        Patience::NORMAL,
    )
    .succeeds();
    let copied = world.command(["cp", "-", "a:/tmp"]).stdin(std::fs::File::open(&tar).unwrap()).status();
    assert_eq!(copied.unwrap().code(), Some(125));
}

#[test]
fn links_that_change_while_files_are_copied_lead_nowhere_else() {
    let (world, rootfs) = world_over_directory();
    sleeper(&world, "a", &["--rootfs"], &rootfs);
    let outside = world.path("outside");
    std::fs::create_dir(&outside).unwrap();
    let flip = format!(
        "mkdir -p /d/real; cd /d; while :; do ln -sfn {} flip; ln -sfn real flip; touch /tmp/flips; done",
        outside.display()
    );
    world.loment(["exec", "--detach", "a", "sh", "-c", &flip]).succeeds();
    let flips = Path::new(&rootfs).join("tmp/flips");
    eventually("links change", || flips.exists());
    let file = world.write("file", "x");
    for _ in 0..30 {
        world.loment(["cp", &file, "a:/d/flip/file"]);
        world.loment(["cp", "a:/d", world.path("out").to_str().unwrap()]);
    }
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}
