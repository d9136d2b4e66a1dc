//! The document `inspect` shows of a container: Podman's and Docker's field names.

use loment_engine::config::{
    Attach, Config, DeviceLimit, GroupManager, GroupUse, Groups, HostEntry, HostsBase, IdMapping, Limits,
    PortRange, Relabel, Restart, Seccomp, SecretPlace, SecretUse,
};
use loment_engine::{Container, Status};
use serde_json::{Value, json};

use crate::persona::Persona;
use crate::units::exact_size;

const NEVER: &str = "0001-01-01T00:00:00Z";

pub(super) fn document(persona: &Persona, c: &Container) -> Value {
    let config = &c.config;
    let args = config.args();
    let image = config.image.as_ref();
    let id_of_image = image.map(|i| i.id.hex().to_owned()).unwrap_or_default();
    let file = |name: &str| c.run_dir.join(name).display().to_string();
    json!({
        "Id": config.id,
        "Created": config.created,
        "Path": args.first().cloned().unwrap_or_default(),
        "Args": args.get(1..).unwrap_or_default(),
        "State": state(persona, c),
        "Image": if persona.docker_documents && image.is_some() { format!("sha256:{id_of_image}") } else { id_of_image },
        "ImageDigest": image.map(|i| i.digest.clone()).unwrap_or_default(),
        "ImageName": image.map(|i| i.name.clone()).unwrap_or_default(),
        "Rootfs": config.rootfs.as_ref().map(|r| r.path.display().to_string()).unwrap_or_default(),
        "ResolvConfPath": file("resolv.conf"),
        "HostnamePath": file("hostname"),
        "HostsPath": file("hosts"),
        "StaticDir": c.dir,
        "PidFile": config.pid_files.container, "ConmonPidFile": config.pid_files.monitor,
        "LogPath": c.log_path().unwrap_or_default(),
        "Name": if persona.docker_documents { format!("/{}", config.name) } else { config.name.clone() },
        "RestartCount": c.state.restarts,
        "Dependencies": config.dependencies(),
        "Driver": if c.has_copy() { "vfs" } else { "overlay" },
        "MountLabel": "", "ProcessLabel": "", "AppArmorProfile": config.security.apparmor.as_deref().unwrap_or_default(),
        "Mounts": mounts(persona, config),
        "ExecIDs": c.exec_ids(),
        "GraphDriver": match c.has_copy() {
            true => json!({"Name": "vfs", "Data": {"RootDir": c.dir.join("upper")}}),
            false => json!({"Name": "overlay", "Data": {"UpperDir": c.dir.join("upper"), "WorkDir": c.dir.join("work")}}),
        },
        "BoundingCaps": capabilities(config), "EffectiveCaps": capabilities(config),
        "Namespace": "", "IsInfra": config.infra, "IsService": false, "Pod": config.pod,
        "NetworkSettings": network_settings(config),
        "Config": container_config(persona, config),
        "HostConfig": host_config(persona, c),
    })
}

fn or_never(moment: &str) -> &str {
    if moment.is_empty() { NEVER } else { moment }
}

fn state(persona: &Persona, c: &Container) -> Value {
    let mut state = json!({
        "OciVersion": "1.3.0",
        "Status": c.status.name(),
        "Running": c.status == Status::Running || persona.docker_documents && c.status.is_active(),
        "Paused": c.status == Status::Paused, "Restarting": c.status == Status::Restarting, "Dead": false,
        "OOMKilled": c.state.oom_killed,
        "Pid": if c.status.has_process() { c.state.pid } else { 0 },
        "ConmonPid": if c.status.is_active() { c.state.monitor_pid } else { 0 },
        "ExitCode": c.state.exit_code,
        "Error": c.state.error,
        "StartedAt": or_never(&c.state.started_at),
        "FinishedAt": or_never(&c.state.finished_at),
        "CgroupPath": c.cgroup().map(|path| format!("/{path}")).unwrap_or_default(),
    });
    if !persona.docker_documents {
        state["Checkpointed"] = c.state.checkpointed.into();
        state["Restored"] = c.state.restored.into();
    }
    if !persona.docker_documents {
        state["StoppedByUser"] = c.is_stopped_by_user().into();
    }
    // Docker leaves it out where nothing is checked.
    match c.health() {
        Some(report) => state["Health"] = json!(report),
        None if persona.docker_documents => {}
        None => state["Health"] = json!({"Status": "", "FailingStreak": 0, "Log": null}),
    }
    state
}

