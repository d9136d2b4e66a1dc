//! Limits of what a container's writable layer may occupy, kept by the file system.
//!
//! Each limited layer is a project of its own (see [`loment_sys::quota`]). Nothing else is written down: the number is found where the
//! kernel keeps it, on the layer. It comes from a range of ours, at a place that the container's id gives; whether it is free is asked
//! of the file system, which counts every user of a number, those of another store included. Two that take the same at one moment see
//! more counted than each has made, and both take another: no lock is needed, and none would reach another store.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use loment_sys::quota::{self, Limits, Quota, Support};
use rustix::fs::statfs;

use crate::digest::sha256;
use crate::error::{Context, Error};
use crate::layer::open_dir;
use crate::store::Store;

/// The first of our numbers; Podman and Docker count from the number of their directory, mostly 0.
const FIRST: u32 = 0x4c00_0000;
/// So many of them: as many as three bytes say.
const COUNT: u32 = 1 << 24;
/// The directory of the two that a container cannot change the number of.
const WORK: &str = "work";

impl Store {
    /// Whether limits can be kept for containers made here.
    ///
    /// # Errors
    /// [`Error::NoLimits`], which says what to do.
    pub fn check_limits(&self) -> Result<(), Error> {
        let path = self.path("containers");
        let dir = open_dir(&path)?;
        let support = quota::support(dir.as_fd()).during("ask for the quotas of", &path)?;
        if support == Support::Enforced {
            return Ok(());
        }
        let kind = statfs(&path).during("look at", &path)?.f_type;
        let (filesystem, advice) = advice(kind as u64, support);
        Err(Error::NoLimits { root: self.root().to_path_buf(), filesystem, advice })
    }

    /// Makes directories that are empty yet one project, such as those of a container's layer, and limits that. `id` is theirs alone.
    ///
    /// # Errors
    /// [`Error::NoLimits`], which says what to do; [`Error::NoProject`].
    pub fn limit<const N: usize>(&self, id: &str, dirs: [&Path; N], limits: Limits) -> Result<(), Error> {
        self.check_limits()?;
        let open = dirs.into_iter().map(open_dir).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = open.first() else { return Ok(()) };
        for project in candidates(id) {
            let known = quota::quota(first.as_fd(), project).during("ask for the quota of", dirs[0])?;
            if known != Quota::default() {
                continue;
            }
            for (dir, path) in open.iter().zip(dirs) {
                quota::set_project(dir.as_fd(), project).during("set the project of", path)?;
            }
            let now = quota::quota(first.as_fd(), project).during("ask for the quota of", dirs[0])?;
            if now.used.inodes <= dirs.len() as u64 {
                return quota::set_limits(first.as_fd(), project, limits).during("limit", dirs[0]);
            }
        }
        Err(Error::NoProject { root: self.root().to_path_buf() })
    }

    /// The project that limits the container whose directory this is, if it is limited.
    pub fn project_of(dir: &Path) -> Option<u32> {
        project(File::open(dir.join(WORK)).ok()?.as_fd())
    }

    /// The project that limits a directory, if it is one of ours.
    pub fn project_of_directory(dir: &Path) -> Option<u32> {
        project(File::open(dir).ok()?.as_fd())
    }

    /// Takes the limits back of a directory, which nothing uses any more.
    pub fn release_directory(dir: &Path) {
        if let (Some(project), Ok(open)) = (Self::project_of_directory(dir), File::open(dir)) {
            // Best effort, as below.
            let _ = quota::set_limits(open.as_fd(), project, Limits::default());
        }
    }

    /// Takes the limits back of the container whose directory this is, which nothing uses any more. Its number is free when its
    /// files are gone, too.
    pub fn release_limits(dir: &Path) {
        let Ok(work) = File::open(dir.join(WORK)) else { return };
        if let Some(project) = project(work.as_fd()) {
            // Best effort: what stays is an entry of a number that is not taken again.
            let _ = quota::set_limits(work.as_fd(), project, Limits::default());
        }
    }
}

fn project(dir: BorrowedFd<'_>) -> Option<u32> {
    quota::project(dir).ok().filter(|number| (FIRST..FIRST + COUNT).contains(number))
}

/// The numbers that a container tries, in this order.
fn candidates(id: &str) -> impl Iterator<Item = u32> {
    let hex = sha256(id.as_bytes()).digest().to_owned();
    (0..hex.len() / 6).filter_map(move |n| {
        let digits = hex.get(n * 6..n * 6 + 6)?;
        u32::from_str_radix(digits, 16).ok().map(|number| FIRST + number)
    })
}

/// What a file system is called, by its magic number (statfs(2)), and what has to be done for limits.
fn advice(kind: u64, support: Support) -> (String, &'static str) {
    const ELSEWHERE: &str = "keep them on XFS or ext4, mounted with the option prjquota";
    const MOUNT: &str = "mount it with the option prjquota";
    let name = match kind {
        0xef53 => "ext4",
        0x5846_5342 => "XFS",
        0xf2f5_2010 => "F2FS",
        0x9123_683e => "Btrfs",
        0xca45_1a4e => "bcachefs",
        0x2fc1_2fc1 => "ZFS",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlayfs",
        0x6969 => "NFS",
        _ => return (format!("a file system of type {kind:#x}"), ELSEWHERE),
    };
    let advice = match (name, support) {
        ("ext4", Support::None) => {
            "run `tune2fs -O quota,project DEVICE` while it is not mounted, then mount it with the option prjquota"
        }
        ("XFS", _) => {
            "mount it with the option prjquota, anew: a remount does not do (for /, boot with rootflags=prjquota)"
        }
        ("F2FS", _) | (_, Support::Counted) => MOUNT,
        _ => ELSEWHERE,
    };
    (name.to_owned(), advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_to_try_are_ours_and_differ() {
        let of = |id: &str| candidates(id).collect::<std::collections::BTreeSet<_>>();
        let (one, other) = (of("one"), of("other"));
        assert_eq!((one.len(), other.len()), (10, 10));
        assert!(one.is_disjoint(&other));
        assert!(one.iter().chain(&other).all(|n| (FIRST..FIRST + COUNT).contains(n)));
    }
}
