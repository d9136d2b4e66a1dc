//! Owners, modes, times and extended attributes.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{
    AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod, fchown, fsetxattr,
    futimens, lsetxattr, utimensat,
};
use rustix::io::Errno;

use super::Fault;
use super::dirs::Defaults;
use super::rules::{Attrs, DirMeta};

/// Marks a directory as hiding what lower layers have there (Documentation/filesystems/overlayfs.rst).
pub(crate) const OPAQUE: &CStr = c"trusted.overlay.opaque";

impl Attrs {
    /// Applies everything to an open file. The order matters: writing and chown clear set-id bits and
    /// capabilities.
    pub(super) fn apply(&self, fd: BorrowedFd<'_>, defaults: &Defaults) -> Result<(), Fault> {
        if (self.uid, self.gid) != (defaults.uid, defaults.gid) {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            fchown(fd, Some(uid), Some(gid)).map_err(|e| Fault::Io("change owner", e))?;
        }
        if self.mode & (0o7000 | defaults.umask) != 0 {
            fchmod(fd, Mode::from_raw_mode(self.mode)).map_err(|e| Fault::Io("change mode", e))?;
        }
        for (name, value) in &self.xattrs {
            done(name, fsetxattr(fd, name, value, XattrFlags::empty()))?;
        }
        futimens(fd, &self.times()).map_err(|e| Fault::Io("set times", e))
    }

    /// Applies everything to `name` in `parent` without opening it: links, devices and pipes.
    pub(super) fn apply_at(
        &self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        link: bool,
        defaults: &Defaults,
    ) -> Result<(), Fault> {
        if (self.uid, self.gid) != (defaults.uid, defaults.gid) {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|e| Fault::Io("change owner", e))?;
        }
        if !link {
            // Made by us a moment ago in a directory nobody else can reach, so it is not a link.
            chmodat(parent, name, Mode::from_raw_mode(self.mode), AtFlags::empty())
                .map_err(|e| Fault::Io("change mode", e))?;
        }
        for (key, value) in &self.xattrs {
            // There is no setxattrat before Linux 6.13; the last component is not followed.
            let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
            path.extend_from_slice(name.to_bytes());
            done(key, lsetxattr(path, key, value, XattrFlags::empty()))?;
        }
        utimensat(parent, name, &self.times(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| Fault::Io("set times", e))
    }
}

impl Attrs {
    fn times(&self) -> Timestamps {
        let time = |(tv_sec, nanos): (i64, u32)| Timespec { tv_sec, tv_nsec: nanos.into() };
        Timestamps { last_access: time(self.atime), last_modification: time(self.mtime) }
    }
}

impl DirMeta {
    /// Applies everything to an open directory.
    pub(super) fn apply(&self, fd: impl AsFd, defaults: &Defaults) -> Result<(), Fault> {
        let (fd, attrs) = (fd.as_fd(), &self.attrs);
        if (attrs.uid, attrs.gid) != (defaults.uid, defaults.gid) {
            let (uid, gid) = (Uid::from_raw(attrs.uid), Gid::from_raw(attrs.gid));
            fchown(fd, Some(uid), Some(gid)).map_err(|e| Fault::Io("change owner", e))?;
        }
        fchmod(fd, Mode::from_raw_mode(attrs.mode)).map_err(|e| Fault::Io("change mode", e))?;
        for (name, value) in &attrs.xattrs {
            done(name, fsetxattr(fd, name, value, XattrFlags::empty()))?;
        }
        if self.opaque {
            fsetxattr(fd, OPAQUE, b"y", XattrFlags::empty()).map_err(|e| Fault::Io("mark opaque", e))?;
        }
        futimens(fd, &attrs.times()).map_err(|e| Fault::Io("set times", e))
    }
}

/// A file system without `user.` attributes, or a kind of file that may not have them, loses nothing a
/// program depends on; every other failure counts.
fn done(name: &CStr, result: Result<(), Errno>) -> Result<(), Fault> {
    match result {
        Err(Errno::OPNOTSUPP | Errno::PERM) if name.to_bytes().starts_with(b"user.") => Ok(()),
        result => result.map_err(|e| Fault::Io("set extended attribute", e)),
    }
}
