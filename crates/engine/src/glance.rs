//! What there is, for those who only look, such as a shell that completes a name: nothing is made, locked, mended or swept, and what
//! cannot be read is passed over.

use std::path::Path;

use loment_store::Store;

use crate::{Engine, Listed, ListedPod, Which};

/// A look at what is in an engine's directories.
#[derive(Debug)]
pub struct Glance(Engine);

impl Glance {
    /// Looks there; `None` where nothing is, or nothing that can be read.
    pub fn at(root: &Path, runroot: &Path) -> Option<Self> {
        let store = Store::look(root, runroot).ok()??;
        Some(Self(Engine::of(store, root, runroot)))
    }

    /// The engine, for calls that only read one object.
    pub fn engine(&self) -> &Engine {
        &self.0
    }

    /// Containers, the oldest first.
    pub fn containers(&self) -> Vec<Listed> {
        let mut all = self.0.read_list(Which::All).0;
        all.retain(|container| container.problem.is_none());
        all
    }

    /// Pods with their containers.
    pub fn pods(&self) -> Vec<ListedPod> {
        self.0.read_pods()
    }

    /// Short ids of images, and the names of images and lists.
    pub fn images(&self) -> (Vec<String>, Vec<String>) {
        let Ok(catalog) = self.0.store().catalog() else { return Default::default() };
        let ids = catalog.images.iter().map(|image| image.image.id.hex()[..12].to_owned()).collect();
        let of_images = catalog.images.into_iter().flat_map(|image| image.names).map(|name| name.name);
        let of_lists = catalog.indexes.iter().filter_map(|list| list.reference()).map(str::to_owned);
        let mut names: Vec<String> = of_images.chain(of_lists).collect();
        names.sort_unstable();
        (ids, names)
    }

    /// Names of volumes.
    pub fn volumes(&self) -> Vec<String> {
        self.0.volumes().unwrap_or_default().into_iter().map(|volume| volume.name).collect()
    }

    /// Names of secrets.
    pub fn secrets(&self) -> Vec<String> {
        self.0.secrets().unwrap_or_default().into_iter().map(|secret| secret.name).collect()
    }
}
