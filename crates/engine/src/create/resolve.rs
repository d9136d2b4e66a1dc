//! From what the user asked and what the image says to a configuration.

use std::path::{Path, PathBuf};

use loment_image::{ContainerDefaults, ImageConfig};
use loment_monitor::now_rfc3339;

use super::environment::environment;
use super::generated::check_time_zone;
use super::{Choices, Create, SystemdMode};
use crate::config::{
    Config, GroupUse, Groups, ImageUse, LogUse, Namespace, Network, NotifyMode, RootfsUse, Seccomp, VERSION,
};
use crate::error::{Context, invalid};
use crate::{Engine, Error};

/// The label of an image that holds a system call filter, as JSON.
const SECCOMP_LABEL: &str = "io.containers.seccomp.profile";
const SHM_SIZE: u64 = 64 << 20;
const PIDS_LIMIT: i64 = 2048;
const STOP_TIMEOUT: u32 = 10;
/// SIGRTMIN+3, at which systemd ends everything and itself (systemd(1)).
const SYSTEMD_HALT: i32 = 37;
const SIGTERM: i32 = 15;

pub(super) fn resolve(
    engine: &Engine,
    asked: Create,
    image: Option<&(ImageConfig, String)>,
    id: &str,
) -> Result<Config, Error> {
    let Create { image: used, mut config, choices } = asked;
    let nothing = ContainerDefaults::default();
    let defaults = image.map_or(&nothing, |(config, _)| &config.container);
    config.version = VERSION;
    id.clone_into(&mut config.id);
    config.created = now_rfc3339();
    config.image =
        used.zip(image).map(|((id, name), (_, digest))| ImageUse { id, name, digest: digest.clone() });
    config.rootfs = config.rootfs.as_ref().map(rootfs).transpose()?;
    for (name, value) in &defaults.labels {
        config.labels.entry(name.clone()).or_insert_with(|| value.clone());
    }

    config.net.network = choices.network.clone().unwrap_or_default();
    config.net.hostname = hostname(&config, &choices, id)?;
    if !config.net.domainname.is_empty() && !config.namespaces.uts.is_own() {
        return Err(invalid("domain name", &config.net.domainname, "the container has none of its own"));
    }
    if config.net.domainname.len() > 64
        || config.net.domainname.contains(|c: char| c.is_whitespace() || c.is_control())
    {
        return Err(invalid(
            "domain name",
            &config.net.domainname,
            "use at most 64 characters without blanks",
        ));
    }
    for port in &defaults.exposed_ports {
        if !config.net.exposed.contains(port) {
            config.net.exposed.push(port.clone());
        }
    }
    if let (true, true, Some(profile)) =
        (choices.seccomp_of_image, config.security.seccomp.is_usual(), defaults.labels.get(SECCOMP_LABEL))
    {
        config.security.seccomp = Seccomp::Profile(profile.clone());
    }
    for (key, value) in choices.usual_sysctls.clone() {
        if crate::spec::has_own_sysctl(&config, &key) {
            config.namespaces.sysctls.entry(key).or_insert(value);
        }
    }
    crate::relabel::prepare(&mut config)?;
    process(&mut config, &choices, defaults)?;

    if let Some(zone) = &config.files.time_zone {
        check_time_zone(zone)?;
    }
    super::accounts::accounts(&config.process.accounts, None)?;
    config.files.shm_size = choices.shm_size.unwrap_or(SHM_SIZE);
    let writes_elsewhere = config.rootfs.as_ref().is_some_and(|rootfs| !rootfs.overlay);
    if !writes_elsewhere {
        config.files.size = config.files.size.or(choices.size);
    }
    crate::users::fit(&mut config.namespaces)?;
    let groups = choices.groups.unwrap_or_default();
    let places = match groups {
        Groups::None => None,
        Groups::Split => engine.split_places().ok(),
        groups => engine.places(choices.cgroup_manager, groups)?,
    };
    if groups == Groups::Split && choices.cgroup_parent.is_some() {
        return Err(invalid(
            "cgroup parent",
            choices.cgroup_parent.unwrap_or_default(),
            "with --cgroups split it is the group of whoever starts the container",
        ));
    }
    match &places {
        // It may be started elsewhere.
        None if groups == Groups::Split => {}
        None => crate::groups::refuse_limits(&config.limits, choices.groups)?,
        Some(places) => {
            places.check(&config.limits)?;
            let place = places.place(choices.cgroup_parent.as_deref(), id)?;
            config.cgroup = GroupUse { monitor_stays: groups == Groups::NoMonitor, ..place };
        }
    }
    config.cgroup.split = groups == Groups::Split;
    // What the user asked for must be possible; what is usual is as much as there is.
    if config.limits.pids_limit.is_none()
        && let Some(places) = &places
        && places.has("pids")?
    {
        config.limits.pids_limit = choices.usual_pids_limit.or(Some(PIDS_LIMIT));
    }
    config.supervision.stop_signal = match (choices.stop_signal, defaults.stop_signal.as_deref()) {
        (Some(n), _) => n,
        (None, Some(text)) if !text.is_empty() => loment_runtime::parse_signal(text).unwrap_or(SIGTERM),
        _ if config.process.systemd => SYSTEMD_HALT,
        _ => SIGTERM,
    };
    let image_timeout = defaults.stop_timeout.and_then(|t| u32::try_from(t).ok());
    config.supervision.stop_timeout =
        choices.stop_timeout.or(image_timeout).or(choices.usual_stop_timeout).unwrap_or(STOP_TIMEOUT);
    config.supervision.health = choices.health.resolve(defaults)?;
    let none =
        choices.health.test.as_ref().is_some_and(|test| test.first().is_some_and(|word| word == "NONE"));
    if config.supervision.notify.mode == NotifyMode::Healthy && config.supervision.health.is_none() {
        return Err(Error::NeverHealthy);
    }
    config.supervision.no_check = choices.health.none || none;
    if let Some(health) = &mut config.supervision.health {
        health.log.quiet = choices.quiet_health;
    }
    config.log = choices.log.unwrap_or_else(|| LogUse { max_files: 1, ..LogUse::default() });
    if let Some(directory) = choices.log_directory {
        config.log.path = Some(directory.join(id).join("ctr.log"));
    }
    crate::logs::check(&config)?;
    Ok(config)
}

