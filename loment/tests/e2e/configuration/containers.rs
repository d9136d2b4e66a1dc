//! `[containers]`: each key, as containers have it.

use loment_testkit::{Patience, run};

use super::{says, under};
use crate::{world, world_over_directory};

const ROOTFS: &[&str] = &["--network", "none", "--rootfs"];

/// The keys of a file, and flags that go before them.
fn with<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    [&["--network", "none"], flags, &["--rootfs"]].concat()
}

#[test]
fn processes_are_as_the_file_says_and_a_flag_goes_before_it() {
    let (world, image) = world_over_directory();
    let conf = "[containers]\numask = \"0027\"\noom_score_adj = 321\ninit = true\ntz = \"local\"\nenv = [\"A=file\", \"B=file\"]\n\
                annotations = [\"x.y=z\"]\npids_limit = 99\nkeyring = false\n";
    let script = "umask; cat /proc/self/oom_score_adj; tr '\\0' ' ' </proc/1/cmdline | cut -c1-20; ls /etc/localtime; echo $A $B";
    let said = says(&world, conf, ROOTFS, &image, script);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((lines[0], lines[1], lines[3], lines[4]), ("0027", "321", "/etc/localtime", "file file"));
    assert!(!lines[2].starts_with("sh "), "{said}");
    let flags = with(&["--umask", "0002", "--oom-score-adj", "5", "--init=false", "-e", "B=flag"]);
    let said = says(&world, conf, &flags, &image, script);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((lines[0], lines[1], lines[4]), ("0002", "5", "file flag"));
    assert!(lines[2].starts_with("sh "), "{said}");
    // Whoever shares the host's processes has no process 1.
    says(&world, conf, &with(&["--pid", "host"]), &image, "true");

    let file = world.write("create.conf", conf);
    let create = |flags: &[&str]| {
        let arguments = [&["create", "--name", "c", "--replace"], flags, &[image.as_str(), "true"]].concat();
        let mut command = world.command(arguments);
        run(command.env("CONTAINERS_CONF", &file), Patience::NORMAL).succeeds();
        world.inspect("{{json .Config.Annotations}} {{.HostConfig.PidsLimit}}", "c")
    };
    let said = create(ROOTFS);
    assert!(said.contains("\"x.y\":\"z\"") && said.ends_with(" 99"), "{said}");
    let said = create(&with(&["--annotation", "x.y=flag", "--pids-limit", "7"]));
    assert!(said.contains("\"x.y\":\"flag\"") && said.ends_with(" 7"), "{said}");
}

#[test]
fn programs_have_the_session_keyring_of_whoever_starts_them_if_the_file_says_so() {
    let (world, image) = world_over_directory();
    let script = "grep -c . /proc/keys || true";
    // /proc/keys shows what the program possesses: with a keyring of its own, that one.
    let flags = with(&["--security-opt", "unmask=/proc/keys"]);
    let own = says(
        &world,
        "",
        &flags,
        &image,
        "grep -o '_ses.*' /proc/keys; grep -o 'keyring.*' /proc/keys | head -5",
    );
    let none = says(
        &world,
        "[containers]\nkeyring = false\n",
        &flags,
        &image,
        "grep -o 'keyring.*' /proc/keys | head -5",
    );
    assert_ne!(own, none, "{script}");
}

#[test]
fn rights_are_as_the_file_says() {
    let (world, image) = world_over_directory();
    let effective = "grep CapEff /proc/self/status | cut -f2";
    let conf = "[containers]\ndefault_capabilities = [\"CHOWN\", \"CAP_NET_RAW\"]\n";
    assert_eq!(says(&world, conf, ROOTFS, &image, effective), "0000000000002001");
    let flags = with(&["--cap-add", "KILL", "--cap-drop", "CHOWN"]);
    assert_eq!(says(&world, conf, &flags, &image, effective), "0000000000002020");
    assert_eq!(
        says(&world, "[containers]\ndefault_capabilities = []\n", ROOTFS, &image, effective),
        "0000000000000000"
    );

    let conf = "[containers]\nprivileged = true\n";
    let all = "grep -E 'CapEff|Seccomp:' /proc/self/status | cut -f2 | tr '\\n' ' '; if test -e /dev/kmsg; then echo kmsg; fi";
    assert!(says(&world, conf, ROOTFS, &image, all).ends_with(" 0 kmsg"));
    assert!(!says(&world, conf, &with(&["--privileged=false"]), &image, all).contains("kmsg"));

    let filter = world.write("filter.json", r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}"#);
    let conf = format!("[containers]\nseccomp_profile = {filter:?}\n");
    let made = "mkdir /dev/shm/x 2>&1 || true";
    assert!(says(&world, &conf, ROOTFS, &image, made).contains("No space left"));
    assert_eq!(says(&world, &conf, &with(&["--security-opt", "seccomp=unconfined"]), &image, made), "");
    assert_eq!(says(&world, &conf, &with(&["--security-opt", "seccomp=builtin"]), &image, made), "");
    let conf = "[containers]\nseccomp_profile = \"unconfined\"\n";
    assert_eq!(says(&world, conf, ROOTFS, &image, "grep Seccomp: /proc/self/status | cut -f2"), "0");
}

