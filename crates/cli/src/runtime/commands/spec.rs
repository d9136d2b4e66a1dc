//! `spec`.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use loment_cgroup::{Host, Version};
use serde_json::{Value, json};

use super::super::arguments::{Argument, Arguments, unknown};
use super::super::globals::Runtime;

pub(super) const HELP: &str = "\
Write a config.json to begin with

Usage: loment-runtime spec [OPTIONS]

Options:
  -b, --bundle <DIR>   Write it to this directory [default: .]
  -f, --config <FILE>  Write this file instead of config.json
      --rootless       Describe a container that this user can run
  -h, --help           Print help
";

pub(super) fn run(arguments: &mut Arguments<'_>, _runtime: &Runtime<'_>) -> anyhow::Result<u8> {
    let (mut dir, mut name, mut rootless) = (PathBuf::from("."), PathBuf::from("config.json"), false);
    while let Some(argument) = arguments.next()? {
        match argument {
            Argument::Word(word) => bail!("unexpected argument {word:?}"),
            Argument::Flag(flag @ ("-b" | "--bundle")) => dir = arguments.value(flag)?.into(),
            Argument::Flag(flag @ ("-f" | "--config")) => name = arguments.value(flag)?.into(),
            Argument::Flag("--rootless") => rootless = true,
            Argument::Flag(flag) => return unknown(flag),
        }
    }
    let path = dir.join(name);
    let mut spec = specification(Host::detect()?.version());
    if rootless {
        make_rootless(&mut spec);
    }
    let text = serde_json::to_string_pretty(&spec)? + "\n";
    match File::options().write(true).create_new(true).open(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("file {} exists: remove it first", path.display())
        }
        other => other
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("write {}", path.display()))?,
    }
    Ok(0)
}

/// A shell on a terminal, with namespaces of its own, little of the host in sight and few capabilities.
fn specification(groups: Version) -> Value {
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    let mut namespaces = vec!["pid", "network", "ipc", "uts", "mount"];
    // As runc and crun: those who take this for a beginning add one themselves elsewhere.
    if groups == Version::V2 {
        namespaces.push("cgroup");
    }
    let namespaces: Vec<Value> = namespaces.into_iter().map(|kind| json!({"type": kind})).collect();
    json!({
        "ociVersion": "1.3.0",
        "process": {
            "terminal": true,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "loment",
        "mounts": mounts(),
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": namespaces,
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
                "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
                "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
            ],
            "readonlyPaths": [
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
            ],
        },
    })
}

fn mounts() -> Value {
    let mount = |destination: &str, kind: &str, options: &[&str]| {
        let source = match kind {
            "tmpfs" if destination == "/dev/shm" => "shm",
            other => other,
        };
        let mut mount = json!({"destination": destination, "type": kind, "source": source});
        if !options.is_empty() {
            mount["options"] = json!(options);
        }
        mount
    };
    let safe = ["nosuid", "noexec", "nodev"];
    json!([
        mount("/proc", "proc", &[]),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
        ),
        mount("/dev/shm", "tmpfs", &[&safe[..], &["mode=1777", "size=65536k"]].concat()),
        mount("/dev/mqueue", "mqueue", &safe),
        mount("/sys", "sysfs", &[&safe[..], &["ro"]].concat()),
        mount("/sys/fs/cgroup", "cgroup", &[&safe[..], &["relatime", "ro"]].concat()),
    ])
}

/// A user maps itself only, may not set limits, and sees /sys of the host's network, which it keeps.
fn make_rootless(spec: &mut Value) {
    let one = |host: u32| json!([{"containerID": 0, "hostID": host, "size": 1}]);
    let linux = &mut spec["linux"];
    linux["uidMappings"] = one(rustix::process::geteuid().as_raw());
    linux["gidMappings"] = one(rustix::process::getegid().as_raw());
    if let Some(linux) = linux.as_object_mut() {
        linux.remove("resources");
    }
    if let Some(namespaces) = linux["namespaces"].as_array_mut() {
        namespaces.retain(|n| n["type"] != "network");
        namespaces.push(json!({"type": "user"}));
    }
    let Some(mounts) = spec["mounts"].as_array_mut() else { return };
    mounts.retain(|m| m["destination"] != "/sys/fs/cgroup");
    for mount in mounts {
        if mount["destination"] == "/sys" {
            *mount = json!({"destination": "/sys", "type": "none", "source": "/sys",
                "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]});
        }
        // Groups other than its own do not exist in its user namespace.
        if let Some(options) = mount.get_mut("options").and_then(Value::as_array_mut) {
            options.retain(|o| !o.as_str().is_some_and(|o| o.starts_with("gid=")));
        }
    }
}
