//! Files on their way into containers and out of them.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
        cp(&format!("{tree}/file"), &at("/tmp/none/")).fails_saying(125, &["no such file or directory"]);
        cp(&format!("{tree}/file"), &at("/no/where")).fails_saying(125, &["there is no directory /no"]);
        let words = format!("\"/no/such\" could not be found on container {name}: no such file or directory");
        cp(&at("/no/such"), "/tmp/x").fails_saying(125, &[&words]);
        cp("/no/such", &at("/tmp")).fails_saying(125, &["\"/no/such\" could not be found on the host"]);
        cp(&at("/etc/passwd"), "/dev/null").fails_saying(125, &["must be a directory or a regular file"]);
        // Directories: new, existing, and what is in them.
        cp(tree, &at("/tmp/new")).succeeds();
        assert!(has("/tmp/new/sub/deep/script") && !has("/tmp/new/tree"));
        cp(tree, &at("/tmp/new")).succeeds();
        assert!(has("/tmp/new/tree/sub/deep"));
        cp(&format!("{tree}/."), &at("/tmp/new")).succeeds();
        cp(&format!("{tree}/sub/."), &at("/var")).succeeds();
        assert!(has("/var/deep/script") && !has("/var/sub"));
        // One of another kind in the way.
        let words = "destination must be a directory when copying a directory";
        cp(tree, &at("/tmp/file")).fails_saying(125, &[words]);
        cp(&format!("{tree}/file"), &at("/tmp/again")).succeeds();
        cp(&at("/tmp/again"), &at("/tmp/new/tree/sub")).succeeds();
        let in_the_way = world.path("way");
        std::fs::create_dir_all(in_the_way.join("again")).unwrap();
        let way = in_the_way.to_str().unwrap();
        cp(&format!("{way}/again"), &at("/tmp"))
            .fails_saying(125, &["error creating \"/tmp/again\": ", ": file exists"]);
        cp(&at("/tmp/again"), way).fails_saying(125, &["error creating \"/again\": ", ": file exists"]);
        world.loment(["cp", "--overwrite", &at("/tmp/again"), way]).succeeds();
        std::fs::remove_dir_all(&in_the_way).unwrap();
        world.loment(["cp", "--overwrite", &format!("{tree}/sub"), &at("/tmp/again")]).succeeds();
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
    // Compressed, too.
    for (n, compress) in ["gzip", "zstd"].into_iter().enumerate() {
        let compressed = world.path(compress);
        let out = std::fs::File::create(&compressed).unwrap();
        let input = std::fs::File::open(&theirs).unwrap();
        assert!(Command::new(compress).arg("-c").stdin(input).stdout(out).status().unwrap().success());
        world.loment(["exec", "a", "mkdir", &format!("/opt/{n}")]).succeeds();
        let input = std::fs::File::open(&compressed).unwrap();
        let target = format!("a:/opt/{n}");
        assert!(world.command(["cp", "-", &target]).stdin(input).status().unwrap().success());
        world.loment(["exec", "a", "cmp", "/opt/file", &format!("/opt/{n}/file")]).succeeds();
    }
    for bad in ["no archive", &"no archive".repeat(100), ""] {
        let words = "source must be a (compressed) tar archive when copying from stdin";
        world.loment_with_input(["cp", "-", "a:/tmp"], bad).fails_saying(125, &[words]);
    }
    for path in ["a:/etc/passwd", "a:/no/such"] {
        let words = "destination must be a directory when copying from stdin";
        world.loment_with_input(["cp", "-", path], "").fails_saying(125, &[words]);
    }
}

