//! What a container's files come from, opened before it is made: with rights that it may not have, by names that it may not
//! reach, and, for mounts with ids of their own, changed in a way that its user namespace may not.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use loment_sys::mount::{ATTR_IDMAP, MountAttr, set_attributes};
use oci_spec::runtime::LinuxNamespaceType;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use crate::create::{Container, Rootfs};
use crate::error::Context;
use crate::idmap::OtherOwners;
use crate::mounts::{clone_tree, file_type};
use crate::plan::{MountPlan, Plan};
use crate::report;
use crate::{Error, Failure, helper};

/// Detached mounts.
#[derive(Debug)]
pub(crate) struct Sources {
    /// The root file system.
    pub(crate) root: Option<OwnedFd>,
    /// One for each mount of the plan; `None` where the container opens its source itself.
    pub(crate) mounts: Vec<Option<OwnedFd>>,
}

impl Sources {
    /// Opens what a container needs that has the creator's users. Others get theirs by [`open_inside`].
    pub(crate) fn prepare(c: &Container<'_>) -> Result<Self, Error> {
        let mut sources = Self { root: None, mounts: c.plan.mounts.iter().map(|_| None).collect() };
        if !c.plan.in_user_namespace() {
            for place in places(c) {
                sources.put(place, open(c, place)?);
            }
        }
        for (n, m) in c.plan.mounts.iter().enumerate() {
            if let Some(given) = given(c, m) {
                let tree = given.try_clone().context("open the mount on", m.destination.display())?;
                sources.put(Place::Mount(n), tree);
            }
        }
        Ok(sources)
    }

    /// Takes what was opened for a place; one that nobody asked for is closed.
    pub(crate) fn put(&mut self, place: Place, tree: OwnedFd) {
        match place {
            Place::Root => self.root = Some(tree),
            Place::Mount(n) => {
                if let Some(slot) = self.mounts.get_mut(n) {
                    *slot = Some(tree);
                }
            }
        }
    }
}

/// What a tree is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Root,
    /// The mount of that number.
    Mount(usize),
}

/// What somebody other than the container's own process has to open.
fn places<'c>(c: &'c Container<'c>) -> impl Iterator<Item = Place> {
    let users = c.plan.in_user_namespace();
    let ours = move |m: &MountPlan| m.kind == "bind" && (users || m.idmap.is_some()) && given(c, m).is_none();
    let mounts = c.plan.mounts.iter().enumerate().filter(move |(_, m)| ours(m));
    std::iter::once(Place::Root).chain(mounts.map(|(n, _)| Place::Mount(n)))
}

/// The mount that somebody else opened.
fn given<'c>(c: &'c Container<'_>, m: &MountPlan) -> Option<&'c OwnedFd> {
    let mut all = c.mounts.iter().filter(|_| m.kind == "bind");
    all.find(|(destination, _)| *destination == m.destination).map(|(_, tree)| tree)
}

fn open(c: &Container<'_>, place: Place) -> Result<OwnedFd, Failure> {
    let m = match place {
        Place::Mount(n) => &c.plan.mounts[n],
        Place::Root => {
            return match (&c.rootfs, &c.plan.root) {
                (Rootfs::Mount(fd), _) => fd.try_clone_to_owned().context("open", "root file system"),
                (Rootfs::Bundle, Some(path)) => {
                    clone_tree(CWD, path, true).context("open root file system", path.display())
                }
                (Rootfs::Bundle, None) => {
                    Err(io::Error::other("root.path is not set")).context("open", "root file system")
                }
            };
        }
    };
    let open = || -> io::Result<OwnedFd> {
        let tree = open_source(m)?;
        if let Some(idmap) = m.idmap.as_ref().filter(|_| !is_link_to_copy(m, &tree)) {
            map_ids(c.plan, &tree, idmap)?;
        }
        Ok(tree)
    };
    open().context("mount", format_args!("{} (type bind) on {}", m.source.display(), m.destination.display()))
}

/// What a bind mount shows: a detached mount, or, where that is to be copied, the link that it is.
pub(crate) fn open_source(m: &MountPlan) -> io::Result<OwnedFd> {
    let recursive = m.options.bind.unwrap_or(true);
    if !m.options.copy_link && !m.options.source_no_follow {
        return clone_tree(CWD, &m.source, recursive);
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = rustix::fs::openat(CWD, &m.source, flags, Mode::empty())?;
    if is_link_to_copy(m, &found) {
        return Ok(found);
    }
    clone_tree(found.as_fd(), Path::new(""), recursive)
}

/// Whether what [`open_source`] gave is no mount, but a link to be made in the container.
pub(crate) fn is_link_to_copy(m: &MountPlan, source: &OwnedFd) -> bool {
    m.options.copy_link && file_type(source).is_ok_and(|t| t == FileType::Symlink)
}

/// Opens what a container with users of its own needs, with the creator's rights but in the container's mount namespace,
/// and sends it to the container's process on the creator's end of its socket.
///
/// The kernel locked what it copied into that namespace: what is read-only stays so, and what is covered stays covered
/// (mount_namespaces(7), "Restrictions on mount namespaces"). Copies of the creator's own mounts would have no such locks.
pub(crate) fn open_inside(c: &Container<'_>, pidfd: BorrowedFd<'_>, socket: &OwnedFd) -> Result<(), Failure> {
    helper::in_child("open", "the mounts of the container", || {
        move_into_thread_name_spaces(pidfd, ThreadNameSpaceType::MOUNT)
            .context("join", "the container's mount namespace")?;
        places(c).try_for_each(|place| {
            report::send_source(socket, place, &open(c, place)?).context("send", "a mount to the container")
        })
    })
}

/// Gives the files of a mount other owners (mount_setattr(2), Linux 5.12).
fn map_ids(plan: &Plan, tree: &OwnedFd, idmap: &OtherOwners) -> io::Result<()> {
    let namespaces = &plan.namespaces;
    let own = || -> io::Result<OwnedFd> {
        match (&namespaces.mappings, namespaces.joined(LinuxNamespaceType::User)) {
            (Some(mappings), _) => mappings.namespace(),
            (None, Some(join)) => Ok(std::fs::File::open(Path::new(&join.path))?.into()),
            (None, None) => Err(io::ErrorKind::InvalidInput.into()),
        }
    };
    let namespace = idmap.mappings.as_ref().map_or_else(own, |m| m.namespace())?;
    let attr = MountAttr { set: ATTR_IDMAP, userns: namespace.as_raw_fd() as u64, ..MountAttr::default() };
    set_attributes(tree.as_fd(), c"", idmap.recursive, &attr).map_err(|e| match Errno::from_io_error(&e) {
        // The file system (or one below) does not support it.
        Some(Errno::INVAL) => io::Error::other("ids cannot be mapped on this file system (EINVAL)"),
        _ => e,
    })
}
