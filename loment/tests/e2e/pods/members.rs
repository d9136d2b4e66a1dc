//! What containers of a pod have in common.

use super::{field, inside, member, namespace};
use crate::{eventually, pid_of, world_over_directory, world_with};

#[test]
fn members_share_what_their_pod_shares_and_nothing_else() {
    let (world, rootfs) = world_over_directory();
    world.loment(["pod", "create", "--name", "p", "--label", "a=b"]).succeeds();
    member(&world, &rootfs, "p", "one", &[]);
    member(&world, &rootfs, "p", "two", &[]);
    let (one, two) = (pid_of(&world, "one"), pid_of(&world, "two"));
    for kind in ["ipc", "net", "uts"] {
        assert_eq!(namespace(one, kind), namespace(two, kind), "{kind}");
        assert_ne!(namespace(one, kind), namespace("self", kind), "{kind}");
    }
    for kind in ["pid", "mnt", "cgroup"] {
        assert_ne!(namespace(one, kind), namespace(two, kind), "{kind}");
    }
    // The host name is the pod's; shared memory is not only a namespace; loopback works.
    assert_eq!(inside(&world, "one", "hostname; cat /etc/hostname"), "p\np");
    inside(&world, "one", "echo shared >/dev/shm/x");
    assert_eq!(inside(&world, "two", "cat /dev/shm/x"), "shared");
    assert_eq!(inside(&world, "two", "cat /sys/class/net/lo/flags"), "0x9");
    // They are in a control group of the pod's.
    let group = field(&world, "p", "{{.CgroupPath}}");
    let groups = std::fs::read_to_string(format!("/proc/{one}/cgroup")).unwrap();
    assert!(groups.lines().any(|line| line.contains(&format!("{group}/"))), "{group}: {groups}");
}

#[test]
fn there_is_no_process_but_those_of_members() {
    let (world, rootfs) = world_over_directory();
    world.loment(["pod", "create", "p"]).succeeds();
    member(&world, &rootfs, "p", "one", &[]);
    let infra = field(&world, "p", "{{.InfraContainerID}}");
    assert_eq!(world.inspect("{{.State.Status}} {{.State.Pid}} {{.IsInfra}}", &infra), "running 0 true");
    // Its monitor has no child: what it keeps are descriptors.
    let monitor = world.inspect("{{.State.ConmonPid}}", &infra);
    let children = std::fs::read_to_string(format!("/proc/{monitor}/task/{monitor}/children")).unwrap();
    assert_eq!(children.trim(), "");
    let kept = std::fs::read_dir(format!("/proc/{monitor}/fd")).unwrap().flatten();
    let links: Vec<_> = kept.filter_map(|fd| std::fs::read_link(fd.path()).ok()).collect();
    let one = pid_of(&world, "one");
    for kind in ["ipc", "net", "uts"] {
        assert!(links.contains(&namespace(one, kind)), "{kind}: {links:?}");
    }
    // And nothing can be run in it.
    world.loment(["exec", &infra, "true"]).fails(125);
    world.loment(["cp", &format!("{infra}:/etc/passwd"), "-"]).fails(125);
}

#[test]
fn processes_are_shared_below_an_init_of_our_own() {
    let (world, rootfs) = world_over_directory();
    world.loment(["pod", "create", "--name", "p", "--share", "+pid"]).succeeds();
    member(&world, &rootfs, "p", "one", &[]);
    member(&world, &rootfs, "p", "two", &[]);
    assert_eq!(namespace(pid_of(&world, "one"), "pid"), namespace(pid_of(&world, "two"), "pid"));
    let processes = || inside(&world, "two", "ps -o pid,args");
    // One more is there while a shell begins something, before that is executed.
    eventually("each sees both", || processes().lines().filter(|line| line.contains("while :")).count() == 2);
    let ps = processes();
    assert!(ps.lines().any(|line| line.trim().starts_with("1 /init")), "{ps}");
    // Orphans are reaped, and it may do nothing.
    inside(&world, "one", "sh -c 'sleep 0.1 &'; sleep 0.5; ! ps -o ppid,stat | grep -q '^ *1 *Z'");
    assert_eq!(
        inside(&world, "one", "grep CapEff /proc/1/status").replace("CapEff:", "").trim(),
        "0000000000000000"
    );
    world.loment(["pod", "stop", "p"]).succeeds();
    world.loment(["pod", "rm", "p"]).succeeds();
}

