//! Mount attributes, the part of the mount API that `rustix` lacks.

use std::ffi::CStr;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `struct mount_attr` (mount_setattr(2), Linux 5.12).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountAttr {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear.
    pub clear: u64,
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE` or 0 to leave the propagation.
    pub propagation: u64,
    /// User namespace descriptor for `MOUNT_ATTR_IDMAP`.
    pub userns: u64,
}

impl MountAttr {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Read-only.
pub const ATTR_RDONLY: u64 = 0x1;
/// Set-uid bits and file capabilities have no effect.
pub const ATTR_NOSUID: u64 = 0x2;
/// Device nodes cannot be opened.
pub const ATTR_NODEV: u64 = 0x4;
/// Programs cannot be run.
pub const ATTR_NOEXEC: u64 = 0x8;
/// The field of access-time settings.
pub const ATTR_ATIME_MASK: u64 = 0x70;
/// Access times as with `relatime` (the value 0 of the field).
pub const ATTR_RELATIME: u64 = 0x0;
/// No access times.
pub const ATTR_NOATIME: u64 = 0x10;
/// Every access updates the access time.
pub const ATTR_STRICTATIME: u64 = 0x20;
/// No access times on directories.
pub const ATTR_NODIRATIME: u64 = 0x80;
/// Owners are mapped as in the user namespace of [`MountAttr::userns`] (Linux 5.12).
pub const ATTR_IDMAP: u64 = 0x0010_0000;
/// Symbolic links are not followed (Linux 5.14).
pub const ATTR_NOSYMFOLLOW: u64 = 0x0020_0000;

/// `MS_PRIVATE`, for [`MountAttr::propagation`].
pub const PRIVATE: u64 = 1 << 18;
/// `MS_SLAVE`, for [`MountAttr::propagation`].
pub const SLAVE: u64 = 1 << 19;

/// Changes the attributes of the mount that `dir` and `path` name; of all mounts below with `recursive`.
///
/// # Errors
/// The kernel's errno; `ENOSYS` before Linux 5.12.
pub fn set_attributes(dir: BorrowedFd<'_>, path: &CStr, recursive: bool, attr: &MountAttr) -> io::Result<()> {
    let mut flags = libc::AT_SYMLINK_NOFOLLOW;
    if path.is_empty() {
        flags |= libc::AT_EMPTY_PATH;
    }
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: `path` is NUL-terminated, `attr` is a mount_attr of the size passed; both outlive the call.
    super::check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir.as_raw_fd(),
            path.as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}
