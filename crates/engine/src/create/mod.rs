//! Making a container: from what the user asked and what the image says to a configuration.

mod accounts;
mod environment;
mod expand;
mod explain;
mod generated;
mod resolve;
mod shared;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use loment_events::What;
use loment_image::ImageConfig;
use loment_store::{Durability, ImageId};

use crate::config::{Config, GroupManager, Groups, LogUse, Network, RootfsUse, SizeLimits};
use crate::container::Container;
use crate::error::{Context, invalid};
use crate::health::HealthChoices;
use crate::lock::{PATIENCE, make_locked};
use crate::names::new_id;
use crate::secrets::SecretData;
use crate::users::AutoUsers;
use crate::volumes::VolumeChoices;
use crate::{Engine, Error};

pub(crate) use self::accounts::accounts;
pub use self::environment::EnvironmentChoices;
pub use self::explain::Explained;
pub use self::generated::check_time_zone;
pub(crate) use self::generated::{around_image, write_generated};

/// What the user asked for.
#[derive(Clone, Debug, Default)]
pub struct Create {
    /// An image in the store: its id and the name it was asked for by.
    pub image: Option<(ImageId, String)>,
    /// As it is to be, as far as the user says what it is. Its version, id and time are not his to say.
    pub config: Config,
    /// Where the image or a default decides if the user does not.
    pub choices: Choices,
}

/// When a container is made ready for a systemd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SystemdMode {
    /// When it is what it runs.
    #[default]
    Auto,
    /// Never.
    Never,
    /// Whatever it runs.
    Always,
}

/// `None` means the image's value, or the default.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// Replaces the image's entry point (and its command); an empty one removes it.
    pub entrypoint: Option<Vec<String>>,
    /// Working directory.
    pub workdir: Option<String>,
    /// `user[:group]`.
    pub user: Option<String>,
    /// What becomes of the variables it has by default.
    pub environment: EnvironmentChoices,
    /// Its system call filter is the one that the image's label says, if it does and nothing else is chosen.
    pub seccomp_of_image: bool,
    /// Host name.
    pub hostname: Option<String>,
    /// Without one it is called as the container is.
    pub hostname_is_name: bool,
    /// Whose network.
    pub network: Option<Network>,
    /// Whether it is made ready for a systemd.
    pub systemd: SystemdMode,
    /// Number of the stop signal.
    pub stop_signal: Option<i32>,
    /// Seconds.
    pub stop_timeout: Option<u32>,
    /// The same where the image does not say it either.
    pub usual_stop_timeout: Option<u32>,
    /// Parameters of the kernel that it has where they are its own to have.
    pub usual_sysctls: BTreeMap<String, String>,
    /// Bytes.
    pub shm_size: Option<u64>,
    /// How its health is checked.
    pub health: HealthChoices,
    /// What is found of its health is not told.
    pub quiet_health: bool,
    /// Where output is kept.
    pub log: Option<LogUse>,
    /// Its log is in a directory of its own below this one.
    pub log_directory: Option<PathBuf>,
    /// Which control groups it gets; `None`: as many as the caller can make.
    pub groups: Option<Groups>,
    /// Processes and threads it may have, if nobody says so of this one and it gets a group.
    pub usual_pids_limit: Option<i64>,
    /// Who makes its control group; `None` is who does best here.
    pub cgroup_manager: Option<GroupManager>,
    /// The group, or slice, that its group is in.
    pub cgroup_parent: Option<String>,
    /// Volumes that others have a say in.
    pub volumes: VolumeChoices,
    /// The bytes of its secrets, in the order in which they are configured.
    pub secrets: Vec<SecretData>,
    /// The pod it is to be in: name, id or the beginning of that.
    pub pod: Option<String>,
    /// Users that are nobody else's, for one that is to have such.
    pub users: Option<AutoUsers>,
    /// Limits of all containers with an image, for what is not said of this one.
    pub size: SizeLimits,
}

/// A container that is decided.
pub(crate) struct Settled {
    pub(crate) config: Config,
    pub(crate) volumes: VolumeChoices,
    pub(crate) secrets: Vec<SecretData>,
    /// Held until it is recorded whose its users are.
    pub(crate) _users: Option<File>,
}

impl Engine {
    /// Makes a container.
    ///
    /// # Errors
    /// [`Error::NameInUse`], [`Error::Invalid`], [`Error::Store`]. Nothing is left of one that could not be made.
    pub fn create(&self, mut asked: Create) -> Result<Container, Error> {
        // Held until it is one of the pod's.
        let _pod = self.join_pod(&mut asked)?;
        self.create_as(new_id().context("choose", "an id")?, asked)
    }

    /// The same, with an id that is its own already.
    pub(crate) fn create_as(&self, id: String, asked: Create) -> Result<Container, Error> {
        let Settled { config, volumes, secrets, _users } = self.settle(id, asked)?;
        self.make_container(config, &volumes, &secrets)
    }

