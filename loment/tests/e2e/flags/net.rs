//! What a container is called and which others it knows.

use std::fs;

use loment_testkit::World;

use crate::{sh, world_over_directory, world_with};

/// What `run --rm --network host FLAGS IMAGE sh -c SCRIPT` prints.
#[track_caller]
fn on_host(world: &World, flags: &[&str], image: &str, script: &str) -> String {
    let words = [&["run", "--rm", "--network", "host"], flags, &[image, "sh", "-c", script]].concat();
    world.loment(words).succeeds().to_owned()
}

/// Whether a text has a line with exactly these words.
fn has_line(text: &str, words: &[&str]) -> bool {
    text.lines().any(|line| line.split_whitespace().eq(words.iter().copied()))
}

#[test]
fn hosts_are_the_users_the_hosts_and_its_own() {
    let (world, image) = world_with("busybox:latest");
    let hosts = |flags: &[&str]| {
        sh(&world, &[&["--name", "c", "-h", "here"], flags].concat(), &image, "cat /etc/hosts")
    };
    let of_host = fs::read_to_string("/etc/hosts").unwrap();
    let usual = hosts(&[]);
    assert!(usual.starts_with(of_host.trim_end()), "{usual}");
    assert!(has_line(&usual, &["127.0.0.1", "here", "c"]), "{usual}");
    let more =
        hosts(&["--add-host", "a:1.2.3.4", "--add-host", "b;c:[fe80::1],d=::2", "--domainname", "x.example"]);
    for line in [
        &["1.2.3.4", "a"][..],
        &["fe80::1", "b", "c"],
        &["::2", "d"],
        &["127.0.0.1", "here.x.example", "here", "c"],
    ] {
        assert!(has_line(&more, line), "{line:?} of {more}");
    }
    assert!(more.starts_with("1.2.3.4\ta\n"), "{more}");
    let own = "127.0.0.1\tlocalhost\n::1\tlocalhost\n";
    let none = hosts(&["--hosts-file", "none"]);
    assert!(none.starts_with(own), "{none}");
    let file = world.write("hosts", "9.9.9.9 nine localhost");
    let nine = hosts(&["--hosts-file", &file]);
    assert!(nine.starts_with("9.9.9.9 nine localhost\n") && !nine.contains(own), "{nine}");
    // Docker's begin with nothing.
    let words = ["run", "--rm", "--network", "none", &image, "head", "-n", "2", "/etc/hosts"];
    assert_eq!(format!("{}\n", world.persona("docker", words).succeeds()), own);
    for bad in [
        ["--add-host", "a:b"],
        ["--add-host", ":1.2.3.4"],
        ["--hosts-file", "/nowhere"],
        ["--no-hosts=true", "--add-host=a:1.2.3.4"],
    ] {
        let words = [&["run", "--rm", "--network", "none"], &bad[..], &[&image, "true"]].concat();
        world.loment(words).fails(125);
    }
}

#[test]
fn the_hosts_own_address_has_a_name() {
    let (world, image) = world_with("busybox:latest");
    let flags = ["--add-host", "gate:host-gateway"];
    let address = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("198.51.100.1:9")?;
        socket.local_addr()
    });
    match address {
        Ok(address) => {
            let hosts = on_host(&world, &flags, &image, "cat /etc/hosts");
            let own = address.ip().to_string();
            assert!(has_line(&hosts, &[&own, "gate"]), "{hosts}");
            assert!(has_line(&hosts, &[&own, "host.containers.internal", "host.docker.internal"]), "{hosts}");
        }
        Err(_) => loment_testkit::skip("host-gateway", "this machine has no way to anywhere"),
    }
}

