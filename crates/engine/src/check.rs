//! Whether what is stored is whole, and mending it where it is not.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use loment_image::conf::Subject;
use loment_image::{ImageConfig, Options, Platform, Reference, Silent, pull};
use loment_store::{DiffId, Error as StoreError, ImageId, ImageName, Object, Problem, Report};

use crate::names::ids_with_prefix;
use crate::stop::StopOptions;
use crate::{Engine, Error, PullSettings};

/// What a check found.
#[derive(Debug)]
pub struct Checked {
    /// Images, layers, names, and what containers need of them.
    pub store: Report,
    /// Containers whose own documents cannot be read.
    pub containers: Vec<(String, Error)>,
    /// Volumes without a record that can be read, or without their files.
    pub volumes: Vec<(String, Error)>,
}

impl Checked {
    /// Whether something is damaged.
    pub fn is_damaged(&self) -> bool {
        self.store.is_damaged() || !self.containers.is_empty() || !self.volumes.is_empty()
    }
}

/// One thing a repair did, or did not.
#[derive(Debug)]
#[expect(missing_docs, reason = "fields are the subject, the place and the reason of the sentence")]
pub enum Repaired {
    /// What was missing or damaged of an image was fetched again.
    Fetched {
        image: ImageId,
        from: String,
    },
    /// That failed.
    NotFetched {
        image: ImageId,
        from: String,
        why: Error,
    },
    /// A tree with the owners of containers was removed; it is made again when one of them needs it.
    TreeRemoved {
        path: PathBuf,
    },
    /// The record of an image was computed from what is stored of it again.
    RecordMended {
        image: ImageId,
    },
    /// Nobody says where an image came from: it was built, loaded or imported here.
    NoOrigin {
        image: ImageId,
    },
    /// Registries of its names do not have an image, which never came from them as far as is known.
    NeverThere {
        image: ImageId,
    },
    ImageRemoved {
        image: ImageId,
        names: Vec<String>,
    },
    ImageKept {
        image: ImageId,
        container: String,
    },
    /// Somebody may have it who cannot be asked now, or does not give it to whoever asks: where to log in then.
    OutOfReach {
        image: ImageId,
        log_in: Option<String>,
    },
    /// Another process has mended it meanwhile.
    Mended {
        image: ImageId,
    },
    NameRemoved {
        name: String,
    },
    ContainerStopped {
        container: String,
    },
    ContainerRemoved {
        container: String,
    },
    ContainerKept {
        container: String,
    },
    VolumeRemoved {
        volume: String,
    },
    VolumeKept {
        volume: String,
    },
}

impl Engine {
    /// Looks at everything that is stored; `quick` leaves out reading the content of layers.
    ///
    /// # Errors
    /// [`Error::Store`] for what kept it from looking.
    pub fn check(&self, quick: bool) -> Result<Checked, Error> {
        let mut containers = Vec::new();
        for id in ids_with_prefix(&self.containers_dir(), "") {
            if let Err(error) = self.load(&id) {
                containers.push((id, error));
            }
        }
        Ok(Checked { store: self.store().check(quick)?, containers, volumes: self.damaged_volumes()? })
    }

    /// Mends what a check found: computes records again where all that they repeat is there, fetches parts of images again, and removes
    /// images that cannot be mended because all registries they came from say that they no longer have them. What running containers
    /// use is not touched, and not removed is what other containers need, what a registry may have that cannot be asked now or does not
    /// answer that, and what came from none, whatever it is called; unless with `force`, which stops the former and removes the latter.
    ///
    /// # Errors
    /// [`Error::Store`] when something damaged cannot be removed.
    pub fn repair(
        &self,
        found: &Checked,
        settings: &PullSettings,
        force: bool,
        told: &mut dyn FnMut(Repaired),
    ) -> Result<(), Error> {
        let busy = self.busy_layers(found, force, told);
        for object in found.store.objects() {
            match object {
                Object::Layer(layer) if !busy.contains(layer) => self.store().suspect(layer)?,
                _ => {}
            }
        }
        for image in damaged_images(&found.store) {
            if self.store().mend_record(&image)? {
                told(Repaired::RecordMended { image: image.clone() });
                if self.store().is_whole(&image)? {
                    continue;
                }
            }
            self.repair_image(&image, &busy, settings, force, told)?;
        }
        self.repair_containers(found, &busy, force, told)?;
        for (volume, _) in &found.volumes {
            let volume = volume.clone();
            // There is nothing that it could be made of again; and what is left of its files is the user's.
            told(if force && self.remove_volume(&volume, false, None).is_ok() {
                Repaired::VolumeRemoved { volume }
            } else {
                Repaired::VolumeKept { volume }
            });
        }
        for damage in &found.store.damages {
            if let (Object::Name(file), Problem::Broken(_)) = (&damage.object, &damage.problem) {
                self.store().drop_damaged_name(file)?;
                told(Repaired::NameRemoved { name: file.clone() });
            }
        }
        self.store().gc()?;
        Ok(())
    }

