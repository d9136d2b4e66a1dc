//! Making a container: from what the user asked and what the image says to a configuration.

use std::path::{Path, PathBuf};

use loment_image::ImageConfig;
use loment_monitor::now_rfc3339;
use loment_store::{Durability, ImageId};

use crate::config::{Config, ImageUse, LogUse, Network, Resources, RootfsUse, Seccomp, SizeLimits, VERSION};
use crate::container::Container;
use crate::error::{Context, invalid};
use crate::names::new_id;
use crate::{Engine, Error};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const SHM_SIZE: u64 = 64 << 20;
const PIDS_LIMIT: i64 = 2048;
const STOP_TIMEOUT: u32 = 10;
const SIGTERM: i32 = 15;

/// What the user asked for. `None` and empty mean the image's value, or the default.
#[derive(Clone, Debug, Default)]
pub struct Create {
    /// An image in the store: its id and the name it was asked for by.
    pub image: Option<(ImageId, String)>,
    /// A directory instead of an image.
    pub rootfs: Option<RootfsUse>,
    /// Its name.
    pub name: Option<String>,
    /// The command or the entry point's arguments.
    pub command: Vec<String>,
    /// Replaces the image's entry point (and its command); an empty one removes it.
    pub entrypoint: Option<Vec<String>>,
    /// `NAME=VALUE`.
    pub env: Vec<String>,
    /// Working directory.
    pub workdir: Option<String>,
    /// `user[:group]`.
    pub user: Option<String>,
    /// Further groups.
    pub groups: Vec<String>,
    /// Host name.
    pub hostname: Option<String>,
    /// Number of the stop signal.
    pub stop_signal: Option<i32>,
    /// Seconds.
    pub stop_timeout: Option<u32>,
    /// Bytes.
    pub shm_size: Option<u64>,
    /// Its log.
    pub log: Option<LogUse>,
    /// `None` is the default.
    pub network: Option<Network>,
    /// Limits; an absent process limit is the default one.
    pub resources: Resources,
    /// The rest is taken as it is.
    pub terminal: bool,
    /// Keep standard input open.
    pub stdin: bool,
    /// Process 1 is the embedded init.
    pub init: bool,
    /// Remove it when it ends.
    pub auto_remove: bool,
    /// Keep nothing from it.
    pub privileged: bool,
    /// Its root file system cannot be changed.
    pub read_only: bool,
    /// Files and directories of the host.
    pub volumes: Vec<crate::config::Volume>,
    /// Temporary file systems.
    pub tmpfs: Vec<(PathBuf, Vec<String>)>,
    /// Resource limits.
    pub ulimits: Vec<crate::config::Ulimit>,
    /// Capabilities.
    pub cap_add: Vec<String>,
    /// Capabilities.
    pub cap_drop: Vec<String>,
    /// System call filter.
    pub seccomp: Seccomp,
    /// No privileges through set-uid programs.
    pub no_new_privileges: bool,
    /// Shown paths.
    pub unmask: Vec<String>,
    /// Devices.
    pub devices: Vec<crate::config::DeviceUse>,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// Annotations.
    pub annotations: Vec<(String, String)>,
    /// Who makes its control group; `None` is who does best here.
    pub cgroup_manager: Option<crate::config::GroupManager>,
    /// The group, or slice, that its group is in.
    pub cgroup_parent: Option<String>,
    /// Its user namespace.
    pub users: Option<crate::config::Users>,
    /// What its changes to its root file system may occupy.
    pub size: SizeLimits,
    /// The same, if it is not said, for all containers with an image.
    pub default_size: SizeLimits,
    /// What was typed.
    pub create_command: Vec<String>,
    /// Told to programs as `container=`.
    pub flavour: String,
}

