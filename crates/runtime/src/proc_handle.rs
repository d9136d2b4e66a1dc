//! A procfs of our own, which nothing in the container can mount over or replace (CVE-2025-52881).

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// include/linux/proc_ns.h
const PROC_ROOT_INO: u64 = 1;

/// A detached mount of procfs for the caller's pid namespace.
#[derive(Debug)]
pub(crate) struct ProcHandle(OwnedFd);

impl ProcHandle {
    pub(crate) fn new() -> io::Result<Self> {
        let fs = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
        match fsconfig_create(&fs) {
            // An ordinary user cannot mount it for a pid namespace that is not theirs, such as the machine's.
            Err(Errno::PERM) => return Self::of_the_machine(),
            created => created?,
        }
        let attr = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        Ok(Self(fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attr)?))
    }

    /// What is at /proc, if that is the root of a procfs. Mounts over its files are not followed ([`ProcHandle::write`]).
    fn of_the_machine() -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let proc = rustix::fs::openat(CWD, "/proc", flags, Mode::empty())?;
        let is_procfs = rustix::fs::fstatfs(&proc)?.f_type == PROC_SUPER_MAGIC;
        let is_root = rustix::fs::fstat(&proc)?.st_ino == PROC_ROOT_INO;
        if is_procfs && is_root { Ok(Self(proc)) } else { Err(Errno::PERM.into()) }
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
