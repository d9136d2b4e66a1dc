//! Which containers a command is for: `--all`, `--latest`, `--filter`, `--cidfile`, `--ignore`.

use loment_testkit::{Output, World};

use crate::{world, world_over_directory};

#[track_caller]
fn create(world: &World, name: &str, rootfs: &str) -> String {
    let file = world.path(&format!("{name}.cid"));
    let head = ["create", "--network", "none", "--name", name, "--label", &format!("is={name}"), "--cidfile"];
    let program = ["--rootfs", rootfs, "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"];
    let arguments = [&head[..], &[file.to_str().unwrap()], &program].concat();
    world.loment(arguments).succeeds().to_owned()
}

/// Names and states, the oldest first.
#[track_caller]
fn states(world: &World) -> String {
    let list = world.loment(["ps", "--all", "--format", "{{.Names}}:{{.State}}"]);
    list.succeeds().replace('\n', " ")
}

#[test]
fn each_command_is_for_the_containers_that_are_chosen() {
    let (world, rootfs) = world_over_directory();
    let ids = ["a", "b", "c"].map(|name| create(&world, name, &rootfs));
    let file = |name: &str| world.path(&format!("{name}.cid")).to_str().unwrap().to_owned();
    let (a, b) = (file("a"), file("b"));
    let lines = |numbers: &[usize]| numbers.iter().map(|&n| ids[n].as_str()).collect::<Vec<_>>().join("\n");
    let is_b = ["--filter", "label=is=b"];
    let steps: &[(&[&str], &[usize], &str)] = &[
        (&["start", "--latest"], &[2], "a:created b:created c:running"),
        (&["start", is_b[0], is_b[1]], &[1], "a:created b:running c:running"),
        (&["start", "--all"], &[0], "a:running b:running c:running"),
        (&["pause", "--cidfile", &a, "--cidfile", &b], &[0, 1], "a:paused b:paused c:running"),
        (&["pause", "-l"], &[2], "a:paused b:paused c:paused"),
        (&["unpause", is_b[0], is_b[1]], &[1], "a:paused b:running c:paused"),
        (&["unpause", "--all"], &[2, 0], "a:running b:running c:running"),
        (&["stop", "-f", "name=^a$", "-f", "name=^b$"], &[1, 0], "a:exited b:exited c:running"),
        (&["restart", "--cidfile", &a], &[0], "a:running b:exited c:running"),
        (&["restart", "--running", is_b[0], is_b[1]], &[], "a:running b:exited c:running"),
        (&["kill", "--cidfile", &a], &[0], "a:exited b:exited c:running"),
        (&["kill", "--latest"], &[2], "a:exited b:exited c:exited"),
        (&["stop", "--all"], &[], "a:exited b:exited c:exited"),
        (&["rm", "--cidfile", &b, "--cidfile", "/no/such", "--ignore"], &[1], "a:exited c:exited"),
        (&["rm", "--filter", "name=a", "--filter", "status=exited"], &[0], "c:exited"),
        (&["rm", "-l"], &[2], ""),
    ];
    for (arguments, chosen, after) in steps {
        let output = world.loment(*arguments);
        assert_eq!(output.succeeds(), lines(chosen), "{arguments:?}");
        assert_eq!(states(&world), *after, "{arguments:?}");
    }
    for verb in ["start", "stop", "rm", "wait", "attach", "inspect", "logs"] {
        world.loment([verb, "--latest"]).fails_saying(125, &["there is no container"]);
    }
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn commands_for_one_container_take_the_latest() {
    let (world, rootfs) = world_over_directory();
    create(&world, "old", &rootfs);
    let id = create(&world, "new", &rootfs);
    let file = world.path("old.cid");
    assert_eq!(world.loment(["inspect", "--latest", "--format", "{{.Name}}"]).succeeds(), "new");
    assert_eq!(world.loment(["container", "inspect", "-l", "--format", "{{.Id}}"]).succeeds(), id);
    world.loment(["start", "new", "old"]).succeeds();
    assert_eq!(world.loment(["exec", "--latest", "hostname"]).succeeds(), &id[..12]);
    let hostname = world.inspect("{{.Config.Hostname}}", "old");
    let of_file = ["exec", "--cidfile", file.to_str().unwrap(), "sh", "-c", "hostname"];
    assert_eq!(world.loment(of_file).succeeds(), hostname);
    world.loment(["exec", "old"]).fails_saying(125, &["command"]);
    let words = "reading CIDFile: open /no/such: no such file or directory";
    world.loment(["exec", "--cidfile", "/no/such", "true"]).fails_saying(125, &[words]);
    let words = "either start all containers or the container(s) provided in the arguments";
    world.loment(["start", "--all", "x"]).fails_saying(125, &[words]);
    let words = "fakepolicy invalid restart policy";
    world.loment(["start", "--filter", "restart-policy=fakepolicy", "x"]).fails_saying(125, &[words]);
    // Filters choose among names, as with Podman.
    let some = world.loment(["start", "--filter", "name=new", "new", "old"]);
    assert_eq!(some.succeeds(), "new");
    assert_eq!(world.loment(["start", "--filter", "name=none", "new"]).succeeds(), "");
    world.loment(["stop", "old"]).succeeds();
    world.loment(["kill", "--signal", "TERM", "--latest"]).succeeds();
    assert_eq!(world.loment(["wait", "--latest"]).succeeds(), "0");
}

/// What both programs say of what cannot be said together.
fn mistakes(run: &dyn Fn(&[&str]) -> Output) -> Vec<(String, i32, String)> {
    let several = ["stop", "restart", "kill", "pause", "unpause", "rm"];
    let mut all: Vec<Vec<&str>> = Vec::new();
    for verb in several {
        all.extend([
            vec![verb],
            vec![verb, "--all", "--latest"],
            vec![verb, "--all", "x"],
            vec![verb, "--latest", "x"],
            vec![verb, "--cidfile", "x", "--all"],
            vec![verb, "--cidfile", "x", "--latest"],
        ]);
        if verb != "kill" {
            all.push(vec![verb, "--filter", "name=x", "x"]);
        }
    }
    all.extend([
        vec!["start", "--all", "--latest"],
        vec!["start", "--latest", "x"],
        vec!["wait", "--latest", "x"],
        vec!["attach", "--latest", "x"],
        vec!["logs", "--latest", "x"],
        vec!["inspect", "--latest", "x"],
        vec!["inspect"],
    ]);
    let outcome = |words: &Vec<&str>| {
        let output = run(words);
        (words.join(" "), output.code, output.stderr.clone())
    };
    all.iter().map(outcome).collect()
}

#[test]
fn mistakes_are_told_as_podman_tells_them() {
    let world = world();
    let podman = |arguments: &[&str]| {
        let mut command = crate::engines::command(&world, "podman");
        let dir = |name: &str| world.dir().join(format!("podman-{name}"));
        command.arg("--root").arg(dir("root")).arg("--runroot").arg(dir("run"));
        command.arg("--tmpdir").arg(dir("tmp")).args(["--cgroup-manager", "cgroupfs"]);
        command.args(["--events-backend", "file", "--storage-driver", "vfs"]).args(arguments);
        loment_testkit::run(&mut command, loment_testkit::Patience::NORMAL)
    };
    let theirs = mistakes(&podman);
    let ours = mistakes(&|arguments| world.persona("podman", arguments));
    assert_eq!(ours, theirs);
    for (words, name) in [(&["stop", "--cidfile", "/no/such"][..], "/no/such"), (&["start"], "at least one")]
    {
        world.loment(words).fails_saying(125, &[name]);
    }
    let empty = world.write("empty", "");
    world.loment(["rm", "--cidfile", &empty]).fails_saying(125, &["no id", "empty"]);
    world.loment(["stop", "--cidfile", "/no/such", "--ignore"]).succeeds();
    world.loment(["stop", "--ignore", "nobody"]).succeeds();
    world.loment(["wait", "--ignore", "nobody"]).succeeds();
}
