//! Users and groups of an ordinary user's containers: who they are inside and outside, and whom files belong to.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use loment_testkit::{Ids, ORDINARY_USER, World};

use super::world_with;
use crate::{sh, sleeper};

/// The first of the further ids.
const FIRST: u32 = 400_000;

/// What `keep-id` maps.
fn kept() -> String {
    format!("0 1 {ORDINARY_USER} {ORDINARY_USER} 0 1 {0} {0} {1}", ORDINARY_USER + 1, 65536 - ORDINARY_USER)
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Who has a file outside.
fn owner(path: impl Into<PathBuf>) -> (u32, u32) {
    fs::symlink_metadata(path.into()).map(|meta| (meta.uid(), meta.gid())).unwrap()
}

/// Copies of layers with other owners.
fn copies(world: &World) -> BTreeSet<String> {
    let all = fs::read_dir(world.root().join("shifted")).into_iter().flatten().flatten();
    all.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[test]
fn who_keeps_the_id_is_the_caller_in_the_container() {
    let (world, image) = world_with(Ids::Many, "busybox:latest");
    let shared = world.path("shared");
    fs::create_dir(&shared).unwrap();
    let volume = format!("{}:/shared", shared.display());
    let script = "cat /proc/self/uid_map; id -u; id -g; id -un; touch /shared/own; stat -c %u:%g / /bin/busybox /shared/own; touch /bin/x 2>&1 | grep -c denied; echo \"$HOME\"";
    let shown = sh(&world, &["--userns", "keep-id", "-v", &volume], &image, script);
    let me = ORDINARY_USER;
    let expected = format!("{} {me} {me} loment-test 0:0 0:0 {me}:{me} 1 /", kept());
    assert_eq!(words(&shown), expected);
    assert_eq!(owner(shared.join("own")), (me, me));
    // Others are those behind the caller.
    let script = "touch /shared/root; chown 5:6 /shared/root; touch /etc/x; stat -c %u /etc/x";
    let flags = ["--userns", "keep-id", "--user", "0", "-v", &volume];
    assert_eq!(sh(&world, &flags, &image, script), "0");
    assert_eq!(owner(shared.join("root")), (FIRST + 5, FIRST + 6));
    let home = world.dir().join("home");
    let flags = ["--userns", "keep-id", "-v", &format!("{0}:{0}", home.display())];
    assert_eq!(sh(&world, &flags, &image, "echo \"$HOME\""), home.display().to_string());
    let flags = ["--userns", "keep-id", "--passwd-entry", "$USERNAME:x:$UID:$GID::/tmp:/bin/x"];
    let line = format!("loment-test:x:{me}:{me}::/tmp:/bin/x");
    assert_eq!(sh(&world, &flags, &image, "tail -n 1 /etc/passwd"), line);
    let flags = ["--userns", "keep-id:uid=200,gid=210,size=1000"];
    let shown = sh(&world, &flags, &image, "cat /proc/self/uid_map /proc/self/gid_map; id -u; id -g");
    assert_eq!(words(&shown), "0 1 200 200 0 1 201 201 800 0 1 210 210 0 1 211 211 790 200 210");
    world.loment(["system", "check"]).succeeds();
}

#[test]
fn everything_works_with_files_of_other_owners() {
    let (world, image) = world_with(Ids::Many, "busybox:latest");
    let me = ORDINARY_USER.to_string();
    sleeper(&world, "c", &["--userns", "keep-id"], &image);
    assert_eq!(world.loment(["exec", "c", "id", "-u"]).succeeds(), me);
    let script = "mkdir -p /made/by && echo root >/made/by/root && echo mine >/made/by/me && chown 20007:20007 /made/by/me && rm /bin/ls && ln -s x /made/link && echo more >>/etc/group";
    world.loment(["exec", "-u", "0", "c", "sh", "-c", script]).succeeds();
    let changes = world.loment(["diff", "c"]);
    let changed: BTreeSet<&str> = changes.succeeds().lines().collect();
    for line in ["C /bin", "D /bin/ls", "A /made/by/me", "C /etc/group"] {
        assert!(changed.contains(line), "{line}: {changed:?}");
    }
    let host = world.path("host");
    fs::write(&host, "host").unwrap();
    let (host, out) = (host.display().to_string(), world.path("out"));
    let stat = |path: &str| world.loment(["exec", "c", "stat", "-c", "%u:%g", path]).succeeds().to_owned();
    world.loment(["cp", &host, "c:/made/copied"]).succeeds();
    // Whose it is is whose the container is, as for others.
    assert_eq!(stat("/made/copied"), format!("{me}:{me}"));
    world.loment(["cp", "c:/made/by/me", &out.display().to_string()]).succeeds();
    assert_eq!(fs::read_to_string(&out).unwrap(), "mine\n");
    world.loment(["commit", "-q", "c", "made"]).succeeds();
    world.loment(["stop", "-t", "0", "c"]).succeeds();
    // The same while nothing runs.
    world.loment(["cp", &host, "c:/made/later"]).succeeds();
    let out = world.path("export.tar");
    world.loment(["export", "-o", &out.display().to_string(), "c"]).succeeds();
    let listed = loment_testkit::run(
        std::process::Command::new("tar").args(["--numeric-owner", "-tvf"]).arg(&out),
        loment_testkit::Patience::NORMAL,
    );
    let has = |name: &str, owner: &str| {
        let line = listed.succeeds().lines().find(|line| line.ends_with(name)).unwrap_or_default();
        assert!(line.contains(&format!(" {owner} ")), "{name}: {line}");
    };
    has("made/by/me", &format!("{me}/{me}"));
    has("made/by/root", "0/0");
    has("bin/busybox", "0/0");
    has("made/later", &format!("{me}/{me}"));
    world.loment(["start", "c"]).succeeds();
    assert_eq!([stat("/made/later"), stat("/made/by/me")], [(); 2].map(|()| format!("{me}:{me}")));
    // What comes of it has the owners that the container saw, whoever runs it.
    let script = "stat -c %u:%g /made/by/me /made/by/root /made/by /bin; ls -d /bin/ls 2>&1 | grep -c No";
    let expected = format!("{me}:{me} 0:0 0:0 0:0 1");
    for users in [&["--user", "0"][..], &["--userns", "nomap", "--user", "0"], &["--userns", "keep-id"]] {
        assert_eq!(words(&sh(&world, users, "made", script)), expected, "{users:?}");
    }
    world.loment(["system", "check", "--max", "0"]).succeeds();
}

#[test]
fn copies_are_shared_and_go_when_nobody_has_their_ids() {
    let (world, image) = world_with(Ids::Many, "busybox:latest");
    let create = |name: &str, users: &str| {
        let create = ["create", "--name", name, "--network", "none", "--userns", users, &image, "true"];
        world.loment(create).succeeds();
        world.loment(["start", "-a", name]).succeeds();
    };
    create("a", "keep-id");
    let first = copies(&world);
    assert_eq!(first.len(), 1, "{first:?}");
    create("b", "keep-id");
    assert_eq!(copies(&world), first, "who has the same ids has the same copies");
    create("c", "nomap");
    assert_eq!(copies(&world).len(), 2);
    world.loment(["image", "prune", "-f"]).succeeds();
    assert_eq!(copies(&world).len(), 2, "containers have them");
    world.loment(["rm", "c"]).succeeds();
    let check = world.loment(["system", "check", "--max", "0"]);
    assert!(check.succeeds().contains("copy of layers for no container"), "{check}");
    world.loment(["image", "prune", "-f"]).succeeds();
    assert_eq!(copies(&world), first);
    world.loment(["rm", "a", "b"]).succeeds();
    world.loment(["rmi", &image]).succeeds();
    assert_eq!(copies(&world).len(), 0);
    world.loment(["system", "check", "--max", "0"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn damage_to_a_copy_is_found_and_mended() {
    let (world, image) = world_with(Ids::Many, "busybox:latest");
    sleeper(&world, "c", &["--userns", "keep-id"], &image);
    let tree = world.root().join("shifted").join(copies(&world).pop_first().unwrap());
    world.loment(["system", "check"]).succeeds();
    let mode = fs::Permissions::from_mode;
    fs::set_permissions(tree.join("etc"), mode(0o777)).unwrap();
    world.loment(["system", "check", "--quick"]).succeeds();
    let found = world.loment(["system", "check"]);
    assert_eq!(found.code, 125, "{found}");
    assert!(found.stdout.contains("is not what the layers show"), "{found}");
    // What runs has it.
    world.loment(["system", "check", "--repair"]).fails(125);
    assert!(tree.exists());
    world.loment(["stop", "-t", "0", "c"]).succeeds();
    let repaired = world.loment(["system", "check", "--repair"]);
    assert!(repaired.succeeds().contains("made again") && !tree.exists(), "{repaired}");
    world.loment(["start", "c"]).succeeds();
    assert_eq!(world.loment(["exec", "c", "stat", "-c", "%a", "/etc"]).succeeds(), "755");
    world.loment(["system", "check"]).succeeds();
}

#[test]
fn users_are_those_that_flags_say() {
    let (world, image) = world_with(Ids::Many, "busybox:latest");
    let map = |flags: &[&str]| {
        let script =
            "cat /proc/self/uid_map; echo /; cat /proc/self/gid_map; test $(stat -c %u /bin/busybox) = 0";
        words(&sh(&world, flags, &image, script))
    };
    let both = |text: &str| format!("{text} / {text}");
    assert_eq!(map(&["--userns", "nomap"]), both("0 1 65536"));
    assert_eq!(map(&["--uidmap", "0:1:100"]), both("0 1 100"));
    assert_eq!(map(&["--uidmap", "0:1:100", "--gidmap", "0:5:1000"]), "0 1 100 / 0 5 1000");
    assert_eq!(map(&["--uidmap", &format!("0:@{FIRST}:10")]), both("0 1 10"));
    // One range that is two outside.
    assert_eq!(map(&["--uidmap", "0:0:3000"]), both("0 0 1 1 1 2999"));
    let kept = "0 0 1 1 1 9 10 100 1 11 11 89 101 101 65436 / 0 0 1 1 1 65536";
    assert_eq!(map(&["--uidmap", "+u10:100", "--gidmap", "0:0:65537"]), kept);
    assert_eq!(map(&["--subuidname", "loment-test"]), both("0 1 65536"));
    // Who is nobody outside is shown as nobody; where everybody is somebody, it is said.
    let few = sh(&world, &["--uidmap", "0:1:100"], &image, "stat -c %u:%g /home/app");
    assert_eq!(few, "65534:65534");
    let says = |flags: &[&str], words: &[&str]| {
        let run = [&["run", "--rm", "--network", "none"], flags, &[&image, "true"]].concat();
        world.loment(run).fails_saying(125, words);
    };
    says(&["--uidmap", "0:0:10"], &["/home/app", "user 1000", "--uidmap"]);
    says(&["--uidmap", "0:1:70000"], &["0 to 65536", "/etc/subuid"]);
    says(&["--uidmap", "0:@5:1"], &["@5", "/etc/subuid"]);
    says(&["--subuidname", "nobody-here"], &["nobody-here", "/etc/subuid"]);
    says(&["--userns", "keep-id:uid=x"], &["keep-id:uid=x", "uid"]);
    says(&["--userns", "keep-id", "--uidmap", "0:1:1"], &["excludes"]);
    assert_eq!(world.loment(["ps", "-aq"]).succeeds(), "");
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn containers_with_users_of_their_own_have_none_in_common() {
    let (world, image) = world_with(Ids::Many, "busybox:latest");
    let map = |name: &str| words(world.loment(["exec", name, "cat", "/proc/self/uid_map"]).succeeds());
    for name in ["a", "b"] {
        sleeper(&world, name, &["--userns", "auto"], &image);
    }
    assert_eq!([map("a"), map("b")], ["0 1 2001", "0 2002 2001"], "what the image needs");
    assert_eq!(
        world.loment(["exec", "b", "stat", "-c", "%u:%g", "/", "/bin/busybox"]).succeeds(),
        "0:0\n0:0"
    );
    world.loment(["rm", "-f", "-t", "0", "a"]).succeeds();
    sleeper(&world, "c", &["--userns", "auto:size=3000"], &image);
    assert_eq!(map("c"), "0 1 2001 2001 4003 999", "what is free is used again");
    sleeper(&world, "d", &["--userns", "auto:size=3001,uidmapping=5:0:1"], &image);
    assert_eq!(map("d"), "0 5002 5 5 0 1 6 5007 2995");
    let run = ["run", "--rm", "--network", "none", "--userns", "auto:size=65000", &image, "true"];
    world.loment(run).fails_saying(125, &["65000 users", "remove", "/etc/subuid"]);
    world.loment(["rm", "-f", "-t", "0", "--all"]).succeeds();
    sleeper(&world, "e", &["--userns", "auto"], &image);
    assert_eq!(map("e"), "0 1 2001");
}

#[test]
fn a_pod_and_a_file_can_say_whose_users_they_are() {
    let (world, image) = world_with(Ids::Many, "busybox:latest");
    let me = ORDINARY_USER.to_string();
    world.loment(["pod", "create", "--name", "p", "--userns", "keep-id"]).succeeds();
    let script = "id -u; stat -c %u /bin/busybox";
    assert_eq!(words(&sh(&world, &["--pod", "p"], &image, script)), format!("{me} 0"));
    world.loment(["pod", "rm", "-f", "-t", "0", "p"]).succeeds();
    sleeper(&world, "c", &["--userns", "nomap"], &image);
    let shown = sh(&world, &["--userns", "container:c"], &image, "cat /proc/self/uid_map; stat -c %u /bin");
    assert_eq!(words(&shown), "0 1 65536 0");
    let path = format!("ns:/proc/{}/ns/user", crate::pid_of(&world, "c"));
    let shown = sh(&world, &["--userns", &path], &image, "cat /proc/self/uid_map; stat -c %u /bin; touch /x");
    assert_eq!(words(&shown), "0 1 65536 0");
    let conf = world.path("containers.conf");
    fs::write(&conf, "[containers]\nuserns = \"keep-id\"\n").unwrap();
    let mut run = world.command(["run", "--rm", "--network", "none", &image, "id", "-u"]);
    run.env("CONTAINERS_CONF", &conf);
    assert_eq!(loment_testkit::run(&mut run, loment_testkit::Patience::NORMAL).succeeds(), me);
    let mut run = world.command(["run", "--rm", "--network", "none", &image, "cat", "/proc/self/uid_map"]);
    run.env("PODMAN_USERNS", "keep-id");
    let shown = loment_testkit::run(&mut run, loment_testkit::Patience::NORMAL);
    assert_eq!(words(shown.succeeds()), kept());
}

#[test]
fn volumes_show_the_owners_of_the_container() {
    let (world, image) = world_with(Ids::Many, "busybox:latest");
    let me = ORDINARY_USER;
    let script = "touch /v/x && stat -c %u:%g /v/x";
    for user in [&["--user", "0"][..], &[]] {
        let flags = [&["--userns", "keep-id", "-v", "named:/v:U"][..], user].concat();
        let expected = if user.is_empty() { format!("{me}:{me}") } else { "0:0".into() };
        assert_eq!(sh(&world, &flags, &image, script), expected);
    }
    let mount = format!("type=image,source={image},destination=/i,rw=true");
    let flags = ["--userns", "keep-id", "--user", "0", "--mount", &mount];
    assert_eq!(words(&sh(&world, &flags, &image, "touch /i/x; stat -c %u /i /i/bin/busybox /i/x")), "0 0 0");
    let flags = ["--userns", "keep-id", "--tmpfs", "/t", "--read-only"];
    assert_eq!(sh(&world, &flags, &image, "stat -c %u /t /run"), "0\n0");
}

#[test]
fn who_has_one_id_can_keep_no_other() {
    let (world, image) = world_with(Ids::One, "busybox:latest");
    for mode in ["keep-id", "nomap", "auto"] {
        let run = ["run", "--rm", "--network", "none", "--userns", mode, &image, "true"];
        world.loment(run).fails_saying(125, &[mode, "usermod --add-subuids"]);
    }
}
