//! Entering the root file system.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use loment_sys::mount::{ATTR_RDONLY, MountAttr, PRIVATE, SLAVE};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};

use crate::attributes::{attach_changed, change};
use crate::error::Context;
use crate::mounts::set_root_propagation;
use crate::{Failure, InRoot};

/// Attaches the root file system, a detached mount, in the caller's new mount namespace and returns a handle on it.
pub(crate) fn attach_root(tree: &OwnedFd) -> Result<InRoot, Failure> {
    // Nothing that is mounted or unmounted from here on may spread to the host, wherever below the root: the old root is
    // taken off with everything in it. What the specification says of propagation is for the new one.
    set_root_propagation(SLAVE, true).context("change the propagation of", "/")?;
    let private = MountAttr { propagation: PRIVATE, ..MountAttr::default() };
    // Any directory serves as its place until the pivot: the old root's own is always there.
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    let attach = || Ok(move_mount(tree, "", CWD, "/", flags)?);
    attach_changed(tree, &[(true, private)], attach).context("attach", "root file system")?;
    let open = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(tree, ".", open, Mode::empty()).context("open", "root file system")?;
    Ok(InRoot::new(root))
}

/// Makes `root` the root of the namespace and lets go of the old one.
pub(crate) fn pivot(root: &InRoot, no_pivot: bool) -> io::Result<()> {
    rustix::process::fchdir(root.fd())?;
    if no_pivot {
        return Ok(rustix::process::chroot(".")?);
    }
    // The old root ends up mounted over the new one at ".", and is taken off it again (pivot_root(2), notes).
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}

/// Makes the mount itself that is open read-only; mounts below it keep what they were given.
pub(crate) fn make_read_only(mount: &OwnedFd) -> io::Result<()> {
    change(mount.as_fd(), &MountAttr { set: ATTR_RDONLY, ..MountAttr::default() })
}
