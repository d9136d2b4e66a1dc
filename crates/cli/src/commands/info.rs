//! `info`

use clap::Parser;
use loment_cgroup::{Host, Version};
use loment_engine::config::GroupManager;
use loment_engine::{Status, Which};
use serde_json::{Value, json};

use crate::containers_conf;
use crate::ecosystem::{self, Text};
use crate::error::Error;
use crate::globals::Globals;
use crate::output::{execute, print};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Display system information
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Print as json, or with a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let document = document(globals)?;
    let text = match flags.format.as_deref() {
        Some("json") => format!("{document:#}\n"),
        Some(template) => execute(template, &for_templates(document))? + "\n",
        None => outline(&document, 0),
    };
    print(&text)?;
    Ok(0)
}

fn document(globals: &Globals) -> Result<Value, Error> {
    let engine = globals.engine()?;
    let containers = engine.list(Which::All)?;
    let running = containers.iter().filter(|c| c.status == Status::Running).count();
    let kernel = rustix::system::uname();
    let memory = rustix::system::sysinfo();
    let bytes = |n: u64| n.saturating_mul(memory.mem_unit.into());
    let cgroups = match Host::detect().map(|h| h.version()) {
        Ok(Version::V2) => "v2",
        // Podman's two words; limits are those of v1 where both are.
        Ok(Version::V1 | Version::Hybrid) => "v1",
        Err(_) => "none",
    };
    let platform = loment_image::Platform::host();
    let program = std::env::current_exe().unwrap_or_default();
    let package = format!("loment-{VERSION}");
    let names = ecosystem::registries(None)?.search().to_vec();
    let registries = if names.is_empty() { json!({}) } else { json!({"search": names}) };
    let space = rustix::fs::statvfs(engine.root()).ok();
    let allocated = space.as_ref().map_or(0, |s| s.f_blocks.saturating_mul(s.f_frsize));
    let used = space.as_ref().map_or(0, |s| (s.f_blocks - s.f_bfree).saturating_mul(s.f_frsize));
    Ok(json!({
        "host": {
            "arch": platform.architecture,
            // What builds images, and what watches containers: it is all one program.
            "buildahVersion": VERSION,
            "cgroupManager": globals.group_manager()?.unwrap_or_else(GroupManager::of_this_machine).name(),
            "cgroupVersion": cgroups,
            "conmon": {"package": package, "path": program, "version": format!("loment {VERSION}")},
            "configFiles": containers_conf::read()?.texts().iter().map(Text::path).collect::<Vec<_>>(),
            "cpus": std::thread::available_parallelism().map_or(1, usize::from),
            "distribution": distribution(),
            "eventLogger": crate::events::settings(globals.events)?.backend.name(),
            "hostname": kernel.nodename().to_string_lossy(),
            "kernel": kernel.release().to_string_lossy(),
            "logDriver": "k8s-file",
            "memFree": bytes(memory.freeram),
            "memTotal": bytes(memory.totalram),
            "networkBackend": "none",
            "ociRuntime": {"name": "loment", "package": package, "path": program, "version": VERSION},
            "os": platform.os,
            "security": {
                "capabilities": loment_engine::capabilities(&Default::default())?.join(","),
                "rootless": crate::rootless::is_rootless(),
                "seccompEnabled": true,
                "apparmorEnabled": false,
                "selinuxEnabled": false,
            },
            "swapFree": bytes(memory.freeswap),
            "swapTotal": bytes(memory.totalswap),
            "uptimeSeconds": memory.uptime,
        },
        "plugins": {
            "authorization": null, "log": ["k8s-file", "none", "passthrough"], "network": [], "volume": ["local"],
        },
        "registries": registries,
        "store": {
            "containerStore": {"number": containers.len(), "running": running, "stopped": containers.len() - running, "paused": 0},
            "graphDriverName": if engine.makes_copies() { "vfs" } else { "overlay" },
            "graphOptions": {},
            "graphRoot": engine.root(),
            "graphRootAllocated": allocated,
            "graphRootUsed": used,
            "graphStatus": {"Backing Filesystem": backing_file_system(engine.root())},
            "imageCopyTmpDir": globals.temporary(),
            "imageStore": {"number": engine.images()?.len()},
            "runRoot": engine.runroot(),
            "transientStore": globals.is_transient(),
            "volumePath": engine.volumes_dir(),
        },
        "version": {"Version": VERSION, "OsArch": format!("{}/{}", platform.os, platform.architecture)},
    }))
}

/// A program as Go's types have it.
fn of_program(program: &Value) -> Value {
    let mut names = serde_json::Map::new();
    for (name, key) in [("Name", "name"), ("Package", "package"), ("Path", "path"), ("Version", "version")] {
        if let Some(value) = program.get(key) {
            names.insert(name.to_owned(), value.clone());
        }
    }
    names.into()
}

