//! What is said of a machine, and of one with faults.

use std::fs;
use std::path::Path;

use loment_testkit::{Ids, Output, Patience, World, run};
use serde_json::Value;

use crate::{fixtures, through, world, world_over_directory};

/// Becomes the doctor in a mount namespace in which a script has done something. `$R` is the store's directory, `$W` another one.
#[track_caller]
fn after(world: &World, script: &str, arguments: &[&str]) -> Output {
    let script = format!(
        "set -e; R={}; W={}; {script}; exec \"$@\"",
        world.root().display(),
        world.path("").display()
    );
    let command = world.command([&["doctor"], arguments].concat());
    run(&mut through(&["unshare", "--mount", "sh", "-c", &script, "sh"], &command), Patience::NORMAL)
}

/// The findings about a subject, `verdict: finding -> advice` each.
#[track_caller]
fn about(output: &Output, subject: &str) -> Vec<String> {
    let all: Value = serde_json::from_str(&output.stdout).expect("the output is json");
    let all = all.as_array().expect("a list of findings").iter();
    let text = |f: &Value, key: &str| f[key].as_str().expect("a text").to_owned();
    let shown =
        |f: &Value| format!("{}: {} -> {}", text(f, "Verdict"), text(f, "Finding"), text(f, "Advice"));
    all.filter(|f| f["Subject"] == subject).map(shown).collect()
}

#[track_caller]
fn has(found: &[String], begin: &str, words: &[&str]) {
    let is_it = |line: &&String| line.starts_with(begin) && words.iter().all(|word| line.contains(word));
    assert!(found.iter().any(|line| is_it(&line)), "{begin} {words:?} is not among {found:#?}");
}

#[test]
fn nothing_is_changed_where_there_is_no_store() {
    let world = world();
    let before = "cat /proc/self/mountinfo >$W/before; find $W/../.. -maxdepth 1 >/dev/null";
    let script =
        format!("{before}; \"$@\"; code=$?; cat /proc/self/mountinfo | diff - $W/before; exit $code");
    let output = after(&world, &script, &["--format", "json"]);
    output.succeeds();
    has(&about(&output, "storage"), "note", &["no store", &world.root().display().to_string()]);
    has(&about(&output, "kernel"), "ok", &["mounting overlays works"]);
    assert!(!world.root().exists() && !world.runroot().exists());
}

#[test]
fn a_good_machine_has_no_problem() {
    let (world, rootfs) = world_over_directory();
    world.loment(["create", "--name", "c", "--network", "none", "--rootfs", &rootfs, "true"]).succeeds();
    let output = world.loment(["doctor", "--format", "json"]);
    output.succeeds();
    for subject in
        ["kernel", "users", "cgroups", "storage", "registries", "time", "limits", "security", "programs"]
    {
        assert!(!about(&output, subject).is_empty(), "{subject}");
    }
    assert!(!output.stdout.contains("problem"), "{}", output.stdout);
    assert_eq!(world.loment(["doctor", "--quiet"]).succeeds(), "");
    let shown = world.loment(["doctor", "--format", "{{.Verdict}} {{.Subject}}"]);
    assert!(shown.succeeds().lines().any(|line| line == "ok cgroups"), "{}", shown.stdout);
    assert!(
        world.loment(["doctor"]).succeeds().contains("ok       storage     images and containers are in ")
    );
    world.loment(["doctor", "--format", "{{.Nope}}"]).fails(125);
}

