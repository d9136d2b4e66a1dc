//! The engine: where things are, and how they are found.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use loment_cgroup::systemd::Address;
use loment_cgroup::{Cgroup, Host};

use loment_monitor::state::State;
use loment_store::{Durability, Form, ImageId, Store};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::config::{Config, ImageFiles, ImageUse, VERSION};
use crate::container::{Container, Status};
use crate::error::Context;
use crate::events::Events;
use crate::names::{Names, ids_with_prefix};
use crate::oci_hooks::RunHook;

pub(crate) const CONFIG: &str = "container.json";

/// What a container was made from.
#[derive(Deserialize)]
struct Made {
    version: u32,
    image: Option<ImageUse>,
    #[serde(default)]
    files: Mounted,
}

/// What is mounted in it.
#[derive(Default, Deserialize)]
struct Mounted {
    #[serde(default)]
    volumes: Vec<MountedImage>,
}

#[derive(Deserialize)]
struct MountedImage {
    #[serde(default)]
    image: Option<ImageFiles>,
}

/// Containers and images of one root directory.
#[derive(Debug)]
pub struct Engine {
    store: Store,
    root: PathBuf,
    runroot: PathBuf,
    /// How new layers are kept, if somebody said so.
    pub(crate) form: Option<Form>,
    pub(crate) copies: Option<bool>,
    groups: OnceLock<Host>,
    /// Where what happens is told.
    pub(crate) events: Events,
    /// Who runs programs that may change a specification.
    pub(crate) run_hook: Option<RunHook>,
    /// Who is told what a user should know although all went well.
    pub(crate) warn: fn(&str),
    /// Where the systemd of the user who called may be found.
    pub(crate) users_systemd: fn() -> Vec<Address>,
    /// A container that was asked to end runs until it has, as for Docker.
    stopping_is_running: bool,
    /// Where volumes are instead.
    pub(crate) volumes: Option<PathBuf>,
    /// New containers do not outlive a boot.
    pub(crate) transient: bool,
}

impl Engine {
    /// The control groups of this machine, looked for when they are first needed.
    pub(crate) fn groups(&self) -> Result<&Host, Error> {
        match self.groups.get() {
            Some(host) => Ok(host),
            None => {
                let host = Host::detect()?;
                Ok(self.groups.get_or_init(|| host))
            }
        }
    }