/// What runs, as whom, where, and with which environment.
fn process(config: &mut Config, choices: &Choices, image: &ContainerDefaults) -> Result<(), Error> {
    let process = &mut config.process;
    // The user's entry point drops the image's command with it.
    if process.command.is_empty() && choices.entrypoint.is_none() {
        process.command = image.cmd.clone().unwrap_or_default();
    }
    process.entrypoint = choices.entrypoint.clone().or_else(|| image.entrypoint.clone()).unwrap_or_default();
    if process.entrypoint.is_empty() && process.command.is_empty() {
        return Err(invalid(
            "command",
            "",
            "no command or entrypoint provided, and no CMD or ENTRYPOINT from image",
        ));
    }
    let workdir = choices.workdir.as_ref().unwrap_or(&image.working_dir);
    process.workdir = PathBuf::from(if workdir.is_empty() { "/" } else { workdir });
    if !process.workdir.is_absolute() {
        return Err(invalid(
            "working directory",
            process.workdir.display().to_string(),
            "it must be an absolute path",
        ));
    }
    process.systemd = match choices.systemd {
        SystemdMode::Always => true,
        SystemdMode::Never => false,
        SystemdMode::Auto => runs_systemd(process.entrypoint.iter().chain(&process.command)),
    };
    let kept = config.namespaces.users.as_ref().and_then(|users| users.kept);
    let kept = kept.map(|(uid, gid)| format!("{uid}:{gid}"));
    process.user = choices.user.clone().or(kept).unwrap_or_else(|| image.user.clone());
    let (flavour, hostname) = (&config.flavour, &config.net.hostname);
    process.env = environment(process, &choices.environment, &image.env, flavour, hostname)?;
    Ok(())
}

/// Whether a command is a systemd, perhaps by a shell, as builders of images write it.
fn runs_systemd<'a>(mut args: impl Iterator<Item = &'a String>) -> bool {
    let first = args.next().map(String::as_str);
    let program = match (first, args.next().map(String::as_str)) {
        (Some("/bin/sh"), Some("-c")) => args.next().map(String::as_str),
        _ => first,
    };
    let inits = ["/sbin/init", "/usr/sbin/init", "/usr/local/sbin/init"];
    program.is_some_and(|path| inits.contains(&path) || path.rsplit('/').next() == Some("systemd"))
}

/// What it is called; that of another container whose host name it shares is known already.
fn hostname(config: &Config, choices: &Choices, id: &str) -> Result<String, Error> {
    let asked = choices.hostname.as_deref();
    let uts = &config.namespaces.uts;
    match asked {
        Some(name) if !uts.is_own() => {
            Err(invalid("hostname", name, format!("it is that of --uts {}", uts.mode("private"))))
        }
        Some(name) => check_hostname(name),
        None if uts.container().is_some() => Ok(config.net.hostname.clone()),
        None if *uts == Namespace::Host || config.net.network == Network::Host => {
            Ok(rustix::system::uname().nodename().to_string_lossy().into_owned())
        }
        // Names are longer than host names may be, and have no other letters.
        None if choices.hostname_is_name && !config.name.is_empty() => {
            Ok(config.name.chars().take(64).collect())
        }
        None => Ok(id[..12].to_owned()),
    }
}

fn check_hostname(name: &str) -> Result<String, Error> {
    let ok = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
    if name.is_empty() || name.len() > 64 || !name.chars().all(ok) {
        return Err(invalid("hostname", name, "use at most 64 letters, digits, hyphens and dots"));
    }
    Ok(name.to_owned())
}

fn rootfs(asked: &RootfsUse) -> Result<RootfsUse, Error> {
    let path = std::fs::canonicalize(&asked.path).context("open root file system", asked.path.display())?;
    if !Path::is_dir(&path) {
        return Err(invalid("root file system", path.display().to_string(), "it is not a directory"));
    }
    Ok(RootfsUse { path, overlay: asked.overlay })
}
