//! Files of images and containers that are shown on the host: mounted once however often that is asked for, and counted.
//!
//! `<runroot>/<kind>/<id>/` has the mount on `rootfs`, the number in `count`, and `scratch` and others for whoever makes it. After a
//! boot there is nothing. Only the superuser comes to what is below the run root.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, unmount};

use crate::Error;
use crate::error::Context;

/// Where images are.
pub(crate) const IMAGES: &str = "image-mounts";
/// Where containers are.
pub(crate) const CONTAINERS: &str = "container-mounts";

/// One of them.
#[derive(Debug)]
pub(crate) struct Shown {
    dir: PathBuf,
}

impl Shown {
    /// In the directory of its kind.
    pub(crate) fn new(kind: &Path, id: &str) -> Self {
        Self { dir: kind.join(id) }
    }

    /// The ids of all that are shown, in their order.
    pub(crate) fn all(kind: &Path) -> Vec<String> {
        let entries = fs::read_dir(kind).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut ids: Vec<String> = names.filter(|id| Self::new(kind, id).is_mounted()).collect();
        ids.sort_unstable();
        ids
    }

    /// Its own directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where its files are.
    pub(crate) fn target(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    pub(crate) fn is_mounted(&self) -> bool {
        loment_monitor::is_mount_point(&self.target()).unwrap_or_default()
    }

    /// Counts that it is asked for. The first time `mount` is called to mount it, with these directories in its own.
    pub(crate) fn show(
        &self,
        directories: &[&str],
        mount: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let kind = self.dir.parent().unwrap_or(&self.dir);
        fs::create_dir_all(kind).context("create", kind.display())?;
        let _lock = self.lock()?;
        let count = if self.is_mounted() { self.count() } else { 0 };
        if count == 0 {
            self.empty(directories)?;
            mount().inspect_err(|_| drop(self.remove()))?;
        }
        let path = self.dir.join("count");
        fs::write(&path, (count + 1).to_string()).context("write", path.display())
    }

    /// Takes one request back, or all with `force`; with the last one it is unmounted. `false` when it was not mounted.
    pub(crate) fn hide(&self, force: bool) -> Result<bool, Error> {
        if !self.is_mounted() {
            return Ok(false);
        }
        let _lock = self.lock()?;
        let left = if force { 0 } else { self.count().saturating_sub(1) };
        if left > 0 {
            let path = self.dir.join("count");
            fs::write(&path, left.to_string()).context("write", path.display())?;
            return Ok(true);
        }
        self.unmount(force)
    }

    /// Unmounts it however often it was asked for; by force also from under those who work in it. For who has the lock.
    fn unmount(&self, force: bool) -> Result<bool, Error> {
        let target = self.target();
        let how = if force { UnmountFlags::DETACH } else { UnmountFlags::empty() };
        unmount(&target, how).context("unmount", target.display())?;
        self.remove().map(|()| true)
    }

    /// Removes its directories. The one on which it is mounted is empty when it is not, and is never gone through: that would
    /// remove the files themselves.
    fn remove(&self) -> Result<(), Error> {
        let absent = |e: &std::io::Error| e.kind() == std::io::ErrorKind::NotFound;
        let target = self.target();
        fs::remove_dir(&target)
            .or_else(|e| if absent(&e) { Ok(()) } else { Err(e) })
            .context("remove", target.display())?;
        let removed = fs::remove_dir_all(&self.dir);
        removed.or_else(|e| if absent(&e) { Ok(()) } else { Err(e) }).context("remove", self.dir.display())
    }

    /// Unmounts it for good, if it is mounted.
    pub(crate) fn end(&self, force: bool) -> Result<(), Error> {
        if !self.is_mounted() {
            return Ok(());
        }
        let _lock = self.lock()?;
        self.unmount(force).map(drop)
    }

    /// Makes its directories anew.
    fn empty(&self, directories: &[&str]) -> Result<(), Error> {
        self.remove()?;
        for name in directories.iter().chain(&["rootfs"]) {
            let path = self.dir.join(name);
            fs::create_dir_all(&path).context("create", path.display())?;
        }
        Ok(())
    }

    fn count(&self) -> u64 {
        let text = fs::read_to_string(self.dir.join("count")).ok();
        text.and_then(|text| text.trim().parse().ok()).unwrap_or(1)
    }

    fn lock(&self) -> Result<File, Error> {
        let path = self.dir.parent().unwrap_or(&self.dir);
        let file = File::open(path).context("open", path.display())?;
        file.lock().context("lock", path.display())?;
        Ok(file)
    }
}
