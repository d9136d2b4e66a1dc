//! Containers that have volumes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Component, Path, PathBuf};

use loment_image::ImageConfig;
use loment_monitor::launch::{self, LeftVolume, VolumeMount, VolumeOverlay};
use loment_store::Store;

use super::create::resolve;
use super::{DATA, NewVolume, StoredVolume, USERS};
use crate::config::{Config, OverlayUse, Relabel, Volume, VolumeUse};
use crate::engine::CONFIG;
use crate::error::{Context, invalid};
use crate::names::new_id;
use crate::relabel::is_system;
use crate::{Engine, Error};

/// How often a volume is looked for that others make and remove.
const TRIES: u32 = 16;
/// The names of the anonymous volumes that are made for a container, in its directory: of use while it is half made.
const ANONYMOUS: &str = "anonymous";

/// What becomes of the volumes that an image says a container has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageVolumes {
    /// Each is an anonymous volume.
    #[default]
    Anonymous,
    /// Each is a temporary file system.
    Tmpfs,
    /// Nothing.
    Ignore,
}

/// Another container whose volumes a container is to have.
#[derive(Clone, Debug, Default)]
pub struct VolumesFrom {
    /// Its name.
    pub container: String,
    /// `ro` or `rw`, instead of what they are there.
    pub access: Option<String>,
    /// The SELinux label they are given.
    pub relabel: Option<Relabel>,
}

/// Volumes that others than the user have a say in.
#[derive(Clone, Debug, Default)]
pub struct VolumeChoices {
    /// Those of the image.
    pub image: ImageVolumes,
    /// Those of other containers.
    pub from: Vec<VolumesFrom>,
    /// How those that are mounted there are made, if they are not there yet.
    pub new: BTreeMap<PathBuf, NewVolume>,
}

impl Engine {
    /// Adds the volumes that others have a say in to a configuration, and says where the files of all are. Nothing is made.
    pub(crate) fn plan_volumes(
        &self,
        config: &mut Config,
        choices: &VolumeChoices,
        image: Option<&ImageConfig>,
    ) -> Result<(), Error> {
        let own: BTreeSet<PathBuf> = destinations(config).collect();
        let mut others: BTreeMap<PathBuf, Volume> = BTreeMap::new();
        for from in &choices.from {
            for volume in self.container(&from.container)?.config.files.volumes {
                // The last one counts.
                others.insert(clean(&volume.destination), taken_from(volume, from));
            }
        }
        others.retain(|destination, _| !own.contains(destination));
        config.files.volumes.extend(others.into_values());
        let own: BTreeSet<PathBuf> = destinations(config).collect();
        let of_image = image.map(|image| image.container.volumes.as_slice()).unwrap_or_default();
        for path in of_image {
            let destination = clean(&Path::new("/").join(path));
            if own.contains(&destination) {
                continue;
            }
            match choices.image {
                ImageVolumes::Anonymous => {
                    let volume = Some(VolumeUse::default());
                    config.files.volumes.push(Volume { destination, volume, ..Volume::default() });
                }
                ImageVolumes::Tmpfs => {
                    let options = ["rprivate", "rw", "nodev", "exec"].map(str::to_owned).to_vec();
                    config.files.tmpfs.push((destination, options));
                }
                ImageVolumes::Ignore => {}
            }
        }
        for volume in &mut config.files.volumes {
            if volume.chown && volume.volume.is_none() {
                may_be_given(&volume.source)?;
            }
            let Some(used) = &mut volume.volume else { continue };
            if used.name.is_empty() {
                *used = VolumeUse {
                    name: new_id().context("choose", "a name")?,
                    anonymous: true,
                    ..used.clone()
                };
            }
            crate::names::check_name_of("volume name", &used.name)?;
            volume.source = self.volume_dir(&used.name).join(DATA);
            for (option, opposite) in [("nosuid", "suid"), ("nodev", "dev")] {
                if !volume.options.iter().any(|o| o == option || o == opposite) {
                    volume.options.push(option.to_owned());
                }
            }
            if !volume.options.iter().any(|o| o == "bind" || o == "rbind") {
                volume.options.push("rbind".to_owned());
            }
        }
        // What cannot be made is found before anything is.
        for new in choices.new.values() {
            resolve(new.clone())?;
        }
        Ok(())
    }

