//! What a container's files come from, opened before it is made: with rights that it may not have, by names that it may not
//! reach, and, for mounts with ids of their own, changed in a way that its user namespace may not.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use loment_sys::mount::{ATTR_IDMAP, MountAttr, set_attributes};
use oci_spec::runtime::LinuxNamespaceType;
use rustix::fs::CWD;

use crate::create::{Container, Rootfs};
use crate::error::Context;
use crate::mounts::clone_tree;
use crate::plan::{IdMap, MountPlan, Plan};
use crate::{Error, Failure};

/// Detached mounts.
#[derive(Debug)]
pub(crate) struct Sources {
    /// The root file system.
    pub(crate) root: OwnedFd,
    /// One for each mount of the plan; `None` where the container opens its source itself.
    pub(crate) mounts: Vec<Option<OwnedFd>>,
}

impl Sources {
    pub(crate) fn prepare(c: &Container<'_>) -> Result<Self, Error> {
        let root = match (&c.rootfs, &c.plan.root) {
            (Rootfs::Mount(fd), _) => fd.try_clone_to_owned().context("open", "root file system")?,
            (Rootfs::Bundle, Some(path)) => {
                clone_tree(CWD, path, true).context("open root file system", path.display())?
            }
            (Rootfs::Bundle, None) => {
                return Err(io::Error::other("root.path is not set")).context("open", "root file system")?;
            }
        };
        let mounts = c.plan.mounts.iter().map(|m| source(c.plan, m)).collect::<Result<_, _>>()?;
        Ok(Self { root, mounts })
    }
}

fn source(plan: &Plan, m: &MountPlan) -> Result<Option<OwnedFd>, Failure> {
    if m.kind != "bind" || (m.idmap.is_none() && !plan.in_user_namespace()) {
        return Ok(None);
    }
    let open = || -> io::Result<OwnedFd> {
        let tree = clone_tree(CWD, &m.source, m.options.bind.unwrap_or(true))?;
        if let Some(idmap) = &m.idmap {
            map_ids(plan, &tree, idmap)?;
        }
        Ok(tree)
    };
    let names = format_args!("{} (type bind) on {}", m.source.display(), m.destination.display());
    open().context("mount", names).map(Some)
}

/// Gives the files of a mount other owners (mount_setattr(2), Linux 5.12).
fn map_ids(plan: &Plan, tree: &OwnedFd, idmap: &IdMap) -> io::Result<()> {
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
    set_attributes(tree.as_fd(), c"", idmap.recursive, &attr).map_err(|e| match e.raw_os_error() {
        // The file system (or one below) does not support it.
        Some(22) => io::Error::other("ids cannot be mapped on this file system (EINVAL)"),
        _ => e,
    })
}
