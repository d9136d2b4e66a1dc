//! What there is, for those who only look, such as a shell that completes a name: nothing is made, locked, mended or swept, and what
//! cannot be read is passed over.

use std::io;
use std::path::Path;

use loment_runtime::InRoot;
use loment_store::Store;
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, openat};

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

    /// What is in a directory of a container that has a process, directories with a slash behind them.
    ///
    /// # Errors
    /// The kernel's errno; [`io::ErrorKind::NotFound`] where there is no such container, or it has no process.
    pub fn files(&self, container: &str, dir: &Path) -> io::Result<Vec<String>> {
        let all = self.containers();
        let is_it = |one: &&Listed| one.name == container || one.id.starts_with(container);
        let found = all.iter().find(|one| is_it(one) && one.status.has_process());
        let pid = found.ok_or(io::ErrorKind::NotFound)?.state.pid;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, format!("/proc/{pid}/root"), flags, Mode::empty())?;
        // The container may put links anywhere.
        let dir = InRoot::new(root).resolve(dir)?;
        let dir = openat(&dir, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let mut names = Vec::new();
        for entry in Dir::new(dir)? {
            let entry = entry?;
            let end = if entry.file_type() == FileType::Directory { "/" } else { "" };
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(format!("{name}{end}")),
            }
        }
        names.sort_unstable();
        Ok(names)
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
