//! Owners, modes, times and extended attributes.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::Fault;
use super::dirs::Defaults;
use super::rules::{Attrs, DirMeta};
use rustix::fs::{
    AtFlags, Mode, Timespec, Timestamps, XattrFlags, chmodat, chownat, fchmod, fchown, fsetxattr, futimens,
    lsetxattr, utimensat,
};

/// Marks a directory as hiding what lower layers have there (Documentation/filesystems/overlayfs.rst).
pub(crate) const OPAQUE: &CStr = c"trusted.overlay.opaque";
/// The same for overlays that are mounted in a user namespace, with `userxattr` (Linux 5.11).
pub(crate) const USER_OPAQUE: &CStr = c"user.overlay.opaque";

/// Whether this attribute marks a directory so.
pub(crate) fn is_opaque(name: &[u8], value: &[u8]) -> bool {
    [OPAQUE, USER_OPAQUE].iter().any(|mark| mark.to_bytes() == name) && value == b"y"
}

impl Attrs {
    /// Applies everything to an open file. The order matters: writing and chown clear set-id bits and
    /// capabilities.
    pub(crate) fn apply(&self, fd: BorrowedFd<'_>, defaults: &Defaults) -> Result<(), Fault> {
        let own = |uid, gid| fchown(fd, Some(uid), Some(gid));
        defaults.rights.owner((self.uid, self.gid), (defaults.uid, defaults.gid), own)?;
        if self.mode & (0o7000 | defaults.umask) != 0 {
            fchmod(fd, Mode::from_raw_mode(self.mode)).map_err(|e| Fault::Io("change mode", e))?;
        }
        for (name, value) in &self.xattrs {
            defaults.attribute(name, fsetxattr(fd, name, value, XattrFlags::empty()))?;
        }
        futimens(fd, &self.times()).map_err(|e| Fault::Io("set times", e))
    }

    /// Applies everything to `name` in `parent` without opening it: links, devices and pipes.
    pub(crate) fn apply_at(
        &self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        link: bool,
        defaults: &Defaults,
    ) -> Result<(), Fault> {
        let own = |uid, gid| chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
        defaults.rights.owner((self.uid, self.gid), (defaults.uid, defaults.gid), own)?;
        if !link {
            // Made by us a moment ago in a directory nobody else can reach, so it is not a link.
            chmodat(parent, name, Mode::from_raw_mode(self.mode), AtFlags::empty())
                .map_err(|e| Fault::Io("change mode", e))?;
        }
        for (key, value) in &self.xattrs {
            // There is no setxattrat before Linux 6.13; the last component is not followed.
            let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
            path.extend_from_slice(name.to_bytes());
            defaults.attribute(key, lsetxattr(path, key, value, XattrFlags::empty()))?;
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
    pub(crate) fn apply(&self, fd: impl AsFd, defaults: &Defaults) -> Result<(), Fault> {
        let (fd, attrs) = (fd.as_fd(), &self.attrs);
        let own = |uid, gid| fchown(fd, Some(uid), Some(gid));
        defaults.rights.owner((attrs.uid, attrs.gid), (defaults.uid, defaults.gid), own)?;
        fchmod(fd, Mode::from_raw_mode(attrs.mode)).map_err(|e| Fault::Io("change mode", e))?;
        for (name, value) in &attrs.xattrs {
            defaults.attribute(name, fsetxattr(fd, name, value, XattrFlags::empty()))?;
        }
        if self.opaque {
            let mark = defaults.rights.opaque();
            fsetxattr(fd, mark, b"y", XattrFlags::empty()).map_err(|e| Fault::Io("mark opaque", e))?;
        }
        futimens(fd, &attrs.times()).map_err(|e| Fault::Io("set times", e))
    }
}
