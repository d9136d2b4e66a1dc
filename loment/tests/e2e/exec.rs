//! Further programs in a running container.

use crate::{eventually, sleeper, through, world_over_directory, world_with};

#[test]
fn exec_is_in_the_containers_namespaces_groups_and_root() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "c", &[], &image);
    let pid = crate::pid_of(&world, "c");
    for kind in ["pid", "mnt", "uts", "ipc", "net", "cgroup"] {
        let inside = world.loment(["exec", "c", "readlink", &format!("/proc/self/ns/{kind}")]);
        let container = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_eq!(inside.succeeds(), container.to_string_lossy(), "{kind}");
    }
    assert_eq!(
        world.loment(["exec", "c", "sh", "-c", "cut -d: -f3 /proc/self/cgroup | sort -u"]).succeeds(),
        "/"
    );
    let confined = world.loment(["exec", "c", "grep", "-E", "^(Seccomp|CapBnd):", "/proc/self/status"]);
    assert_eq!(confined.succeeds(), "CapBnd:\t00000000800405fb\nSeccomp:\t2");
}

#[test]
fn the_exit_status_and_streams_are_the_programs() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "c", &[], &image);
    let output = world.loment(["exec", "c", "sh", "-c", "echo out; echo err >&2; exit 6"]);
    assert_eq!(output.fails(6), "err");
    assert_eq!(output.stdout, "out\n");
    world.loment(["exec", "c", "sh", "-c", "kill -9 $$"]).fails(137);
    world.loment(["exec", "c", "/no/such/program"]).fails(127);
    world.loment(["exec", "c", "no-such-program"]).fails(127);
    world.loment(["exec", "c", "/etc/passwd"]).fails(126);
    assert_eq!(world.loment_with_input(["exec", "-i", "c", "cat"], "typed").succeeds(), "typed");
    assert_eq!(world.loment_with_input(["exec", "c", "cat"], "typed").succeeds(), "");
}

#[test]
fn user_environment_and_directory_can_be_chosen() {
    let (world, image) = world_with("app:latest");
    let head =
        ["run", "-d", "--network", "none", "--name", "c", "-e", "OF=container", "--entrypoint", "sleep"];
    world.loment([&head, [image.as_str(), "100"].as_slice()].concat()).succeeds();
    let run = |flags: &[&str], script: &str| {
        world.loment([&["exec"], flags, &["c", "sh", "-c", script]].concat()).succeeds().to_owned()
    };
    assert_eq!(run(&[], "id -u; pwd; echo $OF $FROM_IMAGE"), "1000\n/work/dir\ncontainer yes");
    assert_eq!(run(&["-u", "0"], "id -u; echo $HOME"), "0\n/root");
    assert_eq!(run(&["--user", "4321:8765"], "id -u; id -g"), "4321\n8765");
    assert_eq!(run(&["-w", "/tmp", "-e", "OF=exec", "--env", "B=2"], "pwd; echo $OF $B"), "/tmp\nexec 2");
    assert_eq!(run(&["-u", "app"], "grep CapEff /proc/self/status | cut -f2"), "0000000000000000");
}

#[test]
fn a_detached_exec_goes_on_alone() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "c", &[], &image);
    world.loment(["exec", "-d", "c", "sh", "-c", "sleep 0.2; echo done > /tmp/mark"]).succeeds();
    let mark = || world.loment(["exec", "c", "cat", "/tmp/mark"]).stdout == "done\n";
    eventually("the mark is written", mark);
}

#[test]
fn programs_in_a_container_have_ids() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "c", &[], &image);
    let waits = "until test -e /tmp/go; do sleep 0.05; done";
    let ids = || world.inspect("{{join .ExecIDs \" \"}}", "c");
    let id = world.loment(["exec", "-d", "c", "sh", "-c", waits]).succeeds().to_owned();
    assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    assert_eq!(ids(), id);
    assert_eq!(world.persona("docker", ["exec", "-d", "c", "true"]).succeeds(), "");
    // For Podman it is the engine that fails then.
    world.loment(["exec", "-d", "c", "no-such-program"]).fails(125);
    world.persona("docker", ["exec", "-d", "c", "no-such-program"]).fails(127);
    world.loment(["exec", "c", "no-such-program"]).fails(127);
    world.loment(["exec", "c", "touch", "/tmp/go"]).succeeds();
    eventually("it is gone", || ids().is_empty());
    world
        .loment(["exec", "c"])
        .fails_saying(125, &["must provide a non-empty command to start an exec session"]);
}

