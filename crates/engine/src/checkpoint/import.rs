//! Containers made of archives of checkpoints.

use std::fs::{DirBuilder, File};
use std::io::{self, BufReader, BufWriter};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use loment_runtime::checkpoint::{Criu, DESCRIPTORS, Options};
use loment_store::{Place, Rules, extract, remove_path};

use super::archive::{CHANGES, CheckpointArchive, DELETED, IMAGES, PARENT, VOLUMES};
use super::{PRE_CHECKPOINT, export};
use crate::config::{Config, GroupManager, GroupUse, Groups, Namespace, Network, VERSION};
use crate::container::Container;
use crate::engine::is_id;
use crate::error::Context;
use crate::names::{check_name_of, new_id};
use crate::pods::{Pod, Shared};
use crate::view::open_many_files;
use crate::volumes::{NewVolume, VolumeChoices};
use crate::{Engine, Error};

/// How a container is made of an archive.
#[derive(Clone, Debug, Default)]
pub struct ImportCheckpoint {
    /// Its name, and it has an id of its own then; those that it had.
    pub name: Option<String>,
    /// The pod it is to be in.
    pub pod: Option<String>,
    /// Without the files that it had changed.
    pub ignore_rootfs: bool,
    /// With its volumes as they are here.
    pub ignore_volumes: bool,
    /// Who makes its control group; `None` is who does best here.
    pub cgroup_manager: Option<GroupManager>,
    /// It stays when it cannot be restored.
    pub keep: bool,
}

/// A container that was made, and what with it.
struct Imported {
    container: Container,
    volumes: Vec<String>,
}