/// What this machine's system is, by os-release(5).
fn distribution() -> Value {
    let read = |path| std::fs::read_to_string(path);
    let text = read("/etc/os-release").or_else(|_| read("/usr/lib/os-release")).unwrap_or_default();
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map(|value| value.trim().trim_matches(['"', '\'']).to_owned())
    };
    let mut all = serde_json::Map::new();
    let unknown = || Some("unknown".to_owned());
    all.insert("distribution".to_owned(), json!(value("ID").or_else(unknown)));
    all.insert("version".to_owned(), json!(value("VERSION_ID").or_else(unknown)));
    for (name, key) in [("codename", "VERSION_CODENAME"), ("variant", "VARIANT_ID")] {
        if let Some(value) = value(key) {
            all.insert(name.to_owned(), value.into());
        }
    }
    all.into()
}

/// The kind of the file system with a directory, in Podman's words.
fn backing_file_system(path: &std::path::Path) -> &'static str {
    let kind = rustix::fs::statfs(path).map_or(0, |stat| stat.f_type as u64 & 0xffff_ffff);
    // statfs(2)
    match kind {
        0xef53 => "extfs",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlayfs",
        0xf2f5_2010 => "f2fs",
        0x2fc1_2fc1 => "zfs",
        _ => "<unknown>",
    }
}

/// What templates see: the document, and the same under the names that Podman's and Docker's types have for it.
fn for_templates(mut document: Value) -> Value {
    let (host, store) = (document["host"].clone(), document["store"].clone());
    let (security, containers) = (&host["security"], &store["containerStore"]);
    let version = &document["version"]["Version"];
    let names = json!({
        "Host": {
            "Arch": host["arch"], "BuildahVersion": host["buildahVersion"], "CgroupManager": host["cgroupManager"], "CgroupsVersion": host["cgroupVersion"],
            "Conmon": of_program(&host["conmon"]), "CPUs": host["cpus"],
            "Distribution": {
                "Codename": host["distribution"]["codename"], "Distribution": host["distribution"]["distribution"],
                "Variant": host["distribution"]["variant"], "Version": host["distribution"]["version"],
            }, "EventLogger": host["eventLogger"], "Hostname": host["hostname"],
            "Kernel": host["kernel"], "LogDriver": host["logDriver"], "MemFree": host["memFree"],
            "MemTotal": host["memTotal"], "NetworkBackend": host["networkBackend"],
            "OCIRuntime": of_program(&host["ociRuntime"]),
            "OS": host["os"], "SwapFree": host["swapFree"], "SwapTotal": host["swapTotal"],
            "Security": {
                "AppArmorEnabled": security["apparmorEnabled"], "DefaultCapabilities": security["capabilities"],
                "Rootless": security["rootless"], "SECCOMPEnabled": security["seccompEnabled"],
                "SELinuxEnabled": security["selinuxEnabled"],
            },
            "Uptime": host["uptimeSeconds"],
        },
        "Store": {
            "ContainerStore": {
                "Number": containers["number"], "Running": containers["running"], "Paused": containers["paused"],
                "Stopped": containers["stopped"],
            },
            "GraphDriverName": store["graphDriverName"], "GraphOptions": store["graphOptions"],
            "GraphRoot": store["graphRoot"], "GraphRootAllocated": store["graphRootAllocated"],
            "GraphRootUsed": store["graphRootUsed"], "GraphStatus": store["graphStatus"],
            "ImageCopyTmpDir": store["imageCopyTmpDir"], "ImageStore": {"Number": store["imageStore"]["number"]},
            "RunRoot": store["runRoot"], "TransientStore": store["transientStore"], "VolumePath": store["volumePath"],
        },
        "Plugins": {
            "Authorization": null, "Log": document["plugins"]["log"], "Network": document["plugins"]["network"],
            "Volume": document["plugins"]["volume"],
        },
        "Registries": document["registries"],
        "Version": {"Version": version, "OsArch": document["version"]["OsArch"]},
        "Architecture": host["arch"], "CgroupDriver": host["cgroupManager"],
        "CgroupVersion": if host["cgroupVersion"] == "v2" { "2" } else { "1" },
        "Containers": containers["number"], "ContainersPaused": containers["paused"],
        "ContainersRunning": containers["running"], "ContainersStopped": containers["stopped"],
        "DefaultRuntime": host["ociRuntime"]["name"], "DockerRootDir": store["graphRoot"],
        "Driver": store["graphDriverName"], "Images": store["imageStore"]["number"],
        "KernelVersion": host["kernel"], "LoggingDriver": host["logDriver"], "MemTotal": host["memTotal"],
        "NCPU": host["cpus"], "Name": host["hostname"], "OSType": host["os"], "ServerVersion": version,
    });
    if let (Value::Object(document), Value::Object(names)) = (&mut document, names) {
        document.extend(names);
    }
    document
}

/// The document as Podman shows it: names, two blanks deeper for what is inside.
fn outline(value: &Value, depth: usize) -> String {
    let Value::Object(map) = value else { return String::new() };
    let pad = "  ".repeat(depth);
    map.iter()
        .map(|(name, value)| match value {
            Value::Object(map) if map.is_empty() => format!("{pad}{name}: {{}}\n"),
            Value::Object(_) => format!("{pad}{name}:\n{}", outline(value, depth + 1)),
            Value::String(s) => format!("{pad}{name}: {s}\n"),
            other => format!("{pad}{name}: {other}\n"),
        })
        .collect()
}
