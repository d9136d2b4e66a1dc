//! How a program is started: command, environment, user, directory, standard streams.

use crate::{sh, world_with};

#[test]
fn the_exit_status_is_the_programs() {
    let (world, image) = world_with("busybox:latest");
    // As process 1 a program would not get its own signals.
    let run = |script: &str| {
        world.loment(["run", "--rm", "--init", "--network", "none", &image, "sh", "-c", script])
    };
    run("exit 0").succeeds();
    run("exit 7").fails(7);
    run("kill -9 $$").fails(137);
    run("kill -TERM $$; sleep 5").fails(143);
}

#[test]
fn standard_streams_are_kept_apart_and_whole() {
    let (world, image) = world_with("busybox:latest");
    let output =
        world.loment(["run", "--rm", "--network", "none", &image, "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((output.succeeds(), output.stderr.as_str()), ("out", "err\n"));
    let large = world.loment([
        "run",
        "--rm",
        "--network",
        "none",
        &image,
        "sh",
        "-c",
        "yes 0123456789 | head -n 200000",
    ]);
    assert_eq!(large.succeeds().len(), 200_000 * 11 - 1);
    assert!(large.stdout.lines().all(|l| l == "0123456789"));
}

#[test]
fn standard_input_is_there_only_when_asked_for() {
    let (world, image) = world_with("busybox:latest");
    let with = world.loment_with_input(["run", "--rm", "-i", "--network", "none", &image, "cat"], "typed\n");
    assert_eq!(with.succeeds(), "typed");
    let without = world.loment_with_input(["run", "--rm", "--network", "none", &image, "cat"], "typed\n");
    assert_eq!(without.succeeds(), "");
    let much = "0123456789abcdef".repeat(65_536);
    let counted =
        world.loment_with_input(["run", "--rm", "-i", "--network", "none", &image, "wc", "-c"], &much);
    assert_eq!(counted.succeeds(), much.len().to_string());
}

#[test]
fn an_images_configuration_is_used() {
    let (world, image) = world_with("app:latest");
    let run = |arguments: &[&str]| {
        let head = ["run", "--rm", "--network", "none", image.as_str()];
        world.loment([&head, arguments].concat()).succeeds().to_owned()
    };
    assert_eq!(run(&[]), "entry first second");
    assert_eq!(run(&["other"]), "entry other");
}

#[test]
fn the_entry_point_can_be_replaced() {
    let (world, image) = world_with("app:latest");
    let run = |flags: &[&str], arguments: &[&str]| {
        let head = ["run", "--rm", "--network", "none"];
        world.loment([&head, flags, &[image.as_str()], arguments].concat()).succeeds().to_owned()
    };
    assert_eq!(run(&["--entrypoint", "/bin/echo"], &["a", "b"]), "a b");
    assert_eq!(run(&["--entrypoint", "[\"/bin/echo\", \"x\"]"], &["y"]), "x y");
    assert_eq!(run(&["--entrypoint", ""], &["/bin/pwd"]), "/work/dir");
    // Nothing after the image is ours, whatever it looks like.
    let words = ["-v", "-e", "-c", "--name", "x", "--nonsense", "--", "--help"];
    assert_eq!(run(&["--entrypoint", "/bin/echo"], &words), words.join(" "));
}

#[test]
fn user_directory_and_groups_come_from_image_and_flags() {
    let (world, image) = world_with("app:latest");
    let run =
        |flags: &[&str], script: &str| sh(&world, &[&["--entrypoint", ""], flags].concat(), &image, script);
    assert_eq!(
        run(&[], "id -u; id -g; id -G; pwd; echo $HOME"),
        "1000\n1000\n1000 2000\n/work/dir\n/home/app"
    );
    assert_eq!(run(&["--user", "0"], "id -u; echo $HOME"), "0\n/root");
    assert_eq!(run(&["-u", "4321:8765"], "id -u; id -g; echo $HOME"), "4321\n8765\n/work/dir");
    assert_eq!(run(&["-u", "app:extra"], "id -u; id -g"), "1000\n2000");
    assert_eq!(run(&["-u", "nobody"], "id -u"), "65534");
    let there = |program: &str| {
        let words = ["run", "--rm", "--network", "none", "--workdir", "/made/here", "--entrypoint", ""];
        world.persona(program, [&words[..], &[&image, "sh", "-c", "pwd; stat -c %u ."]].concat())
    };
    assert_eq!(there("docker").succeeds(), "/made/here\n0");
    there("podman").fails_saying(126, &["workdir \"/made/here\" does not exist on container"]);
    let mounted = format!("{}:/made/here/too", world.dir().display());
    assert_eq!(run(&["--workdir", "/made/here", "-v", &mounted], "pwd; ls"), "/made/here\ntoo");
}

#[test]
fn environment_comes_from_image_flags_and_files() {
    let (world, image) = world_with("app:latest");
    let file =
        world.write("env", "# a comment\nFROM_FILE=one two\n\nOVERRIDE=file\nFROM_HOST\nodd*na#me!=file\n");
    let mut command = world.command([
        "run",
        "--rm",
        "--network",
        "none",
        "--entrypoint",
        "env",
        "--env-file",
        &file,
        "-e",
        "OVERRIDE=flag",
        "-e",
        "EMPTY=",
        "-e",
        "we.ird*na#me!?=flag",
        "--env=TAKEN",
        &image,
    ]);
    command.env("FROM_HOST", "host").env("TAKEN", "taken").env("NOT_TAKEN", "x");
    let output = loment_testkit::run(&mut command, loment_testkit::Patience::NORMAL);
    let lines: Vec<_> = output.succeeds().lines().collect();
    for wanted in [
        "FROM_IMAGE=yes",
        "FROM_FILE=one two",
        "OVERRIDE=flag",
        "odd*na#me!=file",
        "we.ird*na#me!?=flag",
        "FROM_HOST=host",
        "TAKEN=taken",
        "EMPTY=",
        "PATH=/usr/local/bin:/usr/bin:/bin",
        "HOME=/home/app",
    ] {
        assert!(lines.contains(&wanted), "no {wanted}: {output}");
    }
    assert!(!output.stdout.contains("NOT_TAKEN"), "{output}");
    assert!(lines.iter().any(|l| l.starts_with("container=")), "{output}");
    assert!(lines.iter().any(|l| l.starts_with("HOSTNAME=")), "{output}");
}

#[test]
fn hosts_and_resolver_files_are_there() {
    let (world, image) = world_with("busybox:latest");
    let hosts = sh(&world, &["--hostname", "here"], &image, "cat /etc/hosts");
    assert!(hosts.lines().any(|l| l.starts_with("127.0.0.1") && l.contains("localhost")), "{hosts}");
    assert_eq!(sh(&world, &[], &image, "test -e /etc/resolv.conf && echo there"), "there");
}

#[test]
fn labels_and_annotations_can_be_inspected() {
    let (world, image) = world_with("app:latest");
    let flags = ["--label", "org.example.x=1", "-l", "empty", "--annotation", "io.example/y=2"];
    world
        .loment(
            [&["create", "--network", "none", "--name", "c"], flags.as_slice(), &[image.as_str()]].concat(),
        )
        .succeeds();
    assert_eq!(world.inspect("{{index .Config.Labels \"org.example.x\"}}", "c"), "1");
    assert_eq!(world.inspect("{{index .Config.Labels \"org.example.kind\"}}", "c"), "app");
    assert_eq!(world.inspect("{{index .Config.Annotations \"io.example/y\"}}", "c"), "2");
    assert_eq!(
        world.inspect("{{.Config.StopSignal}}", "c").trim_start_matches("SIG").replace("10", "USR1"),
        "USR1"
    );
}
