//! `wait` for other things than an end; `container prune` and `container cleanup`.

use std::process::Stdio;

use loment_testkit::{Output, World};

use crate::{eventually, lives, monitor_of, pid_of, sleeper, world, world_over_directory};

fn create(world: &World, name: &str, flags: &[&str], rootfs: &str, script: &str) -> String {
    let head = ["create", "--network", "none", "--name", name];
    let arguments = [&head[..], flags, &["--rootfs", rootfs, "sh", "-c", script]].concat();
    world.loment(arguments).succeeds().to_owned()
}

#[test]
fn a_container_can_be_waited_for_to_be_something() {
    let (world, rootfs) = world_over_directory();
    create(&world, "made", &[], &rootfs, "exit 7");
    let wait = |arguments: &[&str]| world.loment([&["wait"], arguments].concat()).succeeds().to_owned();
    assert_eq!(wait(&["--condition", "created", "made"]), "-1");
    assert_eq!(wait(&["--condition", "configured", "--condition", "running", "made"]), "-1");
    let health = ["--health-cmd", "test -e /dev/shm/well", "--health-interval", "100ms", "--rootfs"];
    let begin = |arguments: &[&str]| {
        let mut command = world.command([&["wait", "--interval", "20ms"], arguments].concat());
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let output = |child: std::process::Child| {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let ended = begin(&["--condition", "stopped,paused", "made"]);
    world.loment(["start", "made"]).succeeds();
    assert_eq!(output(ended), "7\n");
    sleeper(&world, "c", &health, &rootfs);
    assert_eq!(wait(&["--condition", "running", "c"]), "-1");
    let paused = begin(&["--condition", "paused", "c"]);
    world.loment(["pause", "c"]).succeeds();
    assert_eq!(output(paused), "-1\n");
    world.loment(["unpause", "c"]).succeeds();
    // Of what stays true, it does not matter when it begins.
    let healthy = begin(&["--condition", "healthy", "c"]);
    world.loment(["exec", "c", "touch", "/dev/shm/well"]).succeeds();
    assert_eq!(output(healthy), "-1\n");
    // Of several, the first is enough.
    let first = begin(&["--exit-first-match", "--condition", "removing", "c", "made"]);
    // clock_nanosleep(2): it has looked.
    let sleeps = |call: String| call.starts_with("230 ");
    let call = format!("/proc/{}/syscall", first.id());
    eventually("it waits", || std::fs::read_to_string(&call).is_ok_and(sleeps));
    world.loment(["rm", "made"]).succeeds();
    assert_eq!(output(first), "7\n");
    let first = begin(&["--exit-first-match", "c", "c"]);
    world.loment(["stop", "c"]).succeeds();
    assert_eq!(output(first), "0\n");
    assert_eq!(wait(&["--ignore", "--condition", "running", "nobody"]), "-1");
    assert_eq!(wait(&["--ignore", "--exit-first-match", "nobody", "c"]), "-1");
    for (arguments, words) in [
        (&["--condition", "asleep", "c"][..], &["unknown container state: asleep", "healthy"][..]),
        (&["--interval", "soon", "c"], &["soon", "250ms"]),
        (&["--condition", "running", "nobody"], &["nobody"]),
        (&["--exit-first-match", "c", "nobody"], &["nobody"]),
    ] {
        world.loment([&["wait"], arguments].concat()).fails_saying(125, words);
    }
    create(&world, "plain", &[], &rootfs, "true");
    world.loment(["wait", "--condition", "healthy", "plain"]).fails_saying(125, &["no health check"]);
}

#[test]
fn containers_that_do_not_run_are_pruned() {
    let (world, rootfs) = world_over_directory();
    let create = |name: &str, labels: &[&str]| {
        let flags: Vec<&str> = labels.iter().flat_map(|label| ["--label", *label]).collect();
        create(&world, name, &flags, &rootfs, "true")
    };
    let prune = |arguments: &[&str]| {
        let output = world.loment([&["container", "prune", "--force"], arguments].concat());
        let mut ids: Vec<_> = output.succeeds().lines().map(str::to_owned).collect();
        ids.sort();
        ids
    };
    sleeper(&world, "runs", &["--rootfs"], &rootfs);
    let (a, b) = (create("a", &["x=1", "y=1"]), create("b", &["x=2"]));
    let c = create("c", &[]);
    world.loment(["start", "--attach", "c"]).succeeds();
    for nobody in [&["--filter", "until=1h"][..], &["--filter", "label=x=1", "--filter", "label=x=2"]] {
        assert_eq!(prune(nobody), [""; 0], "{nobody:?}");
    }
    assert_eq!(prune(&["--filter", "label=x", "--filter", "label!=y"]), [b]);
    assert_eq!(prune(&["--filter", "label!=x=1", "--filter", "until=0s"]), [c]);
    // Who is asked may say no, and must say something.
    let question = "WARNING! This will remove all non running containers.\n\
                    Are you sure you want to continue? [y/N] ";
    let no = world.loment_with_input(["container", "prune"], "n\n");
    assert_eq!((no.code, no.stdout.as_str()), (0, question));
    world.loment(["container", "prune"]).fails_saying(125, &["--force"]);
    world.loment(["container", "prune", "-f", "--filter", "name=a"]).fails_saying(125, &["name=a", "label"]);
    let yes = world.loment_with_input(["container", "prune"], "y\n");
    assert_eq!(yes.stdout, format!("{question}{a}\n"));
    let id = create("d", &[]);
    let docker = world.persona("docker", ["container", "prune", "--force"]);
    assert_eq!(docker.stdout, format!("Deleted Containers:\n{id}\n\nTotal reclaimed space: 0B\n"));
    let none = world.persona("docker", ["container", "prune", "--force"]);
    assert_eq!(none.stdout, "Total reclaimed space: 0B\n");
    assert_eq!(world.loment(["ps", "--all", "--format", "{{.Names}}"]).succeeds(), "runs");
}

#[test]
fn what_a_killed_monitor_left_is_cleaned_up() {
    let (world, rootfs) = world_over_directory();
    let id = sleeper(&world, "c", &["--rootfs"], &rootfs);
    let (pid, monitor) = (pid_of(&world, "c"), monitor_of(&world, "c"));
    let run = world.runroot().join("containers").join(&id);
    world.loment(["container", "cleanup", "c"]).fails_saying(125, &["running", &id]);
    assert_eq!(world.loment(["container", "cleanup", "--all"]).succeeds(), "");
    for pid in [monitor, pid] {
        let number = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
        rustix::process::kill_process(number, rustix::process::Signal::KILL).unwrap();
        eventually("it is gone", || !lives(pid));
    }
    assert!(run.exists(), "there is something to clean up");
    assert_eq!(world.loment(["container", "cleanup", "c"]).succeeds(), "c");
    assert!(!run.exists());
    // After an orderly end there is nothing to do.
    world.loment(["start", "c"]).succeeds();
    world.loment(["stop", "--time", "0", "c"]).succeeds();
    assert!(!run.exists());
    assert_eq!(world.loment(["container", "cleanup", "--latest"]).succeeds(), id);
    assert_eq!(world.loment(["container", "cleanup", "--rm", "c"]).succeeds(), "c");
    assert_eq!(world.leftovers(), [""; 0]);
    world.loment(["container", "cleanup", "c"]).fails_saying(125, &["no such container"]);
    world.loment(["container", "cleanup"]).fails_saying(125, &["at least one"]);
}

#[test]
fn a_container_and_its_image_can_go_together() {
    let (world, image) = crate::world_with("busybox:latest");
    let mut ids = Vec::new();
    for name in ["a", "b"] {
        let arguments = ["create", "--network", "none", "--name", name, &image, "true"];
        ids.push(world.loment(arguments).succeeds().to_owned());
    }
    let in_use: Output = world.loment(["container", "cleanup", "--rmi", "a"]);
    in_use.fails_saying(125, &["image is in use", &ids[1]]);
    world.loment(["container", "cleanup", "--rmi", "b"]).succeeds();
    assert_eq!(world.loment(["images", "--quiet"]).succeeds(), "");
}

#[test]
fn prune_is_told_as_podman_tells_it() {
    let world = world();
    let ours = world.persona("podman", ["container", "prune"]);
    let mut command = crate::engines::command(&world, "podman");
    let dir = |name: &str| world.dir().join(format!("podman-{name}"));
    command.arg("--root").arg(dir("root")).arg("--runroot").arg(dir("run"));
    command.arg("--tmpdir").arg(dir("tmp")).args(["--cgroup-manager", "cgroupfs"]);
    command.args(["--events-backend", "file", "--storage-driver", "vfs", "container", "prune"]);
    let theirs = loment_testkit::run(&mut command, loment_testkit::Patience::NORMAL);
    assert_eq!((ours.code, ours.stdout), (theirs.code, theirs.stdout));
}
