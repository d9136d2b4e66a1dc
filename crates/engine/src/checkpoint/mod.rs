//! Saving the processes of a container as files, and making it go on from them: see [`loment_runtime::checkpoint`].
//!
//! The files are in `checkpoint` of the container's directory, those of an earlier look at its memory in `pre-checkpoint`. While a container
//! is saved, its run directory has a mark: its monitor takes an end by SIGKILL then for what it is, when the files are complete.
//!
//! What goes into archives and images ([`export`]) is read while the container does nothing; what comes of them ([`import`]) is
//! read with no trust in them ([`archive`]).

mod archive;
mod export;
mod import;
mod named;

use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use loment_events::What;
use loment_monitor::launch::Saved;
use loment_monitor::notify;
use loment_monitor::state::{CHECKPOINT, CHECKPOINTING, INVENTORY, is_saved};
use loment_runtime::Plan;
use loment_runtime::checkpoint::{Criu, DESCRIPTORS, Dump, Images, Options, checkpoint};
use oci_spec::runtime::{LinuxNamespaceBuilder, LinuxNamespaceType, MountBuilder, Spec};
use rustix::process::{Pid, Signal, pidfd_send_signal};

use crate::config::Config;
use crate::container::{Container, Status};
use crate::error::{Context, invalid};
use crate::export::Frozen;
use crate::start::Handed;
use crate::{Engine, Error};

pub use archive::CheckpointArchive;
pub use export::ExportCheckpoint;
pub use import::ImportCheckpoint;

/// Where the memory is that was saved before the rest.
const PRE_CHECKPOINT: &str = "pre-checkpoint";

/// Where programs find shared memory.
const SHARED_MEMORY: &str = "/dev/shm";

/// How a container is saved.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// What of it, and how.
    pub options: Options,
    /// It goes on afterwards.
    pub leave_running: bool,
    /// Only its memory is saved, while it goes on.
    pub pre: bool,
    /// Only memory is saved that changed since.
    pub with_previous: bool,
    /// It goes to an archive or an image, too.
    pub export: Option<ExportCheckpoint>,
    /// The directory that it is kept in, which must not be there; the container's own without.
    pub place: Option<PathBuf>,
}

impl Engine {
    /// Saves a container, which has ended then unless it is to go on. Returns where. For a process with one thread.
    ///
    /// # Errors
    /// [`Error::State`] for one that does not run, [`Error::Invalid`] for what cannot be saved, [`Error::Checkpoint`] with what CRIU says.
    pub fn checkpoint(&self, name: &str, criu: &Criu, how: &Checkpoint) -> Result<Images, Error> {
        let id = self.container(name)?.config.id;
        let lock = self.lock(&id)?;
        let container = self.load(&id)?.ok_or_else(|| Error::NoContainer { name: name.to_owned() })?;
        if ![Status::Running, Status::Paused].contains(&container.status) {
            let hint = ": it is not running, cannot checkpoint";
            return Err(Error::State { operation: "checkpoint", status: container.status.name(), id, hint });
        }
        check(&container, how)?;
        if let Some(to) = &how.export {
            self.check_exported(&container.config)?;
            to.check()?;
        }
        let spec = self.spec_of_running(&container)?;
        let plan = Plan::new(&spec, Path::new("/"))
            .map_err(std::io::Error::other)
            .context("read the specification of", &id)?;
        let own = || self.dir(&id).join(if how.pre { PRE_CHECKPOINT } else { CHECKPOINT });
        let directory = how.place.clone().unwrap_or_else(own);
        if how.place.is_some() && directory.join(INVENTORY).exists() {
            let hint = format!("it already exists for container {name}: remove it, or use another name");
            return Err(invalid("checkpoint", directory.display().to_string(), hint));
        }
        clear(&directory, how.place.is_some())?;
        let group = self.group(container.cgroup())?;
        let parent = Path::new("..").join(PRE_CHECKPOINT);
        let images = Images::create(&directory, None)?;
        let pid = Pid::from_raw(container.state.pid).ok_or_else(|| Error::MonitorGone { id: id.clone() })?;
        // One that is removed when it ends does so when all of it is saved elsewhere.
        let stays = how.pre || how.leave_running || container.config.supervision.auto_remove;
        let dump = Dump {
            criu,
            images: &images,
            options: &how.options,
            plan: &plan,
            pid,
            rootfs: &PathBuf::from(format!("/proc/{}/root", container.state.pid)),
            cgroup: container.cgroup().map(|_| &group),
            annotations: &[],
            parent: how.with_previous.then_some(parent.as_path()),
            leave_running: stays,
            pre_dump: how.pre,
            page_server: None,
        };
        let goes_on = how.pre || how.leave_running;
        // Its files are to be those of its memory. One that is removed at its end is there for its archive.
        let frozen = match &how.export {
            Some(_)
                if stays
                    && !how.pre
                    && container.status == Status::Running
                    && container.cgroup().is_some() =>
            {
                Some(Frozen::new(self, &container)?)
            }
            _ => None,
        };
        let mark = container.run_dir.join(CHECKPOINTING);
        if !stays {
            // Its monitor looks there whether all of it was saved.
            std::fs::write(&mark, directory.as_os_str().as_bytes()).context("write", mark.display())?;
        }
        if let Err(error) = checkpoint(&dump, &mut || ()) {
            let _ = std::fs::remove_file(&mark);
            if how.place.is_some() {
                // Its name is to be had again.
                let _ = remove(&directory);
            }
            if container.status == Status::Running {
                // A program that was killed has not let it go on.
                let _ = group.freeze(false);
            }
            return Err(error.into());
        }
        let lock = match stays {
            true => Some(lock),
            false => {
                drop(lock);
                self.wait_for_monitor(&container)?;
                None
            }
        };
        if let Some(to) = &how.export {
            self.export_checkpoint(&container, &spec, how, to, criu)?;
        }
        if stays && !goes_on {
            match (container.cgroup(), container.open_process()) {
                (Some(_), _) => group.kill()?,
                (None, Some(process)) => drop(pidfd_send_signal(process, Signal::KILL)),
                (None, None) => {}
            }
        }
        drop(frozen);
        drop(lock);
        if stays && !goes_on {
            self.wait_for_monitor(&container)?;
        }
        self.tell(&container.config, What::Checkpoint);
        Ok(images)
    }