impl Engine {
    /// Makes a container of an archive, and has it go on from there. `previous` has the memory that was saved before. Returns the
    /// container, and warnings. Nothing is left of one that could not be made or restored, unless it is to be kept then. `stdio` as in
    /// [`crate::Handed`]. For a process with one thread.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an archive that is damaged or not to be had here; those of [`Engine::restore`].
    pub fn restore_archive(
        &self,
        (archive, previous): (&CheckpointArchive, Option<&CheckpointArchive>),
        how: &ImportCheckpoint,
        (criu, options): (&Criu, &Options),
        stdio: Option<[BorrowedFd<'_>; 3]>,
    ) -> Result<(Container, Vec<String>), Error> {
        let Imported { container, volumes } = self.import_checkpoint(archive, previous, how)?;
        let id = &container.config.id;
        match self.restore(id, criu, options, stdio) {
            Ok(warnings) => Ok((container, warnings)),
            Err(error) => {
                if !how.keep {
                    // What is told is why it could not be restored.
                    let _ = self.remove_with_volumes(id, true, None, true);
                    self.forget_volumes(&volumes);
                }
                Err(error)
            }
        }
    }

    fn import_checkpoint(
        &self,
        archive: &CheckpointArchive,
        previous: Option<&CheckpointArchive>,
        how: &ImportCheckpoint,
    ) -> Result<Imported, Error> {
        check(archive, previous)?;
        let (mut config, pod) = self.settle_imported(archive, how)?;
        // No other member is made, and the pod not removed, until it is one of the pod's.
        let _pod = pod.map(|pod| self.lock_pod(&pod.id)).transpose()?;
        let image = config.image.as_ref().map(|image| &image.id);
        let _held = image.map(|id| self.store().hold_image(id)).transpose()?;
        let old_names = self.name_volumes(archive, &mut config, how)?;
        self.plan_volumes(&mut config, &VolumeChoices::default(), None)?;
        open_many_files();
        let mut volumes = Vec::new();
        let made = self.make_volumes(archive, &config, &old_names, &mut volumes).and_then(|()| {
            let fill = |config: &Config| self.fill_imported(archive, previous, how, config);
            self.make_filled_container(config, &VolumeChoices::default(), &[], &fill)
        });
        match made {
            Ok(container) => Ok(Imported { container, volumes }),
            Err(error) => {
                self.forget_volumes(&volumes);
                Err(error)
            }
        }
    }

    fn forget_volumes(&self, names: &[String]) {
        for name in names {
            let _ = self.remove_volume(name, false, None);
        }
    }

    /// What it is here: nothing that the archive says of this machine's directories, files of settings and groups counts.
    fn settle_imported(
        &self,
        archive: &CheckpointArchive,
        how: &ImportCheckpoint,
    ) -> Result<(Config, Option<Pod>), Error> {
        let saved = &archive.saved;
        let mut config = saved.config.clone();
        if config.version != VERSION {
            let hint =
                format!("its container is version {}, this program understands {VERSION}", config.version);
            return Err(archive.refused(&hint));
        }
        match &how.name {
            Some(name) => {
                check_name_of("container name", name)?;
                (config.id, config.name) = (new_id().context("choose", "an id")?, name.clone());
            }
            None if !is_id(&config.id) => return Err(archive.damaged(&"it names no id of a container")),
            None if !self.is_nobody(&config.id) => {
                let hint =
                    format!("there is a container with its id, {}: remove that, or use --name", config.id);
                return Err(archive.refused(&hint));
            }
            None => check_name_of("container name", &config.name)?,
        }
        if config.infra || config.init_container.is_some() || !config.files.secrets.is_empty() {
            return Err(archive.refused("its container is none that could have been saved"));
        }
        let pod = self.settle_pod(archive, how, &mut config)?;
        super::check_config(&config)?;
        config.requires.clear();
        config.requires_healthy.clear();
        config.pid_files = Default::default();
        config.hook_dirs = None;
        config.devices.descriptions = None;
        config.log.path = None;
        config.transient.clear();
        if self.transient {
            loment_monitor::state::boot_id().clone_into(&mut config.transient);
        }
        let groups = config.cgroup.groups();
        let places = match groups {
            Groups::None => None,
            groups => self.places(how.cgroup_manager, groups)?,
        };
        config.cgroup = match places {
            None => {
                crate::groups::refuse_limits(&config.limits, None)?;
                GroupUse::default()
            }
            Some(places) => {
                places.check(&config.limits)?;
                let parent = pod.as_ref().filter(|pod| pod.shares_cgroup_parent).and_then(Pod::group);
                let place = match (parent, &pod) {
                    (Some(parent), Some(pod)) => pod.manager().place(Some(&parent), &config.id)?,
                    _ => places.place(None, &config.id)?,
                };
                GroupUse { monitor_stays: groups == Groups::NoMonitor, ..place }
            }
        };
        crate::logs::check(&config)?;
        Ok((config, pod))
    }

    /// Has it share with the pod what it shared with the one it was in; in Podman's words where it cannot.
    fn settle_pod(
        &self,
        archive: &CheckpointArchive,
        how: &ImportCheckpoint,
        config: &mut Config,
    ) -> Result<Option<Pod>, Error> {
        let pod = match (&how.pod, config.pod.is_empty()) {
            (None, true) => None,
            (None, false) => return Err(archive.refused("cannot restore pod container without --pod")),
            (Some(_), true) => return Err(archive.refused("cannot restore non pod container into pod")),
            (Some(name), false) => Some(self.pod(name)?),
        };
        let shares = export::shares(config);
        let Some(pod) = pod else {
            if !shares.is_empty() {
                return Err(archive.refused("its container shared namespaces with another one"));
            }
            return Ok(None);
        };
        export::check_pod(&shares, &pod)?;
        let infra = pod.infra.clone().filter(|_| !shares.is_empty());
        if let Some(infra) = infra {
            let n = &mut config.namespaces;
            for shared in &shares {
                let namespace = match shared {
                    Shared::Ipc => &mut n.ipc,
                    Shared::Pid => &mut n.pid,
                    Shared::Uts => &mut n.uts,
                    Shared::Cgroup => &mut n.cgroup,
                    Shared::User => &mut n.user,
                    Shared::Net => {
                        config.net.network = Network::Container(infra.clone());
                        continue;
                    }
                };
                *namespace = Namespace::Container(infra.clone());
            }
        }
        config.pod.clone_from(&pod.id);
        Ok(Some(pod))
    }

    /// Gives anonymous volumes names that are nobody's, and refuses those that would be other ones. Returns the names that the archive
    /// has for them, by the new ones.
    fn name_volumes(
        &self,
        archive: &CheckpointArchive,
        config: &mut Config,
        how: &ImportCheckpoint,
    ) -> Result<Vec<(String, String)>, Error> {
        let mut names: Vec<(String, String)> = Vec::new();
        for used in config.files.volumes.iter_mut().filter_map(|volume| volume.volume.as_mut()) {
            let old = used.name.clone();
            check_name_of("volume name", &old)?;
            if let Some((_, new)) = names.iter().find(|(known, _)| *known == old) {
                used.name.clone_from(new);
                continue;
            }
            if used.anonymous {
                used.name = new_id().context("choose", "a name")?;
            } else if !how.ignore_volumes && self.volume_dir(&old).exists() {
                // The words are Podman's.
                let hint = format!(
                    "volume with name {old} already exists. Use --ignore-volumes to not restore content of volumes"
                );
                return Err(archive.refused(&hint));
            }
            names.push((old, used.name.clone()));
        }
        if how.ignore_volumes {
            names.clear();
        }
        Ok(names)
    }

    /// Makes its volumes with their files; `made` are those, also when something fails.
    fn make_volumes(
        &self,
        archive: &CheckpointArchive,
        config: &Config,
        names: &[(String, String)],
        made: &mut Vec<String>,
    ) -> Result<(), Error> {
        for (old, name) in names {
            let root = archive.saved.volumes.get(old).copied().unwrap_or_default();
            let Some(content) = archive.member(&format!("{VOLUMES}/{old}.tar"))? else { continue };
            let uses = config.files.volumes.iter().filter_map(|volume| volume.volume.as_ref());
            let anonymous = uses.into_iter().any(|used| used.name == *name && used.anonymous);
            let asked = NewVolume { name: Some(name.clone()), anonymous, ..NewVolume::default() };
            self.unpack_volume(asked, (root.uid, root.gid, root.mode), BufReader::new(content))?;
            made.push(name.clone());
        }
        Ok(())
    }

    /// Puts what CRIU reads, and the files that were changed, into the directories of a container that is being made.
    fn fill_imported(
        &self,
        archive: &CheckpointArchive,
        previous: Option<&CheckpointArchive>,
        how: &ImportCheckpoint,
        config: &Config,
    ) -> Result<(), Error> {
        let dir = self.dir(&config.id);
        let images = dir.join(IMAGES);
        unpack_images(archive, IMAGES, &images)?;
        if let Some(previous) = previous {
            unpack_images(previous, PRE_CHECKPOINT, &dir.join(PRE_CHECKPOINT))?;
            let link = images.join(PARENT);
            symlink(Path::new("..").join(PRE_CHECKPOINT), &link).context("create", link.display())?;
        }
        if how.ignore_rootfs || config.image.is_none() {
            return Ok(());
        }
        self.apply_changes(archive, config)
    }

    fn apply_changes(&self, archive: &CheckpointArchive, config: &Config) -> Result<(), Error> {
        let (changes, deleted) = (archive.member(CHANGES)?, archive.document(DELETED)?);
        if changes.is_none() && deleted.is_none() {
            return Ok(());
        }
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| Error::View { id: config.id.clone(), source };
        let rootfs = self.resting_rootfs(config)?;
        let scratch = self.dir(&config.id).join("scratch");
        std::fs::create_dir_all(&scratch).context("create", scratch.display())?;
        let root = loment_monitor::open_rootfs(&rootfs, &scratch).map_err(|e| failed(Box::new(e)))?;
        let place = Place { root, path: PathBuf::new(), follow: false };
        if let Some(text) = deleted {
            let paths: Vec<String> =
                serde_json::from_slice(&text).map_err(|e| archive.damaged(&format!("{DELETED}: {e}")))?;
            for path in paths {
                remove_path(&place, path.as_bytes()).map_err(|e| archive.damaged(&in_full(&e)))?;
            }
        }
        let Some(changes) = changes else { return Ok(()) };
        let owners = |uid, gid| Some((u32::try_from(uid).ok()?, u32::try_from(gid).ok()?));
        let rules = Rules { owners: &owners, replace: true, trusted: true };
        let source = BufReader::with_capacity(256 * 1024, changes);
        extract(source, &place, &rules).map_err(|e| archive.damaged(&format!("{CHANGES}: {}", in_full(&e))))
    }
}

fn check(archive: &CheckpointArchive, previous: Option<&CheckpointArchive>) -> Result<(), Error> {
    let saved = &archive.saved;
    if saved.pre {
        return Err(archive.refused(
            "it has only memory that was saved before the rest: it goes with --import-previous, and that of the rest with --import",
        ));
    }
    match previous {
        None if saved.previous => Err(archive.refused(
            "it has only the memory that has changed: say with --import-previous which archive has the rest",
        )),
        Some(_) if !saved.previous => {
            Err(archive.refused("it has all of the memory: leave out --import-previous"))
        }
        Some(previous) if !previous.saved.pre => {
            Err(previous.refused("it was not made with --pre-checkpoint"))
        }
        Some(previous) if previous.saved.config.id != saved.config.id => {
            Err(previous.refused("it is of another container"))
        }
        _ => Ok(()),
    }
}

/// Copies what CRIU has written into a new directory.
fn unpack_images(archive: &CheckpointArchive, from: &str, to: &Path) -> Result<(), Error> {
    let names = archive.files_in(from)?;
    // Of a look at its memory there is only that.
    let needed: &[&str] = if from == IMAGES { &["inventory.img", DESCRIPTORS] } else { &[] };
    let missing = needed.iter().find(|needed| !names.iter().any(|name| name == **needed));
    if let Some(missing) = missing {
        return Err(archive.damaged(&format!("{from} has no {missing}, so nothing in it is a process")));
    }
    DirBuilder::new().mode(0o700).create(to).context("create", to.display())?;
    for name in names {
        let Some(mut content) = archive.member(&format!("{from}/{name}"))? else { continue };
        let path = to.join(&name);
        let mut copy = || -> io::Result<()> {
            let file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
            let mut file = BufWriter::with_capacity(256 * 1024, file);
            io::copy(&mut content, &mut file)?;
            file.into_inner().map(drop).map_err(io::IntoInnerError::into_error)
        };
        copy().context("write", path.display())?;
    }
    Ok(())
}

/// An error with what it comes of.
fn in_full(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", in_full(source)))
}