    /// A control group of a container, or one that is nowhere.
    pub(crate) fn group(&self, path: Option<&str>) -> Result<Cgroup<'_>, Error> {
        match path {
            Some(_) => Ok(self.groups()?.cgroup_if(path)?),
            None => Ok(Cgroup::nowhere()),
        }
    }

    /// Opens (and makes, the first time) the directories. `root` keeps what outlives a reboot, `runroot` what does not.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn open(root: &Path, runroot: &Path) -> Result<Self, Error> {
        let engine = Self::of(Store::open(root, runroot, Durability::Full)?, root, runroot);
        engine.sweep_transient();
        Ok(engine)
    }

    pub(crate) fn of(store: Store, root: &Path, runroot: &Path) -> Self {
        Self {
            store,
            root: root.to_owned(),
            runroot: runroot.to_owned(),
            form: None,
            copies: None,
            groups: OnceLock::new(),
            events: Events::default(),
            run_hook: None,
            warn: |_| {},
            users_systemd: Vec::new,
            stopping_is_running: false,
            volumes: None,
            transient: false,
        }
    }

    /// Where the systemd of an ordinary user who called may be found, asked when it is needed.
    #[must_use]
    pub fn with_users_systemd(mut self, addresses: fn() -> Vec<Address>) -> Self {
        self.users_systemd = addresses;
        self
    }

    /// Who is told what a user should know although all went well: one line each time.
    #[must_use]
    pub fn with_warnings(mut self, warn: fn(&str)) -> Self {
        self.warn = warn;
        self
    }

    /// Without [`Status::Stopping`]: a container that was asked to end runs until it has, as for Docker.
    #[must_use]
    pub fn without_stopping(mut self) -> Self {
        self.stopping_is_running = true;
        self
    }

    /// The image store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Where everything is kept.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where what does not outlive a reboot is.
    pub fn runroot(&self) -> &Path {
        &self.runroot
    }

    /// Where layers that are mounted are kept mounted.
    pub(crate) fn pins(&self) -> PathBuf {
        self.runroot.join("pins")
    }

    pub(crate) fn names(&self) -> Names {
        Names(self.root.join("names"))
    }

    pub(crate) fn containers_dir(&self) -> PathBuf {
        self.root.join("containers")
    }

    pub(crate) fn dir(&self, id: &str) -> PathBuf {
        self.containers_dir().join(id)
    }

    pub(crate) fn run_dir(&self, id: &str) -> PathBuf {
        self.runroot.join("containers").join(id)
    }

    /// The container with that name, id, or unambiguous beginning of an id.
    ///
    /// # Errors
    /// [`Error::NoContainer`], [`Error::Ambiguous`].
    pub fn container(&self, name: &str) -> Result<Container, Error> {
        self.load(&self.id(name)?)?.ok_or_else(|| Error::NoContainer { name: name.to_owned() })
    }

    /// The id behind a name, an id, or an unambiguous beginning of one. Whether there is such a container is seen when it is
    /// read.
    pub(crate) fn id(&self, name: &str) -> Result<String, Error> {
        // As Docker shows names, and Podman takes them.
        let plain = name.strip_prefix('/').unwrap_or(name);
        match self.names().id(plain) {
            Some(id) => Ok(id),
            None if is_id(plain) => Ok(plain.to_owned()),
            None => self.id_by_prefix(name, plain),
        }
    }

    fn id_by_prefix(&self, name: &str, prefix: &str) -> Result<String, Error> {
        let mut found = if !prefix.is_empty() && is_hex(prefix) {
            ids_with_prefix(&self.containers_dir(), prefix)
        } else {
            Vec::new()
        };
        match (found.pop(), found.is_empty()) {
            (Some(id), true) => Ok(id),
            (Some(_), false) => Err(Error::Ambiguous { name: name.to_owned() }),
            (None, _) => Err(Error::NoContainer { name: name.to_owned() }),
        }
    }

    /// Reads what a container is, or a part of that; `None` when it is not there (any more).
    pub(crate) fn config<T: DeserializeOwned>(
        &self,
        id: &str,
        version: fn(&T) -> u32,
    ) -> Result<Option<T>, Error> {
        let path = self.dir(id).join(CONFIG);
        let bytes = match std::fs::read(&path) {
            // Half-made ones have no configuration yet.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Ok(bytes) if bytes.first().is_none_or(|&byte| byte == 0) && was_lost(&path) => return Ok(None),
            other => other.context("read", path.display())?,
        };
        let damaged = |source| Error::Damaged { path: path.display().to_string(), source };
        let config: T = serde_json::from_slice(&bytes).map_err(damaged)?;
        let found = version(&config);
        if found != VERSION {
            return Err(Error::Version { path: path.display().to_string(), found, known: VERSION });
        }
        Ok(Some(config))
    }

    /// Which containers were made from each image. Whether they run is another file of each, and does not matter here.
    ///
    /// # Errors
    /// None, so far.
    pub(crate) fn uses_of_images(&self) -> Result<HashMap<ImageId, Vec<String>>, Error> {
        let mut uses: HashMap<ImageId, Vec<String>> = HashMap::new();
        for id in ids_with_prefix(&self.containers_dir(), "") {
            for image in self.images_of(&id) {
                uses.entry(image).or_default().push(id.clone());
            }
        }
        Ok(uses)
    }

    /// The images that a container has, the one it was made from last.
    pub(crate) fn images_of(&self, id: &str) -> Vec<ImageId> {
        let made: Result<Option<Made>, Error> = self.config(id, |made: &Made| made.version);
        match made {
            Ok(made) => made.map_or_else(Vec::new, |made| {
                let mounted = made.files.volumes.into_iter().filter_map(|volume| volume.image);
                mounted.map(|image| image.id).chain(made.image.map(|image| image.id)).collect()
            }),
            // What the store says of its files is another document.
            Err(_) => self.store().rootfs(id).ok().flatten().map(|rootfs| rootfs.image).into_iter().collect(),
        }
    }

    /// Reads a container; `None` when it is not there (any more).
    pub(crate) fn load(&self, id: &str) -> Result<Option<Container>, Error> {
        let Some(config) = self.config(id, |config: &Config| config.version)? else { return Ok(None) };
        let dir = self.dir(id);
        let state = match State::load(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => State::default(),
            // One damaged record must not make the others unreachable; it can be started anew, or removed.
            Err(e) => damaged(e).context("read the state in", dir.display())?,
            other => other.context("read the state in", dir.display())?,
        };
        let mut container = Container::new(config, state, dir, self.run_dir(id));
        container.status = self.closer(container.status, id, container.cgroup());
        Ok(Some(container))
    }

    /// What a container that runs by its record is doing.
    pub(crate) fn closer(&self, status: Status, id: &str, group: Option<&str>) -> Status {
        let is_stopping = || self.run_dir(id).join(loment_monitor::state::STOPPING).exists();
        match status {
            Status::Running if self.is_frozen(group) => Status::Paused,
            Status::Running if !self.stopping_is_running && is_stopping() => Status::Stopping,
            status => status,
        }
    }

    /// Every container that can be read, the newest first. [`Engine::list`] has the others, too.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn containers(&self) -> Result<Vec<Container>, Error> {
        self.sweep_tombs();
        let mut all = Vec::new();
        for id in ids_with_prefix(&self.containers_dir(), "") {
            match self.load(&id) {
                Ok(Some(container)) => all.push(container),
                Ok(None) if self.is_half_made(&id) => self.remove_half_made(&id)?,
                // One damaged record must not make the others unreachable.
                Ok(None) | Err(_) => {}
            }
        }
        all.sort_by(|a, b| b.config.created.cmp(&a.config.created));
        Ok(all)
    }

    /// Writes a configuration; from then on the container exists.
    pub(crate) fn save(&self, config: &Config) -> Result<(), Error> {
        let dir = self.dir(&config.id);
        let (new, path) = (dir.join(format!(".{CONFIG}")), dir.join(CONFIG));
        let document = config.document().expect("a configuration has string keys only");
        let bytes = document.to_string().into_bytes();
        let write = || -> std::io::Result<()> {
            let mut file = std::fs::File::create(&new)?;
            std::io::Write::write_all(&mut file, &bytes)?;
            // One that is thrown away at its end need not survive a power cut.
            if !config.is_volatile() {
                file.sync_data()?;
            }
            std::fs::rename(&new, &path)?;
            if !config.is_volatile() {
                std::fs::File::open(&dir)?.sync_all()?;
            }
            Ok(())
        };
        write().context("write", path.display())
    }

    /// Whether nothing but a directory is left of a container whose making was cut short.
    pub(crate) fn is_half_made(&self, id: &str) -> bool {
        let path = self.dir(id).join(CONFIG);
        let has_record = || path.exists() && !was_lost(&path);
        if has_record() {
            return false;
        }
        match std::fs::File::open(self.dir(id)) {
            // Its maker holds the lock. Looked at again under ours: it may have been finished in the meantime.
            Ok(dir) => dir.try_lock().is_ok() && !has_record(),
            Err(_) => true,
        }
    }
}

/// Whether a power cut took a record. Those of containers that are removed at their end are not flushed, and files that were named may have no
/// bytes yet, or only zeros. One that became so since the machine was started is damaged: what it is of may run.
pub(crate) fn was_lost(path: &Path) -> bool {
    let modified = || std::fs::metadata(path).and_then(|meta| meta.modified());
    std::fs::read(path).is_ok_and(|record| record.iter().all(|&byte| byte == 0))
        && modified().is_ok_and(|modified| modified < loment_sys::clock::booted_at())
}

/// The state of a container whose record is damaged: it can be started anew, or removed. Other errors stay.
pub(crate) fn damaged(error: std::io::Error) -> std::io::Result<State> {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    match error.kind() {
        InvalidData | UnexpectedEof => {
            Ok(State { error: format!("its recorded state is damaged: {error}"), ..State::default() })
        }
        _ => Err(error),
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Whether this is a whole id.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 64 && is_hex(text)
}
