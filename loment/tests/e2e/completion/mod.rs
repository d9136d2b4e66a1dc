//! What shells are told: the answers, and that nothing changes by them.

mod shells;

use loment_testkit::World;

use crate::{sleeper, world, world_with};

/// The words of an answer, and what the shell is to do with them.
#[track_caller]
fn ask(world: &World, words: &[&str]) -> (Vec<String>, String) {
    let all = ["__completeNoDesc"].iter().chain(words);
    let output = world.loment(all);
    let (words, directive) =
        output.succeeds().trim_end().rsplit_once(':').expect("a directive is the last line");
    (words.lines().map(str::to_owned).collect(), directive.to_owned())
}

#[track_caller]
fn words(world: &World, words: &[&str]) -> Vec<String> {
    ask(world, words).0
}

#[test]
fn answers_are_those_of_cobra() {
    let world = world();
    for program in ["loment", "podman", "docker"] {
        let output = world.named(program, ["__complete", "unpa"]);
        assert_eq!(output.succeeds(), "unpause\tLet paused containers go on\n:4");
        assert_eq!(output.stderr, "Completion ended with directive: ShellCompDirectiveNoFileComp\n");
        let output = world.named(program, ["__completeNoDesc", "container", "unpa"]);
        assert_eq!(output.succeeds(), "unpause\n:4");
    }
    let output = world.named("skopeo", ["__completeNoDesc", "list"]);
    assert_eq!(output.succeeds(), "list-tags\n:4");
    let output = world.loment(["__complete", "run", "--workdir", "/", "--cidfile", ""]);
    assert_eq!(output.succeeds(), ":0");
    assert_eq!(output.stderr, "Completion ended with directive: ShellCompDirectiveDefault\n");
    let output = world.loment(["__complete", "ps", "--filter", "res"]);
    assert_eq!(output.succeeds(), "restart-policy=\n:6");
    let words = "Completion ended with directive: ShellCompDirectiveNoSpace, ShellCompDirectiveNoFileComp\n";
    assert_eq!(output.stderr, words);
}

#[test]
fn who_asks_changes_nothing() {
    let world = world();
    for typed in
        [&["start", ""][..], &["run", "-v", ""], &["rmi", ""], &["pod", "rm", ""], &["secret", "rm", ""]]
    {
        assert_eq!(words(&world, typed), [""; 0]);
    }
    assert!(!world.root().exists() && !world.runroot().exists());
    // Another program's, and one that a newer loment wrote, are left alone and not complained of.
    std::fs::create_dir(world.root()).expect("make a directory");
    for format in [r#"{"version": 99}"#, "no json"] {
        std::fs::write(world.root().join("FORMAT"), format).expect("write a file");
        let output = world.loment(["__complete", "start", ""]);
        assert_eq!(output.succeeds(), ":4");
        assert_eq!(output.stderr.lines().count(), 1);
    }
    std::fs::remove_dir_all(world.root()).expect("remove a directory");
}

#[test]
fn containers_are_named_by_what_they_do() {
    let (world, image) = world_with("busybox:latest");
    world.loment(["create", "--name", "new", &image, "true"]).succeeds();
    world.loment(["run", "--name", "over", &image, "true"]).succeeds();
    sleeper(&world, "busy", &[], &image);
    sleeper(&world, "held", &[], &image);
    world.loment(["pause", "held"]).succeeds();
    // One that is damaged is passed over.
    let id = world.loment(["create", "--name", "bad", &image, "true"]).succeeds().to_owned();
    std::fs::write(world.root().join("containers").join(&id).join("container.json"), "{")
        .expect("damage a record");

    assert_eq!(words(&world, &["start", ""]), ["new", "over"]);
    assert_eq!(words(&world, &["stop", ""]), ["busy", "held"]);
    assert_eq!(words(&world, &["exec", ""]), ["busy"]);
    assert_eq!(words(&world, &["container", "unpause", ""]), ["held"]);
    assert_eq!(words(&world, &["init", ""]), ["new"]);
    assert_eq!(words(&world, &["rm", ""]), ["new", "over", "busy", "held"]);
    assert_eq!(words(&world, &["rm", "new", "b"]), ["busy"], "several may be named");
    assert_eq!(words(&world, &["rename", "new", ""]), [""; 0], "a new name is nobody's");
    for chosen in ["--all", "--latest", "-a"] {
        assert_eq!(words(&world, &["stop", chosen, ""]), [""; 0], "{chosen} says which");
    }
    // What follows the container is a command, and files of this machine.
    assert_eq!(ask(&world, &["exec", "busy", "--pr"]), (vec![], "0".into()));
    assert_eq!(ask(&world, &["exec", "--latest", ""]), (vec![], "0".into()));
    assert_eq!(words(&world, &["run", "--network", "container:b"]), ["container:busy"]);
    assert_eq!(words(&world, &["ps", "--filter", "before=ne"]), ["before=new"]);
    assert_eq!(ask(&world, &["cp", "bu"]), (vec!["busy:".into()], "2".into()));
    assert_eq!(ask(&world, &["cp", "/et"]), (vec![], "0".into()));
    let id = world.inspect("{{.Id}}", "busy");
    assert_eq!(words(&world, &["--log-level", "debug", "stop", "--runtime", "runc", "b"]), ["busy"]);
    assert_eq!(words(&world, &["stop", &id[..3]]), [&id[..12]], "an id once some of it is typed");
}

