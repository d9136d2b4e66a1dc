//! Whether overlayfs can keep changes on a file system.

use std::fs::{create_dir, remove_dir, remove_file};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::overlay;
use crate::pins::Here;

/// Whether overlayfs can keep changes in `dir`, an existing directory that nothing else uses; some are made there. For a caller with
/// one thread. Nothing where it could not be found out.
///
/// It cannot on another overlay, on most network file systems, and where files have no extended attributes
/// (Documentation/filesystems/overlayfs.rst, "Upper and Lower").
pub fn keeps_changes(dir: &Path) -> Option<bool> {
    let here = Here::new().ok()?;
    let overlay = mounted(dir);
    // Older kernels take a mount namespace of its own to do it.
    here.come_back().ok()?;
    let errno = |e: &io::Error| Errno::from_io_error(e);
    let tree = match overlay {
        Ok(tree) => tree,
        // It has been said so, or there is no overlayfs.
        Err(e) if matches!(errno(&e), Some(Errno::INVAL | Errno::NODEV)) => return Some(false),
        Err(_) => return None,
    };
    match change(&tree) {
        Ok(()) => Some(true),
        Err(e) if matches!(errno(&e), Some(Errno::OPNOTSUPP | Errno::IO | Errno::PERM)) => Some(false),
        Err(_) => None,
    }
}

fn mounted(dir: &Path) -> io::Result<OwnedFd> {
    let make = |name: &str| -> io::Result<PathBuf> {
        let path = dir.join(name);
        create_dir(&path).map(|()| path)
    };
    let [lower, upper, work, scratch] = ["lower", "upper", "work", "scratch"].map(make);
    let lower = lower?;
    create_dir(lower.join("directory"))?;
    std::fs::write(lower.join("file"), "")?;
    overlay::over(&lower, &upper?, &work?, false, &scratch?)
}

/// Both leave a mark that the file system has to keep: a device, and an attribute.
fn change(tree: &OwnedFd) -> io::Result<()> {
    let inside = |name: &str| overlay::path_in(tree, name);
    remove_file(inside("file"))?;
    remove_dir(inside("directory"))?;
    create_dir(inside("directory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_tried() {
        assert!(loment_sys::process::is_root(), "this test needs root");
        // A thread's own, which ends with it.
        loment_sys::clone::unshare(loment_sys::clone::CloneFlags::NEWNS).unwrap();
        let private =
            rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| {
            let path = dir.path().join(name);
            create_dir(&path).unwrap();
            path
        };
        let mount = |kind: &str, path: &Path| {
            let tree = match kind {
                "tmpfs" => crate::mounts::private_tmpfs(None, None).unwrap(),
                _ => overlay::over(&at("l"), &path.join("u"), &path.join("w"), false, &at("s")).unwrap(),
            };
            crate::mounts::place(&tree, rustix::fs::CWD, path).unwrap();
        };
        let place = at("place");
        mount("tmpfs", &place);
        create_dir(place.join("probe")).unwrap();
        assert_eq!(keeps_changes(&place.join("probe")), Some(true), "a tmpfs");
        for name in ["u", "w"] {
            create_dir(place.join(name)).unwrap();
        }
        mount("overlay", &place);
        create_dir(place.join("probe2")).unwrap();
        assert_eq!(keeps_changes(&place.join("probe2")), Some(false), "an overlay");
        assert_eq!(keeps_changes(&place.join("nothing")), None, "there is no such directory");
        for _ in 0..2 {
            rustix::mount::unmount(&place, rustix::mount::UnmountFlags::DETACH).unwrap();
        }
    }
}