#[test]
fn paths_are_in_the_working_directory_but_for_docker() {
    let (world, image) = world_with("busybox:latest");
    let file = world.write("file", "x");
    let empty = world.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let made = ["create", "--network", "none", "--workdir", "/var", "--name", "b", &image, "true"];
    sleeper(&world, "a", &["--workdir", "/var"], &image);
    world.loment(made).succeeds();
    for name in ["a", "b"] {
        let at = |path: &str| format!("{name}:{path}");
        let out = world.path("out");
        let has = |path: &str| {
            let _ = std::fs::remove_file(&out);
            world.loment(["cp", &at(path), out.to_str().unwrap()]).code == 0
        };
        world.loment(["cp", &format!("{}/.", empty.display()), &at("/var/")]).succeeds();
        for target in [".", "./", "new"] {
            world.loment(["cp", &file, &at(target)]).succeeds();
        }
        assert!(has("/var/file") && has("/var/new") && has("new") && !has("/new"));
        world.persona("docker", ["cp", &file, &at("dockers")]).succeeds();
        assert!(has("/dockers") && !has("dockers"));
    }
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

#[test]
fn paths_are_what_the_kernel_makes_of_them() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "a", &[], &image);
    let links = "mkdir -p /usr/l /usr/share/x; echo here >/usr/share/x/f; ln -s usr/l /l; ln -s ../share/x/f /usr/l/f; \
        mkdir /t; ln -s /etc /t/app";
    world.loment(["exec", "a", "sh", "-c", links]).succeeds();
    world.loment(["create", "--network", "none", "--name", "b", &image, "true"]).succeeds();
    let dir = world.path("cwd");
    std::fs::create_dir_all(dir.join("real/sub")).unwrap();
    std::fs::create_dir_all(dir.join("real/other")).unwrap();
    symlink("real/sub", dir.join("lnk")).unwrap();
    symlink("../other", dir.join("real/sub/cur")).unwrap();
    let cp = |from: &str, to: &str| run(world.command(["cp", from, to]).current_dir(&dir), Patience::NORMAL);
    // What goes up comes after links.
    cp("a:/l/f", "f").succeeds();
    assert_eq!(std::fs::read_to_string(dir.join("f")).unwrap(), "here\n");
    cp("a:/etc/passwd", "lnk/cur").succeeds();
    assert!(dir.join("real/other/passwd").exists());
    // Relative ones are of the working directory, whether the container runs or not.
    cp("b:/etc/passwd", "of-b").succeeds();
    cp("of-b", "b:/tmp/again").succeeds();
    assert!(dir.join("of-b").exists());
    // A slash is behind directories only.
    cp("f", "a:/etc/passwd/").fails(125);
    assert_ne!(world.loment(["exec", "a", "cat", "/etc/passwd"]).succeeds(), "here");
    // A directory does not go through a link that is in its place.
    std::fs::create_dir(dir.join("app")).unwrap();
    std::os::unix::fs::chown(dir.join("app"), Some(1000), Some(1000)).unwrap();
    cp("app", "a:/t/").fails_saying(125, &["there is a file or a link"]);
    assert_eq!(world.loment(["exec", "a", "stat", "-c", "%u", "/etc"]).succeeds(), "0");
    cp("f", "g").fails(125);
    let input = std::fs::File::open(dir.join("f")).unwrap();
    let refused = world.command(["cp", "-", dir.to_str().unwrap()]).stdin(input).status().unwrap();
    assert_eq!(refused.code(), Some(125));
    // All that a running container has, but for what shows the kernel.
    cp("a:/", "all").succeeds();
    assert!(dir.join("all/etc/passwd").exists() && !dir.join("all/proc/1").exists());
}

#[test]
fn what_a_container_made_has_no_power_here() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "a", &["--cap-add", "MKNOD"], &image);
    let made = "mkdir /d; mknod /d/disk b 8 0; mknod /d/pipe p; cp /bin/busybox /d/suid; chmod 4755 /d/suid; touch /d/file";
    world.loment(["exec", "a", "sh", "-c", made]).succeeds();
    let out = world.path("out");
    world.loment(["cp", "a:/d", out.to_str().unwrap()]).succeeds();
    assert!(!out.join("disk").exists() && out.join("pipe").exists() && out.join("file").exists());
    assert_eq!(std::fs::metadata(out.join("suid")).unwrap().mode() & 0o7777, 0o755);
    // From one container to another all of it goes.
    sleeper(&world, "b", &[], &image);
    world.loment(["cp", "a:/d", "b:/e"]).succeeds();
    assert_eq!(world.loment(["exec", "b", "stat", "-c", "%a", "/e/suid"]).succeeds(), "4755");
}

