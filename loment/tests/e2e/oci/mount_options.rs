//! crun's mount options: links as they are, and owners by mappings of the mount's own.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use loment_testkit::{Output, World};
use serde_json::{Value, json};

use super::{add_namespace, assert_gone, run};
use crate::attacks::{Swapper, listing};
use crate::world;

fn bind(source: &Path, destination: &str, options: &[&str]) -> Value {
    let options = [&["bind"], options].concat();
    json!({ "destination": destination, "type": "bind", "source": source, "options": options })
}

/// Runs `script` with that mount; `prepare` is given the root file system before.
fn with(world: &World, mount: &Value, script: &str, prepare: impl FnOnce(&Path)) -> Output {
    run(world, "options", script, |config| {
        prepare(&world.path("bundle").join("rootfs"));
        config["mounts"].as_array_mut().unwrap().push(mount.clone());
    })
}

/// On the host: a file, and a link to it.
fn linked(world: &World) -> (PathBuf, PathBuf) {
    let (file, link) = (world.path("file"), world.path("link"));
    fs::write(&file, "of the host").unwrap();
    symlink("/etc/the-target", &link).unwrap();
    (file, link)
}

#[test]
fn a_link_can_be_bound_itself() {
    let world = world();
    let (_, link) = linked(&world);
    let target = |root: &Path| fs::write(root.join("etc/the-target"), "of the container").unwrap();
    let mount = bind(&link, "/mounted", &["src-nofollow"]);
    let output = with(&world, &mount, "readlink /mounted; cat /mounted", target);
    assert_eq!(output.succeeds(), "/etc/the-target\nof the container");
    // The link of the container is what is covered, not what it leads to.
    let mount = bind(&link, "/there", &["src-nofollow", "dest-nofollow"]);
    let output =
        with(&world, &mount, "readlink /there", |root| symlink("/elsewhere", root.join("there")).unwrap());
    assert_eq!(output.succeeds(), "/etc/the-target");
    assert!(!world.path("bundle").join("rootfs/elsewhere").exists());
    // What is no link is bound as ever.
    let (file, mount) = (world.path("file"), bind(&world.path("file"), "/mounted", &["src-nofollow"]));
    assert_eq!(with(&world, &mount, "cat /mounted", |_| ()).succeeds(), fs::read_to_string(file).unwrap());
}

#[test]
fn a_link_can_be_mounted_on() {
    let first = world();
    let (file, _) = linked(&first);
    let prepare = |root: &Path| {
        fs::write(root.join("target"), "untouched").unwrap();
        symlink("/target", root.join("there")).unwrap();
    };
    let script = "cat /there; echo; cat /target";
    let followed = with(&world(), &bind(&file, "/there", &[]), script, prepare);
    assert_eq!(followed.succeeds(), "of the host\nof the host");
    for destination in ["/there", "/there/", "/etc/../there"] {
        let mount = bind(&file, destination, &["dest-nofollow"]);
        assert_eq!(
            with(&world(), &mount, script, prepare).succeeds(),
            "of the host\nuntouched",
            "{destination}"
        );
    }
    for (destination, reason) in [
        ("/missing", "No such file or directory"),
        ("/proc/version", "proc, sysfs or devpts"),
        ("/proc/self", "proc, sysfs or devpts"),
    ] {
        let world = world();
        let output = with(&world, &bind(&file, destination, &["dest-nofollow"]), "echo never", |_| ());
        output.fails_saying(1, &[destination, reason]);
        assert_gone(&world, "options");
    }
}

