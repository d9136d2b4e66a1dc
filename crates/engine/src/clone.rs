//! Copies of containers: with the same flags, without what was changed in their files.

use loment_monitor::now_rfc3339;
use loment_store::ImageId;

use crate::config::{Config, ImageUse, Limits};
use crate::container::Container;
use crate::error::Context;
use crate::names::new_id;
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
        let _pod = (!old.pod.is_empty()).then(|| self.lock_pod(&old.pod)).transpose()?;
        let image = choices.image.as_ref().map(|(id, _)| id).or(old.image.as_ref().map(|image| &image.id));
        let _held = image.map(|id| self.store().hold_image(id)).transpose()?;
        let mut config = self.copy_of(&old, &choices)?;
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

    fn copy_of(&self, old: &Config, choices: &CloneChoices) -> Result<Config, Error> {
        let id = new_id().context("choose", "an id")?;
        let mut config = Config { id: id.clone(), created: now_rfc3339(), ..old.clone() };
        change_limits(&mut config.limits, &choices.limits)?;
        check(&config)?;
        // What is called after the container is called after the copy.
        if config.net.hostname == old.id[..12] {
            id[..12].clone_into(&mut config.net.hostname);
        }
        config.cgroup.path = config.cgroup.path.map(|path| path.replace(&old.id, &id));
        config.pid_files = Default::default();
        if let Some((image, name)) = &choices.image {
            let (_, digest) = self.image_config(image, name)?;
            config.image = Some(ImageUse { id: image.clone(), name: name.clone(), digest });
        }
        Ok(config)
    }
}