#[test]
fn what_a_member_says_itself_counts() {
    let (world, rootfs) = world_over_directory();
    world.loment(["pod", "create", "p"]).succeeds();
    member(&world, &rootfs, "p", "one", &["--network", "host", "--uts", "host", "--ipc", "private"]);
    let one = pid_of(&world, "one");
    for kind in ["net", "uts"] {
        assert_eq!(namespace(one, kind), namespace("self", kind), "{kind}");
    }
    assert_ne!(namespace(one, "ipc"), namespace("self", "ipc"));
    // Nothing is shared by one that shares nothing.
    world.loment(["pod", "create", "--name", "q", "--share", "none"]).succeeds();
    member(&world, &rootfs, "q", "two", &["--network", "none"]);
    member(&world, &rootfs, "q", "three", &["--network", "none"]);
    for kind in ["ipc", "net", "uts", "pid"] {
        assert_ne!(
            namespace(pid_of(&world, "two"), kind),
            namespace(pid_of(&world, "three"), kind),
            "{kind}"
        );
    }
    // Without an infra container there is none.
    world.loment(["pod", "create", "--name", "r", "--infra=false"]).succeeds();
    member(&world, &rootfs, "r", "four", &["--network", "none"]);
    assert_eq!(field(&world, "r", "{{.CreateInfra}} {{.NumContainers}} {{.State}}"), "false 1 Running");
    let said = world.loment(["pod", "create", "--infra=false", "--share", "net"]).fails(125).to_owned();
    assert!(said.contains("cannot set share(net) namespaces without an infra container"), "{said}");
}

#[test]
fn volumes_limits_and_users_of_a_pod_are_those_of_its_members() {
    let (world, image) = world_with("busybox:latest");
    let volume = format!("{}:/data", world.path("shared").display());
    std::fs::create_dir(world.path("shared")).unwrap();
    let head =
        ["pod", "create", "--name", "p", "--volume", &volume, "--memory", "64m", "--cpu-shares", "512"];
    world.loment(head).succeeds();
    for name in ["one", "two"] {
        let program = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"];
        world
            .loment([&["run", "-d", "--pod", "p", "--name", name, &image][..], &program].concat())
            .succeeds();
    }
    inside(&world, "one", "echo here >/data/x");
    assert_eq!(inside(&world, "two", "cat /data/x"), "here");
    assert_eq!(field(&world, "p", "{{.MemoryLimit}} {{.CPUShares}}"), format!("{} 512", 64 << 20));
    let group = field(&world, "p", "{{.CgroupPath}}");
    let file = [
        format!("/sys/fs/cgroup/memory{group}/memory.limit_in_bytes"),
        format!("/sys/fs/cgroup{group}/memory.max"),
    ];
    let limit = file.iter().find_map(|file| std::fs::read_to_string(file).ok()).expect("it has a group");
    assert_eq!(limit.trim(), (64 << 20).to_string());
    // Users of their own are shared, too.
    world.loment(["pod", "create", "--name", "q", "--uidmap", "0:100000:65536"]).succeeds();
    world.loment(["run", "-d", "--pod", "q", "--name", "three", &image, "sleep", "1000"]).succeeds();
    world.loment(["run", "-d", "--pod", "q", "--name", "four", &image, "sleep", "1000"]).succeeds();
    for kind in ["user", "net", "ipc"] {
        assert_eq!(
            namespace(pid_of(&world, "three"), kind),
            namespace(pid_of(&world, "four"), kind),
            "{kind}"
        );
    }
    assert_eq!(
        inside(&world, "four", "cat /proc/self/uid_map").split_whitespace().collect::<Vec<_>>(),
        ["0", "100000", "65536"]
    );
    world.loment(["pod", "rm", "--force", "--time", "0", "--all"]).succeeds();
}