    /// Notes a container with its volumes, and makes those that are not there.
    pub(crate) fn take_volumes(&self, config: &Config, choices: &VolumeChoices) -> Result<(), Error> {
        let used =
            || config.files.volumes.iter().filter_map(|volume| Some((volume, volume.volume.as_ref()?)));
        let made: Vec<&str> = used()
            .filter(|(_, used)| used.anonymous && !self.volume_dir(&used.name).exists())
            .map(|(_, used)| used.name.as_str())
            .collect();
        if !made.is_empty() {
            let path = self.dir(&config.id).join(ANONYMOUS);
            std::fs::write(&path, made.join("\n")).context("write", path.display())?;
        }
        for (volume, used) in used() {
            let new = choices.new.get(&clean(&volume.destination)).cloned().unwrap_or_default();
            let new = NewVolume { name: Some(used.name.clone()), anonymous: used.anonymous, ..new };
            self.take_volume(new, config)?;
        }
        Ok(())
    }

    fn take_volume(&self, new: NewVolume, config: &Config) -> Result<(), Error> {
        let durable = !(new.anonymous && config.supervision.auto_remove);
        let wanted = resolve(new)?;
        for _ in 0..TRIES {
            if let Some(_lock) = self.lock_volume(&wanted.name)? {
                let file = self.volume_dir(&wanted.name).join(USERS).join(&config.id);
                return File::create(&file).map(drop).context("create", file.display());
            }
            match self.make_volume(wanted.clone(), Some(&config.id), durable) {
                Err(Error::VolumeExists { .. }) => {}
                made => return made.map(drop),
            }
        }
        Err(Error::VolumeBusy { name: wanted.name, seconds: 0 })
    }

    /// Takes a container off its volumes. One that stays noted does not count when it is gone.
    pub(crate) fn leave_volumes(&self, config: &Config) {
        for name in names(config) {
            let _ = self.leave_volume(name, &config.id, false);
        }
    }

    /// Removes a container's anonymous volumes that nobody else has.
    pub(crate) fn remove_anonymous_volumes(&self, config: &Config) -> Result<(), Error> {
        let anonymous = |volume: &VolumeUse| volume.anonymous;
        used(config)
            .filter(|used| anonymous(used))
            .try_for_each(|used| self.leave_volume(&used.name, &config.id, true))
    }

    /// Removes what is left of a container whose making was cut short, with the volumes that were made for it alone.
    pub(crate) fn remove_half_made(&self, id: &str) -> Result<(), Error> {
        let made = std::fs::read_to_string(self.dir(id).join(ANONYMOUS)).unwrap_or_default();
        for name in made.lines().filter(|name| crate::names::check(name).is_ok()) {
            self.leave_volume(name, id, true)?;
        }
        Ok(self.store().remove_container(id)?)
    }

    /// The same of one that was removed at its end by somebody who was killed before it was done.
    pub(crate) fn leave_volumes_of_tomb(&self, tomb: &Path) {
        let config = std::fs::read(tomb.join(CONFIG)).ok();
        let config: Option<Config> = config.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let Some(config) = config else { return };
        for used in used(&config) {
            // One that the user made without a name is his, though.
            let _ = self.leave_volume(&used.name, &config.id, used.anonymous);
        }
    }

    /// What its monitor does with a container's volumes when it removes that.
    pub(crate) fn left_volumes(&self, config: &Config) -> Vec<LeftVolume> {
        used(config)
            .map(|used| {
                let dir = self.volume_dir(&used.name);
                let project = used.anonymous.then(|| Store::project_of_directory(&dir)).flatten();
                LeftVolume { dir, anonymous: used.anonymous, project }
            })
            .collect()
    }

    /// Refuses a container one of whose volumes is gone.
    pub(crate) fn check_volumes(&self, config: &Config) -> Result<(), Error> {
        match names(config).find(|name| !self.volume_dir(name).exists()) {
            Some(name) => Err(Error::VolumeGone { name: name.to_owned(), id: config.id.clone() }),
            None => Ok(()),
        }
    }

    /// What has to be mounted to see a volume's files.
    pub(crate) fn volume_mount(&self, volume: &StoredVolume) -> Option<VolumeMount> {
        volume.has_mount().then(|| VolumeMount {
            name: volume.name.clone(),
            dir: self.volume_dir(&volume.name),
            kind: volume.options.get("type").cloned().unwrap_or_default(),
            device: volume.options.get("device").cloned().unwrap_or_else(|| "none".to_owned()).into(),
            options: super::create::mount_options(&volume.options),
            pins: self.pins(),
        })
    }

    /// The same of all of a container's volumes.
    pub(crate) fn volume_mounts(&self, config: &Config) -> Vec<VolumeMount> {
        let stored = names(config).filter_map(|name| self.read_volume(name).ok().flatten());
        stored.filter_map(|volume| self.volume_mount(&volume)).collect()
    }

