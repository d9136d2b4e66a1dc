//! Removing what is not used.

use std::collections::HashMap;

use jiff::Timestamp;
use loment_events::Kind;
use loment_store::DiffId;

use crate::container::Container;
use crate::error::invalid;
use crate::image_filter::{moment, moment_of};
use crate::{Engine, Error};
use crate::{ImageFilters, Removed};

/// What was removed.
#[derive(Clone, Debug, Default)]
pub struct Pruned {
    /// Containers, by id.
    pub containers: Vec<String>,
    /// Images: their ids and names.
    pub images: Vec<(String, Vec<String>)>,
    /// Volumes, by name.
    pub volumes: Vec<String>,
    /// What is free now, in bytes on disk.
    pub reclaimed: u64,
}

/// Which containers are meant: `label` and `until`.
#[derive(Debug, Default)]
pub struct ContainerFilters {
    /// Name, value, and whether it is to be there.
    labels: Vec<(String, Option<String>, bool)>,
    until: Option<Timestamp>,
}

impl ContainerFilters {
    /// Reads filters, each `NAME=VALUE` or `label!=VALUE`.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn parse(texts: &[String]) -> Result<Self, Error> {
        let mut filters = Self::default();
        for text in texts {
            let bad = |hint: &str| invalid("filter", text, hint);
            let (name, value) =
                text.split_once('=').ok_or_else(|| bad("use label=NAME[=VALUE] or until=TIME"))?;
            match name {
                "label" | "label!" => {
                    let (key, value) = match value.split_once('=') {
                        Some((key, value)) => (key, Some(value.to_owned())),
                        None => (value, None),
                    };
                    filters.labels.push((key.to_owned(), value, name == "label"));
                }
                "until" => {
                    let hint = "use a time such as 2026-01-31T12:00:00Z, or an age such as 24h";
                    filters.until = Some(moment(value).ok_or_else(|| bad(hint))?);
                }
                _ => return Err(bad("use label=NAME[=VALUE] or until=TIME")),
            }
        }
        Ok(filters)
    }

    fn keeps(&self, container: &Container) -> bool {
        let labels = &container.config.labels;
        let fits = |(key, value, wanted): &(String, Option<String>, bool)| {
            let found = labels.get(key).is_some_and(|found| value.as_ref().is_none_or(|v| v == found));
            found == *wanted
        };
        let old = |until: Timestamp| moment_of(Some(&container.config.created)) < until;
        self.labels.iter().all(fits) && self.until.is_none_or(old)
    }
}

impl Engine {
    /// Removes images without containers: dangling ones, or `all`, of those that `filters` mean. Goes on until there are none.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn prune_images(&self, all: bool, filters: &ImageFilters) -> Result<Pruned, Error> {
        let mut pruned = Pruned { reclaimed: self.store().leftovers_usage()?, ..Pruned::default() };
        let mut layers: HashMap<DiffId, u64> = HashMap::new();
        loop {
            let before = pruned.images.len();
            let known = self.made();
            for image in self.images()? {
                let free = image.containers == 0 && (all || image.dangling);
                if !free || !filters.keeps(self, &image)? {
                    continue;
                }
                let record = &image.image.image;
                if image.list {
                    let mut names = Vec::new();
                    for name in image.image.names {
                        self.store().untag_index(&name.name, Some(record.id.digest()))?;
                        names.push(name.name);
                    }
                    self.store().untag_index(record.id.digest().as_ref(), None)?;
                    self.note(&mut pruned, record.id.hex(), names);
                    continue;
                }
                for layer in &record.layers {
                    if !layers.contains_key(layer) {
                        layers.insert(layer.clone(), self.layer_usage(layer)?);
                    }
                }
                let names = self.if_unused(&record.id, &known, || {
                    if !all {
                        return Ok(self.store().remove_nameless_image(&record.id)?.then(Vec::new));
                    }
                    match self.store().remove_image(&record.id, true) {
                        Ok(names) => Ok(Some(names.into_iter().map(|name| name.name).collect())),
                        // Somebody else was faster.
                        Err(loment_store::Error::ImageNotKnown { .. }) => Ok(None),
                        Err(error) => Err(error.into()),
                    }
                })?;
                if let Some(names) = names {
                    self.note(&mut pruned, record.id.hex(), names);
                }
            }
            if pruned.images.len() == before {
                break;
            }
        }
        self.store().forget_partials();
        self.store().gc()?;
        for (layer, size) in layers {
            if self.store().layer(&layer)?.is_none() {
                pruned.reclaimed += size;
            }
        }
        self.tell_of_prune(Kind::Image, pruned.reclaimed);
        Ok(pruned)
    }

    /// An image is gone, and these names with it.
    fn note(&self, pruned: &mut Pruned, id: &str, names: Vec<String>) {
        self.tell_of_removal(id, &Removed { untagged: names.clone(), deleted: vec![id.to_owned()] });
        pruned.images.push((id.to_owned(), names));
    }

    /// Removes containers that do not run, of those that `filters` mean.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn prune_containers(&self, filters: &ContainerFilters) -> Result<Pruned, Error> {
        let mut pruned = Pruned::default();
        for container in self.containers()? {
            // What a pod has goes with it.
            let is_kept = container.config.infra || container.status.is_active();
            if is_kept || !filters.keeps(&container) {
                continue;
            }
            let size = self.store().rootfs_usage(&container.config.id)?;
            match self.remove(&container.config.id, false, None) {
                Ok(_) => {
                    pruned.containers.push(container.config.id);
                    pruned.reclaimed += size;
                }
                // It was removed or started meanwhile.
                Err(Error::NoContainer { .. } | Error::State { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.sweep_names();
        self.tell_of_prune(Kind::Container, pruned.reclaimed);
        Ok(pruned)
    }
}

impl Pruned {
    /// The same with what else was removed.
    pub fn and(mut self, other: Self) -> Self {
        self.containers.extend(other.containers);
        self.images.extend(other.images);
        self.volumes.extend(other.volumes);
        self.reclaimed += other.reclaimed;
        self
    }
}
