//! Removing all there is.
//!
//! Each thing goes the way it goes when it is removed alone, so a kill leaves what that leaves, and the next reset goes on. What is left
//! is a store that works.

use std::path::Path;

use loment_store::ImageId;

use crate::container::pod_cgroup_name;
use crate::names::ids_with_prefix;
use crate::new_dir::whole_names;
use crate::remove::remove_usual_groups;
use crate::secrets::SecretKeeper;
use crate::shown::{IMAGES, Shown};
use crate::stop::Grace;
use crate::{Engine, Error};

/// How often it is looked for containers that others make or start meanwhile.
const TRIES: u32 = 10;

/// What could not be removed, and why.
pub type Kept = Vec<(String, Error)>;

impl Engine {
    /// Removes pods, containers with their processes, images, volumes, secrets and events. `keeper` forgets the secrets that it has.
    /// Goes on past what cannot be removed.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Store`] for directories that cannot be read or written.
    pub fn reset(&self, keeper: &dyn SecretKeeper) -> Result<Kept, Error> {
        let mut kept = Kept::new();
        for _ in 0..TRIES {
            kept = self.reset_containers()?;
            let nobody = ids_with_prefix(&self.pods_dir(), "").is_empty()
                && ids_with_prefix(&self.containers_dir(), "").is_empty();
            if nobody {
                break;
            }
        }
        for id in Shown::all(&self.runroot().join(IMAGES)).iter().filter_map(|id| ImageId::from_hex(id)) {
            if let Err(error) = self.image_mount(&id).end(true) {
                kept.push((format!("the mount of image {}", id.hex()), error));
            }
        }
        self.sweep_new_volumes();
        for name in whole_names(&self.volumes_dir(), '.')? {
            match self.remove_volume(&name, true, Some(Grace::Seconds(0))) {
                Ok(_) => {}
                Err(Error::NoVolume { .. }) => {
                    if is_removable(&self.volumes_dir().join(&name)) {
                        self.bury_volume(&name)?;
                        self.store().buried(&self.volumes_dir())?;
                    }
                }
                Err(error) => kept.push((format!("volume {name}"), error)),
            }
        }
        for name in whole_names(&self.secrets_dir(), '=')? {
            match self.remove_secret(&name, keeper) {
                Ok(_) => {}
                Err(Error::NoSecret { .. }) => {
                    if is_removable(&self.secrets_dir().join(&name)) {
                        self.store().bury(&self.secrets_dir(), &name)?;
                    }
                }
                Err(error) => kept.push((format!("secret {name}"), error)),
            }
        }
        // What is in use by a container that could not be removed stays with it.
        self.store().clear()?;
        self.store().bury(self.root(), "events")?;
        self.forget_runs();
        Ok(kept)
    }

    /// Removes pods and containers that are there now.
    fn reset_containers(&self) -> Result<Kept, Error> {
        let mut kept = Kept::new();
        let none = Some(Grace::Seconds(0));
        let mut unreadable = Vec::new();
        for id in ids_with_prefix(&self.pods_dir(), "") {
            match self.remove_pod(&id, true, none) {
                // Containers that are not in it may need those that are: they go first, and it goes the next time.
                Ok(_) | Err(Error::NoPod { .. } | Error::Dependents { .. }) => {}
                Err(error) if error.is_unreadable() => {
                    self.store().bury(&self.pods_dir(), &id)?;
                    unreadable.push(id);
                }
                Err(error) => kept.push((format!("pod {id}"), error)),
            }
        }
        for id in self.with_dependents(&ids_with_prefix(&self.containers_dir(), "")) {
            match self.remove_with_volumes(&id, true, none, true) {
                Ok(_) => {}
                Err(Error::NoContainer { .. }) if self.is_half_made(&id) => {
                    self.remove_half_made(&id)?;
                }
                Err(Error::NoContainer { .. } | Error::Infra { .. }) => {}
                Err(error) => kept.push((format!("container {id}"), error)),
            }
        }
        // Where a pod's group is stands in its record; those of its members are gone now.
        if !unreadable.is_empty() {
            let names: Vec<_> = unreadable.iter().map(|id| pod_cgroup_name(id)).collect();
            remove_usual_groups(&names);
        }
        Ok(kept)
    }

    /// Removes what a boot would end of containers that are not there any more.
    fn forget_runs(&self) {
        let dir = self.runroot().join("containers");
        for id in ids_with_prefix(&dir, "") {
            let path = dir.join(&id);
            let is_free = !self.dir(&id).exists() && !loment_monitor::has_mounts(&path).unwrap_or(true);
            // Who makes a container has its directory before this one.
            if is_free {
                let _ = std::fs::remove_dir_all(path);
            }
        }
    }

    /// Stops containers that run, so that the next start of each is with this program and the users there are now. `told` hears of each that was.
    ///
    /// # Errors
    /// As [`Engine::list`]. Why some were not stopped.
    pub fn migrate(&self, mut told: impl FnMut(&str)) -> Result<Kept, Error> {
        let mut kept = Kept::new();
        let all = self.list(crate::Which::All)?;
        for container in all.into_iter().filter(|container| container.status.is_active()) {
            match self.stop(&container.id, &crate::StopOptions::default()) {
                Ok(_) => told(&container.id),
                Err(Error::NoContainer { .. }) => {}
                Err(error) => kept.push((format!("container {}", container.id), error)),
            }
        }
        // Pods keep namespaces although nothing runs in them.
        for id in ids_with_prefix(&self.pods_dir(), "") {
            match self.stop_pod(&id, Grace::Own) {
                Ok(of_pod) => kept.extend(of_pod.failed),
                Err(Error::NoPod { .. }) => {}
                Err(error) => kept.push((format!("pod {id}"), error)),
            }
        }
        Ok(kept)
    }
}

/// Whether what is where things of a kind are, and is none, may be removed. Of a link only that goes.
fn is_removable(path: &Path) -> bool {
    let is_dir = path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    !is_dir || !loment_monitor::has_mounts(path).unwrap_or(true)
}
