//! Flags: what a pod is to be.

use std::path::PathBuf;

use clap::Args;
use loment_engine::config::{Namespace, Network};
use loment_engine::{Create, Engine, ExitPolicy, NewPod, Pod, Shared};

use super::devices::DevicesFlags;
use super::files::volumes_from;
use super::limits::LimitsFlags;
use super::namespaces::NamespacesFlags;
use super::net::NetFlags;
use super::security;
use crate::commands::values::mount;
use crate::commands::values::security::sysctl;
use crate::commands::values::supervision::{restart, systemd_size};
use crate::commands::values::{label, label_file, list, size};
use crate::containers_conf::{self, ENGINE};
use crate::error::Error;
use crate::globals::Globals;
use crate::output::complain;

/// What members share if nobody says.
const USUAL: [Shared; 3] = [Shared::Ipc, Shared::Net, Shared::Uts];

#[derive(Args, Debug)]
pub(in crate::commands) struct PodFlags {
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Name of the pod
    #[arg(value_name = "NAME")]
    word: Option<String>,
    /// Name the pod
    #[arg(short, long, value_name = "NAME")]
    name: Option<String>,
    /// Replace the pod that has the name
    #[arg(long)]
    replace: bool,
    /// Set a label
    #[arg(short, long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Read labels from a file
    #[arg(long, value_name = "FILE")]
    label_file: Vec<PathBuf>,
    /// Write the pod's id to a file
    #[arg(long, value_name = "FILE")]
    pod_id_file: Option<PathBuf>,
    /// Make an infra container, whose namespaces the others share [default: true]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", hide_possible_values = true, action = clap::ArgAction::Set)]
    infra: Option<bool>,
    /// Name the infra container
    #[arg(long, value_name = "NAME")]
    infra_name: Option<String>,
    /// Accepted for compatibility: an infra container runs nothing
    #[arg(long, value_name = "COMMAND")]
    infra_command: Option<String>,
    /// Accepted for compatibility: an infra container has no image
    #[arg(long, value_name = "IMAGE")]
    infra_image: Option<String>,
    /// Write the number of the infra container's monitor to a file each time it starts
    #[arg(long, value_name = "FILE")]
    infra_conmon_pidfile: Option<PathBuf>,
    /// Choose what is shared: cgroup, ipc, net, pid and uts, or none; + adds to the usual ones [default: ipc,net,uts]
    #[arg(long, value_name = "NAMES")]
    share: Option<String>,
    /// Put the control groups of the containers into that of the pod [default: true]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", hide_possible_values = true, action = clap::ArgAction::Set)]
    share_parent: Option<bool>,
    /// Choose what becomes of the pod when all its containers have ended: continue or stop [default: continue]
    #[arg(long, value_name = "POLICY")]
    exit_policy: Option<String>,
    /// Start containers again when they end that do not say: no, on-failure[:TIMES], always or unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    /// Mount a volume, or a file or directory of the host, in all of its containers
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
    /// Set a security option for all of its containers that say none, as create --security-opt
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
    net: NetFlags,
    #[command(flatten)]
    limits: LimitsFlags,
}

impl PodFlags {
    /// Makes the pod.
    pub(in crate::commands) fn create(&self, globals: &Globals, engine: &Engine) -> Result<Pod, Error> {
        let asked = self.request(globals)?;
        if let Some(file) = self.pod_id_file.as_ref().filter(|file| file.exists()) {
            let file = file.display();
            return Err(Error::Invalid(format!("pod ID file {file} exists: remove it, or give another")));
        }
        if self.infra_command.is_some() || self.infra_image.is_some() {
            complain(
                "Note: --infra-command and --infra-image have no effect: an infra container is no process.",
            );
        }
        if let (true, Some(name)) = (self.replace, self.wanted_name()?) {
            match engine.pod(name) {
                Err(loment_engine::Error::NoPod { .. } | loment_engine::Error::AmbiguousPod { .. }) => {}
                // Not one whose id begins so.
                Ok(pod) if pod.name != name => {}
                found => drop(engine.remove_pod(&found?.id, true, None)?),
            }
        }
        let pod = engine.create_pod(asked)?;
        if let Some(file) = &self.pod_id_file
            && let Err(source) = std::fs::write(file, &pod.id)
        {
            let _ = engine.remove_pod(&pod.id, true, None);
            return Err(Error::Io { operation: format!("write pod ID file {}", file.display()), source });
        }
        Ok(pod)
    }

    fn wanted_name(&self) -> Result<Option<&str>, Error> {
        match (&self.name, &self.word) {
            (Some(_), Some(_)) => {
                Err(Error::Invalid("cannot specify --name and a name: give one of them".into()))
            }
            (name, word) => Ok(name.as_deref().or(word.as_deref())),
        }
    }

