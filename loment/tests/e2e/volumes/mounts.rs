//! `--mount`, and the options of mounts.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use super::{files, names};
use crate::{sh, world_over_directory, world_with};

#[test]
fn directories_and_volumes_are_mounted_by_keys() {
    let (world, image) = world_with("busybox:latest");
    let host = world.path("host");
    fs::create_dir_all(host.join("sub")).unwrap();
    fs::write(host.join("f"), "f").unwrap();
    let bind = format!("type=bind,src={},dst=/b,ro", host.display());
    assert_eq!(
        sh(&world, &["--mount", &bind], &image, "cat /b/f; touch /b/x 2>/dev/null || echo ' ro'"),
        "f ro"
    );
    let nested =
        format!("type=bind,source={},target=/b,bind-propagation=rslave,bind-nonrecursive", host.display());
    let spread = sh(&world, &["--mount", &nested], &image, "grep ' /b ' /proc/self/mountinfo");
    assert!(!spread.is_empty());
    sh(
        &world,
        &["--mount", "type=volume,src=v,dst=/v,volume-label=a=b"],
        &image,
        "mkdir -p /v/sub; echo in > /v/sub/x",
    );
    assert_eq!(world.loment(["volume", "inspect", "--format", "{{.Labels.a}}", "v"]).succeeds(), "b");
    assert_eq!(
        sh(&world, &["--mount", "type=volume,src=v,dst=/v,subpath=sub,readonly=true"], &image, "cat /v/x"),
        "in"
    );
    sh(&world, &["--mount", "destination=/anon"], &image, "touch /anon/x");
    world
        .loment(["create", "--network", "none", "--mount", "type=bind,src=/nowhere,dst=/b", &image])
        .fails_saying(125, &["/nowhere"]);
    // It is made if that is wanted.
    let new = host.join("new/directory");
    let made = format!("type=bind,src={},dst=/b,bind-create-src=true", new.display());
    sh(&world, &["--mount", &made], &image, "echo x > /b/made");
    assert!(new.join("made").exists());
    // A link is mounted as one.
    symlink("f", host.join("link")).unwrap();
    let link = format!("{}:/b/link:no-dereference", host.join("link").display());
    assert_eq!(sh(&world, &["-v", &link, "-v", "v:/v:no-dereference"], &image, "readlink /b/link"), "f");
    world
        .loment([
            "create",
            "--network",
            "none",
            "--mount",
            "type=volume,src=w,dst=/w,volume-driver=nfs",
            &image,
        ])
        .fails_saying(125, &["nfs"]);
    world
        .loment(["create", "--network", "none", "--volume-driver", "nfs", "-v", "w:/w", &image])
        .fails_saying(125, &["nfs", "local"]);
    sh(&world, &["--volume-driver", "local", "-v", "v:/w"], &image, "test -e /w/sub/x");
    assert_eq!(names(&world), ["v"]);
}

#[test]
fn a_part_of_a_volume_never_leads_out_of_it() {
    let (world, image) = world_with("busybox:latest");
    sh(
        &world,
        &["-v", "v:/v"],
        &image,
        "mkdir /v/in; echo inside > /v/in/hostname; mkdir /v/etc; echo inside > /v/etc/hostname",
    );
    let data = files(&world, "v");
    symlink("/etc", data.join("absolute")).unwrap();
    symlink("../../../../../../../etc", data.join("climbing")).unwrap();
    for path in ["in", "absolute", "climbing"] {
        let mount = format!("type=volume,src=v,dst=/m,subpath={path}");
        assert_eq!(sh(&world, &["--mount", &mount], &image, "cat /m/hostname"), "inside", "{path}");
    }
    let missing = [
        "run",
        "--rm",
        "--network",
        "none",
        "--mount",
        "type=volume,src=v,dst=/m,subpath=no",
        &image,
        "true",
    ];
    world.loment(missing).fails_saying(125, &["/m"]);
    world
        .loment(["create", "--network", "none", "--mount", "type=volume,src=v,dst=/m,subpath=../x", &image])
        .fails_saying(125, &["subpath"]);
}

