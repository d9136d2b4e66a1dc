//! The files of a container, as its program has or would have them, without what is mounted there.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use loment_monitor::launch::Rootfs;
use loment_runtime::mount_of;
use rustix::fs::OFlags;

use crate::config::{Config, Users};
use crate::container::Container;
use crate::error::Context;
use crate::{Engine, Error};

/// The root of a container's files.
#[derive(Debug)]
pub struct View {
    /// Its root directory, attached nowhere.
    pub root: OwnedFd,
    /// Who users and groups of the container are there, if they are others.
    pub(crate) users: Option<Users>,
    /// Kept while a container that does not run is looked at: it cannot be started meanwhile.
    pub(crate) lock: Option<File>,
}

impl View {
    /// Who an owner of files is for the container.
    pub fn owner_inside(&self, uid: u32, gid: u32) -> (u32, u32) {
        match &self.users {
            Some(users) => (users.uid_inside(uid), users.gid_inside(gid)),
            None => (uid, gid),
        }
    }
}

impl Engine {
    /// The files of a container. For a process with one thread.
    ///
    /// # Errors
    /// [`Error::View`]; [`Error::Busy`].
    pub fn view(&self, name: &str) -> Result<View, Error> {
        let container = self.container(name)?;
        match self.living_root(&container)? {
            Some(root) => Ok(View { root, users: container.config.namespaces.users, lock: None }),
            None => self.resting_root(&container),
        }
    }

    /// The root of a container that runs.
    pub(crate) fn living_root(&self, container: &Container) -> Result<Option<OwnedFd>, Error> {
        let Some(namespace) = container.open_of_process("ns/mnt", OFlags::RDONLY)? else { return Ok(None) };
        let root = mount_of(namespace.as_fd(), "/".as_ref()).map_err(|e| view_failed(container, e))?;
        Ok(Some(root))
    }

    /// The files of a container that does not run.
    pub(crate) fn resting_rootfs(&self, config: &Config) -> Result<Rootfs, Error> {
        Ok(match self.rootfs(config)? {
            // What was changed has been thrown away.
            Rootfs::Throwaway { path, .. } => Rootfs::Directory { path },
            rootfs => rootfs,
        })
    }

    fn resting_root(&self, container: &Container) -> Result<View, Error> {
        let id = &container.config.id;
        let lock = self.lock(id)?;
        let now = self.load(id)?.ok_or_else(|| Error::NoContainer { name: id.clone() })?;
        if now.status.is_active() {
            // It was started just now.
            drop(lock);
            let again = || io::Error::other("it is being started or ended: try again");
            let root = self.living_root(&now)?.ok_or_else(|| view_failed(&now, again()))?;
            return Ok(View { root, users: now.config.namespaces.users, lock: None });
        }
        self.clear_leftovers(&now);
        let shown = self.container_mount(id).target();
        let mounted = loment_monitor::open_shown(&shown).context("open", shown.display())?;
        if let Some(root) = mounted {
            return Ok(View { root, users: now.config.namespaces.users, lock: Some(lock) });
        }
        let rootfs = self.resting_rootfs(&now.config)?;
        let scratch = now.dir.join("scratch");
        match std::fs::create_dir(&scratch) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                Err(e).context("create", scratch.display())?
            }
            _ => {}
        }
        let root = loment_monitor::open_rootfs(&rootfs, &scratch).map_err(|e| view_failed(&now, e))?;
        // Others are mapped while it runs only.
        let is_owned = matches!(rootfs, Rootfs::Overlay { owned: true, .. } | Rootfs::Copy { .. });
        let users = now.config.namespaces.users.filter(|_| is_owned);
        Ok(View { root, users, lock: Some(lock) })
    }
}

/// Lets this process open as many files as it may: a tree takes one for each level. For programs that start no others after that.
pub(crate) fn open_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where that is refused, very deep trees are.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn view_failed(container: &Container, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::View { id: container.config.id.clone(), source: Box::new(source) }
}
