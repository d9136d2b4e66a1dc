//! What is mounted in containers that do not run, for who looks at their files.

use loment_monitor::launch::{self, VolumeMount};
use loment_monitor::{Assembled, AtRest, Attached, SeenAs, attach_over, volume_mounts};
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
        let users = config.namespaces.users.as_ref();
        // A root that has the container's ids is with volumes that have those of the host, or the other way around.
        let (turned, straight) = (users.map(turned).transpose()?, users.map(straight).transpose()?);
        let user = format!("{}{}", volume_mounts::ARCHIVE, std::process::id());
        let scratch = self.dir(&config.id).join("scratch");
        let inside = InRoot::new(root.try_clone().context("open", "root file system")?);
        // One that is not there is found to be missing when it starts.
        let found = loment_monitor::user::find_in(&inside, &config.process.user, &[]).ok();
        let owner = found.map(|found| (found.uid, found.gid));
        let at_rest = AtRest { root: &inside, scratch: &scratch, user: &user, owner };
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
            let seen_as = match (view.users.is_some(), maps) {
                (false, false) => turned.as_ref(),
                (true, true) => straight.as_ref(),
                _ => None,
            };
            let tree = at_rest.open(&one, seen_as).map_err(|e| failed(Box::new(e)))?;
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

/// The mappings of a container's users.
fn straight(users: &Users) -> Result<SeenAs, Error> {
    Ok((
        lines(&users.uids, |m| (m.container_id, m.host_id))?,
        lines(&users.gids, |m| (m.container_id, m.host_id))?,
    ))
}

/// The same the other way around.
fn turned(users: &Users) -> Result<SeenAs, Error> {
    Ok((
        lines(&users.uids, |m| (m.host_id, m.container_id))?,
        lines(&users.gids, |m| (m.host_id, m.container_id))?,
    ))
}

fn lines(all: &[IdMapping], ids: impl Fn(&IdMapping) -> (u32, u32)) -> Result<Vec<LinuxIdMapping>, Error> {
    all.iter()
        .map(|m| {
            let (container, host) = ids(m);
            let line = LinuxIdMappingBuilder::default().container_id(container).host_id(host);
            line.size(m.size).build().map_err(|e| Error::Configuration(Box::new(e)))
        })
        .collect()
}
