//! Owners, modes, times and extended attributes.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{
    AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod, fchown, fsetxattr,
    futimens, lsetxattr, utimensat,
};
use rustix::io::Errno;

use super::dirs::{Defaults, DirMeta};
use super::{EntryProblem, Fault};
use crate::tar::Entry;

/// Marks a directory as hiding what lower layers have there (Documentation/filesystems/overlayfs.rst).
pub(crate) const OPAQUE: &CStr = c"trusted.overlay.opaque";

/// Attributes of one entry, checked.
pub(super) struct Attrs {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
    pub(super) mtime: (i64, u32),
    pub(super) xattrs: Vec<(CString, Vec<u8>)>,
}

impl Attrs {
    /// Checks the attributes `entry` asks for.
    pub(super) fn of(entry: &Entry) -> Result<Self, EntryProblem> {
        Ok(Self {
            uid: owner(entry.uid)?,
            gid: owner(entry.gid)?,
            mode: entry.mode,
            mtime: entry.mtime,
            xattrs: xattrs(&entry.xattrs)?,
        })
    }

    pub(super) fn into_dir(self, opaque: bool) -> DirMeta {
        let Self { uid, gid, mode, mtime, xattrs } = self;
        DirMeta { mode, uid, gid, mtime, xattrs, opaque, implied: false }
    }

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
        futimens(fd, &times(self.mtime)).map_err(|e| Fault::Io("set times", e))
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
        utimensat(parent, name, &times(self.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| Fault::Io("set times", e))
    }
}

impl DirMeta {
    /// Applies everything to an open directory.
    pub(super) fn apply(&self, fd: impl AsFd, defaults: &Defaults) -> Result<(), Fault> {
        let fd = fd.as_fd();
        if (self.uid, self.gid) != (defaults.uid, defaults.gid) {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            fchown(fd, Some(uid), Some(gid)).map_err(|e| Fault::Io("change owner", e))?;
        }
        fchmod(fd, Mode::from_raw_mode(self.mode)).map_err(|e| Fault::Io("change mode", e))?;
        for (name, value) in &self.xattrs {
            done(name, fsetxattr(fd, name, value, XattrFlags::empty()))?;
        }
        if self.opaque {
            fsetxattr(fd, OPAQUE, b"y", XattrFlags::empty()).map_err(|e| Fault::Io("mark opaque", e))?;
        }
        futimens(fd, &times(self.mtime)).map_err(|e| Fault::Io("set times", e))
    }
}

fn times((tv_sec, nanos): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec, tv_nsec: nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// A 32-bit id; the last one means "leave unchanged" to chown(2) and would keep root as the owner.
fn owner(id: u64) -> Result<u32, EntryProblem> {
    u32::try_from(id).ok().filter(|&id| id != u32::MAX).ok_or(EntryProblem::Owner(id))
}

/// Which attributes of the archive reach the disk.
///
/// The overlay's own would let a layer redirect lookups or hide files (CVE-2021-3493 and relatives), so they
/// are refused under either prefix. Labels of the host's security modules mean nothing outside the machine
/// that set them and are left out; file capabilities are kept.
fn xattrs(pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<(CString, Vec<u8>)>, EntryProblem> {
    let mut kept = Vec::new();
    for (name, value) in pairs {
        let shown = || String::from_utf8_lossy(name).into_owned();
        if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
            return Err(EntryProblem::ReservedXattr(shown()));
        }
        if name.starts_with(b"security.") && name != b"security.capability" {
            continue;
        }
        if name.len() > 255 || !name.contains(&b'.') {
            return Err(EntryProblem::XattrName(shown()));
        }
        let name = CString::new(name.as_slice()).map_err(|_| EntryProblem::XattrName(shown()))?;
        kept.push((name, value.clone()));
    }
    Ok(kept)
}

/// A file system without `user.` attributes, or a kind of file that may not have them, loses nothing a
/// program depends on; every other failure counts.
fn done(name: &CStr, result: Result<(), Errno>) -> Result<(), Fault> {
    match result {
        Err(Errno::OPNOTSUPP | Errno::PERM) if name.to_bytes().starts_with(b"user.") => Ok(()),
        result => result.map_err(|e| Fault::Io("set extended attribute", e)),
    }
}