#[test]
fn volumes_of_a_container_that_does_not_run_are_as_it_has_them() {
    let (world, image) = world_with("busybox:latest");
    let [one, two] = ["one", "two"].map(|name| {
        let dir = world.path(name);
        std::fs::create_dir_all(&dir).unwrap();
        dir.display().to_string()
    });
    std::fs::write(format!("{one}/file"), "").unwrap();
    let create = |name: &str, flags: &[&str]| {
        world
            .loment([&["create", "--network", "none", "--name", name], flags, &[&image, "true"]].concat())
            .succeeds();
    };
    // One below another comes last, however it was said; what may not be written is not.
    create(
        "a",
        &["-v", &format!("{two}:/vol/in"), "-v", &format!("{one}:/vol"), "-v", &format!("{one}:/ro:ro")],
    );
    let file = world.write("new", "x");
    world.loment(["cp", &file, "a:/vol/in/x"]).succeeds();
    assert!(Path::new(&two).join("x").exists());
    world.loment(["cp", &file, "a:/ro/x"]).fails(125);
    assert!(!Path::new(&one).join("x").exists());
    // Two at once, each with volumes of its own.
    create("b", &["-v", &format!("{two}:/vol")]);
    world.loment(["cp", "a:/vol/file", "b:/vol/copied"]).succeeds();
    assert!(Path::new(&two).join("copied").exists());
    // To look at it changes nothing.
    create("c", &["-v", &format!("{one}:/not/there/yet")]);
    world.loment(["cp", "c:/etc/passwd", world.path("passwd").to_str().unwrap()]).succeeds();
    assert_eq!(world.loment(["diff", "c"]).succeeds(), "");
    // Both ways at once, which must not wait for each other.
    let copies = [("a:/etc/passwd", "b:/tmp/"), ("b:/etc/passwd", "a:/tmp/")];
    for _ in 0..5 {
        let both = copies.map(|(from, to)| world.command(["cp", from, to]).spawn().unwrap());
        both.into_iter().for_each(|mut one| assert!(one.wait().unwrap().success()));
    }
}

#[test]
fn deep_and_wide_trees_are_copied_whole() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "a", &[], &image);
    let tree = world.path("tree");
    for n in 0..400 {
        std::fs::create_dir_all(tree.join(n.to_string())).unwrap();
    }
    run(Command::new("touch").args(["-d", "2001-02-03"]).arg(&tree), Patience::NORMAL).succeeds();
    world.loment(["cp", tree.to_str().unwrap(), "a:/tmp/tree"]).succeeds();
    let stat = world.loment(["exec", "a", "stat", "-c", "%y", "/tmp/tree"]);
    assert!(stat.succeeds().starts_with("2001-02-03"), "{stat}");
    // Deeper than there are descriptors as a rule, and as paths of the kernel go.
    let deep = "p=/deep; i=0; while [ $i -lt 1500 ]; do p=$p/d; i=$((i+1)); done; mkdir -p $p; touch $p/end";
    world.loment(["exec", "a", "sh", "-c", deep]).succeeds();
    world.loment(["cp", "a:/deep", "a:/tmp/deep"]).succeeds();
    let found = world.loment(["exec", "a", "sh", "-c", "find /tmp/deep | wc -l"]);
    assert_eq!(found.succeeds(), "1502");
    // What is that deep can also be replaced by a file.
    std::fs::create_dir(world.path("flat")).unwrap();
    std::fs::write(world.path("flat/deep"), "x").unwrap();
    let flat = format!("{}/.", world.path("flat").display());
    world.loment(["cp", "--overwrite", &flat, "a:/tmp"]).succeeds();
    assert_eq!(world.loment(["exec", "a", "cat", "/tmp/deep"]).succeeds(), "x");
}