#[test]
fn a_link_can_be_copied() {
    let host = world();
    let (file, link) = linked(&host);
    let copy = bind(&link, "/new/dir/copy", &["copy-symlink"]);
    let script = "readlink /new/dir/copy; grep -c /new/dir /proc/self/mountinfo";
    let output = with(&world(), &copy, script, |_| ());
    assert_eq!(output.stdout.trim(), "/etc/the-target\n0", "{output}");
    // There already, with the same text.
    let there = |text: &'static str| {
        move |root: &Path| {
            fs::create_dir_all(root.join("new/dir")).unwrap();
            symlink(text, root.join("new/dir/copy")).unwrap();
        }
    };
    let output = with(&world(), &copy, "readlink /new/dir/copy", there("/etc/the-target"));
    assert_eq!(output.succeeds(), "/etc/the-target");
    let other = world();
    let output = with(&other, &copy, "echo never", there("/another"));
    output.fails_saying(1, &["/new/dir/copy", "something else than that link"]);
    assert_gone(&other, "options");
    let output = with(&world(), &copy, "echo never", |root| {
        fs::create_dir_all(root.join("new/dir/copy")).unwrap();
    });
    output.fails_saying(1, &["/new/dir/copy", "something else than that link"]);
    // What is no link is bound.
    let mount = bind(&file, "/new/dir/copy", &["copy-symlink"]);
    assert_eq!(with(&world(), &mount, "cat /new/dir/copy", |_| ()).succeeds(), "of the host");
}

#[test]
fn a_link_can_be_copied_and_bound_in_a_user_namespace() {
    for options in [["copy-symlink"], ["src-nofollow"]] {
        let world = world();
        // A directory that the container's root could not search.
        let dir = world.path("private");
        fs::create_dir(&dir).unwrap();
        symlink("/etc/the-target", dir.join("link")).unwrap();
        fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let output = run(&world, "options", "readlink /own/copy", |config| {
            mapped(config, &[[0, 100_000, 65_536]]);
            let own = world.path("bundle").join("rootfs/own");
            fs::create_dir(&own).unwrap();
            chown(own, Some(100_000), Some(100_000)).unwrap();
            config["mounts"].as_array_mut().unwrap().push(bind(&dir.join("link"), "/own/copy", &options));
        });
        assert_eq!(output.succeeds(), "/etc/the-target", "{options:?}");
    }
}

fn mapped(config: &mut Value, lines: &[[u32; 3]]) {
    add_namespace(config, json!({ "type": "user" }));
    let line = |[inside, outside, size]: &[u32; 3]| json!({ "containerID": inside, "hostID": outside, "size": size });
    let mapping: Value = lines.iter().map(line).collect();
    (config["linux"]["uidMappings"], config["linux"]["gidMappings"]) = (mapping.clone(), mapping);
}

/// Says whether and where a container has what is bound from the file or link `name`.
fn whereabouts(name: &str) -> String {
    format!("echo ran; awk '$4 ~ \"/{name}$\" {{ print $5 }}' /proc/self/mountinfo")
}

/// In a root file system, a directory with the path that `outside` has on the host: where links to it lead inside.
fn counterpart(root: &Path, outside: &Path) -> PathBuf {
    let inside = root.join(outside.strip_prefix("/").unwrap());
    fs::create_dir_all(&inside).unwrap();
    inside
}

#[test]
fn an_image_cannot_lead_links_and_mounts_outside() {
    let host = world();
    let (source, link) = (host.path("a-source"), host.path("a-link"));
    fs::write(&source, "of the host").unwrap();
    symlink("/etc/the-target", &link).unwrap();
    let outside = host.path("outside");
    fs::create_dir(&outside).unwrap();
    let fill = |dir: &Path| {
        fs::write(dir.join("file"), "").unwrap();
        symlink("/nowhere", dir.join("link")).unwrap();
    };
    fill(&outside);
    let before = listing(&outside);
    let up = format!("{}{}", "/..".repeat(9), outside.display());
    for (source, name, option) in [
        (&link, "copied", "copy-symlink"),
        (&link, "deep/copied", "copy-symlink"),
        (&source, "file", "dest-nofollow"),
        (&source, "link", "dest-nofollow"),
        (&link, "new", "src-nofollow"),
    ] {
        for text in [up.as_str(), outside.to_str().unwrap(), "/proc/1/root", "/proc/self/cwd"] {
            let world = world();
            let mount = bind(source, &format!("/trap/{name}"), &[option]);
            let there = outside.join(name);
            let bound = whereabouts(source.file_name().unwrap().to_str().unwrap());
            let script = format!("{bound}; readlink {}", there.display());
            let output = with(&world, &mount, &script, |root| {
                fill(&counterpart(root, &outside));
                symlink(text, root.join("trap")).unwrap();
            });
            assert_eq!(listing(&outside), before, "{option} through {text}: {output}");
            let lines: Vec<_> = output.stdout.lines().collect();
            // A mount that were made in what was the host's root would have gone with it: what counts is where it is.
            let there = there.to_str().unwrap();
            let expected: &[&str] = match (option, text.starts_with("/proc")) {
                (_, true) => &[],
                ("copy-symlink", _) => &["ran", "/etc/the-target"],
                ("src-nofollow", _) => &["ran", there, "/etc/the-target"],
                _ => &["ran", there],
            };
            assert_eq!(lines, expected, "{option} of {name} through {text}: {output}");
            assert!(output.code != 0 || !expected.is_empty(), "{output}");
        }
    }
}

