//! What is mounted in a container.

use std::path::{Path, PathBuf};

use loment_sys::ids::IdMap;
use serde_json::{Value, json};

use super::process;
use crate::Error;
use crate::config::{Config, FileSystem, Namespace, Network, SecretPlace, SecretUse, Volume};
use crate::error::{Context, invalid};
use crate::secrets;

/// The files generated for a container: name in its run directory, path in the container.
pub(crate) fn generated(config: &Config) -> impl Iterator<Item = (&'static str, &'static str)> {
    let net = &config.net;
    let all = [
        ("hosts", "/etc/hosts", !net.hosts.none),
        ("hostname", "/etc/hostname", !net.no_hostname),
        ("resolv.conf", "/etc/resolv.conf", !net.resolver.none),
        ("localtime", "/etc/localtime", config.files.time_zone.is_some()),
        // What it would be mounted on stayed in somebody's directory.
        (".containerenv", "/run/.containerenv", !config.files.volumes.iter().any(is_run)),
    ];
    all.into_iter().filter(|(.., wanted)| *wanted).map(|(name, path, _)| (name, path))
}

fn is_run(volume: &Volume) -> bool {
    volume.destination.components().eq(Path::new("/run").components())
}

/// Every mount, in order. The user's come after the default ones and replace those with the same destination.
pub(crate) fn all(
    config: &Config,
    run_dir: &Path,
    devices: &[(PathBuf, PathBuf)],
) -> Result<Vec<Value>, Error> {
    let mut user: Vec<(PathBuf, Value)> = Vec::new();
    for (destination, options) in &config.files.tmpfs {
        let destination = absolute(destination)?;
        let value =
            json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options});
        user.push((destination, value));
    }
    for FileSystem { kind, destination, options } in &config.files.filesystems {
        let destination = absolute(destination)?;
        let value = json!({"destination": destination, "type": kind, "source": kind, "options": options});
        user.push((destination, value));
    }
    for volume in &config.files.volumes {
        user.push((absolute(&volume.destination)?, bind(volume)?));
    }
    for (n, secret) in config.files.secrets.iter().enumerate() {
        if let SecretPlace::Mount { target, .. } = &secret.place {
            let destination = absolute(&secrets::destination(target))?;
            let value = json!({
                "destination": destination, "type": "bind", "source": secrets::shown(run_dir, n),
                "options": ["bind", "rprivate", "nosuid", "nodev", "ro"],
            });
            user.push((destination, value));
        }
    }
    for (i, (destination, _)) in user.iter().enumerate() {
        if user[..i].iter().any(|(other, _)| other == destination) {
            return Err(Error::DuplicateMount { destination: destination.clone() });
        }
    }
    let mut mounts = defaults(config);
    for (source, destination) in devices {
        mounts.push(own_at(source, absolute(destination)?, &["bind", "rprivate", "nosuid", "noexec"]));
    }
    let is_there = |secret: &SecretUse| match &secret.place {
        SecretPlace::Mount { target, .. } => secrets::destination(target).starts_with(secrets::SECRETS),
        SecretPlace::Env { .. } => false,
    };
    if config.files.secrets.iter().any(is_there) {
        // So that no file that they are mounted on is left in the container's own.
        let options = ["nosuid", "nodev", "noexec", "mode=755", "size=16m", "tmpcopyup"];
        let value =
            json!({"destination": secrets::SECRETS, "type": "tmpfs", "source": "tmpfs", "options": options});
        mounts.push((secrets::SECRETS.into(), value));
    }
    // Who shares a network shares what is known of it.
    let of_network = config.net.network.container().map(|id| run_dir.with_file_name(id));
    let files = generated(config).filter_map(|(name, path)| {
        match of_network.as_ref().filter(|_| ["hosts", "resolv.conf"].contains(&name)) {
            // It may have none but its image's.
            Some(other) => Some(other.join(name)).filter(|file| file.exists()).map(|file| (file, path)),
            None => Some((run_dir.join(name), path)),
        }
    });
    for (file, path) in files {
        for dir in &config.files.chroot_dirs {
            let inside = absolute(dir)?.join(path.trim_start_matches('/'));
            mounts.push(own(&file, &inside.display().to_string()));
        }
        mounts.push(own(&file, path));
    }
    for (n, of_machine) in config.files.given.iter().enumerate() {
        if of_machine.source.exists() {
            let destination = absolute(&of_machine.destination)?;
            mounts.push(own_at(&given(run_dir, n), destination, &["bind", "rprivate"]));
        }
    }
    if let (true, Some(init)) = (config.process.init, &config.process.init_path) {
        std::fs::metadata(init).context("find init", init.display())?;
        mounts.push(own(init, process::INIT));
    }
    mounts.retain(|(destination, _)| !user.iter().any(|(other, _)| other == destination));
    mounts.extend(user);
    // A mount below another comes after it; otherwise the order stays.
    mounts.sort_by_key(|(destination, _)| destination.components().count());
    Ok(mounts.into_iter().map(|(_, value)| value).collect())
}

/// Where a container's copy of something that the machine gives it is.
pub(crate) fn given(run_dir: &Path, n: usize) -> PathBuf {
    run_dir.join("given").join(n.to_string())
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    let shown = || path.display().to_string();
    if !path.is_absolute() {
        return Err(invalid("mount destination", shown(), "it must be an absolute path"));
    }
    let clean: PathBuf = path.components().filter(|c| !matches!(c, std::path::Component::CurDir)).collect();
    if clean == Path::new("/") || clean.components().any(|c| c == std::path::Component::ParentDir) {
        return Err(invalid("mount destination", shown(), "it must be below / and without .."));
    }
    Ok(clean)
}

