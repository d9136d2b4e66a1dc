//! Copies of pods: with the same flags and copies of the members, without what was changed in their files.

use std::collections::BTreeMap;
use std::path::Path;

use super::create::{MEMBERS_OF_NEW, NewMember, inherit, share_devices};
use super::{NewPod, Pod, Shared};
use crate::clone::CloneChoices;
use crate::config::{Config, GroupUse, Namespace, Network, Process};
use crate::container::Container;
use crate::create::{Choices, Create};
use crate::error::{Context, invalid};
use crate::names::ids_with_prefix;
use crate::update::change_limits;
use crate::volumes::VolumeChoices;
use crate::{Engine, Error};

/// How often another name is tried for a copy without one.
const TRIES: u32 = 1000;

/// What is other of a copy.
#[derive(Clone, Debug, Default)]
pub struct ClonePod {
    /// What is said here replaces what the pod has, or is added to it; what is as by default is not said. Without a name it is called
    /// as the pod with `-clone` behind it, and perhaps a number.
    pub changes: NewPod,
}

impl Engine {
    /// Makes a pod like another one, with a copy of each of its members. It and they are there when all are made.
    ///
    /// # Errors
    /// Those of [`Engine::pod`] and [`Engine::create_pod`]. Nothing is left of one that could not be made.
    pub fn clone_pod(&self, name: &str, choices: ClonePod) -> Result<Pod, Error> {
        let old = self.pod(name)?;
        // Nobody makes or removes members meanwhile.
        let _lock = self.lock_pod(&old.id)?;
        let infra = old.infra.as_ref().map(|id| self.container(id)).transpose()?;
        let mut members = Vec::new();
        for member in self.listed_pod(&old.id)?.members() {
            members.push(self.container(&member.id)?.config);
        }
        let images = members.iter().filter_map(|member| member.image.as_ref());
        let _held = images.map(|image| self.store().hold_image(&image.id)).collect::<Result<Vec<_>, _>>()?;
        let asked = merge(&old, infra.as_ref(), choices.changes)?;
        let copies = |pod: &Pod, new: Option<&Config>| {
            let of = Copies { old: (&old, infra.as_ref().map(|infra| &infra.config)), new: (pod, new) };
            self.copies(&members, &of)
        };
        if !asked.pod.name.is_empty() {
            return self.create_pod_with(asked, &copies);
        }
        let mut tried = 0;
        loop {
            let number = if tried == 0 { String::new() } else { tried.to_string() };
            let mut asked = asked.clone();
            asked.pod.name = format!("{}-clone{number}", old.name);
            let wanted = asked.pod.name.clone();
            match self.create_pod_with(asked, &copies) {
                Err(Error::NameInUse { name, .. }) if name == wanted && tried < TRIES => tried += 1,
                made => return made,
            }
        }
    }

    fn copies(&self, members: &[Config], of: &Copies<'_>) -> Result<Vec<NewMember>, Error> {
        let mut ids: BTreeMap<&str, String> = BTreeMap::new();
        let mut copies = Vec::new();
        for old in members {
            let mut config = self.copy_of(old, &CloneChoices::default())?;
            // Others are chosen for the pod if it has such.
            config.namespaces.users.iter_mut().for_each(|users| users.auto = None);
            ids.insert(&old.id, config.id.clone());
            copies.push(NewMember { config, secrets: self.kept_secrets(old)? });
        }
        ids.extend(of.old.1.zip(of.new.1).map(|(old, new)| (old.id.as_str(), new.id.clone())));
        for copy in &mut copies {
            of.fit(&mut copy.config, &ids)?;
            self.plan_volumes(&mut copy.config, &VolumeChoices::default(), None)?;
        }
        Ok(copies)
    }

    /// Makes members of a pod that is being made; one whose name is another's gets a number behind it.
    pub(super) fn make_members(&self, members: &[NewMember]) -> Result<(), Error> {
        for NewMember { config, secrets } in members {
            let mut tried = 0;
            loop {
                let number = if tried == 0 { String::new() } else { tried.to_string() };
                let name = format!("{}-clone{number}", config.name);
                let made = self.make_container(
                    Config { name, ..config.clone() },
                    &VolumeChoices::default(),
                    secrets,
                );
                match made {
                    Err(Error::NameInUse { .. }) if tried < TRIES => tried += 1,
                    made => break made.map(drop)?,
                }
            }
        }
        Ok(())
    }