    fn export_checkpoint(
        &self,
        container: &Container,
        spec: &Spec,
        how: &Checkpoint,
        to: &ExportCheckpoint,
        criu: &Criu,
    ) -> Result<(), Error> {
        let mut pack = self.pack(container, spec, how, to)?;
        if let Some((path, compression)) = &to.file {
            pack.write_to(path, *compression)?;
        }
        if let Some(name) = &to.image {
            self.image_of(&mut pack, name, &container.config, criu)?;
        }
        Ok(())
    }

    /// Makes a container go on from where it was saved. Returns warnings. `stdio` as in [`Handed`].
    ///
    /// # Errors
    /// [`Error::Invalid`] for one that was not saved, [`Error::Start`] with what CRIU says.
    pub fn restore(
        &self,
        name: &str,
        criu: &Criu,
        options: &Options,
        stdio: Option<[BorrowedFd<'_>; 3]>,
    ) -> Result<Vec<String>, Error> {
        self.restore_from(name, None, (criu, options), stdio)
    }

    /// The same from a checkpoint with a name, in that directory if there is one.
    ///
    /// # Errors
    /// Those of [`Engine::restore`].
    pub fn restore_from(
        &self,
        name: &str,
        place: Option<&Path>,
        (criu, options): (&Criu, &Options),
        stdio: Option<[BorrowedFd<'_>; 3]>,
    ) -> Result<Vec<String>, Error> {
        let container = self.container(name)?;
        let own = || self.dir(&container.config.id).join(CHECKPOINT);
        let directory = place.map_or_else(own, Path::to_owned);
        if container.status.is_active() {
            let (id, status) = (container.config.id, container.status.name());
            let hint = ": it must be stopped, or created, to be restored";
            return Err(Error::State { operation: "restore", status, id, hint });
        }
        if !directory.join(INVENTORY).exists() {
            if let Some(place) = place {
                let checkpoint = place.file_name().unwrap_or_default().to_string_lossy();
                return Err(named::no_checkpoint(&checkpoint, name));
            }
            let hint = "a checkpoint for this container cannot be found, cannot restore";
            return Err(invalid("container", name, hint));
        }
        let saved = Saved {
            program: criu.program().to_owned(),
            environment: criu.environment().iter().map(|e| e.to_string_lossy().into_owned()).collect(),
            images: directory,
            options: options.clone(),
        };
        let handed = Handed { stdio, saved: Some(&saved), ..Handed::default() };
        let warnings = self.start(&container.config.id, handed)?;
        self.tell(&container.config, What::Restore);
        Ok(warnings)
    }

    /// Whether the container of that id was saved.
    pub fn is_saved(&self, id: &str) -> bool {
        is_saved(&self.dir(id))
    }

    /// What a container was saved to.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where there is nothing.
    pub fn saved(&self, name: &str) -> Result<Images, Error> {
        let id = self.container(name)?.config.id;
        Ok(Images::open(&self.dir(&id).join(CHECKPOINT), None)?)
    }

    /// Removes what a container was saved to.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn forget_checkpoint(&self, name: &str) -> Result<(), Error> {
        let dir = self.dir(&self.container(name)?.config.id);
        remove(&dir.join(CHECKPOINT))?;
        remove(&dir.join(PRE_CHECKPOINT))
    }

    /// The specification of a container that runs, with what its monitor added when it was started.
    fn spec_of_running(&self, container: &Container) -> Result<Spec, Error> {
        let (_, body) = self.launch(container)?;
        let joins = body.joins;
        let mut spec: Spec = serde_json::from_value(body.spec)
            .map_err(std::io::Error::other)
            .context("read the specification of", &container.config.id)?;
        let mut mounts = spec.mounts().clone().unwrap_or_default();
        let own = [("passwd", "/etc/passwd"), ("group", "/etc/group"), (notify::DIRECTORY, notify::INSIDE)];
        for (name, inside) in own {
            let source = container.run_dir.join(name);
            if source.exists() {
                let mount = MountBuilder::default().destination(inside).typ("bind").source(source).build();
                mounts.push(mount.map_err(std::io::Error::other).context("describe the mount on", inside)?);
            }
        }
        let mut linux = spec.linux().clone().unwrap_or_default();
        let mut namespaces = linux.namespaces().clone().unwrap_or_default();
        for join in joins {
            let described = || -> std::io::Result<_> {
                let file = if join.kind == "network" { "net" } else { &join.kind };
                let path = format!("/proc/{}/ns/{file}", container.state.pid);
                let namespace = LinuxNamespaceBuilder::default().path(path);
                let kind = serde_json::from_value(join.kind.as_str().into())?;
                let namespace = namespace.typ::<LinuxNamespaceType>(kind).build();
                // With semaphores and queues comes shared memory.
                let shm =
                    MountBuilder::default().destination(SHARED_MEMORY).typ("bind").source(SHARED_MEMORY);
                let other = std::io::Error::other;
                Ok((namespace.map_err(other)?, shm.build().map_err(other)?))
            };
            let (namespace, shm) = described().context("describe a namespace of", &join.container)?;
            namespaces.push(namespace);
            mounts.extend((join.kind == "ipc").then_some(shm));
        }
        linux.set_namespaces(Some(namespaces));
        spec.set_mounts(Some(mounts)).set_linux(Some(linux));
        Ok(spec)
    }
}

/// Makes room for a new checkpoint. What users name may be a directory of something else, which is left alone.
fn clear(directory: &Path, is_named: bool) -> Result<(), Error> {
    if !is_named {
        return remove(directory);
    }
    let is_ours =
        |name: &std::ffi::OsStr| Path::new(name).extension().is_some_and(|e| e == "img" || e == "log");
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    match entries.map(|entry| entry.file_name()).find(|name| !is_ours(name) && name != DESCRIPTORS) {
        None => remove(directory),
        Some(name) => {
            let hint = format!("there is {} in it, so it is no checkpoint: use another name", name.display());
            Err(invalid("checkpoint", directory.display().to_string(), hint))
        }
    }
}

fn remove(directory: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(directory) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).context("remove", directory.display()),
        _ => Ok(()),
    }
}

