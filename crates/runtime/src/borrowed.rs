//! Mounts of other containers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use loment_sys::pipe;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::Context;
use crate::mounts::clone_tree;
use crate::{Error, Failure, helper, report};

/// A detached copy of what is mounted at `path` in a mount namespace, without what is mounted below. For processes with one
/// thread.
///
/// # Errors
/// [`Error::Failed`] when there is no such directory, or the kernel refuses.
pub fn mount_of(namespace: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Error> {
    let (ours, theirs) = report::socket_pair().context("make", "a socket for a mount")?;
    // open_tree(2) copies mounts of the caller's own namespace only.
    helper::in_child("copy the mount at", &path.display().to_string(), || {
        move_into_link_name_space(namespace, Some(LinkNameSpaceType::Mount))
            .context("join", "the other container's mount namespace")?;
        let tree = clone_tree(rustix::fs::CWD, path, false).context("copy the mount at", path.display())?;
        pipe::send(&theirs, b"m", &[tree.as_fd()]).context("hand over", path.display()).map(drop)
    })?;
    let received = pipe::receive(&ours, &mut [0; 1]).context("take", path.display())?;
    let tree = received.fds.into_iter().next();
    Ok(tree.ok_or_else(|| Failure::unexpected("copy the mount at", &path.display().to_string()))?)
}