    /// Removes the members of a pod that was not made to its end.
    pub(super) fn forget_members(&self, dir: &Path) {
        let text = std::fs::read_to_string(dir.join(MEMBERS_OF_NEW)).unwrap_or_default();
        // Who needs others goes before them.
        for id in text.lines().rev().filter(|id| crate::engine::is_id(id)) {
            if self.is_half_made(id) {
                let _ = self.remove_half_made(id);
            } else {
                let _ = self.remove_of_pod(id, true, None);
            }
        }
    }

    /// Removes pods whose making was cut short, with the members that were made for them.
    pub(crate) fn sweep_new_pods(&self) {
        for id in ids_with_prefix(&self.pods_dir(), "") {
            let note = self.pod_dir(&id).join(MEMBERS_OF_NEW);
            if !note.exists() {
                continue;
            }
            match self.load_pod(&id) {
                Ok(Some(_)) => drop(std::fs::remove_file(&note)),
                Ok(None) => self.sweep_half_made_pod(&id),
                Err(_) => {}
            }
        }
    }
}

/// A pod with its infra container, and what another one is.
struct Copies<'c> {
    old: (&'c Pod, Option<&'c Config>),
    new: (&'c Pod, Option<&'c Config>),
}

impl Copies<'_> {
    /// Makes a copy one of the new pod's.
    fn fit(&self, config: &mut Config, ids: &BTreeMap<&str, String>) -> Result<(), Error> {
        let ((old, old_infra), (new, infra)) = (self.old, self.new);
        let id = |id: &String| ids.get(id.as_str()).unwrap_or(id).clone();
        config.pod.clone_from(&new.id);
        for required in config.requires.iter_mut().chain(&mut config.requires_healthy) {
            *required = id(required);
        }
        let n = &mut config.namespaces;
        for namespace in [&mut n.user, &mut n.pid, &mut n.ipc, &mut n.uts, &mut n.cgroup] {
            if let Namespace::Container(of) = namespace {
                *of = id(of);
            }
        }
        if let Network::Container(of) = &mut config.net.network {
            *of = id(of);
        }
        if config.supervision.restart == old.restart {
            config.supervision.restart = new.restart;
        }
        let systemd_size = |infra: Option<&Config>| infra.and_then(|infra| infra.files.systemd_size);
        if config.files.systemd_size == systemd_size(old_infra) {
            config.files.systemd_size = systemd_size(infra);
        }
        inherit(&new.security, &mut config.security);
        let in_group =
            |path: &str| old.cgroup.path.as_ref().is_some_and(|of| path.starts_with(&format!("{of}/")));
        if config.cgroup.path.as_deref().is_some_and(in_group) {
            let place = new.manager().place(new.group().as_deref(), &config.id)?;
            config.cgroup = GroupUse {
                monitor_stays: config.cgroup.monitor_stays,
                of_user: config.cgroup.of_user,
                ..place
            };
        }
        let (Some(old_infra), Some(infra)) = (old_infra, infra) else { return Ok(()) };
        let n = &mut config.namespaces;
        let (was, is) = (&old_infra.namespaces, &infra.namespaces);
        for (own, was, is) in [
            (&mut n.pid, &was.pid, &is.pid),
            (&mut n.uts, &was.uts, &is.uts),
            (&mut n.ipc, &was.ipc, &is.ipc),
            (&mut n.cgroup, &was.cgroup, &is.cgroup),
        ] {
            let of_pod = *own == Namespace::Container(infra.id.clone());
            if of_pod && *is == Namespace::Host {
                *own = Namespace::Host;
            } else if *own == Namespace::Host && *was == Namespace::Host && *is != Namespace::Host {
                *own = Namespace::Container(infra.id.clone());
            }
        }
        if n.user.container() == Some(&infra.id)
            || n.user == Namespace::Own && n.users.is_none() && new.share.contains(&Shared::User)
        {
            n.user = Namespace::Container(infra.id.clone());
            n.users.clone_from(&is.users);
        }
        if config.namespaces.uts.container() == Some(&infra.id) {
            crate::clone::rename_host(config, &infra.net.hostname);
        }
        for volume in &infra.files.volumes {
            if !config.files.volumes.iter().any(|own| own.destination == volume.destination) {
                config.files.volumes.push(volume.clone());
            }
        }
        share_devices(&infra.devices, &mut config.devices);
        Ok(())
    }
}