    /// Layers that running containers have mounted. With `stop` those are stopped first.
    fn busy_layers(&self, found: &Checked, stop: bool, told: &mut dyn FnMut(Repaired)) -> HashSet<DiffId> {
        let mut busy = HashSet::new();
        for damage in &found.store.damages {
            let (Object::Container(id), Problem::Needs(Object::Layer(layer))) =
                (&damage.object, &damage.problem)
            else {
                continue;
            };
            // When it cannot be told whether it runs, it may.
            let runs = || self.load(id).map_or(true, |c| c.is_some_and(|c| c.status.is_active()));
            if !runs() {
                continue;
            }
            if stop && self.stop(id, &StopOptions::within(0)).is_ok() && !runs() {
                told(Repaired::ContainerStopped { container: id.clone() });
            } else {
                busy.insert(layer.clone());
            }
        }
        busy
    }

    /// Containers whose damage was not mended with their image's.
    fn repair_containers(
        &self,
        found: &Checked,
        busy: &HashSet<DiffId>,
        force: bool,
        told: &mut dyn FnMut(Repaired),
    ) -> Result<(), Error> {
        let mut damaged: Vec<&String> = found.containers.iter().map(|(id, _)| id).collect();
        for damage in &found.store.damages {
            if let Object::Container(id) = &damage.object {
                let mended = match &damage.problem {
                    Problem::Needs(Object::Layer(layer)) if !busy.contains(layer) => {
                        self.store().sound_layer(layer)?.is_some()
                    }
                    Problem::Broken(StoreError::CorruptTree { path }) => self.drop_tree(found, path, told)?,
                    _ => false,
                };
                if !mended && !damaged.contains(&id) {
                    damaged.push(id);
                }
            }
        }
        for id in damaged.into_iter().filter(|id| self.dir(id).exists()) {
            let container = id.clone();
            told(if force && self.remove(id, true, Some(0)).is_ok() {
                Repaired::ContainerRemoved { container }
            } else {
                Repaired::ContainerKept { container }
            });
        }
        Ok(())
    }

    /// Has a tree made again when it is needed, unless a container that has it runs.
    fn drop_tree(&self, found: &Checked, tree: &Path, told: &mut dyn FnMut(Repaired)) -> Result<bool, Error> {
        let has_it = |problem: &Problem| matches!(problem, Problem::Broken(StoreError::CorruptTree { path }) if path == tree);
        let mut users = found.store.damages.iter().filter(|damage| has_it(&damage.problem));
        // When it cannot be told whether it runs, it may.
        let runs = |id: &String| self.load(id).map_or(true, |c| c.is_some_and(|c| c.status.is_active()));
        if users.any(|damage| matches!(&damage.object, Object::Container(id) if runs(id))) {
            return Ok(false);
        }
        if tree.exists() {
            self.store().drop_tree(tree)?;
            told(Repaired::TreeRemoved { path: tree.to_owned() });
        }
        Ok(true)
    }