/// What `cp` shows of a directory of a container that does not run is what the container shows when it does.
#[test]
fn whatever_is_mounted_in_a_container_that_does_not_run_is_part_of_it() {
    let (world, image) = world_with("busybox:latest");
    let create = |name: &str, flags: &[&str], script: &str| {
        let head = ["create", "--network", "none", "--name", name];
        world.loment([&head, flags, &[&image, "sh", "-c", script]].concat()).succeeds();
    };
    let file = world.write("new", "new");
    // A part of a volume, that is there, or is not.
    world.loment(["volume", "create", "v"]).succeeds();
    let data = world.root().join("volumes/v/_data");
    std::fs::create_dir_all(data.join("a/b")).unwrap();
    create("part", &["--mount", "type=volume,src=v,dst=/d,subpath=a/b"], "cat /d/new");
    world.loment(["cp", &file, "part:/d/"]).succeeds();
    assert_eq!(std::fs::read_to_string(data.join("a/b/new")).unwrap(), "new");
    assert_eq!(world.loment(["start", "--attach", "part"]).succeeds(), "new");
    // A file system: what is only there while it is used is gone then.
    let tmpfs = ["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m", "t"];
    world.loment(tmpfs).succeeds();
    create("fs", &["-v", "t:/t"], "ls /t");
    world.loment(["volume", "mount", "t"]).succeeds();
    world.loment(["cp", &file, "fs:/t/"]).succeeds();
    assert_eq!(world.loment(["start", "--attach", "fs"]).succeeds(), "new");
    world.loment(["volume", "unmount", "t"]).succeeds();
    world.loment(["cp", &file, "fs:/t/"]).succeeds();
    assert_eq!(world.loment(["start", "--attach", "fs"]).succeeds(), "");
    assert_eq!(std::fs::read_dir(world.runroot().join("volumes")).unwrap().count(), 0);
    // The files of an image.
    create("image", &["--mount", &format!("type=image,src={image},dst=/i")], "true");
    let out = world.path("passwd").display().to_string();
    world.loment(["cp", "image:/i/etc/passwd", &out]).succeeds();
    assert!(std::fs::read_to_string(&out).unwrap().contains("root"));
    world.loment(["cp", &file, "image:/i/new"]).fails(125);
    // Changes that go elsewhere, and stay there.
    let [lower, upper, work] = ["lower", "upper", "workdir"].map(|name| {
        std::fs::create_dir(world.path(name)).unwrap();
        world.path(name).display().to_string()
    });
    create("over", &["-v", &format!("{lower}:/o:O,upperdir={upper},workdir={work}")], "cat /o/new");
    world.loment(["cp", &file, "over:/o/"]).succeeds();
    assert!(Path::new(&upper).join("new").exists() && !Path::new(&lower).join("new").exists());
    assert_eq!(world.loment(["start", "--attach", "over"]).succeeds(), "new");
    // What cannot be written to when it runs is not written to before; volumes of it can.
    create("ro", &["--read-only", "-v", "v:/d"], "true");
    world.loment(["cp", &file, "ro:/etc/new"]).fails_saying(125, &["read-only"]);
    world.loment(["cp", &file, "ro:/d/"]).succeeds();
    world.loment(["cp", "ro:/etc/passwd", &out]).succeeds();
    assert!(data.join("new").exists());
    world.loment(["rm", "--all"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn volumes_of_users_of_their_own_have_the_owners_that_the_container_sees() {
    let (world, image) = world_with("busybox:latest");
    let script = "stat -c %u:%g:%n /d/* /m/*; cat /etc/marker";
    let create = ["create", "--network", "none", "--name", "c", "--uidmap", "0:100000:65536", "-v", "v:/d"];
    let rest = ["-v", "w:/m:idmap", &image, "sh", "-c", script];
    world.loment([&create[..], &rest].concat()).succeeds();
    let dir = world.path("files");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("marker"), "x").unwrap();
    chown(dir.join("marker"), Some(5), Some(6)).unwrap();
    let tar =
        Command::new("tar").args(["-C", dir.to_str().unwrap(), "-c", "marker"]).output().unwrap().stdout;
    let tar = String::from_utf8(tar).unwrap();
    for place in ["c:/d", "c:/m", "c:/etc"] {
        world.loment_with_input(["cp", "--archive=false", "-", place], &tar).succeeds();
    }
    let owner = |name: &str| {
        let stat = std::fs::metadata(world.root().join("volumes").join(name).join("_data/marker")).unwrap();
        (stat.uid(), stat.gid())
    };
    assert_eq!((owner("v"), owner("w")), ((100_005, 100_006), (5, 6)));
    let out = world.path("out").display().to_string();
    world.loment(["cp", "--archive=false", "c:/d/marker", &out]).succeeds();
    let stat = std::fs::metadata(&out).unwrap();
    assert_eq!((stat.uid(), stat.gid()), (5, 6));
    assert_eq!(world.loment(["start", "--attach", "c"]).succeeds(), "5:6:/d/marker\n5:6:/m/marker\nx");
}

#[test]
fn a_slow_archive_does_not_keep_a_container_from_being_started() {
    let (world, image) = world_with("busybox:latest");
    world.loment(["create", "--network", "none", "--name", "c", &image, "true"]).succeeds();
    std::fs::write(world.path("file"), "x").unwrap();
    let dir = world.path(".").display().to_string();
    let tar = Command::new("tar").args(["-C", &dir, "-c", "file"]).output().unwrap().stdout;
    let mut copy = world.command(["cp", "-", "c:/tmp"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = copy.stdin.take().unwrap();
    pipe.write_all(&tar[..1024]).unwrap();
    // It has all that came, and waits for more.
    eventually("it waits", || {
        std::fs::read_to_string(format!("/proc/{}/syscall", copy.id()))
            .is_ok_and(|call| call.starts_with("0 "))
    });
    world.loment(["start", "--attach", "c"]).succeeds();
    pipe.write_all(&tar[1024..]).unwrap();
    drop(pipe);
    assert!(copy.wait().unwrap().success());
    let out = world.path("out").display().to_string();
    world.loment(["cp", "c:/tmp/file", &out]).succeeds();
    assert_eq!(std::fs::read_to_string(out).unwrap(), "x");
}
