//! Flags: what is other of a copy of a pod.

use std::path::PathBuf;

use clap::Args;
use loment_engine::{ClonePod, Create, NewPod, Pod};

use super::devices::DevicesFlags;
use super::files::volumes_from;
use super::limits::LimitsFlags;
use super::namespaces::NamespacesFlags;
use super::security;
use crate::commands::values::mount;
use crate::commands::values::security::sysctl;
use crate::commands::values::supervision::{restart, systemd_size};
use crate::commands::values::{label, label_file, list, size};
use crate::containers_conf;
use crate::error::Error;
use crate::globals::Globals;

#[derive(Args, Debug)]
pub(in crate::commands) struct PodCloneFlags {
    /// Name the copy [default: the pod's with -clone behind it]
    #[arg(short, long, value_name = "NAME")]
    name: Option<String>,
    /// Set a label, besides those of the pod
    #[arg(short, long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Read labels from a file
    #[arg(long, value_name = "FILE")]
    label_file: Vec<PathBuf>,
    /// Set another host name
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Name the infra container
    #[arg(long, value_name = "NAME")]
    infra_name: Option<String>,
    /// Accepted for compatibility: an infra container runs nothing
    #[arg(long, value_name = "COMMAND")]
    infra_command: Option<String>,
    /// Write the number of the infra container's monitor to a file each time it starts
    #[arg(long, value_name = "FILE")]
    infra_conmon_pidfile: Option<PathBuf>,
    /// Start containers again when they end that do not say: no, on-failure[:TIMES], always or unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    /// Mount a volume, or a file or directory of the host, in all of its containers, besides what they have
    #[arg(short, long, value_name = "[SOURCE:]DESTINATION[:OPTIONS]", help_heading = "Files")]
    volume: Vec<String>,
    /// Mount what another container has mounted in all of its containers
    #[arg(long, value_name = "CONTAINER[:OPTIONS]", help_heading = "Files")]
    volumes_from: Vec<String>,
    /// Set the size of /dev/shm, in bytes or with a unit: 64m, 2g
    #[arg(long, value_name = "SIZE", help_heading = "Files")]
    shm_size: Option<String>,
    /// Limit each temporary file system that systemd has in containers that say no size: /run, /run/lock, /tmp and /var/log/journal
    #[arg(long, value_name = "SIZE", help_heading = "Files")]
    shm_size_systemd: Option<String>,
    /// Set a security option for all of its containers that say none, instead of those of the pod
    #[arg(long, value_name = "OPTION", help_heading = "Security")]
    security_opt: Vec<String>,
    /// Set a parameter of the kernel that the pod has of its own
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Security")]
    sysctl: Vec<String>,
    #[command(flatten)]
    devices: DevicesFlags,
    #[command(flatten)]
    namespaces: NamespacesFlags,
    #[command(flatten)]
    limits: LimitsFlags,
}

impl PodCloneFlags {
    /// What is asked of the engine. `word` is a name that was given without the flag, and comes before that.
    pub(in crate::commands) fn request(
        &self,
        globals: &Globals,
        word: Option<&str>,
    ) -> Result<ClonePod, Error> {
        let conf = containers_conf::read()?;
        let mut infra = Create::default();
        self.namespaces.apply(conf, true, &mut infra)?;
        self.devices.apply(globals, conf, &mut infra)?;
        let own = &mut infra.config;
        own.namespaces.sysctls =
            list(&self.sysctl).iter().map(|text| sysctl(text)).collect::<Result<_, _>>()?;
        for text in &self.volume {
            own.files.volumes.push(mount::volume(text, globals.persona)?);
        }
        own.files.systemd_size = systemd_size(self.shm_size_systemd.as_deref())?;
        own.pid_files.monitor.clone_from(&self.infra_conmon_pidfile);
        own.name = self.infra_name.clone().unwrap_or_default();
        globals.persona.flavour.clone_into(&mut own.flavour);
        let from = self.volumes_from.iter().map(|text| volumes_from(text));
        infra.choices.volumes.from = from.collect::<Result<_, _>>()?;
        let shm_size = self.shm_size.as_deref().map(|text| size("shm-size", text)).transpose()?;
        infra.choices.shm_size = shm_size.map(|bytes| bytes as u64);
        infra.choices.hostname.clone_from(&self.hostname);
        let (limits, cgroup_parent) = self.limits.of_pod()?;
        let mut pod = Pod { limits, ..Pod::default() };
        pod.name = word.or(self.name.as_deref()).unwrap_or_default().to_owned();
        pod.hostname = self.hostname.clone().unwrap_or_default();
        for file in &self.label_file {
            pod.labels.extend(label_file(file)?);
        }
        for text in &self.label {
            pod.labels.extend([label(text)?]);
        }
        pod.create_command = std::env::args().collect();
        pod.restart = self.restart.as_deref().map_or(Ok(Default::default()), restart)?;
        self.security_opt.iter().try_for_each(|text| security::option(text, &mut pod.security))?;
        let cgroup_manager = globals.group_manager()?;
        Ok(ClonePod { changes: NewPod { pod, infra: Some(infra), cgroup_parent, cgroup_manager } })
    }

    /// Whether something is said that has no effect.
    pub(in crate::commands) fn has_no_effect(&self) -> bool {
        self.infra_command.is_some()
    }
}
