//! Copies of containers: with the same flags, without what was changed in their files.

use std::fs::File;

use loment_monitor::now_rfc3339;
use loment_store::ImageId;

use crate::config::{Config, GroupManager, GroupUse, ImageUse, Limits, Namespace, Network};
use crate::container::Container;
use crate::create::Create;
use crate::error::Context;
use crate::names::new_id;
use crate::pods::Shared;
use crate::update::{change_limits, check};
use crate::volumes::VolumeChoices;
use crate::{Engine, Error};

/// How often another name is tried for a copy without one.
const TRIES: u32 = 1000;

/// What is other of a copy.
#[derive(Clone, Debug, Default)]
pub struct CloneChoices {
    /// Its name; that of the container with `-clone` behind it, and perhaps a number.
    pub name: Option<String>,
    /// An image in the store, instead of the container's: its id and the name it was asked for by.
    pub image: Option<(ImageId, String)>,
    /// Limits that replace those of the container.
    pub limits: Limits,
    /// The pod it is to be in: name, id or the beginning of that.
    pub pod: Option<String>,
}

impl Engine {
    /// Makes a container like another one.
    ///
    /// # Errors
    /// [`Error::NoContainer`], and as [`Engine::create`].
    pub fn clone_container(&self, name: &str, choices: CloneChoices) -> Result<Container, Error> {
        let old = self.container(name)?.config;
        if old.infra {
            let hint = "it is the infra container of a pod: make another pod";
            return Err(crate::error::invalid("container to be cloned", name, hint));
        }
        let stays = choices.pod.is_none() && !old.pod.is_empty();
        let _pod = stays.then(|| self.lock_pod(&old.pod)).transpose()?;
        let image = choices.image.as_ref().map(|(id, _)| id).or(old.image.as_ref().map(|image| &image.id));
        let _held = image.map(|id| self.store().hold_image(id)).transpose()?;
        let mut config = self.copy_of(&old, &choices)?;
        // Held until it is one of the pod's.
        let _other = choices.pod.clone().map(|pod| self.move_to_pod(&mut config, pod)).transpose()?;
        // Held until it is known whose they are.
        let _users = self.choose_other_users(&mut config)?;
        let (volumes, secrets) = (VolumeChoices::default(), self.kept_secrets(&old)?);
        if let Some(name) = choices.name {
            return self.make_container(Config { name, ..config }, &volumes, &secrets);
        }
        let mut tried = 0;
        loop {
            let number = if tried == 0 { String::new() } else { tried.to_string() };
            let name = format!("{}-clone{number}", old.name);
            match self.make_container(Config { name, ..config.clone() }, &volumes, &secrets) {
                Err(Error::NameInUse { .. }) if tried < TRIES => tried += 1,
                made => return made,
            }
        }
    }

    pub(crate) fn copy_of(&self, old: &Config, choices: &CloneChoices) -> Result<Config, Error> {
        let id = new_id().context("choose", "an id")?;
        let mut config = Config { id: id.clone(), created: now_rfc3339(), ..old.clone() };
        change_limits(&mut config.limits, &choices.limits)?;
        check(&config)?;
        // What is called after the container is called after the copy.
        if config.net.hostname == old.id[..12] {
            rename_host(&mut config, &id[..12]);
        }
        config.cgroup.path = config.cgroup.path.map(|path| path.replace(&old.id, &id));
        config.pid_files = Default::default();
        if let Some((image, name)) = &choices.image {
            let (_, digest) = self.image_config(image, name)?;
            config.image = Some(ImageUse { id: image.clone(), name: name.clone(), digest });
        }
        Ok(config)
    }

    /// Has a container that is to be made share what a pod shares, instead of what it shares now.
    fn move_to_pod(&self, config: &mut Config, name: String) -> Result<Option<File>, Error> {
        let pod = self.pod(&name)?;
        let old = self.load_pod(&config.pod).ok().flatten().and_then(|pod| pod.infra);
        let is_old =
            |namespace: &Namespace| matches!(namespace, Namespace::Container(id) if Some(id) == old.as_ref());
        let mut asked = Create { config: std::mem::take(config), ..Create::default() };
        asked.choices.pod = Some(pod.id.clone());
        let own = &mut asked.config;
        own.requires.retain(|id| Some(id) != old.as_ref());
        let n = &mut own.namespaces;
        for (namespace, shared) in [
            (&mut n.user, Shared::User),
            (&mut n.cgroup, Shared::Cgroup),
            (&mut n.ipc, Shared::Ipc),
            (&mut n.pid, Shared::Pid),
            (&mut n.uts, Shared::Uts),
        ] {
            if is_old(namespace) || pod.infra.is_some() && pod.share.contains(&shared) {
                *namespace = Namespace::Own;
            }
        }
        if pod.share.contains(&Shared::User) {
            n.users = None;
        }
        let of_old = matches!(&own.net.network, Network::Container(id) if Some(id) == old.as_ref());
        let shares = pod.infra.is_some() && pod.share.contains(&Shared::Net);
        if !of_old && !shares {
            asked.choices.network = Some(own.net.network.clone());
        }
        let lock = self.join_pod(&mut asked)?;
        self.share(&mut asked)?;
        let Create { config: mut joined, choices, .. } = asked;
        joined.net.network = choices.network.unwrap_or_default();
        let is_elsewhere = joined.cgroup.split || joined.cgroup.path.is_none();
        if let (Some(parent), false) = (choices.cgroup_parent, is_elsewhere) {
            let manager = choices.cgroup_manager.unwrap_or_else(GroupManager::of_this_machine);
            let place = manager.place(Some(&parent), &joined.id)?;
            joined.cgroup = GroupUse { monitor_stays: joined.cgroup.monitor_stays, ..place };
        }
        self.plan_volumes(&mut joined, &choices.volumes, None)?;
        *config = joined;
        Ok(lock)
    }
}

/// Gives a copy another host name, also where its programs are told it.
pub(crate) fn rename_host(config: &mut Config, name: &str) {
    let old = std::mem::replace(&mut config.net.hostname, name.to_owned());
    let told = format!("HOSTNAME={old}");
    for variable in config.process.env.iter_mut().filter(|variable| **variable == told) {
        *variable = format!("HOSTNAME={name}");
    }
}