#[test]
fn files_of_a_running_container_are_found() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "busy", &[], &image);
    let script = "mkdir -p /tmp/some/dir; touch /tmp/some/file /tmp/some/fine; ln -s ../../../../../tmp/some /tmp/link; touch \"$(printf '/tmp/some/fi\\nre')\"";
    world.loment(["exec", "busy", "sh", "-c", script]).succeeds();
    assert!(words(&world, &["cp", "busy:"]).contains(&"busy:/tmp/".to_owned()));
    assert_eq!(ask(&world, &["cp", "busy:/tmp/some/d"]), (vec!["busy:/tmp/some/dir/".into()], "6".into()));
    let files = ["busy:/tmp/some/file", "busy:/tmp/some/fine"];
    assert_eq!(words(&world, &["cp", "x", "busy:/tmp/some/fi"]), files, "a name of two lines is none");
    assert_eq!(words(&world, &["cp", "busy:/tmp/link/fil"]), ["busy:/tmp/link/file"]);
    // A path that is not there, a container that does not run, and a path of the host.
    world.loment(["create", "--name", "new", &image, "true"]).succeeds();
    for typed in ["busy:/nonesuch/", "new:/", "busy:tmp"] {
        assert_eq!(ask(&world, &["cp", typed]), (vec![], "4".into()), "{typed}");
    }
    assert_eq!(ask(&world, &["cp", "./busy:"]), (vec![], "0".into()));
}

#[test]
fn other_objects_are_named_too() {
    let (world, image) = world_with("busybox:latest");
    world.loment(["tag", &image, "quay.io/some/where:1"]).succeeds();
    world.loment(["volume", "create", "data"]).succeeds();
    world.loment_with_input(["secret", "create", "key", "-"], "x").succeeds();
    world.loment(["pod", "create", "--name", "peas"]).succeeds();
    world.loment(["create", "--pod", "peas", "--name", "one", &image, "true"]).succeeds();

    assert!(words(&world, &["run", ""]).contains(&"quay.io/some/where:1".to_owned()));
    assert_eq!(words(&world, &["rmi", "whe"]), ["where:1"]);
    assert_eq!(words(&world, &["rmi", "some/"]), ["some/where:1"]);
    let id = world.inspect("{{.Id}}", &image);
    assert_eq!(words(&world, &["rmi", &id[..5]]), [&id[..12]]);
    assert_eq!(ask(&world, &["create", "--rootfs", ""]), (vec![], "16".into()), "directories");
    assert_eq!(ask(&world, &["run", "-v", "da"]), (vec!["data".into()], "2".into()));
    assert_eq!(words(&world, &["volume", "inspect", ""]), ["data"]);
    assert_eq!(words(&world, &["run", "--secret", ""]), ["key"]);
    assert_eq!(words(&world, &["secret", "inspect", "k"]), ["key"]);
    assert_eq!(words(&world, &["pod", "start", ""]), ["peas"]);
    assert_eq!(words(&world, &["pod", "stop", ""]), [""; 0], "it does not run");
    assert_eq!(words(&world, &["run", "--pod", "p"]), ["peas"]);
    assert_eq!(world.loment(["__complete", "start", "on"]).succeeds(), "one\tpeas\n:4");
    for start in ["one", "peas", "data", "where"] {
        assert!(!words(&world, &["inspect", start]).is_empty(), "{start}");
    }
}

