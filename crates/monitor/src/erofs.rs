//! Mounting a layer that is one file, an EROFS image.
//!
//! From the file itself where the kernel can (Linux 6.12), without a second copy of everything in the page cache where it can do
//! that, too (`directio`, Linux 6.15); through a loop device elsewhere.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};

/// The image in `file` as a mount that is attached nowhere.
///
/// # Errors
/// `ENODEV` when the kernel has no EROFS.
pub(crate) fn mount(file: &Path) -> io::Result<OwnedFd> {
    match from(file, true) {
        // Files on this file system, or on this kernel, cannot be read past the page cache.
        Err(Errno::INVAL) => match from(file, false) {
            Err(Errno::NOTBLK) => through_loop(file),
            other => Ok(other?),
        },
        Err(Errno::NOTBLK) => through_loop(file),
        other => Ok(other?),
    }
}

/// Whether the kernel mounts EROFS images that are files on the file system of `file`, which need not be an image.
pub fn mounts_files(file: &Path) -> bool {
    // One that can gets as far as to see that this is no image.
    matches!(from(file, false), Ok(_) | Err(Errno::INVAL | Errno::IO | Errno::UCLEAN))
}

fn from(source: &Path, direct: bool) -> rustix::io::Result<OwnedFd> {
    let fs = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, "source", source)?;
    fsconfig_set_flag(&fs, "ro")?;
    if direct {
        fsconfig_set_flag(&fs, "directio")?;
    }
    fsconfig_create(&fs)?;
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
}

pub(crate) fn through_loop(file: &Path) -> io::Result<OwnedFd> {
    // The device goes when its last user does: this descriptor, then the mount.
    let device = loment_sys::loopdev::attach(&File::open(file)?)?;
    Ok(from(device.path(), false)?)
}