pub(super) fn mounts(persona: &Persona, config: &Config) -> Vec<Value> {
    let docker = persona.docker_documents;
    let volume = |v: &loment_engine::config::Volume| {
        let ro = v.is_read_only();
        let spread = v
            .options
            .iter()
            .find(|o| o.ends_with("shared") || o.ends_with("slave") || o.ends_with("private"));
        let source =
            v.image.as_ref().map_or_else(|| v.source.display().to_string(), |image| image.name.clone());
        let mode = said(v).join(",");
        let spread = match (&v.volume, docker) {
            // Docker has nothing to say of volumes there.
            (Some(_), true) => "",
            _ => spread.map_or("rprivate", String::as_str),
        };
        let mut document = json!({
            "Type": v.kind(), "Source": source, "Destination": v.destination, "Mode": mode, "RW": !ro,
            "Propagation": spread,
        });
        if let Some(used) = &v.volume {
            document["Name"] = json!(used.name);
            document["Driver"] = "local".into();
        } else if !docker {
            document["Driver"] = "".into();
        }
        if !docker {
            document["Options"] = json!(v.options);
        }
        if let Some(path) = &v.subpath {
            document["SubPath"] = json!(path);
        }
        document
    };
    let tmpfs = |(destination, _): &(std::path::PathBuf, Vec<String>)| {
        json!({
            "Type": "tmpfs", "Source": "", "Destination": destination, "Mode": "", "RW": true, "Propagation": "",
        })
    };
    let all = config.files.volumes.iter().map(volume);
    // Podman leaves these out.
    all.chain(config.files.tmpfs.iter().filter(|_| docker).map(tmpfs)).collect()
}

/// The options of a mount as they were given, but for those that every volume has.
fn said(v: &loment_engine::config::Volume) -> Vec<String> {
    let usual =
        |option: &&String| v.volume.is_none() || !["nosuid", "nodev", "rbind"].contains(&option.as_str());
    let mut all: Vec<String> = v.options.iter().filter(usual).cloned().collect();
    let flags = [
        ("U", v.chown),
        ("O", v.overlay.is_some()),
        ("z", v.relabel == Some(Relabel::Shared)),
        ("Z", v.relabel == Some(Relabel::Private)),
    ];
    all.extend(flags.into_iter().filter(|(_, on)| *on).map(|(flag, _)| flag.to_owned()));
    all
}

/// The container's capabilities; what cannot be resolved any more was refused when it was created.
fn capabilities(config: &Config) -> Vec<String> {
    loment_engine::capabilities(config).unwrap_or_default()
}

fn network_settings(config: &Config) -> Value {
    let name = config.net.network.name();
    json!({
        "EndpointID": "", "Gateway": "", "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "", "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0, "MacAddress": "", "Bridge": "", "SandboxID": "", "Ports": {}, "SandboxKey": "",
        "Networks": {name.as_str(): {"NetworkID": name, "IPAddress": "", "MacAddress": ""}},
    })
}

