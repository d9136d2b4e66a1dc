//! What older kernels lack is done in another way, with the same result.

use loment_testkit::{Output, Patience, World, run};

use crate::runtime::{bundle, id};
use crate::{sh, through, world_over_directory};

/// Becomes a program for which mount_setattr(2), number 442 everywhere, does not exist: a seccomp filter answers ENOSYS.
const WITHOUT_MOUNT_SETATTR: [&str; 3] = [
    "perl",
    "-e",
    "use POSIX; $prctl = (uname())[4] eq 'x86_64' ? 157 : 167; \
     $filter = pack('SCCL' x 4, 0x20,0,0,0, 0x15,0,1,442, 6,0,0,0x50026, 6,0,0,0x7fff0000); \
     syscall($prctl, 22, 2, pack('Sx6P', 4, $filter), 0, 0) == 0 or die \"prctl: $!\"; exec @ARGV or die",
];

/// All mounts of a container but for their numbers and what differs between any two containers.
const MOUNTS: &str = "cut -d ' ' -f 5- /proc/self/mountinfo | sed 's/ shared:[0-9]*//; s/upperdir=[^ ,]*//; \
                      s/workdir=[^ ,]*//'";

#[track_caller]
fn without(world: &World, arguments: &[&str]) -> Output {
    run(&mut through(&WITHOUT_MOUNT_SETATTR, &world.command(arguments)), Patience::NORMAL)
}

/// The lines about what a container has of its own: what other tests mount on the machine comes and goes.
fn of_container(mounts: &str) -> Vec<String> {
    mounts.lines().filter(|line| !line.starts_with("/tmp/")).map(str::to_owned).collect()
}

#[test]
fn mounts_are_the_same_without_mount_setattr() {
    let (world, fs) = world_over_directory();
    let host = world.path("host");
    std::fs::create_dir_all(host.join("dir")).unwrap();
    std::fs::write(host.join("file"), "").unwrap();
    let host = host.to_str().unwrap();
    let volumes = [
        format!("{host}/dir:/ro:ro"),
        format!("{host}/file:/file:ro,nosuid"),
        format!("{host}:/tree:rbind,rro,noexec,nodev"),
        "/sys:/all-sys:rbind,rro".to_owned(),
        format!("{host}/dir:/shared:rshared,noatime"),
    ];
    let volumes: Vec<&str> = volumes.iter().flat_map(|v| ["-v", v]).collect();
    let variants: [(&[&str], String); 4] = [
        (&[], fs.clone()),
        (&["--read-only", "--tmpfs", "/tmp:ro", "--tmpfs", "/etc:ro,mode=700"], format!("{fs}:O")),
        (&["--privileged"], fs.clone()),
        (&["--security-opt", "unmask=/proc/kcore", "--init"], "/:O".into()),
    ];
    for (flags, root) in &variants {
        let flags = [&volumes[..], flags, &["--rootfs"]].concat();
        let wanted = of_container(&sh(&world, &flags, root, MOUNTS));
        let head = ["run", "--rm", "--network", "none"];
        let output = without(&world, &[&head, &flags[..], &[root, "sh", "-c", MOUNTS]].concat());
        assert_eq!(of_container(output.succeeds()), wanted, "{flags:?}");
        assert!(wanted.len() > 20, "{wanted:?}");
    }
    // The filter is there, or this would test nothing.
    let output = without(
        &world,
        &["run", "--rm", "--network", "none", "--rootfs", &fs, "grep", "Seccomp_f", "/proc/self/status"],
    );
    assert_eq!(output.succeeds(), "Seccomp_filters:\t2");
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_container_cannot_write_where_it_must_not_without_mount_setattr() {
    let (world, fs) = world_over_directory();
    let script = "for p in /file /proc/sys/kernel/domainname /ro/x; do \
                  (echo x > $p) 2>/dev/null && echo wrote $p; done; \
                  mount -o remount,bind,rw /ro 2>/dev/null && echo remounted; \
                  for f in kcore keys timer_list sched_debug; do test ! -e /proc/$f || { test -c /proc/$f && echo masked; \
                  chmod 777 /proc/$f; }; done 2>/dev/null | sort -u; echo done";
    let dir = world.path("kept");
    std::fs::create_dir(&dir).unwrap();
    let volume = format!("{}:/ro:ro", dir.display());
    let run = [
        "run",
        "--rm",
        "--network",
        "none",
        "--read-only",
        "-v",
        &volume,
        "--rootfs",
        &fs,
        "sh",
        "-c",
        script,
    ];
    assert_eq!(without(&world, &run).succeeds(), "masked\ndone");
    let metadata = std::fs::metadata("/dev/null").unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777, 0o666);
}

#[test]
fn the_runtime_works_without_mount_setattr() {
    let (world, _) = world_over_directory();
    let dir = bundle(&world, MOUNTS, |config| {
        config["root"]["readonly"] = true.into();
        config["linux"]["rootfsPropagation"] = "slave".into();
        config["linux"]["maskedPaths"] = serde_json::json!(["/proc/kcore", "/proc/scsi", "/proc/acpi"]);
        config["linux"]["readonlyPaths"] = serde_json::json!(["/proc/sys", "/proc/bus"]);
    });
    world.named("loment-runtime", ["--version"]).succeeds();
    let arguments = |id: &str| {
        let mut command = std::process::Command::new(world.dir().join("loment-runtime"));
        command.env("PATH", "/usr/bin:/bin").arg("--root").arg(world.dir().join("runtime"));
        command.args(["run", "--bundle"]).arg(&dir).arg(id);
        command
    };
    let wanted = run(&mut arguments(&id("new")), Patience::NORMAL);
    let output = run(&mut through(&WITHOUT_MOUNT_SETATTR, &arguments(&id("old"))), Patience::NORMAL);
    assert_eq!(output.succeeds(), wanted.succeeds());
}
