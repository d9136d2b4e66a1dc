//! Saving the processes of a container as files, and making it go on from them: see [`loment_runtime::checkpoint`].
//!
//! The files are in `checkpoint` of the container's directory, those of an earlier look at its memory in `pre-checkpoint`. While a container
//! is saved, its run directory has a mark: its monitor takes an end by SIGKILL then for what it is, when the files are complete.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use loment_events::What;
use loment_monitor::launch::Saved;
use loment_monitor::notify;
use loment_monitor::state::{CHECKPOINT, CHECKPOINTING, is_saved};
use loment_runtime::Plan;
use loment_runtime::checkpoint::{Criu, Dump, Images, Options, checkpoint};
use oci_spec::runtime::{MountBuilder, Spec};
use rustix::process::Pid;

use crate::container::{Container, Status};
use crate::error::{Context, invalid};
use crate::start::Handed;
use crate::{Engine, Error};

/// Where the memory is that was saved before the rest.
const PRE_CHECKPOINT: &str = "pre-checkpoint";

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
        check(&container)?;
        let spec = self.spec_of_running(&container)?;
        let plan = Plan::new(&spec, Path::new("/"))
            .map_err(std::io::Error::other)
            .context("read the specification of", &id)?;
        let directory = self.dir(&id).join(if how.pre { PRE_CHECKPOINT } else { CHECKPOINT });
        remove(&directory)?;
        let group = self.group(container.cgroup())?;
        let parent = Path::new("..").join(PRE_CHECKPOINT);
        let images = Images::create(&directory, None)?;
        let pid = Pid::from_raw(container.state.pid).ok_or_else(|| Error::MonitorGone { id: id.clone() })?;
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
            leave_running: how.leave_running,
            pre_dump: how.pre,
            page_server: None,
        };
        let goes_on = how.pre || how.leave_running;
        let mark = container.run_dir.join(CHECKPOINTING);
        if !goes_on {
            std::fs::write(&mark, "").context("write", mark.display())?;
        }
        if let Err(error) = checkpoint(&dump, &mut || ()) {
            let _ = std::fs::remove_file(&mark);
            if container.status == Status::Running {
                // A program that was killed has not let it go on.
                let _ = group.freeze(false);
            }
            return Err(error.into());
        }
        drop(lock);
        if !goes_on {
            self.wait_for_monitor(&container)?;
        }
        self.tell(&container.config, What::Checkpoint);
        Ok(images)
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
        let container = self.container(name)?;
        let directory = self.dir(&container.config.id).join(CHECKPOINT);
        if container.status.is_active() {
            let (id, status) = (container.config.id, container.status.name());
            let hint = ": it must be stopped, or created, to be restored";
            return Err(Error::State { operation: "restore", status, id, hint });
        }
        if !is_saved(&self.dir(&container.config.id)) {
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
        spec.set_mounts(Some(mounts));
        Ok(spec)
    }
}

fn remove(directory: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(directory) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).context("remove", directory.display()),
        _ => Ok(()),
    }
}

/// Refuses what would not come back as it was: when it is saved, not when it is gone.
fn check(container: &Container) -> Result<(), Error> {
    let config = &container.config;
    let refused = |hint: &str| Err(invalid("container to checkpoint", &config.name, hint));
    if !config.pod.is_empty() || !config.dependencies().is_empty() {
        return refused("it shares namespaces with other containers, which CRIU cannot give back");
    }
    if config.supervision.auto_remove {
        // The words are Podman's.
        return refused("cannot checkpoint containers that have been started with '--rm'");
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