#[test]
fn the_filter_of_the_machine_counts_where_nobody_chooses_another() {
    let (world, image) = world_over_directory();
    let etc = world.path("etc");
    std::fs::create_dir(&etc).unwrap();
    let filter = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}"#;
    std::fs::write(etc.join("seccomp.json"), filter).unwrap();
    // In a place of its own: what is there on the machine stays as it is.
    let made = |flags: &[&str]| {
        let head = ["run", "--rm", "--network", "none"];
        let script = "mkdir /dev/shm/x 2>&1 || true";
        let inner = world.command([&head, flags, &["--rootfs", image.as_str(), "sh", "-c", script]].concat());
        let mount = "mount --bind \"$0\" /etc/containers && exec \"$@\"";
        let outer = ["unshare", "--mount", "sh", "-c", mount, etc.to_str().unwrap()];
        run(&mut crate::through(&outer, &inner), Patience::NORMAL).succeeds().to_owned()
    };
    assert!(made(&[]).contains("No space left"));
    assert_eq!(made(&["--security-opt", "seccomp=builtin"]), "");
    assert_eq!(made(&["--privileged"]), "");
}

#[test]
fn sysctls_and_ulimits_are_as_the_file_says_where_they_can_be() {
    let (world, image) = world_over_directory();
    let conf = "[containers]\ndefault_sysctls = [\"kernel.shmmni=77\", \"net.ipv4.ip_forward=1\"]\ndefault_ulimits = [\"nofile=100:200\", \"core=0\"]\n";
    let script =
        "cat /proc/sys/kernel/shmmni /proc/sys/net/ipv4/ip_forward; ulimit -n; ulimit -Hn; ulimit -c";
    assert_eq!(says(&world, conf, ROOTFS, &image, script), "77\n1\n100\n200\n0");
    let flags = with(&["--sysctl", "kernel.shmmni=88", "--ulimit", "nofile=10:20"]);
    assert_eq!(says(&world, conf, &flags, &image, script), "88\n1\n10\n20\n0");
    // The host's are left alone.
    let host = ["--network", "host", "--ipc", "host", "--rootfs"];
    assert_eq!(
        says(&world, conf, &host, &image, "cat /proc/sys/kernel/shmmni"),
        std::fs::read_to_string("/proc/sys/kernel/shmmni").unwrap().trim()
    );
}

#[test]
fn files_are_as_the_file_says() {
    let (world, image) = world_over_directory();
    let dir = world.path("given");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("f"), "given\n").unwrap();
    let given = dir.display();
    let conf = format!(
        "[containers]\nvolumes = [\"{given}:/a:ro\"]\nmounts = [\"type=bind,source={given},destination=/b,ro\", \"type=tmpfs,destination=/c,tmpfs-size=1m\"]\n\
         shm_size = \"3m\"\nread_only = true\ndevices = [\"/dev/zero:/dev/naught:r\"]\n"
    );
    let script = "cat /a/f /b/f; df -k /c | tail -1 | tr -s ' ' | cut -d' ' -f2; df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2; \
                  touch /x 2>/dev/null && echo written; head -c1 /dev/naught | wc -c";
    assert_eq!(says(&world, &conf, ROOTFS, &image, script), "given\ngiven\n1024\n3072\n1");
    let flags = with(&["--read-only=false", "--tmpfs", "/a:size=2m", "-v", "/dev:/b", "--shm-size", "1m"]);
    let script = "df -k /a /dev/shm | grep -v Used | tr -s ' ' | cut -d' ' -f2; stat -c %t:%T /b/null; touch /x && rm /x && echo written";
    assert_eq!(says(&world, &conf, &flags, &image, script), "2048\n1024\n1:3\nwritten");
}