/// Refuses what would not come back as it was: when it is saved, not when it is gone.
fn check(container: &Container, how: &Checkpoint) -> Result<(), Error> {
    let config = &container.config;
    let refused = |hint: &str| Err(invalid("container to checkpoint", &config.name, hint));
    if config.supervision.auto_remove {
        if how.export.is_none() {
            // The words are Podman's.
            return refused(
                "cannot checkpoint containers that have been started with '--rm' unless '--export' is used",
            );
        }
        if how.options.tcp_established && !how.leave_running {
            return refused("its connections would be closed when it is removed: start it without --rm");
        }
    }
    check_config(config)
}

/// The same of what a container is.
fn check_config(config: &Config) -> Result<(), Error> {
    let refused = |hint: &str| Err(invalid("container to checkpoint", &config.name, hint));
    for (kind, namespace) in [("user", &config.namespaces.user), ("cgroup", &config.namespaces.cgroup)] {
        if namespace.container().is_some() {
            let hint = format!(
                "it shares its {kind} namespace with another container, which CRIU cannot give back: those that it can are net, ipc, uts and pid"
            );
            return refused(&hint);
        }
    }
    if config.namespaces.users.is_some() {
        return refused(
            "it has users of its own, as whom CRIU opens what is mounted from this machine, which they mostly may not",
        );
    }
    if config.process.personality.is_some() {
        return refused("it has a personality, which CRIU does not save");
    }
    let is_plain = |v: &crate::config::Volume| {
        v.overlay.is_none()
            && v.subpath.is_none()
            && v.image.is_none()
            && !v.options.iter().any(|o| o.contains("idmap"))
    };
    match config.files.volumes.iter().find(|v| !is_plain(v)) {
        Some(v) => {
            let hint = format!(
                "what is mounted on {} is made anew at each start, and cannot be given back",
                v.destination.display()
            );
            refused(&hint)
        }
        None => Ok(()),
    }
}