/// The image has a link where the volume goes.
#[test]
fn what_is_copied_to_a_volume_is_the_containers_own() {
    let (world, dir) = world_over_directory();
    let host = world.path("secret");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("secret"), "secret").unwrap();
    symlink(&host, std::path::Path::new(&dir).join("link")).unwrap();
    let run = ["run", "--rm", "--network", "none", "-v", "v:/link", "--rootfs", &format!("{dir}:O"), "true"];
    let output = world.loment(run);
    assert!(output.code == 0 || !output.stderr.is_empty());
    assert_eq!(fs::read_dir(files(&world, "v")).unwrap().count(), 0, "{output}");
}

#[test]
fn changes_over_a_directory_are_thrown_away_or_kept_elsewhere() {
    let (world, image) = world_with("busybox:latest");
    let host = world.path("host");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("f"), "f").unwrap();
    let over = format!("{}:/o:O", host.display());
    world
        .loment([
            "create",
            "--network",
            "none",
            "--name",
            "c",
            "-v",
            &over,
            &image,
            "sh",
            "-c",
            "ls /o; touch /o/new; rm /o/f",
        ])
        .succeeds();
    for _ in 0..2 {
        assert_eq!(world.loment(["start", "-a", "c"]).succeeds(), "f");
    }
    assert!(host.join("f").exists() && !host.join("new").exists());
    let (upper, work) = (world.path("upper"), world.path("work"));
    for dir in [&upper, &work] {
        fs::create_dir(dir).unwrap();
    }
    let kept = format!("{over},upperdir={},workdir={}", upper.display(), work.display());
    sh(&world, &["-v", &kept], &image, "touch /o/kept");
    assert!(upper.join("kept").exists());
    assert_eq!(sh(&world, &["-v", &kept], &image, "ls /o"), "f\nkept");
    sh(&world, &["-v", "v:/v"], &image, "touch /v/a");
    assert_eq!(sh(&world, &["-v", "v:/v:O"], &image, "touch /v/b; ls /v"), "a\nb");
    assert!(!files(&world, "v").join("b").exists());
}

#[test]
fn a_tree_is_given_to_the_containers_user() {
    let (world, image) = world_with("busybox:latest");
    let (host, other) = (world.path("host"), world.path("other"));
    fs::create_dir_all(host.join("a/b")).unwrap();
    fs::create_dir(&other).unwrap();
    fs::write(host.join("a/b/f"), "").unwrap();
    symlink(&other, host.join("a/link")).unwrap();
    let volume = format!("{}:/h:U", host.display());
    assert_eq!(
        sh(&world, &["--user", "12:34", "-v", &volume], &image, "stat -c %u:%g /h /h/a/b/f"),
        "12:34\n12:34"
    );
    let owner = |path: &std::path::Path| fs::symlink_metadata(path).map(|m| (m.uid(), m.gid())).unwrap();
    assert_eq!(owner(&host.join("a/link")), (12, 34));
    assert_eq!(owner(&other), (0, 0), "no link is followed");
    let flags = ["--uidmap", "0:100000:65536", "--user", "5", "-v", volume.as_str()];
    assert_eq!(sh(&world, &flags, &image, "stat -c %u /h/a/b/f"), "5");
    assert_eq!(owner(&host.join("a/b/f")).0, 100_005);
}

#[test]
fn ids_of_a_volume_are_mapped() {
    let (world, image) = world_with("busybox:latest");
    sh(&world, &["-v", "v:/v"], &image, "touch /v/f; chown 7 /v/f");
    let flags = ["-v", "v:/v:idmap", "--uidmap", "0:100000:65536"];
    assert_eq!(sh(&world, &flags, &image, "stat -c %u /v/f; touch /v/g"), "7");
    assert_eq!(fs::metadata(files(&world, "v").join("g")).unwrap().uid(), 0);
    let flags = ["-v", "v:/v:idmap=uids=7-99-1;gids=0-0-1"];
    assert_eq!(sh(&world, &flags, &image, "stat -c %u /v/f"), "99");
}