impl Engine {
    /// Makes a container.
    ///
    /// # Errors
    /// [`Error::NameInUse`], [`Error::Invalid`], [`Error::Store`]. Nothing is left of one that could not be made.
    pub fn create(&self, asked: Create) -> Result<Container, Error> {
        self.check_size(&asked)?;
        let id = new_id().context("choose", "an id")?;
        let image = asked.image.as_ref().map(|(image, name)| self.image_config(image, name)).transpose()?;
        let config = resolve(asked, image.as_ref(), &id)?;
        // Everything that can be wrong with it is found now, not when it is started.
        crate::spec::build(&config, &self.run_dir(&id))?;
        let dir = self.dir(&id);
        std::fs::create_dir_all(&dir).context("create", dir.display())?;
        // Held while it is half made: without, it is the leftover of a program that was killed.
        let _lock = self.lock(&id)?;
        let names = self.names();
        let wanted = Some(config.name.as_str()).filter(|n| !n.is_empty());
        let made = names.take(wanted, &id, |other| self.is_half_made(other)).and_then(|name| {
            let config = Config { name, ..config };
            self.make(&config).inspect_err(|_| names.release(&config.name, &id))
        });
        if made.is_err() {
            let _ = self.store().remove_container(&id);
        }
        made?;
        self.load(&id)?.ok_or(Error::NoContainer { name: id })
    }

    /// Whether the limits of its size can be kept. To be asked before something is pulled for it.
    ///
    /// # Errors
    /// [`Error::Store`] when the file system cannot, [`Error::Invalid`] for a container that writes elsewhere.
    pub fn check_size(&self, asked: &Create) -> Result<(), Error> {
        match &asked.rootfs {
            Some(RootfsUse { overlay: false, path }) if asked.size.any() => Err(invalid(
                "size limit of a container over the directory",
                path.display().to_string(),
                "what it changes is in that directory: put :O behind it to throw changes away, or use an image",
            )),
            None if asked.size.or(asked.default_size).any() => Ok(self.store().check_limits()?),
            _ => Ok(()),
        }
    }

    fn make(&self, config: &Config) -> Result<(), Error> {
        if let Some(image) = &config.image {
            let durability = if config.auto_remove { Durability::None } else { Durability::Full };
            self.store().create_rootfs(&config.id, &image.id, durability, config.size.into())?;
        }
        self.save(config)
    }

    /// The configuration of an image.
    fn image_config(&self, id: &ImageId, name: &str) -> Result<(ImageConfig, String), Error> {
        let no_image = || Error::NoImage { name: name.to_owned() };
        let record = self.store().image(id)?.ok_or_else(no_image)?;
        let config = self.image_document(id)?;
        let manifest =
            self.store().name(name)?.and_then(|n| n.manifest).or_else(|| record.manifests.first().cloned());
        Ok((config, manifest.map(|m| m.to_string()).unwrap_or_default()))
    }
}