    fn request(&self, globals: &Globals) -> Result<NewPod, Error> {
        let conf = containers_conf::read()?;
        let mut infra = Create::default();
        // What is not said is a pod's own, whatever containers have.
        self.namespaces.apply(conf, true, &mut infra)?;
        let mut options = loment_engine::config::Security::default();
        self.security_opt.iter().try_for_each(|text| security::option(text, &mut options))?;
        let sysctls = list(&self.sysctl);
        infra.config.namespaces.sysctls =
            sysctls.iter().map(|text| sysctl(text)).collect::<Result<_, _>>()?;
        self.devices.apply(globals, conf, &mut infra)?;
        self.net.apply(globals, conf, &mut infra)?;
        let (limits, cgroup_parent) = self.limits.of_pod()?;
        let cgroup_manager = globals.group_manager()?;
        for text in &self.volume {
            infra.config.files.volumes.push(mount::volume(text, globals.persona)?);
        }
        let from = self.volumes_from.iter().map(|text| volumes_from(text));
        infra.choices.volumes.from = from.collect::<Result<_, _>>()?;
        infra.choices.shm_size =
            self.shm_size.as_deref().map(|text| size("shm-size", text)).transpose()?.map(|n| n as u64);
        infra.config.files.systemd_size = systemd_size(self.shm_size_systemd.as_deref())?;
        infra.config.pid_files.monitor.clone_from(&self.infra_conmon_pidfile);
        infra.config.name = self.infra_name.clone().unwrap_or_default();
        globals.persona.flavour.clone_into(&mut infra.config.flavour);

        let mut pod = Pod { share: self.share()?, ..Pod::default() };
        pod.name = self.wanted_name()?.unwrap_or_default().to_owned();
        for file in &self.label_file {
            pod.labels.extend(label_file(file)?);
        }
        for text in &self.label {
            pod.labels.extend([label(text)?]);
        }
        pod.create_command = std::env::args().collect();
        pod.shares_cgroup_parent = self.share_parent.unwrap_or(true);
        pod.exit_policy = match self.exit_policy.as_deref() {
            Some(text) => exit_policy(text)?,
            None => conf.text_as(ENGINE, "pod_exit_policy", exit_policy)?.unwrap_or_default(),
        };
        pod.restart = self.restart.as_deref().map_or(Ok(Default::default()), restart)?;
        pod.hostname = infra.choices.hostname.clone().unwrap_or_default();
        (pod.limits, pod.security) = (limits, options);
        if self.infra == Some(false) {
            self.check_without_infra(&infra, &pod)?;
            pod.share.clear();
            return Ok(NewPod { pod, infra: None, cgroup_parent, cgroup_manager });
        }
        let namespaces = &infra.config.namespaces;
        let maps = namespaces.users.is_some() || infra.choices.users.is_some();
        if maps || namespaces.user != Namespace::Own {
            pod.share.push(Shared::User);
        }
        Ok(NewPod { pod, infra: Some(infra), cgroup_parent, cgroup_manager })
    }

    /// What all share is that of the infra container: in Podman's words.
    fn check_without_infra(&self, infra: &Create, pod: &Pod) -> Result<(), Error> {
        if let Some(share) = self.share.as_deref().filter(|share| !matches!(*share, "" | "none")) {
            return Err(Error::Invalid(format!(
                "cannot set share({share}) namespaces without an infra container"
            )));
        }
        let network = matches!(&infra.choices.network, Some(network) if *network != Network::None);
        for (given, what) in [
            (network, "--network"),
            (infra.choices.hostname.is_some(), "--hostname"),
            (!self.volume.is_empty() || !self.volumes_from.is_empty(), "--volume"),
            (pod.limits != Default::default(), "limits"),
            (self.infra_name.is_some(), "--infra-name"),
            (infra.config.namespaces.users.is_some() || infra.choices.users.is_some(), "--uidmap"),
            (!infra.config.net.hosts.extra.is_empty(), "--add-host"),
            (infra.config.net.resolver != Default::default(), "--dns"),
            (infra.config.devices != Default::default(), "--device"),
            (!self.sysctl.is_empty(), "--sysctl"),
            (!self.security_opt.is_empty(), "--security-opt"),
            (self.shm_size.is_some(), "--shm-size"),
            (self.shm_size_systemd.is_some(), "--shm-size-systemd"),
            (self.infra_conmon_pidfile.is_some(), "--infra-conmon-pidfile"),
            (self.exit_policy.as_deref() == Some("stop"), "--exit-policy stop"),
        ] {
            if given {
                return Err(Error::Invalid(format!("cannot specify {what} without an infra container")));
            }
        }
        Ok(())
    }

    fn share(&self) -> Result<Vec<Shared>, Error> {
        let Some(text) = self.share.as_deref() else { return Ok(USUAL.to_vec()) };
        let (mut all, text) = match text.strip_prefix('+') {
            Some(more) => (USUAL.to_vec(), more),
            None => (Vec::new(), text),
        };
        for word in text.split(',').filter(|word| !matches!(*word, "" | "none")) {
            // Users are shared where the pod has its own.
            let known =
                Shared::ALL.into_iter().find(|shared| shared.name() == word && *shared != Shared::User);
            all.push(known.ok_or_else(|| {
                Error::Invalid(format!(
                    "invalid kernel namespace to share: {word}. Options are: cgroup, ipc, net, pid, uts or none"
                ))
            })?);
        }
        Ok(all)
    }
}

fn exit_policy(text: &str) -> Result<ExitPolicy, Error> {
    match text {
        "continue" => Ok(ExitPolicy::Continue),
        "stop" => Ok(ExitPolicy::Stop),
        other => Err(Error::Invalid(format!(
            "running pod create option: invalid pod exit policy: {other:?}: use continue or stop"
        ))),
    }
}

/// A pod that is made for its first container.
pub(super) fn new_for(globals: &Globals, name: &str) -> Result<NewPod, Error> {
    let mut infra = Create::default();
    globals.persona.flavour.clone_into(&mut infra.config.flavour);
    let pod = Pod {
        name: name.to_owned(),
        share: USUAL.to_vec(),
        shares_cgroup_parent: true,
        create_command: std::env::args().collect(),
        ..Pod::default()
    };
    Ok(NewPod { pod, infra: Some(infra), cgroup_parent: None, cgroup_manager: globals.group_manager()? })
}
