//! `pod inspect`

use clap::Parser;
use loment_engine::config::{Config, Namespace, Network};
use loment_engine::{Engine, ListedPod};
use serde_json::{Value, json};

use super::choose::latest;
use crate::commands::inspect_container;
use crate::error::{ENGINE, Error, one_line};
use crate::globals::Globals;
use crate::output::{complain, execute, indented, print};

/// Display what pods are
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Print with a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// The pod that was made last
    #[arg(short, long)]
    latest: bool,
    /// Pods: names or ids
    #[arg(value_name = "POD")]
    pods: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let names = match (flags.latest, flags.pods.as_slice()) {
        (true, []) => vec![latest(&engine)?],
        (true, _) => return Err(Error::Invalid("--latest and pods cannot be used together".into())),
        (false, []) => return Err(Error::Invalid("you must provide the name or id of a pod".into())),
        (false, names) => names.to_vec(),
    };
    let (mut documents, mut status) = (Vec::new(), 0);
    for name in &names {
        match document(globals, &engine, name) {
            Ok(one) => documents.push(one),
            Err(error) => {
                status = error.status(ENGINE);
                complain(&format!("Error: {}", one_line(&error)));
            }
        }
    }
    match flags.format.as_deref().filter(|format| *format != "json") {
        None => print(&indented(&documents.into()))?,
        Some(template) => {
            for document in documents {
                print(&(execute(template, &named_as_in_go(document))? + "\n"))?;
            }
        }
    }
    if status == 0 { Ok(0) } else { Err(Error::Shown { status }) }
}

/// Templates may name a field as json does, or as Podman's program does; all of them are there.
pub(in crate::commands) fn named_as_in_go(mut document: Value) -> Value {
    const NAMES: [(&str, &str); 9] = [
        ("CPUPeriod", "cpu_period"),
        ("CPUQuota", "cpu_quota"),
        ("CPUShares", "cpu_shares"),
        ("CPUSetCPUs", "cpuset_cpus"),
        ("CPUSetMems", "cpuset_mems"),
        ("MemoryLimit", "memory_limit"),
        ("MemorySwap", "memory_swap"),
        ("BlkioWeight", "blkio_weight"),
        ("Mounts", "mounts"),
    ];
    let Some(fields) = document.as_object_mut() else { return document };
    for (name, key) in NAMES {
        let nothing = match key {
            "mounts" => json!([]),
            key if key.starts_with("cpuset") => json!(""),
            _ => json!(0),
        };
        let value = fields.get(key).cloned().unwrap_or(nothing);
        fields.insert(name.to_owned(), value);
    }
    for (key, nothing) in [
        ("Namespace", json!("")),
        ("CreateCommand", json!([])),
        ("Labels", json!({})),
        ("CgroupParent", json!("")),
        ("InfraContainerID", json!("")),
        ("InfraConfig", Value::Null),
        ("SharedNamespaces", json!([])),
        ("Containers", json!([])),
        ("VolumesFrom", json!([])),
        ("SecurityOpts", json!([])),
        ("Devices", json!([])),
        ("BlkioDeviceReadBps", json!([])),
        ("BlkioDeviceWriteBps", json!([])),
        ("BlkioWeightDevice", json!([])),
    ] {
        fields.entry(key).or_insert(nothing);
    }
    let id = fields.get("Id").cloned().unwrap_or_default();
    fields.insert("ID".to_owned(), id);
    document
}

/// As Podman shows it; without what is not there.
pub(in crate::commands) fn document(globals: &Globals, engine: &Engine, name: &str) -> Result<Value, Error> {
    of(globals, engine, &engine.listed_pod(name)?)
}

