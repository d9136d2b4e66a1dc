//! Containers as directories of the host: see [`crate::shown`].
//!
//! What is shown of a container that does not run is what its next start gets, so that changes never go to two overlays.

use std::io;
use std::path::PathBuf;

use loment_events::What;
use loment_monitor::{show_rootfs, show_tree};
use oci_spec::runtime::Spec;
use serde_json::json;

use crate::config::Config;
use crate::container::Container;
use crate::error::Context;
use crate::shown::{CONTAINERS, Shown};
use crate::{Engine, Error};

/// A mounted container.
#[derive(Clone, Debug)]
pub struct MountedContainer {
    /// The container.
    pub container: Container,
    /// Where its files are.
    pub path: PathBuf,
}

impl Engine {
    /// Shows the files of a container on the host, without what is mounted in it, or counts that it was asked for again. Of one whose
    /// files are a directory of the host it is that. For processes with one thread.
    ///
    /// # Errors
    /// [`Error::NoContainer`]; [`Error::View`] for what the kernel refuses.
    pub fn mount_container(&self, name: &str) -> Result<MountedContainer, Error> {
        let container = self.container(name)?;
        if let Some(rootfs) = container.config.rootfs.as_ref().filter(|rootfs| !rootfs.overlay) {
            let path = rootfs.path.clone();
            return Ok(MountedContainer { container, path });
        }
        let id = &container.config.id;
        // It is neither started nor removed meanwhile.
        let _lock = self.lock(id)?;
        let now = self.load(id)?.ok_or_else(|| Error::NoContainer { name: id.clone() })?;
        let shown = self.container_mount(id);
        shown.show(&["scratch"], || self.show_container(&now, &shown))?;
        self.tell(&now.config, What::Mount);
        Ok(MountedContainer { path: shown.target(), container: now })
    }

    fn show_container(&self, container: &Container, shown: &Shown) -> Result<(), Error> {
        let failed = |source| Error::View { id: container.config.id.clone(), source: Box::new(source) };
        if let Some(root) = self.living_root(container)? {
            return show_tree(&root, &shown.target()).map_err(failed);
        }
        self.clear_leftovers(container);
        let rootfs = self.resting_rootfs(&container.config)?;
        let spec = users_of(&container.config).context("read", "the mappings of users")?;
        show_rootfs(&rootfs, &spec, &shown.target(), &shown.dir().join("scratch")).map_err(failed)
    }

    /// All containers that are shown, in the order of their ids.
    pub fn mounted_containers(&self) -> Vec<MountedContainer> {
        let ids = Shown::all(&self.runroot().join(CONTAINERS));
        let found = ids.iter().filter_map(|id| self.container(id).ok());
        found.map(|container| self.mounted(container)).collect()
    }

    fn mounted(&self, container: Container) -> MountedContainer {
        MountedContainer { path: self.container_mount(&container.config.id).target(), container }
    }

    /// Takes one request for a mount back, or all with `force`. With the last one the container is unmounted. Its id, and `false` when
    /// it is not mounted.
    ///
    /// # Errors
    /// [`Error::NoContainer`]; [`Error::Io`] for a mount that is in use.
    pub fn unmount_container(&self, name: &str, force: bool) -> Result<(String, bool), Error> {
        let container = self.container(name)?;
        let unmounted = self.container_mount(&container.config.id).hide(force)?;
        if unmounted {
            self.tell(&container.config, What::Unmount);
        }
        Ok((container.config.id, unmounted))
    }

    pub(crate) fn container_mount(&self, id: &str) -> Shown {
        Shown::new(&self.runroot().join(CONTAINERS), id)
    }
}

/// So much of a container's specification as says who its users are.
fn users_of(config: &Config) -> io::Result<Spec> {
    let mut linux = json!({ "namespaces": [{ "type": "mount" }] });
    if let Some(users) = &config.namespaces.users {
        linux = json!({ "namespaces": [{ "type": "mount" }, { "type": "user" }], "uidMappings": users.uids, "gidMappings": users.gids });
    }
    Ok(serde_json::from_value(json!({ "ociVersion": "1.0.2", "linux": linux }))?)
}