fn container_config(persona: &Persona, config: &Config) -> Value {
    // Docker shows those there that have no name; Podman nothing, ever.
    let anonymous = |v: &&loment_engine::config::Volume| v.volume.as_ref().is_some_and(|used| used.anonymous);
    let volumes: serde_json::Map<String, Value> = match persona.docker_documents {
        true => {
            let all = config.files.volumes.iter().filter(anonymous);
            all.map(|v| (v.destination.display().to_string(), json!({}))).collect()
        }
        false => serde_json::Map::new(),
    };
    let all = Attach { stdin: config.process.stdin, stdout: true, stderr: true };
    let attach = config.process.attach.unwrap_or(all);
    let mut document = json!({
        "Hostname": config.net.hostname,
        "Domainname": config.net.domainname,
        "User": config.process.user,
        "AttachStdin": attach.stdin, "AttachStdout": attach.stdout, "AttachStderr": attach.stderr,
        "Tty": config.process.terminal,
        "OpenStdin": config.process.stdin, "StdinOnce": false,
        "Env": config.process.env,
        "Cmd": config.process.command,
        "Entrypoint": config.process.entrypoint,
        "Image": config.image.as_ref().map(|i| i.name.clone()).unwrap_or_default(),
        "Volumes": Some(volumes).filter(|volumes| !volumes.is_empty()),
        "ExposedPorts": Some(exposed(config)).filter(|ports| !ports.is_empty()),
        "WorkingDir": config.process.workdir,
        "OnBuild": null,
        "Labels": config.labels,
        "Annotations": config.annotations,
        "StopSignal": format!("SIG{}", loment_runtime::signal_name(config.supervision.stop_signal)),
        "StopTimeout": config.supervision.stop_timeout,
        "CreateCommand": config.create_command,
        "Umask": format!("{:04o}", config.process.umask.unwrap_or(0o022)),
        "Timezone": config.files.time_zone.as_deref().unwrap_or_default(),
        "Passwd": config.process.accounts.add,
        "SystemdMode": config.process.systemd,
        "sdNotifyMode": config.supervision.notify.mode.name(),
    });
    // Podman leaves it out where there is none.
    if !config.supervision.notify.socket.is_empty() {
        document["sdNotifySocket"] = json!(config.supervision.notify.socket);
    }
    // Podman leaves it out where there are none.
    let secrets: Vec<Value> = config.files.secrets.iter().map(secret).collect();
    if !secrets.is_empty() {
        document["Secrets"] = secrets.into();
    }
    if let Some(health) = &config.supervision.health {
        document["Healthcheck"] = json!({
            "Test": health.said, "Interval": health.interval, "Timeout": health.timeout,
            "StartPeriod": health.start_period, "StartInterval": health.start_interval, "Retries": health.retries,
        });
        document["HealthcheckOnFailureAction"] = json!(health.on_failure);
        document["HealthLogDestination"] = match &health.log.directory {
            Some(directory) => json!(directory),
            None if health.log.events => "events_logger".into(),
            None => "local".into(),
        };
        document["HealthcheckMaxLogCount"] = health.log.count.into();
        document["HealthcheckMaxLogSize"] = health.log.size.into();
        if let Some(startup) = &health.startup {
            document["StartupHealthCheck"] = json!({
                "Test": if startup.said.is_empty() { &startup.test } else { &startup.said }, "Interval": startup.interval, "Timeout": startup.timeout,
                "Retries": startup.retries, "Successes": startup.success,
            });
        }
    }
    if config.supervision.health.is_none() && config.supervision.no_check {
        document["Healthcheck"] = json!({"Test": ["NONE"]});
    }
    document
}

/// The names that programs in Go have for what json calls otherwise, or leaves out: templates may use them.
pub(super) fn name_as_in_go(document: &mut Value) {
    let alias = |part: &mut Value, name: &str, go: &str| {
        if let Some(value) = part.get(name).cloned() {
            part[go] = value;
        }
    };
    if document["State"].is_object() {
        alias(&mut document["State"], "Health", "Healthcheck");
    }
    if let Some(maps) = document["HostConfig"].get_mut("IDMappings") {
        alias(maps, "UidMap", "UIDMap");
        alias(maps, "GidMap", "GIDMap");
    }
    let config = &mut document["Config"];
    if config.is_object() {
        alias(config, "HealthcheckMaxLogCount", "HealthMaxLogCount");
        alias(config, "HealthcheckMaxLogSize", "HealthMaxLogSize");
        alias(config, "sdNotifyMode", "SdNotifyMode");
        config["SdNotifySocket"] = config.get("sdNotifySocket").cloned().unwrap_or_else(|| "".into());
        // What a template prints of a pointer to nothing.
        if config.get("StartupHealthCheck").is_none() {
            config["StartupHealthCheck"] = "<nil>".into();
        }
    }
}

/// What is known of a secret, but for itself.
fn secret(used: &SecretUse) -> Value {
    let mut document = json!({"Name": used.name, "ID": used.id, "UID": 0, "GID": 0, "Mode": 0});
    match &used.place {
        SecretPlace::Mount { target, uid, gid, mode } => {
            let more = json!({"Type": "mount", "Target": target, "UID": uid, "GID": gid, "Mode": mode});
            document
                .as_object_mut()
                .into_iter()
                .zip(more.as_object())
                .for_each(|(all, more)| all.extend(more.clone()));
        }
        SecretPlace::Env { variable } => {
            document["Type"] = "env".into();
            document["Target"] = variable.as_str().into();
        }
    }
    document
}

/// The ports of `80/tcp` and `90-91/udp`, one by one.
fn exposed(config: &Config) -> serde_json::Map<String, Value> {
    let ranges = config.net.exposed.iter().filter_map(|text| PortRange::parse(text));
    let each = |range: PortRange| range.ports.map(move |port| format!("{port}/{}", range.protocol));
    ranges.flat_map(each).map(|port| (port, json!({}))).collect()
}