#[test]
fn flags_and_their_values_are_completed() {
    let world = world();
    assert_eq!(words(&world, &["stop", "--ti"]), ["--time"]);
    assert_eq!(words(&world, &["stop", "--time", "3", "--ti"]), [""; 0], "it is given already");
    assert!(words(&world, &["stop", "-"]).contains(&"-t".to_owned()));
    assert_eq!(words(&world, &["run", "-e", "A=1", "--env-"]), ["--env-file", "--env-host", "--env-merge"]);
    assert!(
        words(&world, &["run", "--env", "A=1", "--env"]).contains(&"--env".to_owned()),
        "again and again"
    );
    assert_eq!(words(&world, &["run", "-itv", "x:/y", "--inte"]), [""; 0], "letters together are flags, too");
    let drivers = ["journald", "json-file", "k8s-file", "none", "passthrough", "passthrough-tty"];
    assert_eq!(words(&world, &["run", "--log-driver", ""]), drivers);
    assert_eq!(words(&world, &["run", "--log-driver=j"]), ["journald", "json-file"]);
    assert_eq!(words(&world, &["run", "--restart", "on"]), ["on-failure"]);
    assert_eq!(words(&world, &["pull", "--policy", "n"]), ["never", "newer"]);
    assert_eq!(words(&world, &["run", "--network", ""]), ["container:", "host", "none"]);
    assert_eq!(words(&world, &["run", "--read-only="]), ["true", "false"]);
    assert_eq!(
        words(&world, &["kill", "-s", "sigt"]),
        ["sigtrap", "sigterm", "sigtstp", "sigttin", "sigttou"]
    );
    assert_eq!(words(&world, &["kill", "--signal", "TE"]), ["TERM"]);
    assert_eq!(words(&world, &["run", "--cap-add", "net_"]).len(), 4);
    assert!(words(&world, &["run", "--sysctl", "net."]).iter().all(|key| key.starts_with("net.")));
    assert_eq!(words(&world, &["--cgroup-manager", ""]), ["cgroupfs", "systemd"]);
    assert_eq!(words(&world, &["ps", "--", "--al"]), [""; 0], "nothing is a flag there");
    assert_eq!(ask(&world, &["nonesuch", ""]), (vec![], "4".into()));
}

#[test]
fn templates_are_completed_field_by_field() {
    let (world, image) = world_with("busybox:latest");
    world.loment(["create", "--name", "web", &image, "true"]).succeeds();
    world.loment(["volume", "create", "data"]).succeeds();
    assert_eq!(ask(&world, &["ps", "--format", ""]), (vec!["json".into()], "4".into()));
    assert_eq!(
        ask(&world, &["ps", "--format", "{{.ID}} {{.Po"]),
        (
            vec!["{{.ID}} {{.Pod}}".into(), "{{.ID}} {{.PodName}}".into(), "{{.ID}} {{.Ports}}".into()],
            "6".into(),
        )
    );
    let has = |typed: &[&str], word: &str| {
        let all = words(&world, typed);
        assert!(all.contains(&word.to_owned()), "{typed:?}: {all:?}");
    };
    has(&["inspect", "-f", "{{."], "{{.Args}}");
    has(&["inspect", "web", "-f", "{{."], "{{.State.");
    has(&["inspect", "web", "--format={{ .State.P"], "{{ .State.Pid}}");
    has(&["inspect", &image, "-f", "{{."], "{{.Digest}}");
    world.loment(["pod", "create", "--name", "peas"]).succeeds();
    has(&["pod", "inspect", "peas", "-f", "{{."], "{{.NumContainers}}");
    has(&["inspect", "peas", "-f", "{{."], "{{.BlkioDeviceReadBps}}");
    has(&["inspect", "data", "-f", "{{."], "{{.Anonymous}}");
    // What was offered is understood.
    assert_eq!(world.inspect("{{.Anonymous}}", "data"), "false");
    assert_eq!(world.inspect("{{.BlkioDeviceReadBps}}", "peas"), "[]");
    world.loment(["ps", "--all", "--format", "{{.ID}} {{.Pod}}"]).succeeds();
}

#[test]
fn everything_can_be_asked() {
    let world = world();
    let all = |typed: &[&str]| words(&world, typed);
    let mut count = 0;
    for first in all(&[""]) {
        let seconds = match world.loment([first.as_str(), "--help"]).succeeds().contains("\nCommands:\n") {
            true => all(&[&first, ""]),
            false => vec![String::new()],
        };
        assert!(!seconds.is_empty(), "{first}");
        for second in seconds {
            let command: Vec<&str> =
                [first.as_str(), &second].into_iter().filter(|word| !word.is_empty()).collect();
            let flags = all(&[&command[..], &["--"]].concat());
            assert!(flags.contains(&"--help".to_owned()), "{command:?}: {flags:?}");
            all(&[&command[..], &[""]].concat());
            count += flags.len();
        }
    }
    assert!(count > 1000, "{count}");
    assert!(!world.root().exists());
}
