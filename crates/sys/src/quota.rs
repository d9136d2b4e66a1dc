//! Project quotas: how much files that belong together may occupy (quotactl(2), ioctl_xfs_fsgetxattr(2)).
//!
//! A project is a number that a directory has and what is made in it inherits. ext4, XFS and F2FS count its blocks and inodes where
//! they were made and mounted for that. All of them answer the same commands.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{fstat, major, minor};

use crate::check;

/// `PRJQUOTA` (`linux/quota.h`).
const PROJECTS: u32 = 2;
/// `Q_GETQUOTA`.
const GET: u32 = 0x80_0007;
/// `Q_SETQUOTA`.
const SET: u32 = 0x80_0008;
/// `Q_XGETQSTATV` (`linux/dqblk_xfs.h`).
const STATE: u32 = ((b'X' as u32) << 8) + 8;
/// `FS_QSTATV_VERSION1`.
const STATE_VERSION: u64 = 1;
/// `FS_QUOTA_PDQ_ACCT`.
const COUNTED: u16 = 1 << 4;
/// `FS_QUOTA_PDQ_ENFD`.
const ENFORCED: u16 = 1 << 5;
/// `QIF_BLIMITS | QIF_ILIMITS`: of what is set, only the limits count.
const LIMITS: u32 = 1 | 4;
/// Limits of space are in units of so many bytes (`QIF_DQBLKSIZE`).
const UNIT: u64 = 1024;

/// `FS_IOC_FSGETXATTR` (`linux/fs.h`).
const GET_ATTRIBUTES: libc::c_ulong = 0x801c_581f;
/// `FS_IOC_FSSETXATTR`.
const SET_ATTRIBUTES: libc::c_ulong = 0x401c_5820;
/// `FS_XFLAG_PROJINHERIT`.
const INHERIT: u32 = 0x200;

/// `struct if_dqblk`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    hard_units: u64,
    soft_units: u64,
    bytes: u64,
    hard_inodes: u64,
    soft_inodes: u64,
    inodes: u64,
    grace: u64,
    grace_inodes: u64,
    valid: u32,
    padding: u32,
}

/// `struct fsxattr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    padding: [u8; 8],
}

/// What a file system does about projects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Nothing.
    None,
    /// It counts what they have, and lets them have more than their limits.
    Counted,
    /// It keeps their limits.
    Enforced,
}

/// What a project may have; zero is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes; the kernel counts in units of 1024, so a fraction of one is rounded up.
    pub bytes: u64,
    /// Files, directories and everything else that has a number of its own.
    pub inodes: u64,
}

/// A project as the file system has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// What it may have.
    pub limits: Limits,
    /// What it has.
    pub used: Limits,
}

/// Whether the file system of `dir` keeps limits of projects.
///
/// # Errors
/// The kernel's errno, but for those that say that it does not.
pub fn support(dir: BorrowedFd<'_>) -> io::Result<Support> {
    // `struct fs_quota_statv` has 160 bytes and begins with its version, and has flags in bytes 2 and 3.
    let mut state = [0u64; 32];
    state[0] = STATE_VERSION.to_le();
    match control(dir, STATE, 0, &mut state) {
        Ok(()) => {}
        Err(e)
            if matches!(
                e.raw_os_error(),
                Some(
                    libc::ENOSYS
                        | libc::ENOTBLK
                        | libc::ENODEV
                        | libc::EOPNOTSUPP
                        | libc::ESRCH
                        | libc::EINVAL
                )
            ) =>
        {
            return Ok(Support::None);
        }
        Err(e) => return Err(e),
    }
    let flags = (u64::from_le(state[0]) >> 16) as u16;
    Ok(match (flags & COUNTED != 0, flags & ENFORCED != 0) {
        (_, true) => Support::Enforced,
        (true, false) => Support::Counted,
        _ => Support::None,
    })
}

