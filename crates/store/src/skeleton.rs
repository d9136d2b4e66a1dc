//! The lowest layer of every container: the directories and files that things are mounted on.
//!
//! Many images lack some of /proc, /etc/hosts and the like. Without this layer each container would make them in its own
//! writable layer, and remove them again: a dozen changes of the disk, more than a millisecond (measured on ext4, Linux 6.18).
//! Everything in an image is above it and wins.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::disk::{self, Durability};
use crate::error::{Context, Error};
use crate::store::Store;

const NAME: &str = "skeleton";
const DIRECTORIES: [&str; 5] = ["dev", "etc", "proc", "run", "sys"];
const FILES: [&str; 4] = ["etc/hostname", "etc/hosts", "etc/resolv.conf", "run/.containerenv"];

impl Store {
    /// The lowest layer's directory, made when it is missing.
    pub(crate) fn skeleton(&self) -> Result<PathBuf, Error> {
        let path = self.path(NAME);
        if !path.exists() {
            let staged = self.staging().join(disk::unique("skeleton-"));
            let _share = self.share()?;
            make(&staged, self.durability())?;
            match fs::rename(&staged, &path) {
                // Another process was faster.
                Err(_) if path.exists() => {
                    let _ = fs::remove_dir_all(&staged);
                }
                result => result.during("create", &path)?,
            }
            disk::sync_dir(self.root(), self.durability())?;
        }
        Ok(path)
    }
}

fn make(path: &Path, durability: Durability) -> Result<(), Error> {
    let directory = |path: &Path| {
        disk::make_dir(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).during("change mode of", path)
    };
    directory(path)?;
    DIRECTORIES.iter().try_for_each(|d| directory(&path.join(d)))?;
    for file in FILES {
        let file = path.join(file);
        disk::write_new(&file, b"", durability)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).during("change mode of", &file)?;
    }
    for directory in DIRECTORIES {
        disk::sync_dir(&path.join(directory), durability)?;
    }
    disk::sync_dir(path, durability)
}