pub(super) fn host_entry(entry: &HostEntry) -> String {
    format!("{}:{}", entry.names.replace(' ', ";"), entry.address)
}

fn hosts_file(base: &HostsBase) -> String {
    match base {
        HostsBase::Network | HostsBase::Host => String::new(),
        HostsBase::Image => "image".into(),
        HostsBase::Nothing => "none".into(),
        HostsBase::File(path) => path.display().to_string(),
    }
}

fn host_config(persona: &Persona, c: &Container) -> Value {
    let config = &c.config;
    let binds: Vec<String> = config
        .files
        .volumes
        .iter()
        .filter(|v| v.image.is_none())
        .map(|v| {
            let source =
                v.volume.as_ref().map_or_else(|| v.source.display().to_string(), |used| used.name.clone());
            let options = said(v).join(",");
            format!("{source}:{}:{options}", v.destination.display()).trim_end_matches(':').to_owned()
        })
        .collect();
    let tmpfs: serde_json::Map<String, Value> =
        config.files.tmpfs.iter().map(|(d, o)| (d.display().to_string(), o.join(",").into())).collect();
    let devices: Vec<Value> = config
        .devices
        .nodes
        .iter()
        .map(|d| json!({"PathOnHost": d.host, "PathInContainer": d.container, "CgroupPermissions": d.access}))
        .collect();
    let docker = persona.docker_documents;
    let ulimits: Vec<Value> = config
        .limits
        .ulimits
        .iter()
        .map(|u| {
            let name = if docker { u.name.clone() } else { format!("RLIMIT_{}", u.name.to_uppercase()) };
            json!({"Name": name, "Soft": u.soft, "Hard": u.hard})
        })
        .collect();
    let (cgroup_manager, cgroup_parent) = match &config.cgroup {
        GroupUse { slice: Some(slice), .. } => (GroupManager::Systemd, slice.as_str()),
        GroupUse { path, .. } => {
            let parent = path.as_deref().and_then(|path| path.rsplit_once('/'));
            (GroupManager::Cgroupfs, parent.map_or("", |(parent, _)| parent))
        }
    };
    let cgroup_manager = cgroup_manager.name();
    let cgroups = match config.cgroup.groups() {
        Groups::Both => "default",
        Groups::NoMonitor => "no-conmon",
        Groups::Split => "split",
        Groups::None => "disabled",
    };
    let namespaces = &config.namespaces;
    let mut document = json!({
        "Binds": binds,
        "CgroupMode": namespaces.cgroup.mode("private"), "CgroupManager": cgroup_manager, "CgroupParent": cgroup_parent, "Cgroup": "",
        "Cgroups": cgroups,
        "ContainerIDFile": "",
        "LogConfig": {
            "Type": config.log.driver.name(), "Path": c.log_path().unwrap_or_default(), "Tag": config.log.tag,
            "Size": exact_size(config.log.max_size.unwrap_or(0)), "Config": Some(&config.log.options).filter(|o| !o.is_empty()),
        },
        "NetworkMode": config.net.network.name(),
        "Dns": config.net.resolver.servers, "DnsOptions": config.net.resolver.options, "DnsSearch": config.net.resolver.search,
        "ExtraHosts": config.net.hosts.extra.iter().map(host_entry).collect::<Vec<_>>(),
        "HostsFile": hosts_file(&config.net.hosts.base),
        "PortBindings": {},
        "RestartPolicy": restart_policy(config.supervision.restart),
        "AutoRemove": config.supervision.auto_remove,
        "AutoRemoveImage": config.supervision.auto_remove_image,
        "Annotations": config.annotations,
        "CapAdd": config.security.cap_add, "CapDrop": config.security.cap_drop,
        "GroupAdd": if config.process.keep_groups { vec!["keep-groups".into()] } else { config.process.groups.clone() },
        "OomScoreAdj": config.process.oom_score_adj.unwrap_or(0),
        "IpcMode": namespaces.ipc.mode("shareable"), "PidMode": namespaces.pid.mode("private"),
        "UTSMode": namespaces.uts.mode("private"),
        "UsernsMode": namespaces.user.mode(if namespaces.users.is_some() { "private" } else { "" }),
        "Privileged": config.security.privileged,
        "PublishAllPorts": false,
        "ReadonlyRootfs": config.files.read_only,
        "SecurityOpt": security(config),
        "Tmpfs": tmpfs,
        "ShmSize": config.files.shm_size,
        "Runtime": "oci",
        "Init": config.process.init,
        "Sysctls": config.namespaces.sysctls,
        "Devices": devices, "DeviceCgroupRules": config.devices.rules,
        "Ulimits": ulimits,
        "Links": null,
    });
    if let (Some(document), Value::Object(limits)) = (document.as_object_mut(), limits(&config.limits)) {
        document.extend(limits);
    }
    // Podman leaves them out where it is the host's users.
    if let Some(users) = namespaces.users.as_ref().filter(|_| !docker) {
        document["IDMappings"] = json!({"UidMap": ranges(&users.uids), "GidMap": ranges(&users.gids)});
    }
    let limits = [("size", config.files.size.bytes), ("inodes", config.files.size.inodes)];
    let limits =
        limits.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), limit?.to_string().into())));
    let limits: serde_json::Map<String, Value> = limits.collect();
    // Docker's, which leaves it out when there are none.
    if !limits.is_empty() {
        document["StorageOpt"] = limits.into();
    }
    document
}