#[test]
fn files_of_the_image_are_left_alone_where_that_is_asked_for() {
    let (world, fs) = world_over_directory();
    for (name, text) in [("hosts", "1.1.1.1 image\n"), ("hostname", "image\n"), ("resolv.conf", "# image\n")]
    {
        fs::write(world.path("fs/etc").join(name), text).unwrap();
    }
    let of = |flags: &[&str], name: &str| {
        let flags = [flags, &["--rootfs"]].concat();
        on_host(
            &world,
            &flags,
            &fs,
            &format!("cat /etc/{name}; grep -c ' /etc/{name} ' /proc/self/mountinfo; true"),
        )
    };
    assert_eq!(of(&["--no-hosts"], "hosts"), "1.1.1.1 image\n0");
    assert_eq!(of(&["--no-hostname", "-h", "other"], "hostname"), "image\n0");
    assert_eq!(of(&["--dns", "none"], "resolv.conf"), "# image\n0");
    let own = sh(
        &world,
        &["--hosts-file", "image", "--add-host", "a:2.2.2.2", "-h", "h", "--name", "c", "--rootfs"],
        &fs,
        "cat /etc/hosts",
    );
    assert!(own.starts_with("2.2.2.2\ta\n1.1.1.1 image\n127.0.0.1\tlocalhost\n"), "{own}");
    assert!(has_line(&own, &["127.0.0.1", "h", "c"]), "{own}");
    assert_eq!(fs::read_to_string(world.path("fs/etc/hosts")).unwrap(), "1.1.1.1 image\n");
}

#[test]
fn name_servers_replace_those_of_the_host() {
    let (world, image) = world_with("busybox:latest");
    let of = |flags: &[&str]| on_host(&world, flags, &image, "cat /etc/resolv.conf");
    assert_eq!(of(&[]), fs::read_to_string("/etc/resolv.conf").unwrap_or_default().trim_end());
    let all = [
        "--dns",
        "9.9.9.9,::1",
        "--dns-search",
        "a.example",
        "--dns-search",
        "b.example",
        "--dns-opt",
        "ndots:3",
    ];
    let wanted = "search a.example b.example\nnameserver 9.9.9.9\nnameserver ::1\noptions ndots:3";
    assert_eq!(of(&[&all[..], &["--dns-option", "rotate"]].concat()), format!("{wanted} rotate"));
    assert!(!of(&["--dns", "9.9.9.9", "--dns-search", "."]).contains("search"));
    // Without a network there is none to ask; to Docker that is no mistake.
    let alone = ["run", "--rm", "--network", "none", "--dns", "9.9.9.9", &image, "cat", "/etc/resolv.conf"];
    world.loment(alone).fails_saying(125, &["conflicting options: dns and the network mode: none"]);
    assert_eq!(world.persona("docker", alone).succeeds(), "nameserver 9.9.9.9");
    for bad in [&["--dns", "x"][..], &["--dns", "none", "--dns-search", "x"], &["--dns-search", "x,."]] {
        let words = [&["run", "--rm", "--network", "host"], bad, &[&image, "true"]].concat();
        world.loment(words).fails(125);
    }
}

#[test]
fn domain_and_ports_are_known_inside_or_in_the_document() {
    let (world, image) = world_with("app:latest");
    let script = "cat /proc/sys/kernel/domainname /proc/sys/kernel/hostname";
    let flags = ["--entrypoint", "", "-h", "h", "--domainname", "x.example"];
    assert_eq!(sh(&world, &flags, &image, script), "x.example\nh");
    let flags = [
        "create",
        "--name",
        "c",
        "--network",
        "host",
        "--domainname",
        "d",
        "--expose",
        "80-81",
        "--expose",
        "9/udp,10/SCTP",
    ];
    let more = [
        "--dns",
        "9.9.9.9",
        "--dns-search",
        "s",
        "--dns-option",
        "o",
        "--add-host",
        "a;b:1.2.3.4",
        "--hosts-file",
        "none",
        &image,
    ];
    world.loment([&flags[..], &more].concat()).succeeds();
    let ports = world.inspect("{{json .Config.ExposedPorts}}", "c");
    assert_eq!(ports, r#"{"10/sctp":{},"80/tcp":{},"8080/tcp":{},"81/tcp":{},"9/udp":{}}"#);
    let said = "{{.Config.Domainname}} {{.HostConfig.Dns}} {{.HostConfig.DnsSearch}} {{.HostConfig.DnsOptions}} {{.HostConfig.ExtraHosts}} {{.HostConfig.HostsFile}}";
    assert_eq!(world.inspect(said, "c"), "d [9.9.9.9] [s] [o] [a;b:1.2.3.4] none");
    for bad in [["--expose", "x"], ["--domainname", "a b"]] {
        let words = [&["run", "--rm", "--network", "none"], &bad[..], &[&image, "true"]].concat();
        world.loment(words).fails(125);
    }
}
