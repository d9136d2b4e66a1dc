//! Paths a container must not read or change.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use loment_sys::mount::{ATTR_NOEXEC, ATTR_NOSUID, ATTR_RDONLY, MountAttr, PRIVATE, set_attributes};
use rustix::fs::{CWD, FileType, makedev};

use crate::attributes::{attach_changed, is_too_old};
use crate::error::Context;
use crate::mount_label::MountLabel;
use crate::mounts::{attach, clone_tree, file_type, new_filesystem};
use crate::options::Options;
use crate::{Failure, InRoot};

/// The node is the host's: its mode and owner must not be changed through it. Writing to the device stays possible.
pub(crate) const NODE: MountAttr =
    MountAttr { set: ATTR_RDONLY | ATTR_NOSUID | ATTR_NOEXEC, clear: 0, propagation: PRIVATE, userns: 0 };

/// The host's /dev/null, taken before the container's files are entered: an image may have put something else there
/// (CVE-2025-31133).
#[derive(Debug)]
pub(crate) struct HostNull {
    tree: OwnedFd,
    /// What it still needs.
    attr: MountAttr,
}

impl HostNull {
    pub(crate) fn take() -> io::Result<Self> {
        let tree = clone_tree(CWD, Path::new("/dev/null"), false)?;
        let stat = rustix::fs::fstat(&tree)?;
        let attr = match set_attributes(tree.as_fd(), c"", false, &NODE) {
            Err(e) if is_too_old(&e) => NODE,
            other => other.map(|()| MountAttr::default())?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_null = kind == FileType::CharacterDevice && stat.st_rdev == makedev(1, 3);
        if is_null { Ok(Self { tree, attr }) } else { Err(io::Error::other("it is not the null device")) }
    }
}

/// Hides paths: files under the null device, directories under one empty read-only tmpfs. Missing ones are skipped.
pub(crate) fn mask(
    root: &InRoot,
    paths: &[PathBuf],
    null: HostNull,
    label: Option<&MountLabel>,
) -> Result<(), Failure> {
    let (mut null, mut empty) = (Cover::new(null.tree, null.attr), None);
    for path in paths {
        let target = match root.resolve(path) {
            Err(e) if is_missing(&e) => continue,
            other => other.context("open", path.display())?,
        };
        let mut cover = || match file_type(&target)? {
            FileType::Directory => empty_cover(&mut empty, label)?.put_on(&target),
            _ => null.put_on(&target),
        };
        cover().context("mask", path.display())?;
    }
    Ok(())
}

/// One superblock for all directories: each of its own would cost time when the container ends.
fn empty_cover<'m>(made: &'m mut Option<Cover>, label: Option<&MountLabel>) -> io::Result<&'m mut Cover> {
    match made {
        Some(cover) => Ok(cover),
        None => {
            let options = ["ro", "nosuid", "nodev", "noexec", "mode=755", "size=0k", "nr_inodes=1"];
            let mut options = Options::parse(&options.map(str::to_owned));
            if let Some(label) = label {
                label.add_to("tmpfs", &mut options);
            }
            let mount = new_filesystem("tmpfs", Path::new("tmpfs"), &options)?;
            Ok(made.insert(Cover::new(mount, MountAttr::default())))
        }
    }
}

/// A mount that hides any number of paths. It is itself attached to the first of them, because a detached mount cannot be
/// copied before Linux 6.15.
struct Cover {
    mount: OwnedFd,
    attached: bool,
    /// What the mount, and no copy of it, still needs.
    attr: MountAttr,
}

impl Cover {
    fn new(mount: OwnedFd, attr: MountAttr) -> Self {
        Self { mount, attached: false, attr }
    }

    fn put_on(&mut self, target: &OwnedFd) -> io::Result<()> {
        if self.attached {
            return attach(&clone_tree(self.mount.as_fd(), Path::new(""), false)?, target);
        }
        attach_changed(&self.mount, &[(false, self.attr)], || attach(&self.mount, target))?;
        self.attached = true;
        Ok(())
    }
}

/// Makes paths read-only, with everything mounted below. Missing ones are skipped.
pub(crate) fn make_read_only(root: &InRoot, paths: &[PathBuf]) -> Result<(), Failure> {
    for path in paths {
        let target = match root.resolve(path) {
            Err(e) if is_missing(&e) => continue,
            other => other.context("open", path.display())?,
        };
        let step = || -> io::Result<()> {
            let tree = clone_tree(target.as_fd(), Path::new(""), true)?;
            let read_only = MountAttr { set: ATTR_RDONLY, ..MountAttr::default() };
            attach_changed(&tree, &[(true, read_only)], || attach(&tree, &target))
        };
        step().context("make read-only", path.display())?;
    }
    Ok(())
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
