//! What a container may do, and what is kept from it.

use std::fs;

use loment_testkit::{Compression, Config, Entry, Image, Layer, Layout, World, skip};
use serde_json::json;

use crate::{sh, world, world_over_directory, world_with};

/// A field of /proc/self/status.
#[track_caller]
fn status(world: &World, flags: &[&str], image: &str, field: &str) -> String {
    let line = sh(world, flags, image, &format!("grep ^{field}: /proc/self/status"));
    line.split_whitespace().last().expect("a field has a value").to_owned()
}

#[test]
fn privileges_are_given_up_in_every_spelling() {
    let (world, image) = world_with("busybox:latest");
    for (option, wanted) in [
        ("no-new-privileges", "1"),
        ("no-new-privileges:true", "1"),
        ("no-new-privileges=true", "1"),
        ("no-new-privileges:false", "0"),
    ] {
        assert_eq!(status(&world, &["--security-opt", option], &image, "NoNewPrivs"), wanted, "{option}");
    }
    assert_eq!(status(&world, &["--security-opt", "seccomp:unconfined"], &image, "Seccomp"), "0");
    assert_eq!(status(&world, &["--security-opt", "seccomp=builtin"], &image, "Seccomp"), "2");
}

#[test]
fn paths_are_hidden_and_shown() {
    let (world, image) = world_with("busybox:latest");
    let hide = ["--security-opt", "mask=/etc/passwd:/home/app", "--security-opt", "mask=/etc/group"];
    let script = "cat /etc/passwd /etc/group; touch /home/app/x 2>/dev/null || echo hidden";
    assert_eq!(sh(&world, &hide, &image, script), "hidden");
    assert_eq!(sh(&world, &[&hide[..], &["--privileged"]].concat(), &image, script), "hidden");
    let masked = "grep -c -E ' /proc/(acpi|kcore|keys|timer_list|sys) ' /proc/self/mountinfo; true";
    assert_ne!(sh(&world, &[], &image, masked), "0");
    for shown in ["systempaths=unconfined", "unmask=ALL", "unmask=/proc/*"] {
        assert_eq!(sh(&world, &["--security-opt", shown], &image, masked), "0", "{shown}");
    }
}

#[test]
fn the_process_list_and_control_groups_are_as_asked_for() {
    let (world, image) = world_with("busybox:latest");
    let options = "grep ' /proc proc ' /proc/mounts";
    let said = sh(&world, &["--security-opt", "proc-opts=hidepid=2,gid=7"], &image, options);
    assert!(
        said.contains("gid=7") && (said.contains("hidepid=2") || said.contains("hidepid=invisible")),
        "{said}"
    );
    assert!(said.contains("nosuid"), "{said}");
    let groups = "grep ' /sys/fs/cgroup' /proc/self/mountinfo | grep -v ' tmpfs ' | cut -d' ' -f6 | cut -d, -f1 | sort -u";
    assert_eq!(sh(&world, &[], &image, groups), "ro");
    assert_eq!(sh(&world, &["--security-opt", "writable-cgroups"], &image, groups), "rw");
    assert_eq!(sh(&world, &["--security-opt", "writable-cgroups=false"], &image, groups), "ro");
}

#[test]
fn labels_of_modules_that_are_off_are_refused_or_mean_nothing() {
    let (world, image) = world_with("busybox:latest");
    let run = |option: &str| {
        world.loment(["run", "--rm", "--network", "none", "--security-opt", option, &image, "true"])
    };
    for nothing in ["apparmor=unconfined", "apparmor:unconfined", "label=disable", "label:disable"] {
        run(nothing).succeeds();
    }
    match fs::read_to_string("/sys/module/apparmor/parameters/enabled") {
        Ok(text) if text.starts_with('Y') => skip("AppArmor that is off", "it is on here"),
        _ => run("apparmor=loment-test").fails_saying(125, &["loment-test", "AppArmor is not enabled"]),
    }
    if std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        return skip("SELinux that is off", "it is on here");
    }
    run("label=type:x_t").succeeds();
    run("label=nonsense").fails(125);
    // Files are given no label, and the options are no mount options.
    let dir = world.path("shared");
    fs::create_dir(&dir).unwrap();
    for option in ["z", "Z", "ro,z"] {
        let volume = format!("{}:/shared:{option}", dir.display());
        assert_eq!(sh(&world, &["-v", &volume], &image, "ls -d /shared"), "/shared");
    }
    let mut value = [0; 8];
    assert!(rustix::fs::getxattr(&dir, "security.selinux", &mut value).is_err());
}

