//! A procfs of our own, which nothing in the container can mount over or replace (CVE-2025-52881).

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// A detached mount of procfs for the caller's pid namespace.
#[derive(Debug)]
pub(crate) struct ProcHandle(OwnedFd);

impl ProcHandle {
    pub(crate) fn new() -> io::Result<Self> {
        let fs = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&fs)?;
        let attr = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        Ok(Self(fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attr)?))
    }

    /// Writes a file of procfs, given relative to its root, in one write.
    pub(crate) fn write(&self, path: impl AsRef<Path>, value: &[u8]) -> io::Result<()> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat2(&self.0, path.as_ref(), flags, Mode::empty(), resolve)?;
        let n = rustix::io::write(&file, value)?;
        if n == value.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}