/// What a project on the file system of `dir` has and may have.
///
/// # Errors
/// The kernel's errno.
pub fn quota(dir: BorrowedFd<'_>, project: u32) -> io::Result<Quota> {
    let mut block = Block::default();
    match control(dir, GET, project, &mut block) {
        // XFS has no entry for one that has nothing.
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => return Ok(Quota::default()),
        result => result?,
    }
    Ok(Quota {
        limits: Limits { bytes: block.hard_units.saturating_mul(UNIT), inodes: block.hard_inodes },
        used: Limits { bytes: block.bytes, inodes: block.inodes },
    })
}

/// Limits a project on the file system of `dir`.
///
/// # Errors
/// The kernel's errno; `EPERM` for who may not.
pub fn set_limits(dir: BorrowedFd<'_>, project: u32, limits: Limits) -> io::Result<()> {
    let mut block = Block {
        hard_units: limits.bytes.div_ceil(UNIT),
        hard_inodes: limits.inodes,
        valid: LIMITS,
        ..Block::default()
    };
    control(dir, SET, project, &mut block)
}

/// The project that a file or directory belongs to.
///
/// # Errors
/// The kernel's errno; `ENOTTY` or `EOPNOTSUPP` where files belong to none.
pub fn project(file: BorrowedFd<'_>) -> io::Result<u32> {
    attributes(file).map(|attributes| attributes.project)
}

/// Makes a directory and all that is made in it from now on belong to a project.
///
/// # Errors
/// The kernel's errno; `EOPNOTSUPP` on an ext4 without the feature `project`.
pub fn set_project(dir: BorrowedFd<'_>, project: u32) -> io::Result<()> {
    let mut attributes = attributes(dir)?;
    attributes.project = project;
    attributes.flags |= INHERIT;
    // SAFETY: the kernel reads a `struct fsxattr`, which this is.
    check(unsafe { libc::ioctl(dir.as_raw_fd(), SET_ATTRIBUTES, &raw const attributes) }.into()).map(drop)
}

fn attributes(file: BorrowedFd<'_>) -> io::Result<Attributes> {
    let mut attributes = Attributes::default();
    // SAFETY: the kernel writes a `struct fsxattr`, which this is; any bytes are a valid one.
    check(unsafe { libc::ioctl(file.as_raw_fd(), GET_ATTRIBUTES, &raw mut attributes) }.into())?;
    Ok(attributes)
}

/// quotactl_fd(2), Linux 5.14, or what was there before.
fn control<T>(dir: BorrowedFd<'_>, command: u32, id: u32, data: &mut T) -> io::Result<()> {
    let command = command << 8 | PROJECTS;
    // SAFETY: each command reads and writes at most the structure that its caller gives: `GET` and `SET` a `struct if_dqblk`,
    // `STATE` a `struct fs_quota_statv`, for which 256 bytes are more than enough.
    let result = check(unsafe {
        libc::syscall(libc::SYS_quotactl_fd, dir.as_raw_fd(), command, id, std::ptr::from_mut(data))
    });
    match result {
        // Also where there is the call and no quota; then the older one says so, too.
        Err(e) if e.raw_os_error() == Some(libc::ENOSYS) => {
            let Some(device) = device(dir) else { return Err(e) };
            // SAFETY: as above; the device's name ends with a NUL.
            check(unsafe {
                libc::syscall(libc::SYS_quotactl, command, device.as_ptr(), id, std::ptr::from_mut(data))
            })
            .map(drop)
        }
        result => result.map(drop),
    }
}

/// The block device of a directory's file system, where it has one.
fn device(dir: BorrowedFd<'_>) -> Option<CString> {
    let number = fstat(dir.as_fd()).ok()?.st_dev;
    let about = format!("/sys/dev/block/{}:{}/uevent", major(number), minor(number));
    let about = fs::read_to_string(about).ok()?;
    let name = about.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    CString::new(format!("/dev/{name}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_are_as_long_as_the_kernels() {
        assert_eq!((size_of::<Block>(), size_of::<Attributes>()), (72, 28));
    }

    #[test]
    fn a_file_system_that_knows_no_projects_says_so() {
        let proc = fs::File::open("/proc").unwrap();
        assert_eq!(support(proc.as_fd()).unwrap(), Support::None);
        assert!(project(proc.as_fd()).is_err());
    }
}