#[test]
fn parameters_of_the_kernel_are_the_containers_own() {
    let (world, image) = world_with("busybox:latest");
    let before = fs::read_to_string("/proc/sys/kernel/msgmax").unwrap();
    let flags = ["--sysctl", "kernel.msgmax=7777,net.ipv4.ip_default_ttl=33", "--sysctl", "kernel/shmmni=99"];
    let script = "cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/shmmni";
    assert_eq!(sh(&world, &flags, &image, script), "7777\n33\n99");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/msgmax").unwrap(), before);
    let refused = |network: &str, sysctl: &str, words: &[&str]| {
        let words_typed = ["create", "--network", network, "--sysctl", sysctl, &image];
        world.loment(words_typed).fails_saying(125, words);
    };
    refused("none", "vm.swappiness=1", &["vm.swappiness", "not allowed"]);
    refused(
        "host",
        "net.ipv4.ip_default_ttl=33",
        &["net.ipv4.ip_default_ttl", "Network Namespace set to host"],
    );
    refused("none", "kernel.msgmax", &["KEY=VALUE"]);
    let ipc = ["create", "--network", "none", "--ipc", "host", "--sysctl", "kernel.msgmax=7", &image];
    world.loment(ipc).fails_saying(125, &["kernel.msgmax", "IPC Namespace set to host"]);
    world
        .loment(["create", "--name", "c", "--network", "none", "--sysctl", "kernel.msgmax=7", &image])
        .succeeds();
    assert_eq!(world.inspect("{{json .HostConfig.Sysctls}}", "c"), r#"{"kernel.msgmax":"7"}"#);
}

#[test]
fn a_read_only_container_has_temporary_file_systems_or_none() {
    let (world, fs) = world_over_directory();
    for name in ["run", "var/tmp"] {
        fs::create_dir_all(world.path("fs").join(name)).unwrap();
    }
    let script = "for dir in /run /tmp /var/tmp /dev /dev/shm /etc; do
        touch $dir/x 2>/dev/null && echo -n \"$dir \"; done; test -c /dev/null && echo x >/dev/null && echo null";
    let of = |flags: &[&str]| sh(&world, &[&["--read-only"], flags, &["--rootfs"]].concat(), &fs, script);
    assert_eq!(of(&[]), "/run /tmp /var/tmp /dev /dev/shm null");
    assert_eq!(of(&["--read-only-tmpfs=false"]), "null");
    assert_eq!(of(&["--read-only-tmpfs=false", "--tmpfs", "/tmp"]), "/tmp null");
}

#[test]
fn the_image_may_say_which_system_calls_there_are() {
    let world = world();
    let mut layout = Layout::create(&world.path("layout"));
    // No directories are made, and everything else is allowed.
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    });
    let labels = json!({ "io.containers.seccomp.profile": profile.to_string() });
    let busybox = Entry::file("bin/busybox", fs::read("/bin/busybox").unwrap()).mode(0o755);
    let layer = Layer::of([Entry::dir("bin"), Entry::dir("tmp"), busybox]);
    let image = Image::new(Config::shell().set("Labels", labels), [layer.into()]);
    layout.add("calls", &image, Compression::Gzip);
    let place = format!("oci:{}:calls", world.path("layout").display());
    world.loment(["pull", "-q", &place]).succeeds();
    let id = world.loment(["images", "-q"]).succeeds().to_owned();
    let of = |flags: &[&str]| {
        let words = [&["run", "--rm", "--network", "none"], flags, &[&id, "/bin/busybox", "mkdir", "/tmp/x"]]
            .concat();
        world.loment(words).code
    };
    assert_eq!((of(&[]), of(&["--seccomp-policy", "default"])), (0, 0));
    assert_eq!(of(&["--seccomp-policy", "image"]), 1);
    assert_eq!(of(&["--seccomp-policy", "image", "--security-opt", "seccomp=unconfined"]), 0);
}
