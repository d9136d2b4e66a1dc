//! `--format`: templates of all commands.

use loment_testkit::Output;

use crate::engines::{Podman, prepared, runtimes};
use crate::{sleeper, world_over_directory, world_with};

#[test]
fn a_field_that_nothing_has_is_refused() {
    let (world, image) = world_with("busybox:latest");
    let create = ["create", "--network", "none", "--name", "c", "--label", "a=b", &image, "true"];
    world.loment(create).succeeds();
    let commands: [&[&str]; 12] = [
        &["ps", "--all"],
        &["images"],
        &["inspect", "c"],
        &["inspect", "--type", "image", &image],
        &["image", "inspect", &image],
        &["history", &image],
        &["events", "--stream=false", "--since", "1h"],
        &["stats", "--no-stream", "--all"],
        &["system", "df"],
        &["version"],
        &["info"],
        &["container", "inspect", "c"],
    ];
    for command in commands {
        for persona in ["podman", "docker"] {
            if persona == "docker" && command[0] == "system" {
                continue;
            }
            let stream: Vec<&str> = match (persona, command[0]) {
                // Docker ends where it is told to.
                ("docker", "events") => vec!["events", "--since", "1h", "--until", "0s"],
                _ => command.to_vec(),
            };
            let output = world.persona(persona, [&stream[..], &["--format", "{{.Nope}}"]].concat());
            let status = if persona == "docker" { 1 } else { 125 };
            output.fails_saying(status, &["can't evaluate field Nope"]);
            let output = world.persona(persona, [&stream[..], &["--format", "x"]].concat());
            assert!(output.succeeds().starts_with('x'), "{output}");
        }
    }
    for template in ["{{.Host.Arch}}", "{{.Store.GraphRoot}}", "{{.ServerVersion}}", "{{.host.arch}}"] {
        let output = world.loment(["info", "--format", template]);
        assert!(!output.succeeds().is_empty() && !output.stdout.contains("no value"), "{output}");
    }
    world.loment(["ps", "--format", "table {{.Nope}}"]).fails_saying(125, &["Nope", "Names"]);
    // Where there is nothing, nothing is asked for it.
    assert_eq!(world.loment(["ps", "--format", "{{.Nope}}"]).succeeds(), "");
    for (template, result) in [
        (r#"{{.Label "a"}}[{{.Label "b"}}]"#, "b[]"),
        ("{{range .}}{{.Names}};{{end}}", "c;"),
        ("{{upper .Names}} {{truncate .State 3}} {{join (split .Names \"\") \"-\"}}", "C cre c"),
        ("{{json .Names}}{{pad .Names 1 1}}|", "\"c\" c |"),
        ("{{println .Names}}", "c\n"),
    ] {
        let output = world.loment(["ps", "--all", "--format", template]);
        assert_eq!(output.succeeds(), result, "{template}");
    }
}

/// Runs a program with these arguments.
type Run<'a> = &'a dyn Fn(&[&str]) -> Output;

/// What is listed of two containers in several ways.
fn lists(run: Run<'_>) -> Vec<String> {
    let templates = [
        "{{.Names}} {{.Status}} {{.Command}} {{.AutoRemove}} {{.ExitCode}} {{.Exited}} {{.IsInfra}}",
        "{{.Names}} {{.Ports}}|{{.Mounts}}|{{.Networks}}|{{.Pod}}|{{.PodName}}",
        "{{range .}}<{{.Names}}>{{end}}",
        "table {{.Names}} {{.Status}}",
        "table {{.Names}}\t{{.Image}}\t{{.Command}}",
        "{{upper .Names}} {{lower .State}} {{title .Command}} {{truncate .Image 9}}",
        "{{json .Names}} {{split .Names \"\"}} {{join (split .Names \"\") \"-\"}}",
    ];
    let mut said = Vec::new();
    for template in templates {
        let output = run(&["ps", "--all", "--sort", "names", "--format", template]);
        said.push(format!("{template}: {} {}", output.code, output.stdout));
    }
    said
}

#[test]
fn templates_show_what_podman_shows() {
    let world = prepared();
    let podman = Podman::new(&world, &runtimes(&world)[1], "podman");
    podman.run(&["tag", "image", "localhost/image"]);
    let tar = world.path("image.tar").display().to_string();
    world.loment(["import", "--quiet", &tar, "localhost/image"]).succeeds();
    let both: [Run<'_>; 2] =
        [&|arguments| podman.run(arguments), &|arguments| world.persona("podman", arguments)];
    let said = both.map(|run| {
        for (name, script) in [("a", "exit 3"), ("b", "exit 0")] {
            let head = ["create", "--name", name, "--label", "x=1", "--network", "none"];
            let words =
                [&head[..], &super::engines::LIMITS, &["localhost/image", "sh", "-c", script]].concat();
            run(&words).succeeds();
        }
        lists(run)
    });
    for (ours, theirs) in said[1].iter().zip(&said[0]) {
        assert_eq!(ours, theirs);
    }
}

#[test]
fn lists_show_sizes_and_namespaces() {
    let (world, image) = world_with("busybox:latest");
    let id = sleeper(&world, "c", &[], &image);
    world.loment(["exec", "c", "dd", "if=/dev/zero", "of=/x", "bs=1000000", "count=3"]).succeeds();
    let table = world.loment(["ps", "--size"]);
    let line = table.succeeds().lines().nth(1).unwrap();
    assert!(table.stdout.lines().next().unwrap().ends_with("NAMES       SIZE"), "{table}");
    assert!(line.contains(" 3MB (virtual "), "{line}");
    let document: serde_json::Value =
        serde_json::from_str(world.loment(["ps", "--size", "--format", "json"]).succeeds()).unwrap();
    assert!(document[0]["Size"]["rwSize"].as_u64().unwrap() >= 3_000_000, "{document}");
    let table = world.loment(["ps", "--ns"]);
    let words: Vec<_> = table.succeeds().lines().nth(1).unwrap().split_whitespace().collect();
    let number = |name: &str| {
        let link = std::fs::read_link(format!("/proc/{}/ns/{name}", crate::pid_of(&world, "c"))).unwrap();
        link.display().to_string().split(['[', ']']).nth(1).unwrap().to_owned()
    };
    let expected = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"].map(number);
    assert_eq!(words[0], &id[..12]);
    assert_eq!(words[3..], expected);
    let one = world.loment(["ps", "--format", "{{.PIDNS}}"]);
    assert_eq!(one.succeeds(), expected[4]);
    for (flags, message) in [
        (&["--quiet", "--size"][..], "quiet conflicts with size and namespace"),
        (&["--ns", "--size"], "size and namespace options conflict"),
        (&["--last", "2", "--latest"], "last and latest are mutually exclusive"),
        (&["--watch", "2", "--latest"], "the watch and latest flags cannot be used together"),
    ] {
        let output = world.loment([&["ps"], flags].concat());
        assert_eq!(output.fails(125), format!("Error: {message}"));
    }
    for flag in ["--external", "--sync"] {
        assert_eq!(world.loment(["ps", flag, "--quiet"]).succeeds(), &id[..12]);
    }
    assert_eq!(world.loment(["ps", "--sort", "size", "--quiet"]).succeeds(), &id[..12]);
}

#[test]
fn a_list_that_is_watched_goes_on_until_nobody_reads() {
    use std::io::{BufRead, BufReader};
    let (world, rootfs) = world_over_directory();
    sleeper(&world, "c", &["--rootfs"], &rootfs);
    let mut command = world.command(["ps", "--watch", "1", "--format", "{{.Names}}"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        assert_eq!(lines.next().unwrap().unwrap(), "\x1b[2J\x1b[1;1Hc");
    }
    drop(lines);
    assert!(child.wait().unwrap().success());
}

#[test]
fn documents_of_lists_have_the_peers_names_and_types() {
    let world = prepared();
    let podman = Podman::new(&world, &runtimes(&world)[1], "podman");
    podman.run(&["tag", "image", "localhost/image"]);
    let tar = world.path("image.tar").display().to_string();
    world.loment(["import", "--quiet", &tar, "localhost/image"]).succeeds();
    let both: [Run<'_>; 2] =
        [&|arguments| podman.run(arguments), &|arguments| world.persona("podman", arguments)];
    let documents = both.map(|run| {
        let head = ["create", "--name", "c", "--label", "x=1", "--network", "none"];
        let words = [&head[..], &super::engines::LIMITS, &["localhost/image", "true"]].concat();
        run(&words).succeeds();
        let output = run(&["ps", "--all", "--format", "json"]);
        serde_json::from_str::<serde_json::Value>(output.succeeds()).unwrap()[0].clone()
    });
    for (field, theirs) in documents[0].as_object().unwrap() {
        let ours = &documents[1][field];
        let same = std::mem::discriminant(ours) == std::mem::discriminant(theirs);
        assert!(same, "{field}: {ours} and {theirs}");
    }
    for field in
        ["AutoRemove", "Command", "ExitedAt", "Exited", "Image", "Labels", "Names", "State", "StartedAt"]
    {
        assert_eq!(documents[1][field], documents[0][field], "{field}");
    }
    let docker = world.persona("docker", ["ps", "--all", "--format", "json"]);
    let line: serde_json::Value = serde_json::from_str(docker.succeeds()).unwrap();
    assert_eq!((&line["Names"], &line["Labels"], &line["Size"]), (&"c".into(), &"x=1".into(), &"0B".into()));
}
