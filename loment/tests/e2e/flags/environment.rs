//! The environment of programs, and their time zone.

use std::fs;

use loment_testkit::{Patience, World, run};

use crate::{sh, world_over_directory, world_with};

const HOST: [(&str, &str); 6] = [
    ("ONE_A", "1"),
    ("ONE_B", "2"),
    ("OTHER", "3"),
    ("OVERRIDE", "host"),
    ("https_proxy", "p"),
    ("NO_PROXY", "q"),
];

/// What `NAME run --rm FLAGS IMAGE env` prints, with [`HOST`] in the caller's environment.
#[track_caller]
fn env(world: &World, flags: &[&str], image: &str) -> Vec<String> {
    let head = ["run", "--rm", "--network", "none", "--entrypoint", "/bin/busybox"];
    let words = [&head, flags, &[image, "env"]].concat();
    let output = run(world.command(words).envs(HOST), Patience::NORMAL);
    output.succeeds().lines().map(str::to_owned).collect()
}

#[track_caller]
fn has(env: &[String], wanted: &[&str]) {
    for entry in wanted {
        assert!(env.iter().any(|e| e == entry), "{entry} of {env:?}");
    }
}

#[track_caller]
fn lacks(env: &[String], names: &[&str]) {
    for name in names {
        let found = env.iter().find(|e| e.split('=').next() == Some(name));
        assert_eq!(found, None, "{env:?}");
    }
}

#[test]
fn variables_of_the_host_are_taken_as_asked_for() {
    let (world, image) = world_with("app:latest");
    let of = |flags: &[&str]| env(&world, flags, &image);
    let by_prefix = of(&["-e", "ONE_*"]);
    has(&by_prefix, &["ONE_A=1", "ONE_B=2", "OVERRIDE=image"]);
    lacks(&by_prefix, &["OTHER"]);
    let file = world.write("env", "ONE_*\nX=y\n");
    has(&of(&["--env-file", &file]), &["ONE_A=1", "ONE_B=2", "X=y"]);
    // All of them, below the image's and the user's own.
    let all = of(&["--env-host", "-e", "OTHER=mine"]);
    has(
        &all,
        &["ONE_A=1", "OVERRIDE=image", "OTHER=mine", "LANG=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin"],
    );
    // Proxies are taken without being asked for.
    has(&of(&[]), &["https_proxy=p", "NO_PROXY=q"]);
    lacks(&of(&["--http-proxy=false"]), &["https_proxy", "NO_PROXY"]);
    has(&of(&["-e", "https_proxy=mine"]), &["https_proxy=mine", "NO_PROXY=q"]);
}

#[test]
fn variables_are_left_out_or_made_of_others() {
    let (world, image) = world_with("app:latest");
    let of = |flags: &[&str]| env(&world, flags, &image);
    let unset = of(&["--unsetenv", "PATH", "--unsetenv", "container", "--unsetenv", "FROM_IMAGE"]);
    lacks(&unset, &["PATH", "container", "FROM_IMAGE"]);
    has(&unset, &["OVERRIDE=image"]);
    let none = of(&["--unsetenv-all", "-e", "MINE=1"]);
    lacks(&none, &["PATH", "container", "FROM_IMAGE", "OVERRIDE", "https_proxy"]);
    has(&none, &["MINE=1", "HOME=/home/app"]);
    let merge = ["--env-host", "--env-merge", "PATH=/x:$PATH", "--env-merge", "Q=${ONE_A}-${NO}-${NO:-n}"];
    has(&of(&merge), &["PATH=/x:/usr/local/bin:/usr/bin:/bin", "Q=1--n"]);
    let bad = ["run", "--rm", "--network", "none", "--env-merge", "Q=${A", &image, "true"];
    world.loment(bad).fails_saying(125, &["Q=${A"]);
}

#[test]
fn the_time_zone_is_a_named_one_or_the_hosts() {
    let (world, image) = world_with("busybox:latest");
    let zone = |flags: &[&str]| sh(&world, flags, &image, "date +%z");
    if fs::metadata("/usr/share/zoneinfo/Asia/Kathmandu").is_err() {
        return loment_testkit::skip("time zones", "this machine has no file of zones");
    }
    assert_eq!(zone(&["--tz", "Asia/Kathmandu"]), "+0545");
    let host = fs::read("/etc/localtime").unwrap().len().to_string();
    assert_eq!(sh(&world, &["--tz", "local"], &image, "wc -c < /etc/localtime"), host);
    for bad in ["Nowhere", "../../etc/passwd", "/etc/localtime", ""] {
        let words = ["run", "--rm", "--network", "none", "--tz", bad, &image, "true"];
        world.loment(words).fails_saying(125, &["time zone"]);
    }
    world.loment(["create", "--name", "c", "--network", "none", "--tz", "local", &image]).succeeds();
    assert_eq!(world.inspect("{{.Config.Timezone}}", "c"), "local");
}

#[test]
fn a_link_to_a_zone_is_replaced_and_the_zone_stays() {
    let (world, fs) = world_over_directory();
    let dir = world.path("fs");
    fs::create_dir_all(dir.join("usr/share/zoneinfo/Etc")).unwrap();
    fs::write(dir.join("usr/share/zoneinfo/Etc/UTC"), "utc").unwrap();
    std::os::unix::fs::symlink("../usr/share/zoneinfo/Etc/UTC", dir.join("etc/localtime")).unwrap();
    let script = "test ! -L /etc/localtime && test -s /etc/localtime && cat /usr/share/zoneinfo/Etc/UTC";
    assert_eq!(sh(&world, &["--tz", "local", "--rootfs"], &format!("{fs}:O"), script), "utc");
    assert!(dir.join("etc/localtime").is_symlink());
}