fn ranges(ids: &[IdMapping]) -> Vec<String> {
    ids.iter().map(|ids| format!("{}:{}:{}", ids.container_id, ids.host_id, ids.size)).collect()
}

fn limits(r: &Limits) -> Value {
    json!({
        "Memory": r.memory.unwrap_or(0), "MemorySwap": r.memory_swap.unwrap_or(0),
        "CpuQuota": r.cpu_quota.unwrap_or(0), "CpuPeriod": r.cpu_period.unwrap_or(0),
        "NanoCpus": r.cpu_quota.unwrap_or(0) * 10_000,
        "CpusetCpus": r.cpuset_cpus.clone().unwrap_or_default(),
        "MemoryReservation": r.memory_reservation.unwrap_or(0), "MemorySwappiness": r.memory_swappiness.map_or(-1, |n| n as i64),
        "OomKillDisable": r.oom_kill_disable, "KernelMemory": r.kernel_memory.unwrap_or(0),
        "CpuShares": r.cpu_shares.unwrap_or(0), "CpusetMems": r.cpuset_mems.clone().unwrap_or_default(),
        "CpuRealtimePeriod": r.cpu_rt_period.unwrap_or(0), "CpuRealtimeRuntime": r.cpu_rt_runtime.unwrap_or(0),
        "BlkioWeight": r.blkio_weight.unwrap_or(0), "BlkioWeightDevice": of_devices(&r.blkio_weight_device, "Weight"),
        "BlkioDeviceReadBps": of_devices(&r.device_read_bps, "Rate"),
        "BlkioDeviceWriteBps": of_devices(&r.device_write_bps, "Rate"),
        "BlkioDeviceReadIOps": of_devices(&r.device_read_iops, "Rate"),
        "BlkioDeviceWriteIOps": of_devices(&r.device_write_iops, "Rate"),
        "CgroupConf": r.unified,
        "PidsLimit": r.pids_limit.unwrap_or(0),
    })
}

fn of_devices(limits: &[DeviceLimit], what: &str) -> Vec<Value> {
    limits.iter().map(|limit| json!({"Path": limit.path, what: limit.value})).collect()
}

pub(super) fn restart_policy(policy: Restart) -> Value {
    let (name, most) = match policy {
        Restart::No => ("no", 0),
        Restart::OnFailure(most) => ("on-failure", most.unwrap_or_default()),
        Restart::Always => ("always", 0),
        Restart::UnlessStopped => ("unless-stopped", 0),
    };
    json!({"Name": name, "MaximumRetryCount": most})
}

fn security(config: &Config) -> Vec<String> {
    let mut out = Vec::new();
    match &config.security.seccomp {
        Seccomp::Default | Seccomp::Machine(_) => {}
        Seccomp::Unconfined => out.push("seccomp=unconfined".to_owned()),
        Seccomp::Profile(_) => out.push("seccomp=profile".to_owned()),
    }
    let security = &config.security;
    if security.no_new_privileges {
        out.push("no-new-privileges".to_owned());
    }
    if security.writable_cgroups {
        out.push("writable-cgroups=true".to_owned());
    }
    let each = |name: &'static str, list: &[String]| -> Vec<String> {
        list.iter().map(|value| format!("{name}={value}")).collect()
    };
    out.extend(each("apparmor", security.apparmor.as_slice()));
    out.extend(each("label", &security.labels));
    out.extend(each("proc-opts", &security.proc_options));
    out.extend(each("mask", &security.mask));
    out.extend(each("unmask", &security.unmask));
    out
}