fn bind(volume: &Volume) -> Result<Value, Error> {
    // A volume is made when everything else is known to be right.
    if volume.volume.is_none() && volume.image.is_none() {
        std::fs::symlink_metadata(&volume.source).context("statfs", volume.source.display())?;
    }
    let mut options = volume.options.clone();
    if !options.iter().any(|o| o == "bind" || o == "rbind") {
        options.push("rbind".into());
    }
    let spread = ["shared", "slave", "private", "unbindable"];
    if !options.iter().any(|o| spread.contains(&o.trim_start_matches('r'))) {
        options.push("rprivate".into());
    }
    Ok(json!({
        "destination": volume.destination, "type": "bind", "source": volume.source, "options": options,
    }))
}

fn defaults(config: &Config) -> Vec<(PathBuf, Value)> {
    let security = &config.security;
    let writable = |yes: bool| if yes { "rw" } else { "ro" };
    let (sys, cgroup) =
        (writable(security.privileged), writable(security.privileged || security.writable_cgroups));
    let bare = config.files.read_only && config.files.bare_read_only;
    let dev = writable(!bare);
    let proc = ["nosuid", "noexec", "nodev"]
        .into_iter()
        .chain(security.proc_options.iter().map(String::as_str))
        .collect();
    let shm = format!("size={}", config.files.shm_size);
    let mut list = vec![
        ("/proc", "proc", "proc", proc),
        ("/dev", "tmpfs", "tmpfs", vec!["nosuid", "noexec", "strictatime", "mode=755", "size=65536k", dev]),
        (
            "/dev/pts",
            "devpts",
            "devpts",
            // The group of terminals, where it is one.
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
                [..if has_terminals_group(config) { 6 } else { 5 }]
                .to_vec(),
        ),
        ("/dev/shm", "tmpfs", "shm", vec!["nosuid", "noexec", "nodev", "mode=1777", &shm, dev]),
        ("/dev/mqueue", "mqueue", "mqueue", vec!["nosuid", "noexec", "nodev"]),
        ("/sys", "sysfs", "sysfs", vec!["nosuid", "noexec", "nodev", sys]),
        ("/sys/fs/cgroup", "cgroup", "cgroup", vec!["nosuid", "noexec", "nodev", "relatime", cgroup]),
    ];
    let systemd_size = config.files.systemd_size.map(|size| format!("size={size}"));
    if config.process.systemd {
        if let Some((.., options)) = list.last_mut() {
            options.push("systemd");
        }
        // What it expects to be a file system of its own, with what the image has there.
        for destination in ["/run", "/run/lock", "/tmp", "/var/log/journal"] {
            let options = ["rw", "rprivate", "nosuid", "nodev", "tmpcopyup"].into_iter();
            list.push((destination, "tmpfs", "tmpfs", options.chain(systemd_size.as_deref()).collect()));
        }
    }
    let namespaces = &config.namespaces;
    let mut bind = |path, read_write| {
        list.retain(|(destination, ..)| *destination != path);
        list.push((path, "bind", path, vec!["rbind", "rslave", "nosuid", "noexec", "nodev", read_write]));
    };
    // These show things of a namespace, and take rights over it to be mounted.
    let users = namespaces.users.is_some();
    let is_rootless = loment_sys::process::is_in_user_namespace();
    if users && config.net.network != Network::None || is_rootless && config.net.network == Network::Host {
        bind("/sys", sys);
    }
    if users && !namespaces.pid.is_own() || is_rootless && is_foreign(&namespaces.pid) {
        bind("/proc", "rw");
    }
    // Shared memory goes with the namespace; that of another container is found when this one starts.
    match &namespaces.ipc {
        Namespace::Host | Namespace::Container(_) => bind("/dev/shm", "rw"),
        Namespace::None => list.retain(|(destination, ..)| *destination != "/dev/shm"),
        Namespace::Own | Namespace::Private | Namespace::Path(_) => {}
    }
    if (users || is_rootless) && is_foreign(&namespaces.ipc) {
        list.retain(|(destination, ..)| *destination != "/dev/mqueue");
    }
    if config.files.read_only && !bare {
        // What programs cannot do without.
        for destination in ["/run", "/tmp", "/var/tmp"] {
            if list.iter().any(|(other, ..)| *other == destination) {
                continue;
            }
            list.push((destination, "tmpfs", "tmpfs", vec!["rw", "nosuid", "nodev", "tmpcopyup"]));
        }
    }
    list.into_iter()
        .map(|(destination, kind, source, options)| {
            let value =
                json!({"destination": destination, "type": kind, "source": source, "options": options});
            (PathBuf::from(destination), value)
        })
        .collect()
}

/// Whether a namespace may belong to others than this container and those it shares things with.
fn is_foreign(namespace: &Namespace) -> bool {
    matches!(namespace, Namespace::Host | Namespace::Path(_))
}

/// Whether the group of terminals is one in the container.
fn has_terminals_group(config: &Config) -> bool {
    const TTY: u32 = 5;
    match &config.namespaces.users {
        Some(users) => users.gid_outside(TTY).is_some(),
        None => IdMap::own_groups().outside(TTY).is_some(),
    }
}

/// A file that nobody asked to be mounted.
fn own(source: &Path, destination: &str) -> (PathBuf, Value) {
    own_at(source, PathBuf::from(destination), &["bind", "rprivate", "nosuid", "nodev"])
}

fn own_at(source: &Path, destination: PathBuf, options: &[&str]) -> (PathBuf, Value) {
    let value = json!({"destination": destination, "type": "bind", "source": source, "options": options});
    (destination, value)
}
