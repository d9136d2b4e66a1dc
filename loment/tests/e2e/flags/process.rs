//! What a program is started with, but for its environment.

use std::fs;

use loment_testkit::{Output, Patience, World, run};

use crate::{sh, through, world_over_directory, world_with};

fn command(world: &World, flags: &[&str], image: &str, script: &str) -> std::process::Command {
    world.command([&["run", "--rm", "--network", "none"], flags, &[image, "sh", "-c", script]].concat())
}

#[test]
fn only_the_streams_that_are_asked_for_arrive() {
    let (world, image) = world_with("busybox:latest");
    let script = "cat; echo out; echo err >&2; exit 3";
    let said = |flags: &[&str]| {
        let words = [&["run", "--rm", "--network", "none"], flags, &[&image, "sh", "-c", script]].concat();
        let Output { stdout, stderr, code, .. } = world.loment_with_input(words, "in\n");
        assert_eq!(code, 3, "{flags:?}");
        (stdout, stderr)
    };
    let both = |out: &str, err: &str| (out.to_owned(), err.to_owned());
    assert_eq!(said(&["-a", "stdout"]), both("out\n", ""));
    assert_eq!(said(&["--attach", "STDERR"]), both("", "err\n"));
    assert_eq!(said(&["-i", "-a", "stdout,stderr"]), both("in\nout\n", "err\n"));
    assert_eq!(said(&["-i", "-a", "stdin", "-a", "stdout"]), both("in\nout\n", ""));
    let words = ["run", "--rm", "--network", "none", "-a", "stdlog", &image, "true"];
    world.loment(words).fails_saying(125, &["stdlog"]);
    world.loment(["create", "--name", "c", "--network", "none", "-a", "stderr", &image]).succeeds();
    let attached = "{{.Config.AttachStdin}} {{.Config.AttachStdout}} {{.Config.AttachStderr}}";
    assert_eq!(world.inspect(attached, "c"), "false false true");
}

#[test]
fn mask_personality_and_readiness_to_be_killed_are_set() {
    let (world, image) = world_with("busybox:latest");
    assert_eq!(sh(&world, &[], &image, "umask"), "0022");
    assert_eq!(
        sh(&world, &["--umask", "27"], &image, "umask; grep Umask: /proc/self/status"),
        "0027\nUmask:\t0027"
    );
    assert_eq!(sh(&world, &["--oom-score-adj", "321"], &image, "cat /proc/self/oom_score_adj"), "321");
    let less = world.loment([
        "run",
        "--rm",
        "--network",
        "none",
        "--oom-score-adj",
        "-7",
        &image,
        "cat",
        "/proc/self/oom_score_adj",
    ]);
    match less.code {
        0 => assert_eq!(less.stdout, "-7\n"),
        // It takes CAP_SYS_RESOURCE, which not every machine's superuser has.
        _ => less.fails_saying(125, &["oom_score_adj to -7", "denied"]),
    }
    assert_eq!(
        sh(&world, &["--personality", "LINUX32"], &image, "cat /proc/self/personality; uname -m"),
        "00000008\ni686"
    );
    assert_eq!(sh(&world, &["--personality", "LINUX"], &image, "cat /proc/self/personality"), "00000000");
    let bad: [&[&str]; 5] = [
        &["--umask", "99"],
        &["--umask", "1777"],
        &["--oom-score-adj", "1001"],
        &["--personality", "BSD"],
        &["--ulimit=host,core=0"],
    ];
    for flags in bad {
        let words = [&["run", "--rm", "--network", "none"], flags, &[&image, "true"]].concat();
        world.loment(words).fails(125);
    }
    let words =
        ["create", "--name", "c", "--network", "none", "--umask", "7", "--oom-score-adj", "5", &image];
    world.loment(words).succeeds();
    assert_eq!(world.inspect("{{.Config.Umask}} {{.HostConfig.OomScoreAdj}}", "c"), "0007 5");
    // A further program has the mask, too.
    world
        .loment(["run", "-d", "--network", "none", "--name", "d", "--umask", "7", &image, "sleep", "600"])
        .succeeds();
    assert_eq!(world.loment(["exec", "d", "sh", "-c", "umask"]).succeeds(), "0007");
    world.loment(["rm", "-f", "-t", "0", "d"]).succeeds();
}

#[test]
fn groups_and_limits_of_the_caller_are_kept() {
    let (world, image) = world_with("busybox:latest");
    let flags = ["-u", "1000", "--group-add", "keep-groups"];
    let inner = command(&world, &flags, &image, "grep Groups: /proc/self/status");
    let outer = ["/usr/bin/setpriv", "--groups", "4321,5432", "--"];
    let groups = run(&mut through(&outer, &inner), Patience::NORMAL).succeeds().to_owned();
    assert_eq!(groups.split_whitespace().collect::<Vec<_>>(), ["Groups:", "4321", "5432"]);
    let words = ["run", "--rm", "--network", "none", "--group-add", "keep-groups,4", &image, "true"];
    world.loment(words).fails_saying(125, &["keep-groups"]);
    let inner = command(&world, &["--ulimit", "host"], &image, "ulimit -n; ulimit -c; ulimit -u");
    let outer = ["/usr/bin/prlimit", "--nofile=777:888", "--core=99:99", "--nproc=66666:66666", "--"];
    let limits = run(&mut through(&outer, &inner), Patience::NORMAL).succeeds().to_owned();
    assert!(limits.starts_with("777\n") && limits.ends_with("\n66666"), "{limits}");
}

#[test]
fn an_init_of_the_hosts_is_process_1() {
    let (world, fs) = world_over_directory();
    // It does what an init is called with: `INIT -- PROGRAM …`.
    let init = world.write("init", "#!/bin/sh\nshift\n\"$@\"\necho over\n");
    fs::set_permissions(&init, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let script = "tr '\\0' ' ' < /proc/1/cmdline; echo; echo $$ | grep -v '^1$' | wc -l";
    let said = sh(&world, &["--init", "--init-path", &init, "--rootfs"], &fs, script);
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].contains("/run/podman-init -- sh -c"), "{said}");
    assert_eq!(&lines[1..], ["1", "over"]);
    let words =
        ["run", "--rm", "--network", "none", "--init", "--init-path", "/nowhere", "--rootfs", &fs, "true"];
    world.loment(words).fails_saying(125, &["/nowhere"]);
    // Without --init it is said that it does nothing.
    let words = ["run", "--rm", "--network", "none", "--init-path", "/nowhere", "--rootfs", &fs, "true"];
    assert!(world.loment(words).stderr.contains("--init-path does nothing"));
}
