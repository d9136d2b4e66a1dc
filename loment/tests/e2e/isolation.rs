//! What a container can see and do.

use std::fs;

use crate::{pid_of, sh, sleeper, world_with};

/// Podman's default capabilities: CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID
/// SYS_CHROOT.
const DEFAULT_CAPABILITIES: u64 = 0x8004_05fb;
const NET_ADMIN: u64 = 1 << 12;

fn capabilities(line: &str) -> u64 {
    u64::from_str_radix(line.trim(), 16).expect("capabilities are hexadecimal")
}

#[test]
fn a_container_is_its_own_pid_1_and_sees_no_other_process() {
    let (world, image) = world_with("busybox:latest");
    assert_eq!(sh(&world, &[], &image, "echo $$"), "1");
    // By the shell itself: programs it starts are processes, too.
    assert_eq!(sh(&world, &[], &image, "echo /proc/[0-9]*"), "/proc/1");
}

#[test]
fn every_namespace_is_new() {
    let (world, image) = world_with("busybox:latest");
    for kind in ["pid", "mnt", "uts", "ipc", "net", "cgroup"] {
        let inside = sh(&world, &[], &image, &format!("readlink /proc/self/ns/{kind}"));
        let outside = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_ne!(inside, outside.to_string_lossy(), "{kind}");
    }
}

#[test]
fn the_hostname_is_the_short_id_or_as_told() {
    let (world, image) = world_with("busybox:latest");
    let name = sh(&world, &[], &image, "hostname");
    assert_eq!(name.len(), 12);
    assert!(name.chars().all(|c| c.is_ascii_hexdigit()), "{name}");
    assert_eq!(
        sh(&world, &["--hostname", "pod.example"], &image, "hostname; echo $HOSTNAME"),
        "pod.example\npod.example"
    );
    assert_eq!(sh(&world, &["--hostname", "pod"], &image, "grep -c pod /etc/hostname"), "1");
}

#[test]
fn network_none_has_a_loopback_that_works_and_nothing_else() {
    let (world, image) = world_with("busybox:latest");
    assert_eq!(sh(&world, &[], &image, "ls /sys/class/net"), "lo");
    let script = "echo hello | nc -l -p 99 & sleep 0.3; nc 127.0.0.1 99 </dev/null";
    assert_eq!(sh(&world, &[], &image, script), "hello");
}

#[test]
fn network_host_is_the_hosts() {
    let (world, image) = world_with("busybox:latest");
    let inside = world.loment(["run", "--rm", "--network", "host", &image, "readlink", "/proc/self/ns/net"]);
    assert_eq!(inside.succeeds(), fs::read_link("/proc/self/ns/net").unwrap().to_string_lossy());
}

#[test]
fn without_a_network_flag_there_is_none_and_one_line_says_so() {
    let (world, image) = world_with("busybox:latest");
    let output = world.loment(["run", "--rm", &image, "ls", "/sys/class/net"]);
    assert_eq!(output.succeeds(), "lo");
    assert_eq!(output.stderr.lines().filter(|l| l.contains("network")).count(), 1, "{output}");
}

#[test]
fn capabilities_are_podmans_and_follow_the_flags() {
    let (world, image) = world_with("busybox:latest");
    let effective =
        |flags: &[&str]| capabilities(&sh(&world, flags, &image, "grep CapEff /proc/self/status | cut -f2"));
    let bounding =
        |flags: &[&str]| capabilities(&sh(&world, flags, &image, "grep CapBnd /proc/self/status | cut -f2"));
    assert_eq!(effective(&[]), DEFAULT_CAPABILITIES);
    assert_eq!(bounding(&[]), DEFAULT_CAPABILITIES);
    assert_eq!(effective(&["--cap-drop", "all"]), 0);
    assert_eq!(bounding(&["--cap-drop", "ALL", "--cap-add", "CAP_NET_ADMIN"]), NET_ADMIN);
    assert_eq!(effective(&["--cap-add", "net_admin"]), DEFAULT_CAPABILITIES | NET_ADMIN);
    assert_eq!(effective(&["--cap-drop", "chown"]), DEFAULT_CAPABILITIES & !1);
    assert_eq!(effective(&["--user", "app"]), 0, "a user has none");
    let ours = fs::read_to_string("/proc/self/status").unwrap();
    let ours = ours.lines().find_map(|l| l.strip_prefix("CapBnd:")).map(capabilities).unwrap();
    assert_eq!(effective(&["--privileged"]), ours);
}

