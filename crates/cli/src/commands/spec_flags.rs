//! The flags `run` and `create` share, and how they become a request to the engine.

use std::path::PathBuf;

use clap::Args;
use loment_engine::config::{LogUse, Resources, RootfsUse, Seccomp};
use loment_engine::{Create, Engine, PullPolicy};

use super::{progress, values};
use crate::error::{Doing, Error};
use crate::globals::Globals;
use crate::output::complain;
use crate::storage_options;

/// What a container is to be.
#[derive(Args, Debug)]
pub(super) struct SpecFlags {
    /// Keep standard input open
    #[arg(short, long)]
    interactive: bool,
    /// Allocate a terminal
    #[arg(short, long)]
    tty: bool,
    /// Remove the container when it ends
    #[arg(long)]
    pub(super) rm: bool,
    /// Name the container
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Replace the container that has the name
    #[arg(long)]
    replace: bool,
    /// Set an environment variable
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Set the working directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Run as this user, and group
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Add a group to those of the user
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,
    /// Mount a file or directory of the host, read-only with the option ro
    #[arg(short, long, value_name = "SOURCE:DESTINATION[:OPTIONS]")]
    volume: Vec<String>,
    /// Mount a temporary file system
    #[arg(long, value_name = "DESTINATION[:OPTIONS]")]
    tmpfs: Vec<String>,
    /// Make the root file system read-only
    #[arg(long)]
    read_only: bool,
    /// Replace the image's entry point
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Set the host name
    #[arg(short = 'h', long, value_name = "NAME")]
    hostname: Option<String>,
    /// Choose the network: none or host
    #[arg(long, alias = "net", value_name = "NETWORK")]
    network: Option<String>,
    /// Take IMAGE as a directory to run over; with :O behind it, throw changes away
    #[arg(long)]
    rootfs: bool,
    /// Run an init as process 1 that hands signals on and reaps children
    #[arg(long)]
    init: bool,
    /// Limit memory, in bytes or with a unit: 64m, 2g
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<String>,
    /// Limit memory and swap together, in bytes or with a unit; -1 is no limit
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// Limit CPU time to that of so many CPUs, such as 1.5
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<String>,
    /// Use only these CPUs, such as 0-2,4
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Put the control group below this one, or with systemd into this slice
    #[arg(long, value_name = "PATH")]
    cgroup_parent: Option<String>,
    /// Limit the number of processes and threads; -1 is no limit
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// Set a resource limit, such as nofile=1024; -1 is no limit
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<String>,
    /// Add a capability
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Drop a capability
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// Give all devices and capabilities, and hide nothing of the host
    #[arg(long)]
    privileged: bool,
    /// Set a security option: seccomp=FILE|unconfined, no-new-privileges, unmask=PATHS|ALL
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
    /// Add a device of the host; ACCESS is any of r, w and m
    #[arg(long, value_name = "HOST[:CONTAINER[:ACCESS]]")]
    device: Vec<String>,
    /// Make a user namespace in which these users are those of the host; the groups, too, without --gidmap
    #[arg(long, value_name = "CONTAINER:HOST:NUMBER")]
    uidmap: Vec<String>,
    /// Make a user namespace in which these groups are those of the host; the users, too, without --uidmap
    #[arg(long, value_name = "CONTAINER:HOST:NUMBER")]
    gidmap: Vec<String>,
    /// Limit what the container's changes may occupy: size=SIZE, in bytes or with a unit, or inodes=NUMBER; 0 is no limit
    #[arg(long, value_name = "NAME=VALUE")]
    storage_opt: Vec<String>,
    /// Set the size of /dev/shm, in bytes or with a unit: 64m, 2g
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<String>,
    /// Set the signal that asks the container to stop
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Set the seconds between that signal and SIGKILL
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<u32>,
    /// Set a label
    #[arg(short, long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Set an annotation for the runtime
    #[arg(long, value_name = "NAME=VALUE")]
    annotation: Vec<String>,
    /// Write the container's id to a file
    #[arg(long, value_name = "FILE")]
    cidfile: Option<PathBuf>,
    /// Choose where output is kept: k8s-file or none
    #[arg(long, value_name = "DRIVER")]
    log_driver: Option<String>,
    /// Set an option of the log: max-size=SIZE, max-file=NUMBER
    #[arg(long, value_name = "NAME=VALUE")]
    log_opt: Vec<String>,
    #[command(flatten)]
    pull: super::pull::PullFlags,
    /// Choose when to pull the image: missing, always, never or newer
    #[arg(long = "pull", value_name = "POLICY", default_value = "missing")]
    policy: String,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Image, or directory with --rootfs
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Command and its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl SpecFlags {
    pub(super) fn terminal(&self) -> bool {
        self.tty
    }

    pub(super) fn interactive(&self) -> bool {
        self.interactive
    }

    /// Creates the container.
    pub(super) fn create(
        &self,
        globals: &Globals,
        engine: &Engine,
    ) -> Result<loment_engine::Container, Error> {
        if let Some(file) = self.cidfile.as_ref().filter(|f| f.exists()) {
            let file = file.display();
            return Err(Error::Invalid(format!(
                "container ID file {file} exists: remove it, or give another"
            )));
        }
        let mut asked = self.request(globals)?;
        let first = self.image.as_str();
        if self.rootfs {
            let (path, overlay) = match first.strip_suffix(":O") {
                Some(path) => (path, true),
                None => (first, false),
            };
            asked.rootfs = Some(RootfsUse { path: path.into(), overlay });
        } else {
            // Before anything is pulled for it.
            engine.check_size(&asked)?;
            let settings = self.pull.settings(globals)?;
            let quiet = self.pull.quiet;
            let announce = || {
                if !quiet {
                    complain(&format!("Trying to pull {first}..."));
                }
            };
            let mut bars = progress::Bars::new(quiet);
            asked.image = Some(engine.obtain(first, self.policy()?, &settings, &mut bars, announce)?);
        }
        if asked.network.is_none() {
            notice_network(globals, engine);
        }
        if let (true, Some(name)) = (self.replace, &self.name) {
            match engine.remove(name, true, None) {
                Err(loment_engine::Error::NoContainer { .. }) => {}
                other => drop(other?),
            }
        }
        let container = engine.create(asked)?;
        if let Some(file) = &self.cidfile
            && let Err(source) = std::fs::write(file, &container.config.id)
        {
            let _ = engine.remove(&container.config.id, true, None);
            return Err(Error::Io {
                operation: format!("write container ID file {}", file.display()),
                source,
            });
        }
        Ok(container)
    }

    fn policy(&self) -> Result<PullPolicy, Error> {
        super::pull::policy("pull", &self.policy)
    }

    fn request(&self, globals: &Globals) -> Result<Create, Error> {
        let mut env = Vec::new();
        for file in &self.env_file {
            env.extend(values::environment_file(file)?);
        }
        for text in &self.env {
            env.extend(values::environment(text)?);
        }
        let security = Security::parse(&self.security_opt)?;
        let list = |names: &[String]| -> Vec<String> {
            names.iter().flat_map(|n| n.split(',')).map(str::to_owned).collect()
        };
        let signal = |text: &String| {
            loment_runtime::parse_signal(text).ok_or_else(|| {
                Error::Invalid(format!("invalid value {text:?} for --stop-signal: no such signal"))
            })
        };
        Ok(Create {
            name: self.name.clone(),
            command: self.command.clone(),
            entrypoint: self.entrypoint.as_deref().map(values::entrypoint),
            env,
            workdir: self.workdir.clone(),
            user: self.user.clone(),
            groups: self.group_add.clone(),
            hostname: self.hostname.clone(),
            stop_signal: self.stop_signal.as_ref().map(signal).transpose()?,
            stop_timeout: self.stop_timeout,
            shm_size: self
                .shm_size
                .as_deref()
                .map(|s| values::size("shm-size", s))
                .transpose()?
                .map(|n| n as u64),
            log: self.log()?,
            network: self.network.as_deref().map(values::network).transpose()?,
            resources: self.resources()?,
            terminal: self.tty,
            stdin: self.interactive,
            init: self.init,
            auto_remove: self.rm,
            privileged: self.privileged,
            read_only: self.read_only,
            volumes: self
                .volume
                .iter()
                .map(|v| values::volume(v, globals.persona))
                .collect::<Result<_, _>>()?,
            tmpfs: self.tmpfs.iter().map(|t| values::tmpfs(t)).collect::<Result<_, _>>()?,
            ulimits: self.ulimit.iter().map(|u| values::ulimit(u)).collect::<Result<_, _>>()?,
            cap_add: list(&self.cap_add),
            cap_drop: list(&self.cap_drop),
            seccomp: security.seccomp,
            no_new_privileges: security.no_new_privileges,
            unmask: security.unmask,
            devices: self.device.iter().map(|d| values::device(d)).collect::<Result<_, _>>()?,
            labels: self.label.iter().map(|l| values::label(l)).collect::<Result<_, _>>()?,
            annotations: self.annotation.iter().map(|a| values::label(a)).collect::<Result<_, _>>()?,
            cgroup_manager: globals.cgroup_manager,
            users: values::users(&self.uidmap, &self.gidmap)?,
            cgroup_parent: self.cgroup_parent.clone(),
            create_command: std::env::args().collect(),
            flavour: globals.persona.flavour.to_owned(),
            size: storage_options::of_container(&self.storage_opt)?,
            default_size: globals.size,
            image: None,
            rootfs: None,
        })
    }

    fn resources(&self) -> Result<Resources, Error> {
        let memory =
            self.memory.as_deref().map(|m| values::size("memory", m)).transpose()?.filter(|&m| m != 0);
        let mut swap = self.memory_swap.as_deref().map(values::swap).transpose()?;
        match (memory, swap) {
            (None, Some(s)) if s != -1 => {
                return Err(Error::Invalid("--memory-swap needs --memory: give both".into()));
            }
            (Some(m), Some(s)) if s != -1 && s < m => {
                return Err(Error::Invalid(
                    "--memory-swap is smaller than --memory: it is the sum of memory and swap".into(),
                ));
            }
            // As much swap as memory, as Podman and Docker have it.
            (Some(m), None) => swap = Some(m.saturating_mul(2)),
            _ => {}
        }
        let quota = self.cpus.as_deref().map(values::cpus).transpose()?;
        Ok(Resources {
            memory,
            memory_swap: swap,
            cpu_quota: quota,
            cpu_period: quota.map(|_| 100_000),
            cpuset_cpus: self.cpuset_cpus.clone(),
            pids_limit: self.pids_limit.map(|n| if n == 0 { -1 } else { n }),
        })
    }

    fn log(&self) -> Result<Option<LogUse>, Error> {
        if self.log_driver.is_none() && self.log_opt.is_empty() {
            return Ok(None);
        }
        let driver = match self.log_driver.as_deref() {
            // Docker's own format is kept in this one, too.
            None | Some("k8s-file" | "json-file") => "k8s-file",
            Some("none") => "none",
            Some(other) => {
                return Err(Error::Invalid(format!(
                    "log driver {other:?} is not supported yet: use k8s-file or none"
                )));
            }
        };
        let mut log = LogUse { driver: driver.into(), max_size: None, max_files: 1 };
        for option in &self.log_opt {
            match option.split_once('=') {
                Some(("max-size", size)) => {
                    log.max_size = Some(values::size("log-opt max-size", size)? as u64)
                }
                Some(("max-file", n)) => {
                    log.max_files = n.parse().ok().filter(|&n| n > 0 && n <= 1000).ok_or_else(|| {
                        Error::Invalid(format!("invalid value {n:?} for --log-opt max-file: use 1 to 1000"))
                    })?;
                }
                _ => return Err(Error::Invalid(format!("log option {option:?} is not supported yet"))),
            }
        }
        Ok(Some(log))
    }
}

/// What `--security-opt` asks for.
#[derive(Default)]
struct Security {
    seccomp: Seccomp,
    no_new_privileges: bool,
    unmask: Vec<String>,
}

impl Security {
    fn parse(options: &[String]) -> Result<Self, Error> {
        let mut out = Self::default();
        for option in options {
            let (name, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
            match (name, value) {
                ("no-new-privileges", "" | "true") => out.no_new_privileges = true,
                ("no-new-privileges", "false") => out.no_new_privileges = false,
                ("seccomp", "unconfined") => out.seccomp = Seccomp::Unconfined,
                ("seccomp", "") => {
                    return Err(Error::Invalid("--security-opt seccomp= needs a file or unconfined".into()));
                }
                ("seccomp", file) => {
                    let json =
                        std::fs::read_to_string(file).doing(|| format!("open seccomp profile {file}"))?;
                    out.seccomp = Seccomp::Profile(json);
                }
                ("unmask", paths) if !paths.is_empty() => {
                    out.unmask.extend(paths.split(':').map(str::to_owned))
                }
                // SELinux and AppArmor do nothing where they are off; asking for nothing is fine.
                ("label", "disable") | ("apparmor", "unconfined") => {}
                _ => return Err(Error::Invalid(format!("security option {option:?} is not supported"))),
            }
        }
        Ok(out)
    }
}

/// Says once, not every time, that there is no bridge yet.
fn notice_network(globals: &Globals, engine: &Engine) {
    let marker = engine.root().join(".network-notice");
    let new = std::fs::File::options().write(true).create_new(true).open(marker);
    if new.is_ok() {
        let program = globals.persona.name;
        complain(&format!(
            "Note: containers have no network unless --network host is given: {program} has no bridge yet. This is said once."
        ));
    }
}
