//! Whether overlayfs can keep changes on a file system.

use std::fs::{create_dir, remove_dir, remove_file};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::overlay;
use crate::pins::Here;

/// Whether overlayfs can keep changes in `dir`, an existing directory that nothing else uses; some are made there. For a caller with
/// one thread.
///
/// It cannot on another overlay, on most network file systems, and where files have no extended attributes
/// (Documentation/filesystems/overlayfs.rst, "Upper and Lower").
pub fn keeps_changes(dir: &Path) -> bool {
    let Ok(here) = Here::new() else { return false };
    let kept = try_changes(dir);
    // Older kernels take a mount namespace of its own to do it.
    here.come_back().is_ok() && kept.is_ok()
}

fn try_changes(dir: &Path) -> io::Result<()> {
    let make = |name: &str| -> io::Result<PathBuf> {
        let path = dir.join(name);
        create_dir(&path).map(|()| path)
    };
    let [lower, upper, work, scratch] = ["lower", "upper", "work", "scratch"].map(make);
    let lower = lower?;
    create_dir(lower.join("directory"))?;
    std::fs::write(lower.join("file"), "")?;
    let tree = overlay::over(&lower, &upper?, &work?, false, &scratch?)?;
    // Both leave a mark that the file system has to keep: a device, and an attribute.
    let inside = |name: &str| overlay::path_in(&tree, name);
    remove_file(inside("file"))?;
    remove_dir(inside("directory"))?;
    create_dir(inside("directory"))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, inside("directory"), flags, Mode::empty())?;
    Ok(())
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
            crate::mounts::place(&tree, CWD, path).unwrap();
        };
        let place = at("place");
        mount("tmpfs", &place);
        create_dir(place.join("probe")).unwrap();
        assert!(keeps_changes(&place.join("probe")), "a tmpfs");
        for name in ["u", "w"] {
            create_dir(place.join(name)).unwrap();
        }
        mount("overlay", &place);
        create_dir(place.join("probe2")).unwrap();
        assert!(!keeps_changes(&place.join("probe2")), "an overlay");
        for _ in 0..2 {
            rustix::mount::unmount(&place, rustix::mount::UnmountFlags::DETACH).unwrap();
        }
    }
}
