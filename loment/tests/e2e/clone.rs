//! `container clone`.

use serde_json::Value;

use crate::world_with;

#[test]
fn a_copy_has_the_flags_and_not_the_changes() {
    let (world, image) = world_with("busybox:latest");
    let hidden = world.write("hidden", "s3cret");
    world.loment(["secret", "create", "key", &hidden]).succeeds();
    let flags = [
        "--network",
        "none",
        "--name",
        "c",
        "--secret",
        "key",
        "--env",
        "A=1",
        "-v",
        "data:/data",
        "--label",
        "l=m",
        "-m",
        "64m",
    ];
    let script = "touch /changed /data/kept; sleep 300";
    world.loment([&["run", "-d"], &flags[..], &[&image, "sh", "-c", script]].concat()).succeeds();
    let old = world.inspect("{{.Id}}", "c");
    let sh =
        |name: &str, script: &str| world.loment(["exec", name, "sh", "-c", script]).succeeds().to_owned();
    crate::eventually("it has written", || sh("c", "ls /data") == "kept");
    let copy = world.loment(["container", "clone", "--run", "c"]).succeeds().to_owned();
    assert_eq!(world.inspect("{{.Name}}", &copy).trim_start_matches('/'), "c-clone");
    assert_eq!(
        sh("c-clone", "echo $A; ls /data; cat /run/secrets/key; echo; hostname"),
        format!("1\nkept\ns3cret\n{}", &copy[..12])
    );
    assert_eq!(world.inspect("{{.Config.Labels.l}} {{.HostConfig.Memory}}", &copy), "m 67108864");
    // It has a group of its own, so that what happens to one does not happen to the other.
    let pids = |name| world.inspect("{{.State.Pid}}", name);
    let group = |pid: String| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_ne!(group(pids("c")), group(pids("c-clone")));
    world.loment(["rm", "-f", "-t", "0", "c-clone"]).succeeds();
    assert_eq!(sh("c", "echo lives"), "lives");
    // Limits, names, and the next free one.
    world.loment(["container", "clone", "-m", "32m", "--cpus", "0.5", "c", "named"]).succeeds();
    let limits = world.inspect("{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.State.Status}}", "named");
    assert_eq!(limits, "33554432 500000000 created");
    for name in ["c-clone", "c-clone1"] {
        let id = world.loment(["container", "clone", "c"]).succeeds().to_owned();
        assert_eq!(world.inspect("{{.Name}}", &id).trim_start_matches('/'), name);
    }
    world.loment(["container", "clone", "c", "named"]).fails_saying(125, &["named", "in use"]);
    world.loment(["container", "clone", "--force", "c"]).fails_saying(125, &["--force without --destroy"]);
    // One that runs is removed by force only; the copy is there.
    world.loment(["container", "clone", "--destroy", "c", "second"]).fails_saying(125, &["c"]);
    world.loment(["container", "clone", "--destroy", "--force", "c", "third"]).succeeds();
    world.loment(["container", "exists", &old]).fails(1);
    let mounts: Value = serde_json::from_str(&world.inspect("{{json .Mounts}}", "third")).unwrap();
    assert_eq!(mounts[0]["Name"], "data");
}

#[test]
fn a_copy_may_have_another_image() {
    let (world, image) = world_with("busybox:latest");
    world
        .loment(["run", "--network", "none", "--name", "base", &image, "sh", "-c", "echo other > /which"])
        .succeeds();
    world.loment(["commit", "-q", "base", "localhost/other:1"]).succeeds();
    world.loment(["create", "--network", "none", "--name", "c", &image, "cat", "/which"]).succeeds();
    world.loment(["container", "clone", "c", "d", "localhost/other:1"]).succeeds();
    assert_eq!(world.loment(["start", "--attach", "d"]).succeeds(), "other");
    assert_eq!(world.inspect("{{.ImageName}}", "d"), "localhost/other:1");
    world.loment(["container", "clone", "c", "e", "localhost/nonesuch"]).fails_saying(125, &["nonesuch"]);
}