/// What a copy of a pod is to be.
fn merge(old: &Pod, infra: Option<&Container>, changes: NewPod) -> Result<NewPod, Error> {
    let NewPod { pod: said, infra: infra_said, cgroup_parent, cgroup_manager } = changes;
    let mut pod = Pod { name: said.name, create_command: said.create_command, ..old.clone() };
    pod.cgroup = GroupUse::default();
    // What is called after the pod is called after the copy.
    if !said.hostname.is_empty() || old.hostname == old.name.chars().take(64).collect::<String>() {
        pod.hostname = said.hostname;
    }
    pod.labels.extend(said.labels);
    change_limits(&mut pod.limits, &said.limits)?;
    if said.restart != Default::default() {
        pod.restart = said.restart;
    }
    if said.security != Default::default() {
        pod.security = said.security;
    }
    let Some(infra) = infra else {
        if infra_said.is_some_and(|said| says(&said)) {
            let hint = "it has no infra container, which this would be about: leave it out";
            return Err(invalid("pod to be cloned", &old.name, hint));
        }
        return Ok(NewPod { pod, infra: None, cgroup_parent, cgroup_manager });
    };
    let mut again = again(&infra.config);
    if let Some(said) = infra_said {
        pod.share.extend(change(&mut again, said));
    }
    let parent = cgroup_parent.or_else(|| parent_of(old));
    Ok(NewPod { pod, infra: Some(again), cgroup_parent: parent, cgroup_manager: Some(old.manager()) })
}

/// The group that the group of a pod is in, if that is not the usual one.
fn parent_of(pod: &Pod) -> Option<String> {
    let path = pod.cgroup.slice.as_deref().or(pod.cgroup.path.as_deref())?;
    match &pod.cgroup.slice {
        // The name of a slice has those that it is in.
        Some(_) => path.rsplit_once('-').map(|(parent, _)| format!("{parent}.slice")),
        None => {
            path.rsplit_once('/').map(|(parent, _)| parent.to_owned()).filter(|parent| !parent.is_empty())
        }
    }
}

/// An infra container like that one.
fn again(old: &Config) -> Create {
    let mut config = Config {
        name: String::new(),
        pid_files: Default::default(),
        rootfs: None,
        process: Process::default(),
        cgroup: GroupUse::default(),
        supervision: Default::default(),
        ..old.clone()
    };
    let choices = Choices {
        network: Some(std::mem::take(&mut config.net.network)),
        shm_size: Some(config.files.shm_size),
        users: config.namespaces.users.as_mut().and_then(|users| users.auto.take()),
        ..Choices::default()
    };
    if choices.users.is_some() {
        config.namespaces.users = None;
    }
    config.net.hostname.clear();
    Create { config, choices, ..Create::default() }
}

/// Whether anything is said of an infra container.
fn says(said: &Create) -> bool {
    let plain = Config { flavour: said.config.flavour.clone(), ..Config::default() };
    let choices = &said.choices;
    said.config != plain
        || choices.shm_size.is_some()
        || choices.users.is_some()
        || choices.hostname.is_some()
        || !choices.volumes.from.is_empty()
}

/// Changes what is said of it; returns what the pod shares because of that.
fn change(infra: &mut Create, said: Create) -> Option<Shared> {
    let Create { config: said, choices, .. } = said;
    let own = &mut infra.config;
    own.name = said.name;
    own.pid_files = said.pid_files;
    let (n, new) = (&mut own.namespaces, said.namespaces);
    let said_of =
        [(&mut n.pid, new.pid), (&mut n.uts, new.uts), (&mut n.ipc, new.ipc), (&mut n.cgroup, new.cgroup)];
    for (namespace, new) in said_of {
        if new != Namespace::Own {
            *namespace = new;
        }
    }
    n.sysctls.extend(new.sysctls);
    own.files.volumes.retain(|old| !said.files.volumes.iter().any(|v| v.destination == old.destination));
    own.files.volumes.extend(said.files.volumes);
    share_devices(&said.devices, &mut own.devices);
    own.files.systemd_size = said.files.systemd_size.or(own.files.systemd_size);
    infra.choices.volumes.from = choices.volumes.from;
    infra.choices.shm_size = choices.shm_size.or(infra.choices.shm_size);
    infra.choices.hostname = choices.hostname;
    if new.users.is_none() && choices.users.is_none() && new.user == Namespace::Own {
        return None;
    }
    (n.user, n.users, infra.choices.users) = (new.user, new.users, choices.users);
    Some(Shared::User)
}

/// Writes down which members a pod is made with, before the first of them is.
pub(super) fn note_members(dir: &Path, members: &[NewMember]) -> Result<(), Error> {
    if members.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = members.iter().map(|member| member.config.id.as_str()).collect();
    let path = dir.join(MEMBERS_OF_NEW);
    std::fs::write(&path, ids.join("\n")).context("write", path.display())
}
