//! What is mounted in containers that do not run, for who looks at their files.

use loment_monitor::launch::{self, VolumeMount};
use loment_monitor::{Assembled, AtRest, Attached, attach_over, volume_mounts};
use loment_runtime::InRoot;
use oci_spec::runtime::{LinuxIdMapping, LinuxIdMappingBuilder};

use crate::config::{Config, IdMapping, Users, Volume};
use crate::error::{Context, invalid};
use crate::view::View;
use crate::{Engine, Error};

/// The files of a container with all that is mounted there.
pub(crate) struct Whole {
    pub(crate) files: Assembled,
    /// Volumes that are file systems.
    pub(crate) used: Vec<Used>,
}

/// Uses a volume that is a file system as long as it lives.
pub(crate) struct Used(VolumeMount, String);

impl Drop for Used {
    fn drop(&mut self) {
        // One that stays is unmounted by the next that leaves it.
        let _ = volume_mounts::close(&self.0, &self.1);
    }
}

impl Engine {
    /// Mounts in `root`, which is that of a container that does not run and is locked, what would be mounted there by its user; `None`
    /// where that is nothing. Unless `writes`, nothing is changed. For a process with one thread.
    pub(crate) fn whole_at_rest(
        &self,
        config: &Config,
        view: &View,
        writes: bool,
    ) -> Result<Option<Whole>, Error> {
        let failed = |source| Error::View { id: config.id.clone(), source };
        let read_only = writes && config.files.read_only;
        if config.files.volumes.is_empty() && !read_only {
            return Ok(None);
        }
        self.check_volumes(config)?;
        let prepared = self.volumes_to_mount(config)?;
        let root = &view.root;
        // Where the kernel does not map them, they are on disk as they are in the root.
        let mapped = config.namespaces.users.as_ref().filter(|_| view.users.is_none());
        let seen_as = mapped.map(turned).transpose()?;
        let user = format!("{}{}", volume_mounts::ARCHIVE, std::process::id());
        let scratch = self.dir(&config.id).join("scratch");
        let inside = InRoot::new(root.try_clone().context("open", "root file system")?);
        // One that is not there is found to be missing when it starts.
        let found = loment_monitor::user::find_in(&inside, &config.process.user, &[]).ok();
        let owner = found.map(|found| (found.uid, found.gid));
        let at_rest =
            AtRest { root: &inside, scratch: &scratch, user: &user, owner, seen_as: seen_as.as_ref() };
        let (mut mounts, mut used) = (Vec::new(), Vec::new());
        for volume in &config.files.volumes {
            let maps = maps(volume, &config.name)?;
            let one = prepared.iter().find(|one| one.destination == volume.destination);
            let mut one = one.cloned().unwrap_or_else(|| launch::Volume {
                source: volume.source.clone(),
                destination: volume.destination.clone(),
                ..launch::Volume::default()
            });
            // Its owner is changed when it starts.
            one.chown = false;
            // What is changed over a directory goes at each start.
            let goes = one.layers.is_empty() && one.overlay.as_ref().is_some_and(|o| o.fresh.is_some());
            if goes {
                one.overlay = None;
            }
            used.extend(one.mount.clone().map(|mount| Used(mount, user.clone())));
            let tree = at_rest.open(&one, maps).map_err(|e| failed(Box::new(e)))?;
            mounts.push(Attached {
                tree,
                destination: volume.destination.clone(),
                read_only: volume.is_read_only() || goes,
            });
        }
        // One below another comes after it, as when it runs.
        mounts.sort_by_key(|mount| mount.destination.components().count());
        let files =
            attach_over(root, &scratch, mounts, (writes, read_only)).map_err(|e| failed(Box::new(e)))?;
        Ok(Some(Whole { files, used }))
    }
}

/// Whether a volume's files have the container's ids on disk.
fn maps(volume: &Volume, name: &str) -> Result<bool, Error> {
    let idmap = |option: &&String| option.trim_start_matches('r').starts_with("idmap");
    match volume.options.iter().find(idmap) {
        Some(option) if option.contains('=') => {
            let hint = "one of its volumes has mapped ids of its own, which are seen only while it runs: start it first";
            Err(invalid("container", name, hint))
        }
        found => Ok(found.is_some()),
    }
}

/// The mappings of a container's users the other way around.
fn turned(users: &Users) -> Result<(Vec<LinuxIdMapping>, Vec<LinuxIdMapping>), Error> {
    let turn = |all: &[IdMapping]| {
        all.iter()
            .map(|m| {
                let line = LinuxIdMappingBuilder::default().container_id(m.host_id).host_id(m.container_id);
                line.size(m.size).build().map_err(|e| Error::Configuration(Box::new(e)))
            })
            .collect::<Result<_, _>>()
    };
    Ok((turn(&users.uids)?, turn(&users.gids)?))
}