#[test]
fn a_pod_is_made_with_its_first_member() {
    let (world, rootfs) = world_over_directory();
    member(&world, &rootfs, "new:p", "one", &[]);
    let id = field(&world, "p", "{{.ID}}");
    assert_eq!(world.inspect("{{.Pod}}", "one"), id);
    let short = &id[..12];
    let listed = world
        .loment(["ps", "--pod", "--format", "{{.Names}} {{.Pod}} {{.PodName}} {{.IsInfra}}"])
        .succeeds()
        .to_owned();
    assert!(listed.contains(&format!("one {short} p false")), "{listed}");
    assert!(listed.contains(&format!("{short}-infra {short} p true")), "{listed}");
    assert_eq!(
        world.loment(["ps", "--quiet", "--no-trunc", "--filter", "pod=p"]).succeeds().lines().count(),
        2
    );
    assert_eq!(world.loment(["ps", "--quiet", "--filter", "pod=q"]).succeeds(), "");
    let head = ["run", "--rm", "--pod", "new:named", "--hostname", "foobar"];
    assert_eq!(world.loment([&head[..], &["--rootfs", &rootfs, "hostname"]].concat()).succeeds(), "foobar");
    let infra = field(&world, "named", "{{.InfraContainerID}}");
    assert_eq!(world.loment(["rm", "--force", "--depend", "--time", "0", &infra]).succeeds(), infra);
    world.loment(["pod", "exists", "named"]).fails(1);
    let said = world.loment(["run", "--pod", "q", "--rootfs", &rootfs, "true"]).fails(125).to_owned();
    assert!(said.contains("no pod with name or ID q found"), "{said}");
    let said = world.loment(["run", "--pid", "pod", "--rootfs", &rootfs, "true"]).fails(125).to_owned();
    assert!(said.contains("add --pod NAME"), "{said}");
}

#[test]
fn rights_of_a_pod_are_those_of_members_that_do_not_say() {
    let (world, rootfs) = world_over_directory();
    let options = ["--security-opt", "no-new-privileges", "--security-opt", "mask=/proc/version"];
    world.loment([&["pod", "create", "--name", "p"][..], &options].concat()).succeeds();
    member(&world, &rootfs, "p", "one", &[]);
    assert_eq!(
        inside(&world, "one", "grep NoNewPrivs /proc/self/status | tr -dc 01; wc -c </proc/version"),
        "10"
    );
    for (flags, hint) in [
        (&["--pids-limit", "5"][..], "--pids-limit is for containers"),
        (&["--ulimit", "nofile=5"], "--ulimit is for containers"),
        (&["--infra=false", "--sysctl", "net.a=1"], "cannot specify --sysctl without an infra container"),
        (&["--infra=false", "--dns", "1.1.1.1"], "dns"),
    ] {
        let said = world.loment([&["pod", "create"][..], flags].concat()).fails(125).to_owned();
        assert!(said.contains(hint), "{flags:?}: {said}");
    }
}

#[test]
fn what_systemd_has_in_a_pod_is_as_large_as_the_pod_says() {
    let (world, rootfs) = world_over_directory();
    world.loment(["pod", "create", "--name", "p", "--shm-size-systemd", "2m"]).succeeds();
    member(&world, &rootfs, "p", "one", &["--systemd=always"]);
    member(&world, &rootfs, "p", "other", &["--systemd=always", "--shm-size-systemd", "3m"]);
    let size = |name: &str| inside(&world, name, "df -k /run | awk 'NR > 1 { print $2 }'");
    assert_eq!((size("one").as_str(), size("other").as_str()), ("2048", "3072"));
}

#[test]
fn what_is_replaced_has_that_name_and_what_is_made_for_one_goes_with_it() {
    let (world, rootfs) = world_over_directory();
    let id = world.loment(["pod", "create", "p"]).succeeds().to_owned();
    // Its id begins so, and its name does not.
    world.loment(["pod", "create", "--replace", "--name", &id[..10]]).succeeds();
    world.loment(["pod", "exists", "p"]).succeeds();
    world.loment(["run", "--pod", "new:q", "--name", "p", "--rootfs", &rootfs, "true"]).fails(125);
    world.loment(["pod", "exists", "q"]).fails(1);
    let infra = field(&world, "p", "{{.InfraContainerID}}");
    world.loment(["container", "clone", &infra]).fails(125);
    // Others that need it keep it.
    world
        .loment([
            "run",
            "-d",
            "--network",
            &format!("container:{infra}"),
            "--name",
            "c",
            "--rootfs",
            &rootfs,
            "sleep",
            "1000",
        ])
        .succeeds();
    let said = world.loment(["pod", "rm", "p"]).fails(125).to_owned();
    assert!(said.contains("dependent"), "{said}");
    world.loment(["rm", "-f", "-t", "0", "c"]).succeeds();
    world.loment(["pod", "rm", "p"]).succeeds();
}
