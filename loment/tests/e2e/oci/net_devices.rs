//! Network devices that become a container's. What is the host's network namespace to `loment-runtime` is one of the test's.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use loment_testkit::Output;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};

use super::users::mapped;
use super::{assert_gone, run};
use crate::runtime::{Guard, bundle, id, runtime, silently};
use crate::world;

/// A network namespace with a process in it that ends when this is dropped.
struct Network(Child);

impl Network {
    fn new() -> Self {
        let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
        let mut command = Command::new("unshare");
        command.args(["--net", "sleep", "1000"]).stdin(Stdio::null()).stdout(Stdio::null());
        let network = Self(command.spawn().unwrap());
        for _ in 0..500 {
            if fs::read_link(network.path()).unwrap() != own {
                return network;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("unshare makes no namespace");
    }

    /// One that the test's thread, and what it starts, is in from now on.
    fn entered() -> Self {
        let network = Self::new();
        let file = File::open(network.path()).unwrap();
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        network
    }

    fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.0.id()).into()
    }

    /// What `ip ARGUMENTS` prints in it.
    #[track_caller]
    fn ip(&self, arguments: &str) -> String {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("ip");
        let output = command.args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A device that is up, with addresses of both families and a route, and its other end.
    fn with_device() -> Self {
        let network = Self::entered();
        for order in [
            "link add eth7 type veth peer name peer",
            "link set peer up",
            "link set eth7 mtu 1400 up",
            "address add 10.7.0.1/24 brd + dev eth7",
            "address add 10.7.0.2/24 dev eth7 label eth7:web",
            "address add 10.8.0.1/24 scope link dev eth7",
            "address add fd00::7/64 nodad dev eth7",
            "address add 10.9.0.1/24 valid_lft 1000 preferred_lft 1000 dev eth7",
            "route add default via 10.7.0.254",
        ] {
            network.ip(order);
        }
        network
    }

    /// What the kernel says of a device and of routes through it, without what it notices or counts in its own time.
    fn description(&self, device: &str) -> Vec<String> {
        let addresses = self.ip(&format!("address show dev {device}"));
        let routes = self.ip(&format!("route show dev {device}"));
        let (link, addresses) = addresses.split_once('\n').unwrap();
        let words: Vec<_> = link.split(' ').collect();
        let mut lines = vec![format!("{} up: {} {}", words[1], words[2].contains(",UP"), words[4])];
        let rest = addresses.lines().chain(routes.lines()).map(|l| l.trim().trim_end_matches(" tentative"));
        lines.extend(rest.filter(|l| !l.starts_with("valid_lft")).map(str::to_owned));
        lines[1..].sort();
        lines
    }

    fn has(&self, device: &str) -> bool {
        self.ip("-o link show").contains(&format!(": {device}@"))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn device(config: &mut Value, inside: Value) {
    config["linux"]["netDevices"] = json!({ "eth7": inside });
}

#[test]
fn a_device_comes_with_its_permanent_addresses_and_under_its_new_name() {
    let (world, network) = (world(), Network::with_device());
    let script = "ip address show dev inside; cat /proc/sys/net/ipv4/conf/inside/forwarding";
    let output = run(&world, "device", script, |config| {
        device(config, json!({ "name": "inside" }));
        // Kernel parameters may be the device's.
        config["linux"]["sysctl"] = json!({ "net/ipv4/conf/inside/forwarding": "1" });
    });
    let text = output.succeeds();
    for part in
        ["10.7.0.1/24 brd 10.7.0.255 scope global inside", "inside:web", "fd00::7/64", "mtu 1400", ",UP"]
    {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    // Of the link only, and for a while only.
    assert!(!text.contains("10.8.0.1") && !text.contains("10.9.0.1"), "{text}");
    assert!(text.ends_with("\n1"), "{text}");
    // A virtual device ends with its namespace; it is the kernel's to say when.
    assert!(!network.has("eth7"));
}

#[test]
fn a_device_keeps_its_name_or_gets_the_first_that_is_free_of_a_template() {
    let (world, network) = (world(), Network::with_device());
    network.ip("link add net0 type veth peer name other");
    let output = run(&world, "names", "ls /sys/class/net || ip -o link", |config| {
        let sys = json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs" });
        config["mounts"].as_array_mut().unwrap().push(sys);
        config["linux"]["netDevices"] = json!({ "eth7": { "name": "net%d" }, "net0": {} });
    });
    let names: Vec<_> = output.succeeds().split_whitespace().collect();
    assert_eq!(names, ["lo", "net0", "net1"]);
}

/// A container that cannot be made leaves everything as it was.
#[track_caller]
fn fails(network: &Network, name: &str, edit: impl FnOnce(&mut Value)) -> Output {
    let world = world();
    let before = network.description("eth7");
    let output = run(&world, name, "true", |config| {
        device(config, json!({ "name": "inside" }));
        edit(config);
    });
    assert_ne!(output.code, 0, "{output}");
    assert_eq!(network.description("eth7"), before, "{output}");
    assert_gone(&world, name);
    output
}

#[test]
fn when_a_container_cannot_be_made_its_devices_go_back() {
    let network = Network::with_device();
    assert_eq!(
        network.description("eth7").iter().filter(|l| l.starts_with("default via 10.7.0.254")).count(),
        1
    );
    let output = fails(&network, "program", |config| config["process"]["args"] = json!(["/missing"]));
    assert!(output.stderr.contains("/missing"), "{output}");
    fails(&network, "mount", |config| {
        let mount =
            json!({ "destination": "/mnt", "type": "bind", "source": "/missing", "options": ["bind"] });
        config["mounts"].as_array_mut().unwrap().push(mount);
    });
    fails(&network, "sysctl", |config| {
        config["linux"]["sysctl"] = json!({ "net/ipv4/conf/missing/forwarding": "1" });
    });
    // What a hook of the creator's sees is the state that it runs in.
    let world = world();
    let hook = world.write("hook", "#!/bin/sh\nip -o link show\nexit 3\n");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let output = fails(&network, "hook", |config| {
        config["hooks"] =
            json!({ "createRuntime": [{ "path": hook, "env": ["PATH=/usr/sbin:/sbin:/bin"] }] });
    });
    assert!(output.stderr.contains("peer@") && !output.stderr.contains("eth7"), "{output}");
    // Of several, all.
    network.ip("link add eth8 type veth peer name peer8");
    let output = fails(&network, "several", |config| {
        config["linux"]["netDevices"] = json!({ "eth7": {}, "eth8": {}, "eth9": {} });
    });
    assert!(output.stderr.contains("eth9 does not exist"), "{output}");
    assert!(network.has("eth8"));
}

#[test]
fn a_container_that_cannot_be_handed_over_gives_its_devices_back() {
    let (world, network) = (world(), Network::with_device());
    let before = network.description("eth7");
    let dir = bundle(&world, "sleep 1000", |config| device(config, json!({})));
    // Its directory goes while the container is made.
    let place = world.path("place");
    fs::create_dir(&place).unwrap();
    let hook = world.write("hook", format!("#!/bin/sh\nrm -r {}\n", place.display()));
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let file = dir.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    config["hooks"] = json!({ "createRuntime": [{ "path": hook, "env": ["PATH=/bin"] }] });
    fs::write(&file, config.to_string()).unwrap();
    let pid_file = place.join("pid");
    let arguments = ["create", "--bundle", dir.to_str().unwrap(), "--pid-file", pid_file.to_str().unwrap()];
    let output = silently(&world, &[&arguments[..], &[&id("handover")]].concat());
    assert_eq!(output.code, 1, "{output}");
    assert_eq!(network.description("eth7"), before);
    assert_gone(&world, "handover");
}

#[test]
fn a_name_that_is_taken_in_a_joined_namespace_is_refused() {
    let (network, other) = (Network::with_device(), Network::new());
    other.ip("link add inside type veth peer name outside");
    let before = other.description("inside");
    let join = |config: &mut Value| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|n| n["type"] != "network");
        namespaces.push(json!({ "type": "network", "path": other.path() }));
    };
    let output = fails(&network, "taken", join);
    assert!(output.stderr.contains("network device inside exists in the container's"), "{output}");
    assert_eq!(other.description("inside"), before);

    // Under another name it comes, and stays there when the container is gone.
    let world = world();
    let output = run(&world, "joined", "ip -o link show dev net7", |config| {
        device(config, json!({ "name": "net7" }));
        join(config);
    });
    assert!(output.succeeds().contains("net7@"), "{output}");
    assert!(other.has("net7") && !network.has("eth7"));
    assert!(other.ip("address show dev net7").contains("10.7.0.2/24 scope global secondary net7:web"));
}

#[test]
fn what_cannot_be_moved_is_refused_by_name() {
    let network = Network::with_device();
    let output = fails(&network, "own", |config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|n| n["type"] != "network");
        namespaces.push(json!({ "type": "network", "path": network.path() }));
    });
    assert!(output.stderr.contains("the container's network namespace is the one"), "{output}");
    let output = fails(&network, "none", |config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "network");
    });
    assert!(output.stderr.contains("they need a network namespace"), "{output}");
    let bad: [(&str, Value, &str); 5] = [
        ("lo", json!({ "name": "inside" }), "loopback"),
        ("missing", json!({}), "missing does not exist"),
        ("eth7", json!({ "name": "a/b" }), "invalid linux.netDevices"),
        ("eth7", json!({ "name": "more-than-15-bytes" }), "more than 15 bytes"),
        ("..", json!({}), "invalid linux.netDevices"),
    ];
    for (device, value, expected) in bad {
        let output =
            fails(&network, "bad", |config| config["linux"]["netDevices"] = json!({ device: value }));
        assert!(output.stderr.contains(expected), "{output}");
    }
}