/// The document of a pod that is known.
pub(in crate::commands) fn of(
    globals: &Globals,
    engine: &Engine,
    listed: &ListedPod,
) -> Result<Value, Error> {
    let infra = listed.pod.infra.as_deref().map(|id| engine.container(id)).transpose();
    let infra = match infra {
        // It is told of without.
        Err(loment_engine::Error::NoContainer { .. }) => None,
        infra => infra?.map(|container| container.config),
    };
    let ListedPod { pod, containers, status } = listed;
    let containers: Vec<Value> =
        containers.iter().map(|c| json!({"Id": c.id, "Name": c.name, "State": c.status.name()})).collect();
    let shared: Vec<&str> = pod.share.iter().map(|shared| shared.name()).collect();
    let group = pod.cgroup.path.as_deref();
    let parent = group.and_then(|path| path.rsplit_once('/')).map_or("", |(parent, _)| parent);
    let mut document = json!({
        "Id": pod.id, "Name": pod.name, "Created": pod.created, "CreateCommand": pod.create_command,
        "ExitPolicy": pod.exit_policy.name(), "State": status.name(), "Hostname": pod.hostname,
        "Labels": pod.labels, "CreateCgroup": group.is_some(), "CgroupParent": parent,
        "CgroupPath": group.map(|path| format!("/{path}")).unwrap_or_default(),
        "CreateInfra": pod.infra.is_some(), "InfraContainerID": pod.infra.clone().unwrap_or_default(),
        "SharedNamespaces": shared, "NumContainers": containers.len(), "Containers": containers,
        "RestartPolicy": inspect_container::restart_policy(pod.restart)["Name"], "LockNumber": 0,
    });
    let object = document.as_object_mut().expect("it is one");
    if let Some(infra) = &infra {
        object.insert("InfraConfig".into(), infra_config(infra));
        let mounts = inspect_container::mounts(globals.persona, infra).into();
        object.insert("mounts".into(), mounts);
    }
    let limits = &pod.limits;
    let figures = [
        ("cpu_period", json!(limits.cpu_period)),
        ("cpu_quota", json!(limits.cpu_quota)),
        ("cpu_shares", json!(limits.cpu_shares)),
        ("cpuset_cpus", json!(limits.cpuset_cpus)),
        ("cpuset_mems", json!(limits.cpuset_mems)),
        ("memory_limit", json!(limits.memory)),
        ("memory_swap", json!(limits.memory_swap)),
        ("blkio_weight", json!(limits.blkio_weight)),
    ];
    object.extend(figures.into_iter().map(|(key, value)| (key.to_owned(), value)));
    // What is not said is left out.
    let optional = [
        "CreateCommand",
        "Labels",
        "CgroupParent",
        "InfraContainerID",
        "SharedNamespaces",
        "Containers",
        "mounts",
    ];
    object.retain(|key, value| {
        let empty = match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(all) => all.is_empty(),
            Value::Object(all) => all.is_empty(),
            _ => false,
        };
        !empty || !(value.is_null() || optional.contains(&key.as_str()))
    });
    Ok(document)
}

fn infra_config(infra: &Config) -> Value {
    let net = &infra.net;
    let mode = |namespace: &Namespace| namespace.mode("private");
    let mut config = json!({
        "PortBindings": {}, "HostNetwork": net.network == Network::Host, "StaticIP": "", "StaticMAC": "",
        "NoManageResolvConf": net.resolver.none, "DNSServer": net.resolver.servers, "DNSSearch": net.resolver.search,
        "DNSOption": net.resolver.options, "NoManageHostname": net.no_hostname, "NoManageHosts": net.hosts.none,
        "HostAdd": null, "HostsFile": "", "Networks": null, "NetworkOptions": null,
        "pid_ns": mode(&infra.namespaces.pid),
        "userns": if infra.namespaces.users.is_some() { "private" } else { "host" },
        "uts_ns": mode(&infra.namespaces.uts),
    });
    let hosts: Vec<_> = net.hosts.extra.iter().map(inspect_container::host_entry).collect();
    if !hosts.is_empty() {
        config["HostAdd"] = json!(hosts);
    }
    config
}