    /// What is to be done for a container's mounts before they are made.
    pub(crate) fn volumes_to_mount(&self, config: &Config) -> Result<Vec<launch::Volume>, Error> {
        let mut all = Vec::new();
        for (n, volume) in config.files.volumes.iter().enumerate() {
            if volume.volume.is_none()
                && volume.image.is_none()
                && volume.subpath.is_none()
                && !volume.chown
                && volume.overlay.is_none()
            {
                continue;
            }
            let mut one = launch::Volume {
                destination: volume.destination.clone(),
                source: volume.source.clone(),
                subpath: volume.subpath.clone(),
                chown: volume.chown,
                ..launch::Volume::default()
            };
            if let Some(used) = &volume.volume {
                let gone = || Error::VolumeGone { name: used.name.clone(), id: config.id.clone() };
                let stored = self.read_volume(&used.name)?.ok_or_else(gone)?;
                one.dir = Some(self.volume_dir(&used.name));
                one.mount = self.volume_mount(&stored);
                if let (true, Some(mount)) = (volume.chown, &one.mount) {
                    may_be_given(&mount.device)?;
                }
                let maps = |option: &String| option.trim_start_matches('r').starts_with("idmap");
                if one.mount.is_some() && volume.options.iter().any(maps) {
                    let hint =
                        "ids of a volume that is a file system are not mapped yet: mount it without idmap";
                    return Err(invalid("volume", &used.name, hint));
                }
                one.copy = !used.no_copy && !stored.no_copy && volume.subpath.is_none();
                one.volatile = used.anonymous && config.supervision.auto_remove;
                one.own = !stored.owner_chosen && volume.subpath.is_none();
            }
            let base = self.dir(&config.id).join("overlay").join(n.to_string());
            let of_image = volume.image.as_ref().map(|_| OverlayUse::default());
            if let Some(image) = &volume.image {
                let (top, tree) = (base.join("top"), base.join("tree"));
                for made in [&tree, &top] {
                    match std::fs::remove_dir_all(made) {
                        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                            return Err(e).context("remove", made.display());
                        }
                        _ => {}
                    }
                }
                std::fs::create_dir_all(&top).context("create", top.display())?;
                let store = self.store_for_files();
                match self.owners(config) {
                    Some(owners) if !self.makes_copies() => {
                        let content = crate::users::content();
                        let shifted = store.shifted_view(&image.id, (&top, tree), &owners, content)?;
                        one.layers = crate::users::directories(shifted.lower);
                        (one.data, one.owned) = (shifted.data, true);
                    }
                    owners => {
                        let layers = store.image_view(&image.id, &top, owners.as_ref())?;
                        one.layers = layers.into_iter().map(crate::start::lower).collect();
                    }
                }
                one.pins = self.pins();
            }
            if let Some(overlay) = volume.overlay.as_ref().or(of_image.as_ref()) {
                let base = base.join("changes");
                let fresh = overlay.upper.is_none();
                let of = |chosen: &Option<PathBuf>, name| chosen.clone().unwrap_or_else(|| base.join(name));
                one.overlay = Some(VolumeOverlay {
                    upper: of(&overlay.upper, "upper"),
                    work: of(&overlay.work, "work"),
                    fresh: fresh.then(|| base.clone()),
                });
            }
            all.push(one);
        }
        Ok(all)
    }
}

/// Directories of the system are not given to a container's user with all that is in them, like those that are not labelled.
fn may_be_given(source: &Path) -> Result<(), Error> {
    let is_system = std::fs::canonicalize(source).is_ok_and(|path| path.is_dir() && is_system(&path));
    let hint = "it is not given to another user: mount it without U";
    if is_system { Err(invalid("volume", source.display().to_string(), hint)) } else { Ok(()) }
}

/// A volume of another container.
fn taken_from(mut volume: Volume, from: &VolumesFrom) -> Volume {
    if let Some(access) = &from.access {
        volume.options.retain(|option| !matches!(option.as_str(), "ro" | "rw" | "rro"));
        volume.options.push(access.clone());
    }
    volume.relabel = from.relabel.or(volume.relabel);
    // Its owner was given when the other one started.
    volume.chown = false;
    volume
}

/// The volumes that a container has, of what is mounted in it.
fn used(config: &Config) -> impl Iterator<Item = &VolumeUse> {
    config.files.volumes.iter().filter_map(|volume| volume.volume.as_ref())
}

fn names(config: &Config) -> impl Iterator<Item = &str> {
    used(config).map(|used| used.name.as_str())
}

fn destinations(config: &Config) -> impl Iterator<Item = PathBuf> {
    let tmpfs = config.files.tmpfs.iter().map(|(destination, _)| clean(destination));
    let others = config.files.filesystems.iter().map(|one| clean(&one.destination));
    config.files.volumes.iter().map(|volume| clean(&volume.destination)).chain(tmpfs).chain(others)
}

/// Without dots and slashes that mean nothing.
fn clean(path: &Path) -> PathBuf {
    path.components().filter(|component| !matches!(component, Component::CurDir)).collect()
}