#[test]
fn a_destination_that_is_exchanged_for_a_link_stays_inside() {
    let host = world();
    let (source, link) = (host.path("a-source"), host.path("a-link"));
    fs::write(&source, "of the host").unwrap();
    symlink("/etc/the-target", &link).unwrap();
    let (volume, outside) = (host.path("volume"), host.path("outside"));
    [&volume, &volume.join("d"), &outside].iter().for_each(|d| fs::create_dir(d).unwrap());
    // Without `/..`, which would lead into the root file system: that is mounted on the host's root by then.
    symlink(&outside, volume.join("l")).unwrap();
    fs::write(outside.join("there"), "").unwrap();
    fs::write(volume.join("d/there"), "").unwrap();
    let before = listing(&outside);
    let swapper = Swapper::start(&volume, "d", "l");
    let end = Instant::now() + Duration::from_secs(8);
    let mut made = [0, 0];
    for i in 0..40 {
        let world = world();
        let (mount, script) = match i % 2 {
            0 => (bind(&link, "/volume/d/copied", &["copy-symlink"]), "echo ran".to_owned()),
            _ => (bind(&source, "/volume/d/there", &["dest-nofollow"]), whereabouts("a-source")),
        };
        let output = run(&world, "options", &script, |config| {
            let root = world.path("bundle").join("rootfs");
            fs::write(counterpart(&root, &outside).join("there"), "").unwrap();
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.push(bind(&volume, "/volume", &[]));
            mounts.push(mount);
        });
        // A race that is seen may be refused.
        if output.code == 0 {
            made[i % 2] += 1;
            let lines: Vec<_> = output.stdout.lines().collect();
            // The directory, by either name, or where the link leads inside. A mount that were made outside would be nowhere.
            let is_inside = match lines[..] {
                ["ran"] => i % 2 == 0,
                ["ran", place] => {
                    ["/volume/d/there", "/volume/l/there", outside.join("there").to_str().unwrap()]
                        .contains(&place)
                }
                _ => false,
            };
            assert!(is_inside, "{output}");
        }
        if Instant::now() > end && !made.contains(&0) {
            break;
        }
    }
    drop(swapper);
    assert_eq!(listing(&outside), before, "something was made outside");
    assert!(!made.contains(&0), "links and mounts that were made: {made:?}");
}