#[test]
fn exec_needs_a_running_container() {
    let (world, image) = world_with("busybox:latest");
    world.loment(["create", "--network", "none", "--name", "c", &image, "true"]).succeeds();
    let output = world.loment(["exec", "c", "true"]);
    assert!(matches!(output.code, 125 | 255), "{output}");
    assert!(output.stderr.contains("can only create exec sessions on running containers"), "{output}");
    world.loment(["exec", "nothing", "true"]).fails_saying(125, &["nothing"]);
}

#[test]
fn many_execs_at_once_all_succeed_and_none_stays() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "c", &[], &image);
    std::thread::scope(|scope| {
        for i in 0..12 {
            let world = &world;
            let text = i.to_string();
            scope.spawn(move || assert_eq!(world.loment(["exec", "c", "echo", &text]).succeeds(), text));
        }
    });
    let zombies = "grep -l 'State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l";
    assert_eq!(world.loment(["exec", "c", "sh", "-c", zombies]).succeeds(), "0");
}

#[test]
fn arguments_and_environment_may_take_what_the_kernel_takes() {
    let (world, fs) = world_over_directory();
    sleeper(&world, "c", &["--rootfs"], &fs);
    let many: Vec<String> = (0..10).map(|n| n.to_string().repeat(100_000)).collect();
    let arguments: Vec<&str> = many.iter().map(String::as_str).collect();
    let file = world
        .write("env", many.iter().enumerate().fold(String::new(), |t, (i, v)| t + &format!("V{i}={v}\n")));
    // A megabyte each: two are what a stack of eight leaves room for.
    let script = "echo $# ${#1} ${#10} ${#V0} ${#V9}";
    let run = ["run", "--rm", "--network", "none", "--env-file", &file, "--rootfs", &fs];
    let exec = ["exec", "--env-file", &file, "c"];
    let program = [&["sh", "-c", script, "sh"], arguments.as_slice()].concat();
    for head in [&run[..], &exec] {
        assert_eq!(
            world.loment([head, &program].concat()).succeeds(),
            "10 100000 100000 100000 100000",
            "{}",
            head[0]
        );
    }
}

#[test]
fn what_is_longer_is_an_error_that_names_it() {
    let (world, fs) = world_over_directory();
    sleeper(&world, "c", &["--rootfs"], &fs);
    let one = world.write("one", format!("SHORT=1\nLONG={}\n", "x".repeat(200_000)));
    let all = world
        .write("all", (0..100).fold(String::new(), |t, i| t + &format!("V{i}={}\n", "x".repeat(100_000))));
    let run = ["run", "--rm", "--network", "none", "--env-file"];
    for (file, words) in [
        (&one, ["environment variable LONG of 200005 bytes (at most 131071)", "argument list too long"]),
        (&all, ["bytes of arguments and environment (at most ", "argument list too long"]),
    ] {
        world.loment([&run[..], &[file, "--rootfs", &fs, "true"]].concat()).fails_saying(126, &words);
        world.loment(["exec", "--env-file", file, "c", "true"]).fails_saying(126, &words);
    }
}

#[test]
fn annotations_of_the_container_hold_for_what_enters_it() {
    let (world, fs) = world_over_directory();
    let keep = ["--annotation", "run.oci.keep_original_groups=1"];
    let command = |words: &[&str]| {
        // The container's monitor has the groups of whoever started it.
        let mut command = through(&["setpriv", "--groups", "42,43"], &world.command(words));
        loment_testkit::run(&mut command, loment_testkit::Patience::NORMAL)
    };
    let head = ["run", "--detach", "--network", "none", "--name", "c"];
    command(&[&head[..], &keep, &["--rootfs", &fs, "sleep", "1000"]].concat()).succeeds();
    let groups = ["exec", "c", "grep", "Groups", "/proc/self/status"];
    assert_eq!(world.loment(groups).succeeds().trim_end(), "Groups:\t42 43");
}