fn resolve(asked: Create, image: Option<&(ImageConfig, String)>, id: &str) -> Result<Config, Error> {
    let defaults = image.map(|(config, _)| config.container.clone()).unwrap_or_default();
    let (entrypoint, command) = program(&asked, &defaults)?;
    let workdir =
        asked.workdir.clone().or_else(|| Some(defaults.working_dir.clone())).filter(|w| !w.is_empty());
    let workdir = PathBuf::from(workdir.unwrap_or_else(|| "/".to_owned()));
    if !workdir.is_absolute() {
        return Err(invalid(
            "working directory",
            workdir.display().to_string(),
            "it must be an absolute path",
        ));
    }
    let network = asked.network.unwrap_or_default();
    let hostname = match (&asked.hostname, network) {
        (Some(name), _) => check_hostname(name)?,
        (None, Network::Host) => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        (None, _) => id[..12].to_owned(),
    };
    let stop_signal = match (asked.stop_signal, defaults.stop_signal.as_deref()) {
        (Some(n), _) => n,
        (None, Some(text)) if !text.is_empty() => loment_runtime::parse_signal(text).unwrap_or(SIGTERM),
        _ => SIGTERM,
    };
    let env = environment(&asked, &defaults.env, &hostname);
    let mut resources = asked.resources.clone();
    // What the user asked for must be possible; our own default is as much as there is.
    if resources.pids_limit.is_none() && loment_cgroup::Host::detect()?.has("pids") {
        resources.pids_limit = Some(PIDS_LIMIT);
    }
    let manager = asked.cgroup_manager.unwrap_or_else(crate::config::GroupManager::of_this_machine);
    let cgroup = manager.place(asked.cgroup_parent.as_deref(), id)?;
    let writes_elsewhere = asked.rootfs.as_ref().is_some_and(|rootfs| !rootfs.overlay);
    let size = if writes_elsewhere { asked.size } else { asked.size.or(asked.default_size) };
    let image_timeout = defaults.stop_timeout.and_then(|t| u32::try_from(t).ok());
    let labels = defaults.labels.clone().into_iter().chain(asked.labels).collect();
    Ok(Config {
        version: VERSION,
        id: id.to_owned(),
        name: asked.name.unwrap_or_default(),
        created: now_rfc3339(),
        image: asked.image.as_ref().zip(image).map(|((id, name), (_, digest))| ImageUse {
            id: id.clone(),
            name: name.clone(),
            digest: digest.clone(),
        }),
        rootfs: asked.rootfs.as_ref().map(rootfs).transpose()?,
        entrypoint,
        command,
        env,
        workdir,
        user: asked.user.unwrap_or_else(|| defaults.user.clone()),
        groups: asked.groups,
        hostname,
        terminal: asked.terminal,
        stdin: asked.stdin,
        init: asked.init,
        auto_remove: asked.auto_remove,
        privileged: asked.privileged,
        read_only: asked.read_only,
        network,
        volumes: asked.volumes,
        tmpfs: asked.tmpfs,
        resources,
        ulimits: asked.ulimits,
        cap_add: asked.cap_add,
        cap_drop: asked.cap_drop,
        seccomp: asked.seccomp,
        no_new_privileges: asked.no_new_privileges,
        unmask: asked.unmask,
        devices: asked.devices,
        shm_size: asked.shm_size.unwrap_or(SHM_SIZE),
        stop_signal,
        stop_timeout: asked.stop_timeout.or(image_timeout).unwrap_or(STOP_TIMEOUT),
        labels,
        annotations: asked.annotations.into_iter().collect(),
        log: asked.log.unwrap_or_else(|| LogUse { driver: "k8s-file".into(), max_size: None, max_files: 1 }),
        create_command: asked.create_command,
        flavour: asked.flavour,
        cgroup,
        users: asked.users,
        size,
    })
}

/// Entry point and command: the user's entry point drops the image's command with it.
fn program(
    asked: &Create,
    image: &loment_image::ContainerDefaults,
) -> Result<(Vec<String>, Vec<String>), Error> {
    let entrypoint = asked.entrypoint.clone().or_else(|| image.entrypoint.clone()).unwrap_or_default();
    let image_command = if asked.entrypoint.is_some() { None } else { image.cmd.clone() };
    let command =
        if asked.command.is_empty() { image_command.unwrap_or_default() } else { asked.command.clone() };
    if entrypoint.is_empty() && command.is_empty() {
        return Err(invalid(
            "command",
            "",
            "no command or entrypoint provided, and no CMD or ENTRYPOINT from image",
        ));
    }
    Ok((entrypoint, command))
}

/// The defaults, the image's, then the user's; later ones replace earlier ones of the same name.
fn environment(asked: &Create, image: &[String], hostname: &str) -> Vec<String> {
    let mut env = vec![PATH.to_owned()];
    if !asked.flavour.is_empty() {
        env.push(format!("container={}", asked.flavour));
    }
    if asked.terminal {
        env.push("TERM=xterm".to_owned());
    }
    env.push(format!("HOSTNAME={hostname}"));
    for entry in image.iter().chain(&asked.env) {
        let name = entry.split('=').next().unwrap_or_default();
        match env.iter_mut().find(|e| e.split('=').next() == Some(name)) {
            Some(old) => old.clone_from(entry),
            None => env.push(entry.clone()),
        }
    }
    env
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
