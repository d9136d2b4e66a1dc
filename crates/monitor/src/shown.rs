//! The files of containers on the host.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use loment_runtime::UserNamespace;
use loment_sys::mount::{ATTR_NODEV, ATTR_NOSUID, MountAttr, set_attributes};
use oci_spec::runtime::Spec;
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::Error;
use crate::error::Context;
use crate::launch::Rootfs;
use crate::mounts::{open_dir, place};
use crate::overlay::build;
use crate::pins::Here;

/// What a container's files cannot do on the host.
const SHOWN: u64 = ATTR_NOSUID | ATTR_NODEV;
/// `MS_PRIVATE` (mount(2)).
const PRIVATE: u64 = 1 << 18;
/// What a container's files are mounted as on the host, attached nowhere; `None` when they are not.
///
/// # Errors
/// The kernel's.
pub fn open_shown(shown: &Path) -> io::Result<Option<OwnedFd>> {
    let dir = match open_dir(shown) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    // What is open is what is looked at, and what is taken: it may be unmounted meanwhile.
    let stat = statx(&dir, "", AtFlags::EMPTY_PATH, StatxFlags::empty())?;
    if !stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Ok(None);
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(&dir, "", flags | OpenTreeFlags::AT_EMPTY_PATH)?;
    let attr = MountAttr { clear: SHOWN, propagation: PRIVATE, ..MountAttr::default() };
    set_attributes(tree.as_fd(), c"", false, &attr)?;
    Ok(Some(tree))
}

/// Attaches a container's root file system on `target` of the host, where it has no power.
///
/// # Errors
/// [`Error::Io`].
pub fn show_tree(tree: &OwnedFd, target: &Path) -> Result<(), Error> {
    let attr = MountAttr { set: SHOWN, propagation: PRIVATE, ..MountAttr::default() };
    set_attributes(tree.as_fd(), c"", false, &attr)
        .and_then(|()| place(tree, CWD, target))
        .context("mount", target.display())
}

/// The same of a container that does not run, with the owners that its start will give it: those of the user namespace that `spec`
/// describes, if it has one. For a caller with one thread; `scratch` is an existing directory that nothing else uses.
///
/// # Errors
/// [`Error::Io`].
pub fn show_rootfs(rootfs: &Rootfs, spec: &Spec, target: &Path, scratch: &Path) -> Result<(), Error> {
    let here = Here::new().context("find", "this mount namespace")?;
    let users = UserNamespace::like(spec)?;
    let built = build(rootfs, scratch, users.as_ref());
    // Older kernels take a mount namespace of its own to do it.
    here.come_back().context("come back to", "this mount namespace")?;
    show_tree(&built?.tree, target)
}