#[test]
fn a_container_with_users_of_its_own_gets_devices_too() {
    let (world, network) = (world(), Network::with_device());
    let output = run(
        &world,
        "device-users",
        "ip address show dev eth7; ip link set eth7 down && echo mine",
        |config| {
            mapped(config);
            let admin = json!(["CAP_NET_ADMIN"]);
            config["process"]["capabilities"] =
                json!({ "bounding": admin, "effective": admin, "permitted": admin });
            device(config, json!({}));
        },
    );
    let text = output.succeeds();
    assert!(text.contains("10.7.0.1/24") && text.contains("fd00::7/64") && text.ends_with("mine"), "{text}");
    assert!(!network.has("eth7"));

    network.ip("link add eth7 type veth peer name peer7");
    fails(&network, "device-users-fail", |config| {
        mapped(config);
        config["process"]["args"] = json!(["/missing"]);
    });
}

#[test]
fn nothing_of_the_runtimes_keeps_a_namespace_after_create() {
    let (world, network) = (world(), Network::with_device());
    let dir = bundle(&world, "sleep 1000", |config| device(config, json!({})));
    let container = Guard::start(&world, "device-kept", &dir);
    assert!(!network.has("eth7") && network.has("peer"));
    // The other end goes with the device, when the last who holds its namespace is gone.
    runtime(&world, &["kill", &container.id, "KILL"]).succeeds();
    let gone = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        !network.has("peer")
    });
    assert!(gone, "the network namespace outlives the container");
}
