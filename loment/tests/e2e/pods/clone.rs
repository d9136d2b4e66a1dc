//! `pod clone`.

use super::{field, inside, member, namespace};
use crate::world_over_directory;

#[test]
fn a_copy_has_what_the_pod_has_and_copies_of_its_members() {
    let (world, fs) = world_over_directory();
    let flags = [
        "--network",
        "none",
        "--share",
        "ipc,net,uts",
        "--label",
        "l=m",
        "--memory",
        "200m",
        "-v",
        "data:/data",
    ];
    world.loment([&["pod", "create", "--name", "p"], &flags[..]].concat()).succeeds();
    member(&world, &fs, "p", "one", &["--env", "A=1"]);
    member(&world, &fs, "p", "two", &["--requires", "one", "--pid", "container:one"]);
    let id = world.loment(["pod", "clone", "p"]).succeeds().to_owned();
    assert_eq!(
        field(&world, &id, "{{.Name}} {{.State}} {{.Labels.l}} {{.MemoryLimit}}"),
        "p-clone Created m 209715200"
    );
    let shared = |pod: &str| field(&world, pod, "{{.SharedNamespaces}} {{.Hostname}}");
    assert_eq!(shared("p-clone"), shared("p").replace(" p", " p-clone"));
    let names = ["ps", "-a", "--filter", "pod=p-clone", "--sort", "names", "--format", "{{.Names}}"];
    let names = world.loment(names).succeeds().to_owned();
    assert!(names.ends_with("-infra\none-clone\ntwo-clone"), "{names}");
    world.loment(["pod", "start", "p-clone"]).succeeds();
    let pid = |name: &str| world.inspect("{{.State.Pid}}", name);
    for (kind, same) in [("net", true), ("ipc", true), ("uts", true), ("pid", true), ("mnt", false)] {
        let (one, two) = (namespace(pid("one-clone"), kind), namespace(pid("two-clone"), kind));
        assert_eq!(one == two, same, "{kind}");
        assert_ne!(one, namespace(pid("one"), kind), "{kind}");
    }
    assert_eq!(
        inside(&world, "one-clone", "echo $A $HOSTNAME; hostname; echo x >/data/x"),
        "1 p-clone\np-clone"
    );
    assert_eq!(inside(&world, "one", "cat /data/x"), "x");
    // Their groups are in that of the copy.
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", pid("one-clone"))).unwrap();
    assert!(groups.contains(&id), "{groups}");
    // The next free name, and one that was asked for; what flags say comes instead.
    let id = world.loment(["pod", "clone", "p"]).succeeds().to_owned();
    assert_eq!(field(&world, &id, "{{.Name}}"), "p-clone1");
    let changes = [
        "--label",
        "n=o",
        "--memory",
        "100m",
        "--hostname",
        "h",
        "--pid",
        "host",
        "--start",
        "-v",
        "more:/more",
    ];
    world.loment([&["pod", "clone"][..], &changes, &["--name", "q", "p"]].concat()).succeeds();
    assert_eq!(
        field(&world, "q", "{{.State}} {{.Labels.l}} {{.Labels.n}} {{.MemoryLimit}}"),
        "Running m o 104857600"
    );
    assert_eq!(inside(&world, "one-clone2", "hostname; ls -d /more"), "h\n/more");
    world.loment(["pod", "clone", "p", "q"]).fails_saying(125, &["q", "in use"]);
    world.loment(["pod", "clone", "nonesuch"]).fails_saying(125, &["nonesuch"]);
    // Instead of the pod, which ran.
    world.loment(["pod", "clone", "--destroy", "--start", "p", "r"]).succeeds();
    world.loment(["pod", "exists", "p"]).fails(1);
    world.loment(["container", "exists", "one"]).fails(1);
    assert_eq!(field(&world, "r", "{{.State}}"), "Running");
    for pod in ["p-clone", "p-clone1", "q", "r"] {
        world.loment(["pod", "rm", "-f", "-t", "0", pod]).succeeds();
    }
    assert_eq!(world.loment(["ps", "-aq"]).succeeds(), "");
}

#[test]
fn a_pod_without_an_infra_container_is_copied_without_one() {
    let (world, fs) = world_over_directory();
    world.loment(["pod", "create", "--name", "p", "--infra=false"]).succeeds();
    world
        .loment(["create", "--pod", "p", "--name", "one", "--network", "none", "--rootfs", &fs, "true"])
        .succeeds();
    world.loment(["pod", "clone", "--hostname", "h", "p"]).fails_saying(125, &["no infra container"]);
    world.loment(["pod", "clone", "--start", "p"]).succeeds();
    assert_eq!(world.loment(["wait", "one-clone"]).succeeds(), "0");
    let names = ["ps", "-a", "--sort", "names", "--format", "{{.Names}} {{.PodName}}"];
    assert_eq!(world.loment(names).succeeds(), "one p\none-clone p-clone");
    for pod in ["p", "p-clone"] {
        world.loment(["pod", "rm", "-f", "-t", "0", pod]).succeeds();
    }
}

#[test]
fn a_copy_that_cannot_be_made_leaves_nothing() {
    let (world, fs) = world_over_directory();
    world.loment(["pod", "create", "--name", "p", "--network", "none"]).succeeds();
    for name in ["one", "two"] {
        world.loment(["create", "--pod", "p", "--name", name, "--rootfs", &fs, "true"]).succeeds();
    }
    let before = world.loment(["ps", "-aq", "--no-trunc"]).succeeds().to_owned();
    // One member can be made, the other cannot.
    let two = world.inspect("{{.Id}}", "two");
    let record = world.root().join("containers").join(&two).join("container.json");
    let good = std::fs::read_to_string(&record).unwrap();
    let mut bad: serde_json::Value = serde_json::from_str(&good).unwrap();
    std::fs::create_dir(world.path("hooks")).unwrap();
    bad["hook_dirs"] = serde_json::json!([world.write("hooks/a.json", "{").trim_end_matches("/a.json")]);
    std::fs::write(&record, bad.to_string()).unwrap();
    world.loment(["pod", "clone", "p"]).fails_saying(125, &["a.json"]);
    std::fs::write(&record, good).unwrap();
    assert_eq!(world.loment(["ps", "-aq", "--no-trunc"]).succeeds(), before);
    assert_eq!(world.loment(["pod", "ps", "--format", "{{.Name}}"]).succeeds(), "p");
    world.loment(["pod", "clone", "p"]).succeeds();
    for pod in ["p", "p-clone"] {
        world.loment(["pod", "rm", "-f", "-t", "0", pod]).succeeds();
    }
    assert_eq!(world.loment(["ps", "-aq"]).succeeds(), "");
}

#[test]
fn what_systemd_has_in_a_copy_is_as_large_as_is_said() {
    let (world, fs) = world_over_directory();
    world
        .loment(["pod", "create", "--name", "p", "--network", "none", "--shm-size-systemd", "2m"])
        .succeeds();
    member(&world, &fs, "p", "one", &["--systemd=always"]);
    world.loment(["pod", "clone", "--start", "p", "same"]).succeeds();
    world.loment(["pod", "clone", "--start", "--shm-size-systemd", "3m", "p", "other"]).succeeds();
    let size = |name: &str| inside(&world, name, "df -k /run | awk 'NR > 1 { print $2 }'");
    assert_eq!((size("one-clone").as_str(), size("one-clone1").as_str()), ("2048", "3072"));
    for pod in ["p", "same", "other"] {
        world.loment(["pod", "rm", "-f", "-t", "0", pod]).succeeds();
    }
}
