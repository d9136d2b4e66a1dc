//! `info`

use clap::Parser;
use loment_cgroup::{Host, Version};
use loment_engine::config::GroupManager;
use loment_engine::{Status, Which};
use serde_json::{Value, json};

use crate::containers_conf;
use crate::ecosystem::Text;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::{execute, print};

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
        Ok(Version::V1) => "v1",
        Ok(Version::Hybrid) => "hybrid",
        Err(_) => "none",
    };
    let platform = loment_image::Platform::host();
    Ok(json!({
        "host": {
            "arch": platform.architecture,
            "cgroupManager": globals.group_manager()?.unwrap_or_else(GroupManager::of_this_machine).name(),
            "cgroupVersion": cgroups,
            "configFiles": containers_conf::read()?.texts().iter().map(Text::path).collect::<Vec<_>>(),
            "cpus": std::thread::available_parallelism().map_or(1, usize::from),
            "eventLogger": crate::events::settings(globals.events)?.backend.name(),
            "hostname": kernel.nodename().to_string_lossy(),
            "kernel": kernel.release().to_string_lossy(),
            "logDriver": "k8s-file",
            "memFree": bytes(memory.freeram),
            "memTotal": bytes(memory.totalram),
            "networkBackend": "none",
            "ociRuntime": {"name": "loment", "version": env!("CARGO_PKG_VERSION")},
            "os": platform.os,
            "security": {
                "capabilities": loment_engine::capabilities(&Default::default())?.join(","),
                "rootless": false,
                "seccompEnabled": true,
                "apparmorEnabled": false,
                "selinuxEnabled": false,
            },
            "swapFree": bytes(memory.freeswap),
            "swapTotal": bytes(memory.totalswap),
            "uptimeSeconds": memory.uptime,
        },
        "store": {
            "containerStore": {"number": containers.len(), "running": running, "stopped": containers.len() - running, "paused": 0},
            "graphDriverName": "overlay",
            "graphRoot": engine.root(),
            "imageStore": {"number": engine.images()?.len()},
            "runRoot": engine.runroot(),
        },
        "version": {"Version": env!("CARGO_PKG_VERSION"), "OsArch": format!("{}/{}", platform.os, platform.architecture)},
    }))
}

/// What templates see: the document, and the same under the names that Podman's and Docker's types have for it.
fn for_templates(mut document: Value) -> Value {
    let (host, store) = (document["host"].clone(), document["store"].clone());
    let (security, containers) = (&host["security"], &store["containerStore"]);
    let version = &document["version"]["Version"];
    let names = json!({
        "Host": {
            "Arch": host["arch"], "CgroupManager": host["cgroupManager"], "CgroupsVersion": host["cgroupVersion"],
            "CPUs": host["cpus"], "EventLogger": host["eventLogger"], "Hostname": host["hostname"],
            "Kernel": host["kernel"], "LogDriver": host["logDriver"], "MemFree": host["memFree"],
            "MemTotal": host["memTotal"], "NetworkBackend": host["networkBackend"],
            "OCIRuntime": {"Name": host["ociRuntime"]["name"], "Version": host["ociRuntime"]["version"]},
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
            "GraphDriverName": store["graphDriverName"], "GraphRoot": store["graphRoot"],
            "ImageStore": {"Number": store["imageStore"]["number"]}, "RunRoot": store["runRoot"],
        },
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
            Value::Object(_) => format!("{pad}{name}:\n{}", outline(value, depth + 1)),
            Value::String(s) => format!("{pad}{name}: {s}\n"),
            other => format!("{pad}{name}: {other}\n"),
        })
        .collect()
}