#[test]
fn owners_are_mapped_as_the_option_says() {
    let host = world();
    let source = host.path("source");
    fs::create_dir(&source).unwrap();
    for (name, uid, gid) in [("a", 0, 0), ("b", 11, 5)] {
        fs::write(source.join(name), "").unwrap();
        chown(source.join(name), Some(uid), Some(gid)).unwrap();
    }
    let owners = "stat -c '%u %g' /mnt/a /mnt/b";
    let absolute = bind(&source, "/mnt", &["idmap=uids=0-1-10#10-21-10;gids=0-100-10"]);
    let output = with(&world(), &absolute, &format!("{owners}; : > /mnt/new"), |_| ());
    // Nobody in the file system has the user 0 of the mount.
    assert_eq!(output.stdout.trim(), "1 100\n22 105", "{output}");
    assert_ne!(output.code, 0);
    // Relative to a container in which 0 is 1000 outside, and 1 is 3000.
    let relative = |option: &str| {
        let world = world();
        run(&world, "options", owners, |config| {
            mapped(config, &[[0, 1000, 1], [1, 3000, 100]]);
            fs::create_dir(world.path("bundle").join("rootfs/mnt")).unwrap();
            config["mounts"].as_array_mut().unwrap().push(bind(&source, "/mnt", &[option]));
        })
    };
    assert_eq!(relative("idmap=uids=@0-0-1#@11-7-1;gids=@0-2-10").succeeds(), "0 2\n7 7");
    // One range that spans both lines of the mapping.
    assert_eq!(relative("ridmap=uids=@0-0-20;gids=@0-0-20").succeeds(), "0 0\n11 5");
    assert_eq!(fs::metadata(source.join("b")).unwrap().uid(), 11, "on the host");
    relative("idmap=uids=@0-101-1;gids=0-0-1").fails_saying(1, &["/mnt", "@0-101-1", "does not map"]);
}

#[test]
fn mappings_of_mounts_below_are_changed_only_where_that_is_asked_for() {
    let host = world();
    let source = host.path("source");
    fs::create_dir_all(source.join("below")).unwrap();
    for (option, expected) in [("idmap", "1\n0"), ("ridmap", "1\n1")] {
        let world = world();
        let dir = crate::runtime::bundle(&world, "stat -c %u /mnt /mnt/below", |config| {
            let option = format!("{option}=uids=0-1-10;gids=0-1-10");
            let mount = json!({ "destination": "/mnt", "type": "bind", "source": source, "options": ["rbind", option] });
            config["mounts"].as_array_mut().unwrap().push(mount);
        });
        let script = "mount -t tmpfs none \"$0\"/below && exec \"$@\"";
        let outer =
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, source.to_str().unwrap()];
        let id = crate::runtime::id("below");
        let command = crate::runtime::command(&world, &["run", "--bundle", dir.to_str().unwrap(), &id]);
        let output =
            loment_testkit::run(&mut crate::through(&outer, &command), loment_testkit::Patience::NORMAL);
        assert_eq!(output.succeeds(), expected, "{option}");
    }
}

#[test]
fn options_that_make_no_sense_are_refused_by_name() {
    let host = world();
    let (file, _) = linked(&host);
    let mut cases: Vec<(Value, &str)> = [
        (&["copy-symlink", "src-nofollow"][..], "copy-symlink"),
        (&["rsync"], "option rsync"),
        (&["rdirsync"], "option rdirsync"),
        (&["rmand"], "option rmand"),
        (&["idmap="], "idmap"),
        (&["idmap=uids=0-0-1"], "uids and gids"),
        (&["idmap=uids=0-0-x;gids=0-0-1"], "0-0-x"),
        (&["idmap=uids=@0-0-1;gids=@0-0-1"], "does not map"),
    ]
    .into_iter()
    .map(|(options, part)| (bind(&file, "/there", options), part))
    .collect();
    for option in ["copy-symlink", "dest-nofollow", "idmap=uids=0-0-1;gids=0-0-1"] {
        let mount =
            json!({ "destination": "/there", "type": "tmpfs", "source": "tmpfs", "options": [option] });
        cases.push((mount, "bind mounts"));
    }
    for (mount, part) in cases {
        let world = world();
        let output = with(&world, &mount, "echo never", |_| ());
        output.fails_saying(1, &["mount /there", part]);
        assert_gone(&world, "options");
    }
    // What the kernel does anyway.
    let mount = bind(&file, "/there", &["rasync", "rnomand"]);
    assert_eq!(with(&world(), &mount, "cat /there", |_| ()).succeeds(), "of the host");
}
