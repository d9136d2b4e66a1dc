//! Whether what is stored is whole, and mending it where it is not.

use std::collections::HashSet;

use loment_image::conf::Subject;
use loment_image::{Options, Platform, Reference, Silent, pull};
use loment_store::{DiffId, ImageId, ImageName, Object, Problem, Report};

use crate::container::Status;
use crate::names::ids_with_prefix;
use crate::{Engine, Error, PullSettings};

/// What a check found.
#[derive(Debug)]
pub struct Checked {
    /// Images, layers, names, and what containers need of them.
    pub store: Report,
    /// Containers whose own documents cannot be read.
    pub containers: Vec<(String, Error)>,
}

impl Checked {
    /// Whether something is damaged.
    pub fn is_damaged(&self) -> bool {
        self.store.is_damaged() || !self.containers.is_empty()
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
    /// Nobody says where an image came from.
    NoOrigin {
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
    /// Somebody may have it who cannot be asked now.
    OutOfReach {
        image: ImageId,
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
        Ok(Checked { store: self.store().check(quick)?, containers })
    }

    /// Mends what a check found: fetches parts of images again, and removes what cannot be mended: what its registry says it does not
    /// have, or has otherwise. What running containers use is not touched, and what others need, or a registry may have that cannot
    /// be asked now, not removed, unless with `force`, which stops the former and removes the latter.
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
            self.repair_image(&image, &busy, settings, force, told)?;
        }
        self.repair_containers(found, &busy, force, told)?;
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
            let runs = || self.load(id).map_or(true, |c| c.is_some_and(|c| c.status == Status::Running));
            if !runs() {
                continue;
            }
            if stop && self.stop(id, Some(0)).is_ok() && !runs() {
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
        let platform = record.as_ref().and_then(|record| {
            let platform = &record.platform;
            let variant = platform.variant.as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
            format!("{}/{}{variant}", platform.os, platform.architecture).parse().ok()
        });
        let (mut asked, mut hope) = (false, false);
        for name in names {
            let Some(reference) = origin(&name) else { continue };
            asked = true;
            let from = reference.store_name();
            match self.fetch_again(image, &reference, platform.clone(), settings) {
                Ok(()) => {
                    told(Repaired::Fetched { image: image.clone(), from });
                    return Ok(());
                }
                Err(why) => {
                    hope |= !is_gone(&why);
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
            told(Repaired::OutOfReach { image: image.clone() });
            return Ok(());
        }
        if !asked {
            told(Repaired::NoOrigin { image: image.clone() });
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

    /// Fetches what is missing or suspect of an image, by the digest it was pulled with, so that nothing else can come.
    fn fetch_again(
        &self,
        image: &ImageId,
        reference: &Reference,
        platform: Option<Platform>,
        settings: &PullSettings,
    ) -> Result<(), Error> {
        settings.access.ecosystem.allow(&Subject::docker(reference))?;
        let origins = settings.access.origins(reference)?;
        let mut how = Options::default();
        if let Some(platform) = platform {
            how.platform = platform;
        }
        let pulled = pull(&origins.source(reference), &self.store_for_layers(), None, &how, &mut Silent)?;
        if pulled.image == *image { Ok(()) } else { Err(Error::NoImage { name: image.hex().to_owned() }) }
    }
}

/// Whether an image cannot be had from where it came, now or later: the registry does not have it, or does not give it, or has other
/// content by now. Anything else, such as a network that is down or a policy, may be otherwise tomorrow.
fn is_gone(error: &Error) -> bool {
    use loment_image::Error as Image;
    use loment_registry::Error as Registry;
    let refused = |error: &Registry| {
        matches!(
            error,
            Registry::NotFound { .. }
                | Registry::Missing { .. }
                | Registry::Unauthorized { .. }
                | Registry::Denied { .. }
                | Registry::DigestMismatch { .. }
        )
    };
    match error {
        // The digest it was pulled by is another image's.
        Error::NoImage { .. } => true,
        Error::Pull(error) => match error.as_ref() {
            Image::Registry(error) => refused(error),
            Image::Mirrors { mirrors, source, .. } => {
                refused(source) && mirrors.iter().all(|mirror| refused(&mirror.error))
            }
            Image::Digest { .. } | Image::Size { .. } => true,
            _ => false,
        },
        _ => false,
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