#[test]
fn namespaces_are_as_the_file_says() {
    let (world, image) = world_over_directory();
    let script = "for n in pid ipc uts cgroup net; do readlink /proc/self/ns/$n; done";
    let host: Vec<String> = ["pid", "ipc", "uts", "cgroup", "net"]
        .map(|n| std::fs::read_link(format!("/proc/self/ns/{n}")).unwrap().display().to_string())
        .to_vec();
    let conf = "[containers]\npidns = \"host\"\nipcns = \"host\"\nutsns = \"host\"\ncgroupns = \"host\"\nnetns = \"host\"\n";
    assert_eq!(says(&world, conf, &["--rootfs"], &image, script), host.join("\n"));
    let own = [
        "--pid=private",
        "--ipc=private",
        "--uts=private",
        "--cgroupns=private",
        "--network=none",
        "--rootfs",
    ];
    let said = says(&world, conf, &own, &image, script);
    for (own, host) in said.lines().zip(&host) {
        assert_ne!(own, host);
    }
    // What is usual there is usual here.
    says(
        &world,
        "[containers]\nnetns = \"private\"\nuserns = \"host\"\ncgroups = \"enabled\"\n",
        &["--rootfs"],
        &image,
        "true",
    );
}

#[test]
fn names_are_as_the_file_says() {
    let (world, image) = world_over_directory();
    let base = world.write("hosts", "9.8.7.6 base\n");
    let conf = format!(
        "[containers]\nbase_hosts_file = {base:?}\nhost_containers_internal_ip = \"1.2.3.4\"\ndns_servers = [\"9.9.9.9\"]\n\
         dns_searches = [\"a.test\"]\ndns_options = [\"ndots:3\"]\ncontainer_name_as_hostname = true\n"
    );
    let host = ["--network", "host", "--uts", "private", "--name", "called", "--rootfs"];
    let script = "hostname; cat /etc/hosts /etc/resolv.conf";
    let said = says(&world, &conf, &host, &image, script);
    for part in [
        "base",
        "1.2.3.4\thost.containers.internal",
        "nameserver 9.9.9.9",
        "search a.test",
        "options ndots:3",
    ] {
        assert!(said.contains(part), "{part} of {said}");
    }
    let said = says(&world, &conf, &with(&["--name", "called"]), &image, "hostname");
    assert_eq!(said, "called");
    assert_eq!(
        says(&world, &conf, &with(&["--name", "called", "--hostname", "other"]), &image, "hostname"),
        "other"
    );
    let flags = ["--network", "host", "--dns", "8.8.8.8", "--hosts-file", "none", "--rootfs"];
    let said = says(&world, &conf, &flags, &image, "cat /etc/hosts /etc/resolv.conf");
    assert!(
        said.contains("nameserver 8.8.8.8") && !said.contains("9.9.9.9") && !said.contains("base"),
        "{said}"
    );
    assert!(said.contains("search a.test"), "{said}");
    let conf = "[containers]\nhost_containers_internal_ip = \"none\"\n";
    assert!(
        !says(&world, conf, &["--network", "host", "--rootfs"], &image, "cat /etc/hosts")
            .contains("containers.internal")
    );
    let conf = "[containers]\nno_hosts = true\n";
    assert_eq!(says(&world, conf, ROOTFS, &image, "grep -c hosts /proc/self/mountinfo || true"), "0");
    for flag in ["--no-hosts=false", "--add-host=x:1.1.1.1"] {
        let flags = with(&[flag]);
        assert_eq!(
            says(&world, conf, &flags, &image, "grep -c /etc/hosts /proc/self/mountinfo"),
            "1",
            "{flag}"
        );
    }
}