#[test]
fn faults_of_the_store_are_found() {
    let world = world();
    let make = "mkdir -p $R";
    let overlay = "mount -t tmpfs none $W; mkdir $W/l $W/u $W/w; \
                   mount -t overlay -o lowerdir=$W/l,upperdir=$W/u,workdir=$W/w none $R";
    let output = after(&world, &format!("{make}; {overlay}"), &["--format", "json"]);
    output.fails(1);
    has(&about(&output, "storage"), "problem", &["is on overlay", "cannot keep changes", "ext4"]);
    let output = after(&world, &format!("{make}; mount -t tmpfs -o size=4m none $R"), &["--format", "json"]);
    output.fails(1);
    has(&about(&output, "storage"), "problem", &["there is room for", "prune"]);
    has(&about(&output, "storage"), "ok", &["is on tmpfs, which keeps changes"]);
    let read_only = format!("{make}; mount -t tmpfs none $R; mount -o remount,ro $R");
    let output = after(&world, &read_only, &["--format", "json", "--quiet"]);
    output.fails(1);
    has(&about(&output, "storage"), "problem", &["read-only", "--root"]);
    let few = format!("{make}; mount -t tmpfs -o nr_inodes=100 none $R");
    let output = after(&world, &few, &["--format", "json"]);
    has(&about(&output, "storage"), "problem", &["more files"]);
    fs::write(world.root().join("storage.lock"), "").unwrap();
    let output = world.loment(["doctor", "--format", "json"]);
    output.fails(1);
    has(&about(&output, "storage"), "problem", &["is the storage of Podman", "--root"]);
    fs::remove_file(world.root().join("storage.lock")).unwrap();
    fs::write(world.root().join("FORMAT"), r#"{"version":1,"incompat":["of-the-future"]}"#).unwrap();
    let output = world.loment(["doctor", "--format", "json"]);
    output.fails(1);
    has(&about(&output, "storage"), "problem", &["of-the-future", "newer loment"]);
    fs::remove_dir_all(world.root()).unwrap();
}

#[test]
fn old_leftovers_are_counted() {
    let (world, rootfs) = world_over_directory();
    world.loment(["create", "--network", "none", "--rootfs", &rootfs, "true"]).succeeds();
    let old = world.root().join("staging/old");
    fs::create_dir(&old).unwrap();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(1_000_000);
    fs::File::open(&old).unwrap().set_modified(long_ago).unwrap();
    let output = world.loment(["doctor", "--format", "json"]);
    has(&about(&output, "storage"), "note", &["1 things have been half made", "system check"]);
}

#[test]
fn control_groups_that_are_not_mounted_are_a_problem() {
    let world = world();
    let output = after(&world, "mount -t tmpfs none /sys/fs/cgroup", &["--format", "json"]);
    output.fails(1);
    has(&about(&output, "cgroups"), "problem", &["/sys/fs/cgroup", "mount -t cgroup2"]);
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let world = world();
    let registries = world.write("registries.conf", "unqualified-search-registries = [");
    let conf = world.write("containers.conf", "[containers]\nenv = 7 8\n");
    let mut command = world.command(["doctor", "--format", "json"]);
    command.env("CONTAINERS_REGISTRIES_CONF", &registries).env("CONTAINERS_CONF", &conf);
    let output = run(&mut command, Patience::NORMAL);
    output.fails(1);
    has(&about(&output, "registries"), "problem", &[&registries, "pulled"]);
    has(&about(&output, "registries"), "problem", &[&conf]);
}

#[test]
fn registries_are_asked_when_that_is_wanted() {
    let world = world();
    let registry = fixtures().serve();
    let (host, gone) = (registry.host(), "localhost:1");
    let text = format!("unqualified-search-registries = [{host:?}]\n[[registry]]\nlocation = {gone:?}\n");
    let conf = world.write("registries.conf", text);
    let ask = |arguments: &[&str]| {
        let mut command = world.command([&["doctor", "--format", "json"], arguments].concat());
        run(command.env("CONTAINERS_REGISTRIES_CONF", &conf), Patience::NORMAL)
    };
    assert!(!ask(&[]).succeeds().contains("answer"));
    let output = ask(&["--registries"]);
    output.fails(1);
    has(&about(&output, "registries"), "ok", &[&host, "answers"]);
    has(&about(&output, "registries"), "problem", &[gone, "does not answer"]);
}

#[test]
fn a_clock_that_is_behind_is_found() {
    let (world, rootfs) = world_over_directory();
    world.loment(["create", "--network", "none", "--rootfs", &rootfs, "true"]).succeeds();
    let image = world.root().join("images/later.json");
    fs::write(&image, "").unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(1_000_000);
    fs::File::options().write(true).open(&image).unwrap().set_modified(later).unwrap();
    let output = world.loment(["doctor", "--format", "json"]);
    output.fails(1);
    has(&about(&output, "time"), "problem", &["the newest image", "set the clock"]);
    fs::remove_file(image).unwrap();
}

fn of_user(ids: Ids) -> World {
    World::of_user(Path::new(env!("CARGO_BIN_EXE_loment")), ids)
}

#[test]
fn an_ordinary_user_with_ranges_has_no_problem() {
    let world = of_user(Ids::Many);
    let output = world.loment(["doctor", "--format", "json"]);
    let users = about(&output, "users");
    has(&users, "ok", &["/etc/subuid", "65536 further ids"]);
    has(&users, "ok", &["newuidmap and newgidmap give a user namespace"]);
    has(&about(&output, "kernel"), "ok", &["mounting overlays works"]);
    has(&about(&output, "cgroups"), "note", &["stay in the caller's"]);
    assert!(!world.root().exists() && !world.runroot().exists());
}

#[test]
fn an_ordinary_user_is_told_what_is_missing() {
    let world = of_user(Ids::One);
    let output = world.loment(["doctor", "--format", "json"]);
    output.fails(1);
    let users = about(&output, "users");
    has(&users, "problem", &["/etc/subuid gives loment-test nothing", "usermod --add-subuids"]);
    has(&users, "problem", &["/etc/subgid gives loment-test nothing", "usermod --add-subgids"]);
    has(&users, "problem", &["one user and one group only", "/etc/subuid has no line"]);
    let mut command = world.command(["doctor", "--format", "json"]);
    let empty = world.path("bin");
    fs::create_dir(&empty).unwrap();
    // The shell that becomes the user needs its own.
    let script = world.dir().join("accounts/as-user");
    let text = fs::read_to_string(&script).unwrap();
    fs::write(
        &script,
        text.replace("exec setpriv", &format!("exec env PATH={} /usr/bin/setpriv", empty.display())),
    )
    .unwrap();
    let output = run(&mut command, Patience::NORMAL);
    output.fails(1);
    has(&about(&output, "users"), "problem", &["newuidmap is not in PATH", "uidmap"]);
    has(&about(&output, "programs"), "note", &["criu is not in PATH"]);
}

#[test]
fn wrong_ranges_of_an_ordinary_user_are_found() {
    let world = of_user(Ids::Many);
    let lines = "loment-test:400000:100\nsomebody:400050:10\nloment-test:5\nloment-test:500:10\n";
    fs::write(world.dir().join("accounts/subuid"), lines).unwrap();
    let output = world.loment(["doctor", "--format", "json"]);
    output.fails(1);
    let users = about(&output, "users");
    has(&users, "note", &["/etc/subuid", "110 further ids"]);
    has(&users, "problem", &["somebody:400050:10"]);
    has(&users, "problem", &["loment-test:5", "no range"]);
    has(&users, "problem", &["below 1000"]);
}