#[test]
fn the_default_seccomp_profile_is_loaded_unless_told_otherwise() {
    let (world, image) = world_with("busybox:latest");
    let mode = |flags: &[&str]| sh(&world, flags, &image, "grep ^Seccomp: /proc/self/status | cut -f2");
    assert_eq!(mode(&[]), "2");
    assert_eq!(mode(&["--security-opt", "seccomp=unconfined"]), "0");
    assert_eq!(mode(&["--privileged"]), "0");
    assert_eq!(mode(&["--security-opt", "no-new-privileges"]), "2");
    // The capability would allow this call; the profile does not.
    let swap = |flags: &[&str]| sh(&world, flags, &image, "swapon /etc/passwd 2>&1 || true");
    let flags = ["--cap-add", "sys_admin", "--security-opt", "seccomp=unconfined"];
    assert!(swap(&flags[..2]).ends_with("Operation not permitted"));
    assert!(swap(&flags).ends_with("Invalid argument"));
}

#[test]
fn a_seccomp_profile_from_a_file_is_applied() {
    let (world, image) = world_with("busybox:latest");
    let profile = world.write(
        "profile.json",
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":28}]}"#,
    );
    let option = format!("seccomp={profile}");
    let said = sh(&world, &["--security-opt", &option], &image, "mkdir /tmp/x 2>&1; echo $?");
    assert!(said.contains("No space left on device") && said.ends_with("\n1"), "{said}");
}

#[test]
fn no_new_privileges_only_where_asked() {
    let (world, image) = world_with("busybox:latest");
    let script = "grep NoNewPrivs /proc/self/status | cut -f2";
    assert_eq!(sh(&world, &[], &image, script), "0");
    assert_eq!(sh(&world, &["--security-opt", "no-new-privileges"], &image, script), "1");
}

#[test]
fn paths_of_the_kernel_are_masked_or_read_only() {
    let (world, image) = world_with("busybox:latest");
    // Not every kernel has each of them.
    let masked = ["kcore", "keys", "timer_list", "sched_debug", "latency_stats", "interrupts"];
    let there: Vec<_> =
        masked.iter().map(|f| format!("/proc/{f}")).filter(|p| fs::metadata(p).is_ok()).collect();
    assert!(there.contains(&"/proc/keys".to_owned()), "every kernel has keys");
    let kinds = sh(&world, &[], &image, &format!("stat -c '%t %T' {}", there.join(" ")));
    assert!(kinds.lines().all(|k| k == "1 3"), "not masked by /dev/null: {there:?} {kinds}");
    for path in ["/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/sys/class/net/lo/mtu"] {
        let said = sh(&world, &[], &image, &format!("echo 1 2>&1 >{path}; echo $?"));
        assert!(
            said.contains("Read-only file system") || said.starts_with("sh: can't create"),
            "{path}: {said}"
        );
    }
    for flags in [["--security-opt", "unmask=ALL"].as_slice(), &["--privileged"]] {
        let kind = sh(&world, flags, &image, "stat -c %F /proc/keys");
        assert!(kind.starts_with("regular"), "{flags:?}: {kind}");
    }
}