    /// Decides all that is not decided yet.
    pub(crate) fn settle(&self, id: String, mut asked: Create) -> Result<Settled, Error> {
        self.check_size(&asked)?;
        self.share(&mut asked)?;
        let _users = self.choose_users(&mut asked)?;
        let image = asked.image.as_ref().map(|(image, name)| self.image_config(image, name)).transpose()?;
        let volumes = std::mem::take(&mut asked.choices.volumes);
        let secrets = std::mem::take(&mut asked.choices.secrets);
        let mut config = resolve::resolve(self, asked, image.as_ref(), &id)?;
        if self.transient {
            loment_monitor::state::boot_id().clone_into(&mut config.transient);
        }
        self.plan_volumes(&mut config, &volumes, image.as_ref().map(|(image, _)| image))?;
        self.check_secrets(&config, &secrets)?;
        Ok(Settled { config, volumes, secrets, _users })
    }

    /// Makes a container of a configuration; one without a name gets one of its own.
    pub(crate) fn make_container(
        &self,
        config: Config,
        volumes: &VolumeChoices,
        secrets: &[SecretData],
    ) -> Result<Container, Error> {
        self.make_filled_container(config, volumes, secrets, &|_| Ok(()))
    }

    /// The same; what `fill` makes in its directories is there before the container is.
    pub(crate) fn make_filled_container(
        &self,
        config: Config,
        volumes: &VolumeChoices,
        secrets: &[SecretData],
        fill: &dyn Fn(&Config) -> Result<(), Error>,
    ) -> Result<Container, Error> {
        let id = config.id.clone();
        // Everything that can be wrong with it is found now, not when it is started.
        crate::cdi::inject(&config.devices, &mut crate::spec::build(&config, &self.run_dir(&id))?)?;
        crate::oci_hooks::check(&config)?;
        // Held while it is half made: without, it is the leftover of a program that was killed.
        let busy = || Error::Busy { id: id.clone(), seconds: PATIENCE.as_secs() };
        let _lock = make_locked(&self.dir(&id), busy)?;
        let names = self.names();
        let wanted = Some(config.name.as_str()).filter(|n| !n.is_empty());
        let made = self.take_name(wanted, &id).and_then(|name| {
            let config = Config { name, ..config };
            let made = self.make(&config, volumes, secrets).and_then(|()| fill(&config));
            made.and_then(|()| self.save(&config)).inspect_err(|_| {
                names.release(&config.name, &id);
                self.forget_dependent(&config);
                self.leave_volumes(&config);
            })
        });
        if made.is_err() {
            let _ = self.remove_half_made(&id);
        }
        made?;
        let container = self.load(&id)?.ok_or(Error::NoContainer { name: id })?;
        self.tell(&container.config, What::Create);
        Ok(container)
    }

    /// Whether the limits of its size can be kept. To be asked before something is pulled for it.
    ///
    /// # Errors
    /// [`Error::Store`] when the file system cannot, [`Error::Invalid`] for a container that writes elsewhere.
    pub fn check_size(&self, asked: &Create) -> Result<(), Error> {
        let Create { config, choices, .. } = asked;
        match &config.rootfs {
            Some(RootfsUse { overlay: false, path }) if config.files.size.any() => Err(invalid(
                "size limit of a container over the directory",
                path.display().to_string(),
                "what it changes is in that directory: put :O behind it to throw changes away, or use an image",
            )),
            None if config.files.size.or(choices.size).any() => Ok(self.store().check_limits()?),
            _ => Ok(()),
        }
    }

    fn make(&self, config: &Config, volumes: &VolumeChoices, secrets: &[SecretData]) -> Result<(), Error> {
        if let Some(image) = &config.image {
            let durability = if config.is_volatile() { Durability::None } else { Durability::Full };
            let (size, owners) = (config.files.size.into(), self.owners(config));
            let store = self.store_for_files();
            let rootfs = store.create_rootfs(&config.id, &image.id, durability, size, owners)?;
            if rootfs.owners.is_some() && !rootfs.whole {
                // What is wrong with its owners is found now.
                store.shifted_rootfs(&config.id, crate::users::content())?;
            }
        }
        if !config.transient.is_empty() {
            self.note_transience()?;
        }
        self.keep_secrets(config, secrets)?;
        self.take_volumes(config, volumes)?;
        self.note_dependent(config)
    }

    /// The configuration of an image.
    pub(crate) fn image_config(&self, id: &ImageId, name: &str) -> Result<(ImageConfig, String), Error> {
        let no_image = || Error::NoImage { name: name.to_owned() };
        let record = self.store().image(id)?.ok_or_else(no_image)?;
        let config = self.image_document(id)?;
        let manifest =
            self.store().name(name)?.and_then(|n| n.manifest).or_else(|| record.manifests.first().cloned());
        Ok((config, manifest.map(|m| m.to_string()).unwrap_or_default()))
    }
}