#[test]
fn an_image_is_mounted_and_kept_as_long() {
    let (world, image) = world_with("app:latest");
    let head = ["--entrypoint", "", "--user", "0", "--image-volume", "ignore"];
    let with =
        |mount: &str, script: &str| sh(&world, &[&head[..], &["--mount", mount]].concat(), &image, script);
    let mount = format!("type=image,src={image},dst=/i");
    assert_eq!(with(&mount, "cat /i/data/seed; touch /i/x 2>/dev/null || echo ' ro'"), "seed ro");
    assert_eq!(with(&format!("{mount},rw=true"), "touch /i/x; ls /i/x"), "/i/x");
    assert_eq!(with(&format!("{mount},subpath=/data"), "ls /i"), "seed");
    let create =
        [&["create", "--network", "none", "--name", "c"], &head[..], &["--mount", &mount, &image, "true"]]
            .concat();
    world.loment(create).succeeds();
    assert_eq!(world.inspect("{{(index .Mounts 0).Type}} {{(index .Mounts 0).RW}}", "c"), "image false");
    world.loment(["rmi", &image]).fails_saying(2, &["in use"]);
    let (over, dir) = world_over_directory();
    over.loment([
        "create",
        "--network",
        "none",
        "--mount",
        &mount,
        "--pull",
        "never",
        "--rootfs",
        &dir,
        "true",
    ])
    .fails_saying(125, &[]);
}

#[test]
fn file_systems_that_are_made_have_their_options() {
    let (world, image) = world_with("busybox:latest");
    let of = |mount: &str| sh(&world, &["--mount", mount], &image, "grep ' /m ' /proc/mounts; stat -c %a /m");
    let tmpfs = of("type=tmpfs,dst=/m,tmpfs-size=1m,tmpfs-mode=1700,ro");
    assert!(tmpfs.contains("size=1024k") && tmpfs.contains("ro,") && tmpfs.ends_with("\n1700"), "{tmpfs}");
    assert!(of("type=ramfs,dst=/m,mode=700").starts_with("ramfs /m ramfs rw,nosuid,nodev"));
    let devpts = of("type=devpts,dst=/m,mode=600,max=5");
    assert!(devpts.contains("mode=600") && devpts.contains("max=5"), "{devpts}");
    world.write("one.conf", "1");
    world.write("two.conf", "2");
    let glob = format!("type=glob,src={},dst=/m,ro", world.path("*.conf").display());
    assert_eq!(sh(&world, &["--mount", &glob], &image, "cat /m/one.conf /m/two.conf"), "12");
    world
        .loment(["create", "--network", "none", "--mount", "type=glob,src=/nowhere/*,dst=/m", &image])
        .fails_saying(125, &["/nowhere/*"]);
    world
        .loment(["create", "--network", "none", "--mount", "type=npipe,src=x,dst=/m", &image])
        .fails_saying(125, &["Windows"]);
    world
        .loment(["create", "--network", "none", "--mount", "type=tmpfs,dst=/m", "--tmpfs", "/m", &image])
        .fails_saying(125, &["duplicate"]);
}

#[test]
fn files_of_the_container_are_in_its_chroots_too() {
    let (world, image) = world_with("busybox:latest");
    let flags = ["--chrootdirs", "/jail,/other", "--hostname", "inside"];
    let script = "cat /jail/etc/hostname /other/etc/hostname; cmp /etc/hosts /jail/etc/hosts && echo same";
    assert_eq!(sh(&world, &flags, &image, script), "inside\ninside\nsame");
    world
        .loment(["create", "--network", "none", "--chrootdirs", "../x", &image])
        .fails_saying(125, &["../x"]);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let (world, image) = world_with("busybox:latest");
    let create = ["create", "--network", "none", "-v"];
    // All of it would belong to somebody else.
    for system in ["/:/h:U", "/etc:/h:U", "/usr/../usr:/h:U"] {
        world.loment([&create[..], &[system, &image]].concat()).fails_saying(125, &["without U"]);
    }
    let bound = ["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/usr", "b"];
    world.loment(bound).succeeds();
    let run = ["run", "--rm", "--network", "none", "-v", "b:/b:U", &image, "true"];
    world.loment(run).fails_saying(125, &["/usr", "without U"]);
    world.loment(["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "t"]).succeeds();
    let run = [
        "run",
        "--rm",
        "--network",
        "none",
        "--uidmap",
        "0:100000:65536",
        "-v",
        "t:/t:idmap",
        &image,
        "true",
    ];
    world.loment(run).fails_saying(125, &["idmap"]);
}