#[test]
fn logs_are_as_the_file_says() {
    let (world, image) = world_over_directory();
    let logs = world.path("logs");
    let conf = format!(
        "[containers]\nlog_driver = \"json-file\"\nlog_path = {:?}\nlog_size_max = 9000\n",
        logs.display().to_string()
    );
    let file = world.write("log.conf", conf);
    let logged = |flags: &[&str]| {
        let head = ["run", "--name", "c", "--replace", "--network", "none"];
        let arguments = [&head, flags, &["--rootfs", image.as_str(), "echo", "said"]].concat();
        let mut command = world.command(arguments);
        run(command.env("CONTAINERS_CONF", &file), Patience::NORMAL).succeeds();
        world.inspect("{{.HostConfig.LogConfig.Type}} {{.HostConfig.LogConfig.Path}}", "c")
    };
    let said = logged(&[]);
    let path = said.strip_prefix("json-file ").unwrap();
    assert!(path.starts_with(logs.to_str().unwrap()) && path.ends_with("/ctr.log"), "{said}");
    assert!(std::fs::read_to_string(path).unwrap().contains("\"log\":\"said"), "{path}");
    assert!(world.loment(["logs", "c"]).succeeds().contains("said"));
    let other = world.path("other.log");
    let said = logged(&["--log-driver", "k8s-file", "--log-opt", &format!("path={}", other.display())]);
    assert_eq!(said, format!("k8s-file {}", other.display()));
    assert_eq!(logged(&["--log-driver", "none"]).split(' ').next(), Some("none"));
}

#[test]
fn what_means_nothing_is_refused_with_the_file_the_key_and_the_value() {
    let (world, image) = world_over_directory();
    for (line, value) in [
        ("umask = \"999\"", "\"999\""),
        ("umask = 22", "\"22\""),
        ("init = \"yes\"", "\"yes\""),
        ("oom_score_adj = 1001", "1001"),
        ("tz = \"Nowhere/Land\"", "\"Nowhere/Land\""),
        ("env = \"A=b\"", "\"A=b\""),
        ("env = [\"=b\"]", "\"=b\""),
        ("annotations = [\"=b\"]", "\"=b\""),
        ("pids_limit = \"many\"", "\"many\""),
        ("default_capabilities = [\"NONE_SUCH\"]", "\"NONE_SUCH\""),
        ("default_sysctls = [\"x\"]", "\"x\""),
        ("default_ulimits = [\"nofile\"]", "\"nofile\""),
        ("cgroup_conf = [\"memory.high\"]", "\"memory.high\""),
        ("seccomp_profile = \"/nowhere\"", "\"/nowhere\""),
        ("seccomp_profile = \"/dev/null\"", "\"/dev/null\""),
        ("devices = [\"zero\"]", "\"zero\""),
        ("volumes = [\"/a:b\"]", "\"/a:b\""),
        ("mounts = [\"type=what,destination=/a\"]", "\"type=what,destination=/a\""),
        ("shm_size = \"big\"", "\"big\""),
        ("pidns = \"mine\"", "\"mine\""),
        ("ipcns = \"mine\"", "\"mine\""),
        ("userns = \"mine\"", "\"mine\""),
        ("cgroups = \"some\"", "\"some\""),
        ("netns = \"pasta\"", "\"pasta\""),
        ("interface_name = \"eth9\"", "\"eth9\""),
        ("base_hosts_file = \"/nowhere\"", "\"/nowhere\""),
        ("host_containers_internal_ip = \"here\"", "\"here\""),
        ("dns_servers = [\"me\"]", "\"me\""),
        ("log_driver = \"syslog\"", "\"syslog\""),
        ("log_size_max = 5", "5"),
        ("log_path = \"x\"", "\"x\""),
    ] {
        let flags = if line.starts_with("netns") { vec!["--rootfs"] } else { ROOTFS.to_vec() };
        let conf = format!("[containers]\n{line}\n");
        let key = line.split(' ').next().unwrap();
        let output = under(&world, &conf, &flags, &image, "true");
        output.fails_saying(125, &["containers.conf: invalid ", key, value]);
    }
    under(&world, "[containers\n", ROOTFS, &image, "true").fails_saying(125, &["containers.conf", "line 1"]);
    under(&world, "[containers]\nprepare_volume_on_create = true\n", ROOTFS, &image, "true")
        .fails_saying(125, &["prepare_volume_on_create"]);
    // Nothing was made.
    assert_eq!(world.loment(["ps", "--all", "--quiet"]).succeeds(), "");
}

#[test]
fn the_unit_of_systemd_becomes_a_label() {
    let world = world();
    let dir = world.path("fs");
    loment_testkit::busybox_rootfs(&dir);
    let mut command = world.command([
        "create",
        "--name",
        "c",
        "--network",
        "none",
        "--rootfs",
        dir.to_str().unwrap(),
        "true",
    ]);
    run(command.env("PODMAN_SYSTEMD_UNIT", "x.service"), Patience::NORMAL).succeeds();
    assert_eq!(world.inspect("{{index .Config.Labels \"PODMAN_SYSTEMD_UNIT\"}}", "c"), "x.service");
}