    fn repair_image(
        &self,
        image: &ImageId,
        busy: &HashSet<DiffId>,
        settings: &PullSettings,
        force: bool,
        told: &mut dyn FnMut(Repaired),
    ) -> Result<(), Error> {
        let record = self.store().image(image).ok().flatten();
        let users = self.users_of(image);
        let is_busy = record.iter().flat_map(|record| &record.layers).any(|layer| busy.contains(layer));
        if let Some(container) = users.first().filter(|_| is_busy) {
            told(Repaired::ImageKept { image: image.clone(), container: container.clone() });
            return Ok(());
        }
        let names = self.store().readable_names()?.into_iter().filter(|name| name.image == *image);
        let platform = self.platform_of(image);
        let (mut asked, mut came, mut hope, mut log_in) = (false, false, false, None);
        for name in names {
            came |= name.of_registry;
            let Some(reference) = origin(&name) else { continue };
            // A name that was made here; there may be a registry all the same.
            let made_here = reference.domain() == "localhost";
            asked |= !made_here;
            let from = reference.store_name();
            match self.fetch_again(image, &reference, platform.clone(), settings) {
                Ok(()) => {
                    told(Repaired::Fetched { image: image.clone(), from });
                    return Ok(());
                }
                Err(why) => {
                    hope |= !made_here && !is_gone(&why);
                    log_in = log_in.or_else(|| refused_by(&why));
                    told(Repaired::NotFetched { image: image.clone(), from, why });
                }
            }
        }
        // Before containers go for its sake.
        if self.store().is_whole(image)? {
            told(Repaired::Mended { image: image.clone() });
            return Ok(());
        }
        if hope && !force {
            told(Repaired::OutOfReach { image: image.clone(), log_in });
            return Ok(());
        }
        if !asked {
            told(Repaired::NoOrigin { image: image.clone() });
        } else if !came {
            told(Repaired::NeverThere { image: image.clone() });
        }
        let had = asked && came;
        if !had && !force {
            return Ok(());
        }
        for container in users {
            if !force || self.remove(&container, true, Some(0)).is_err() {
                told(Repaired::ImageKept { image: image.clone(), container });
                return Ok(());
            }
            told(Repaired::ContainerRemoved { container });
        }
        let image = image.clone();
        told(match self.store().drop_damaged_image(&image)? {
            Some(names) => {
                let names = names.into_iter().map(|name| name.name).collect();
                Repaired::ImageRemoved { image, names }
            }
            None => Repaired::Mended { image },
        });
        Ok(())
    }

    /// Ids of the containers made from an image.
    fn users_of(&self, image: &ImageId) -> Vec<String> {
        let mut users = ids_with_prefix(&self.containers_dir(), "");
        users.retain(|id| {
            let container = self.load(id).ok().flatten();
            container.is_some_and(|c| c.config.image.as_ref().is_some_and(|used| used.id == *image))
        });
        users
    }

    /// What an image is for, as its configuration says if that is whole: where to look for it first. The record may be damaged.
    fn platform_of(&self, image: &ImageId) -> Option<Platform> {
        let bytes = self.store().blob(image.digest()).ok()?;
        Some(ImageConfig::parse(&bytes).ok()?.platform)
    }

    /// Fetches what is missing or suspect of an image, by the digest it was pulled with and its id, so that nothing else can come: of
    /// an index, the image that was taken from it, whichever a pull would take.
    fn fetch_again(
        &self,
        image: &ImageId,
        reference: &Reference,
        platform: Option<Platform>,
        settings: &PullSettings,
    ) -> Result<(), Error> {
        settings.access.ecosystem.allow(&Subject::docker(reference))?;
        let origins = settings.access.origins(reference)?;
        let mut how = Options { image: Some(image.clone()), ..Options::default() };
        if let Some(platform) = platform {
            how.platform = platform;
        }
        pull(&origins.source(reference), &self.store_for_layers(), None, &how, &mut Silent)?;
        Ok(())
    }
}

/// Whether an image cannot be had from where it came, now or later: the registry says that it does not have it, or that what it was
/// pulled with lists no such image. Anything else may be otherwise tomorrow, or for others: a network that is down, a policy, a login
/// that is missing, something before the registry that changes content.
fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Pull(error) if error.is_absent())
}

/// The registry that wants a login, or another one.
fn refused_by(error: &Error) -> Option<String> {
    use loment_image::Error as Image;
    use loment_registry::Error as Registry;
    let refused = |error: &Registry| match error {
        Registry::Unauthorized { host, .. } | Registry::Denied { host, .. } => Some(host.clone()),
        _ => None,
    };
    let Error::Pull(error) = error else { return None };
    match error.as_ref() {
        Image::Registry(error) => refused(error),
        Image::Mirrors { mirrors, source, .. } => {
            refused(source).or_else(|| mirrors.iter().find_map(|mirror| refused(&mirror.error)))
        }
        _ => None,
    }
}

/// Images that are damaged, and images that are gone but named.
fn damaged_images(report: &Report) -> Vec<ImageId> {
    let mut images = Vec::new();
    for damage in &report.damages {
        match (&damage.object, &damage.problem) {
            (Object::Image(id), _) | (Object::Name(_), Problem::Needs(Object::Image(id)))
                if !images.contains(id) =>
            {
                images.push(id.clone());
            }
            _ => {}
        }
    }
    images
}

/// Where an image of that name came from, and as what.
fn origin(name: &ImageName) -> Option<Reference> {
    let reference: Reference = name.name.parse().ok()?;
    Some(reference.with_digest(name.manifest.clone()?))
}