#[test]
fn devices_are_the_default_ones_and_those_that_were_given() {
    let (world, image) = world_with("busybox:latest");
    let list = sh(&world, &[], &image, "ls /dev");
    for name in [
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
        "urandom", "zero",
    ] {
        assert!(list.lines().any(|l| l == name), "no /dev/{name}: {list}");
    }
    assert!(!list.contains("kmsg") && !list.contains("loop"), "{list}");
    let script = "head -c 3 /dev/zero | wc -c; echo x >/dev/null; echo x 2>/dev/null >/dev/full || echo full";
    assert_eq!(sh(&world, &[], &image, script), "3\nfull");
    let given = sh(&world, &["--device", "/dev/zero:/dev/mine:r"], &image, "head -c 2 /dev/mine | wc -c");
    assert_eq!(given, "2");
}

#[test]
fn a_device_that_was_not_given_cannot_be_used_even_when_it_is_made() {
    let (world, image) = world_with("busybox:latest");
    let script = "mknod /tmp/kmsg c 1 11 && (head -c 1 /tmp/kmsg >/dev/null) 2>/dev/null || echo refused";
    assert_eq!(sh(&world, &["--cap-add", "mknod"], &image, script), "refused");
}

#[test]
fn descriptors_of_the_caller_do_not_reach_the_container() {
    let (world, image) = world_with("busybox:latest");
    let mut caller = std::process::Command::new("sh");
    caller.args(["-c", "exec 7</etc/passwd 8</etc; exec \"$@\"", "sh"]);
    let inner = world.command(["run", "--rm", "--network", "none", &image, "ls", "/proc/self/fd"]);
    caller.arg(inner.get_program()).args(inner.get_args());
    let output = loment_testkit::run(&mut caller, loment_testkit::Patience::NORMAL);
    // The fourth is ls's own, of the directory it lists.
    assert_eq!(output.succeeds().split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
}

#[test]
fn the_host_is_out_of_reach_through_dots_and_proc() {
    let (world, image) = world_with("busybox:latest");
    let secret = world.write("secret", "host");
    let script = format!(
        "cat /../../..{secret} /proc/1/root{secret} /proc/self/cwd/../../..{secret} 2>/dev/null; echo end"
    );
    assert_eq!(sh(&world, &[], &image, &script), "end");
}

#[test]
fn the_hosts_mounts_are_not_listed_inside() {
    let (world, image) = world_with("busybox:latest");
    let points = sh(&world, &[], &image, "cut -d' ' -f5 /proc/self/mountinfo");
    for point in points.lines() {
        let known = ["/", "/proc", "/dev", "/sys", "/etc", "/run"]
            .iter()
            .any(|k| point == *k || (point.starts_with(k) && *k != "/"));
        assert!(known, "unexpected mount {point}:\n{points}");
    }
}

#[test]
fn mounts_of_a_container_do_not_appear_on_the_host() {
    let (world, image) = world_with("busybox:latest");
    sleeper(&world, "c", &["--tmpfs", "/only-inside"], &image);
    let inside = fs::read_to_string(format!("/proc/{}/mountinfo", pid_of(&world, "c"))).unwrap();
    assert!(inside.contains("/only-inside"));
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains("/only-inside"));
}

#[test]
fn neither_the_monitor_nor_its_file_is_visible_inside() {
    let (world, image) = world_with("busybox:latest");
    let script = "for p in /proc/[0-9]*; do readlink $p/exe; done; cat /proc/[0-9]*/comm";
    assert!(!sh(&world, &[], &image, script).contains("loment"));
    assert!(!sh(&world, &["--init"], &image, &format!("sleep 0; {script}")).contains("loment\n"));
}

#[test]
fn init_is_pid_1_and_collects_orphans() {
    let (world, image) = world_with("busybox:latest");
    assert_ne!(sh(&world, &["--init"], &image, "echo $$"), "1");
    let script = "(sleep 0.1 &) ; sleep 0.5; grep -l 'State:.Z' /proc/[0-9]*/status | wc -l";
    assert_eq!(sh(&world, &["--init"], &image, script), "0");
    let status = world.loment(["run", "--rm", "--network", "none", "--init", &image, "sh", "-c", "exit 9"]);
    status.fails(9);
}
