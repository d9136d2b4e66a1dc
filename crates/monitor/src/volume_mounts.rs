//! Volumes that are file systems: mounted once, next to the layers of images (see [`crate::pins`]), as long as something uses them.
//!
//! `volumes/<name>/` beside the pins has an empty file for each that does. It is changed with the volume's lock only.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use loment_runtime::new_mount;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, UnmountFlags, open_tree, unmount};

use crate::Error;
use crate::error::Context;
use crate::launch::VolumeMount;
use crate::mounts::{is_mount_point, place};
use crate::pins;
use crate::volumes::{DATA, locked};

/// The beginning of who uses a volume for an archive: the number of a process follows.
pub const ARCHIVE: &str = "archive-";
/// Who uses a volume that is shown on the host.
const HOST: &str = "host";

/// The volume's files, attached nowhere; from now on `user` uses it. For processes with one thread.
///
/// # Errors
/// [`Error::Io`].
pub fn open(mount: &VolumeMount, user: &str) -> Result<OwnedFd, Error> {
    // A directory that is there is mounted for nobody else.
    let _lock = if bound(mount).is_none() { Some(locked(&mount.dir)?) } else { None };
    open_locked(mount, user)
}

/// The same for who has the volume's lock.
fn open_locked(mount: &VolumeMount, user: &str) -> Result<OwnedFd, Error> {
    let tree = match bound(mount) {
        Some(recursive) => {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            let flags = if recursive { flags | OpenTreeFlags::AT_RECURSIVE } else { flags };
            open_tree(CWD, &mount.device, flags)
                .context("open the device of volume", format!("{}, {}", mount.name, mount.device.display()))?
        }
        None => open_shared(mount, user)?,
    };
    if is_read_only(mount) {
        make_read_only(&tree).context("mount volume", &mount.name)?;
    }
    Ok(tree)
}

/// A clone of what is mounted once for all.
fn open_shared(mount: &VolumeMount, user: &str) -> Result<OwnedFd, Error> {
    let users = users(mount);
    std::fs::create_dir_all(&users).context("create", users.display())?;
    File::create(users.join(user)).context("note a user in", users.display())?;
    let tree =
        pins::shared(&mount.pins, &pin(mount), || new_mount(&mount.kind, &mount.device, &mount.options));
    tree.inspect_err(|_| drop(std::fs::remove_file(users.join(user))))
}

/// `user` does not use it any more. With the last one it is unmounted. For processes with one thread.
///
/// # Errors
/// [`Error::Io`].
pub fn close(mount: &VolumeMount, user: &str) -> Result<(), Error> {
    let users = users(mount);
    // Most have none, and those of a bind mount never.
    if bound(mount).is_some() || !users.exists() {
        return Ok(());
    }
    let _lock = locked(&mount.dir)?;
    close_locked(mount, user)
}

/// The same for who has the volume's lock.
fn close_locked(mount: &VolumeMount, user: &str) -> Result<(), Error> {
    let users = users(mount);
    let _ = std::fs::remove_file(users.join(user));
    forget_dead(&users);
    match std::fs::remove_dir(&users) {
        Ok(()) => pins::end(&mount.pins, &pin(mount)),
        // Somebody else uses it.
        Err(_) => Ok(()),
    }
}

/// Whoever read or wrote an archive and was killed uses nothing any more.
fn forget_dead(users: &Path) {
    for entry in std::fs::read_dir(users).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(ARCHIVE));
        if process.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Ends it whoever used it, for a volume that goes; for who has its lock. For processes with one thread.
///
/// # Errors
/// [`Error::Io`].
pub fn end(mount: &VolumeMount) -> Result<(), Error> {
    let users = users(mount);
    if bound(mount).is_some() || !users.exists() {
        return Ok(());
    }
    let _ = std::fs::remove_dir_all(&users);
    pins::end(&mount.pins, &pin(mount))
}

/// Shows it on its own directory of the host.
///
/// # Errors
/// [`Error::Io`].
pub fn show(mount: &VolumeMount) -> Result<(), Error> {
    let data = mount.dir.join(DATA);
    let _lock = locked(&mount.dir)?;
    if is_mount_point(&data).context("look at", data.display())? {
        return Ok(());
    }
    let tree = open_locked(mount, HOST)?;
    place(&tree, CWD, &data).context("mount", data.display())
}

/// Ends that; `false` when it is not shown.
///
/// # Errors
/// [`Error::Io`] for one that is in use.
pub fn hide(mount: &VolumeMount) -> Result<bool, Error> {
    let data = mount.dir.join(DATA);
    if !is_mount_point(&data).context("look at", data.display())? {
        return Ok(false);
    }
    let _lock = locked(&mount.dir)?;
    match unmount(&data, UnmountFlags::empty()) {
        // Somebody else was faster.
        Err(Errno::INVAL) => return Ok(false),
        done => done.context("unmount", data.display())?,
    }
    if bound(mount).is_none() && users(mount).exists() {
        close_locked(mount, HOST)?;
    }
    Ok(true)
}

/// Whether it is a directory that is there, and whether with what is mounted below.
fn bound(mount: &VolumeMount) -> Option<bool> {
    is_bound(&mount.kind, &mount.options).then(|| mount.options.iter().any(|option| option == "rbind"))
}

/// Whether a volume of that type and with these options is a directory that is there.
pub fn is_bound(kind: &str, options: &[String]) -> bool {
    matches!(kind, "" | "none" | "bind")
        || options.iter().any(|option| ["bind", "rbind"].contains(&option.as_str()))
}

fn pin(mount: &VolumeMount) -> String {
    format!("{}{}", pins::SHARED, mount.name)
}

fn users(mount: &VolumeMount) -> PathBuf {
    let above = mount.pins.parent().unwrap_or(Path::new("/"));
    above.join("volumes").join(&mount.name)
}

/// Restrictions that its options are, of a directory that is there.
fn is_read_only(mount: &VolumeMount) -> bool {
    mount.options.iter().rfind(|option| ["ro", "rw"].contains(&option.as_str())).is_some_and(|o| o == "ro")
}

/// Makes a mount read-only.
fn make_read_only(tree: &OwnedFd) -> io::Result<()> {
    use loment_sys::mount::{ATTR_RDONLY, MountAttr, set_attributes};
    set_attributes(tree.as_fd(), c"", true, &MountAttr { set: ATTR_RDONLY, ..MountAttr::default() })
}
