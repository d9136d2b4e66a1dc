//! The files of volumes as archives, and on the host.

use std::fs::File;
use std::io::{BufRead, Write};
use std::os::fd::OwnedFd;

use loment_events::What;
use loment_monitor::launch::VolumeMount;
use loment_monitor::volume_mounts::{ARCHIVE, close, hide, open, show};
use loment_monitor::volumes::claim;
use loment_store::{Place, Rules, TreeForm, TreeTar, extract};
use loment_sys::fd::is_at;
use rustix::fs::{CWD, Mode, OFlags, Stat, fstat, openat};

use super::StoredVolume;
use crate::copy_files::archive;
use crate::error::Context;
use crate::{Engine, Error};

impl Engine {
    /// Writes the files of a volume as a tar. For processes with one thread.
    ///
    /// # Errors
    /// [`Error::NoVolume`], [`Error::Io`].
    pub fn export_volume(&self, name: &str, out: &mut dyn Write) -> Result<(), Error> {
        self.write_volume(name, out).map(drop)
    }

    /// The same; returns what the directory is that they are in.
    pub(crate) fn write_volume(&self, name: &str, out: &mut dyn Write) -> Result<Stat, Error> {
        let volume = self.volume(name)?;
        self.with_files(&volume, |files| {
            let form = TreeForm { owners: &|uid, gid| (uid, gid), changes: false, skip: &|_, _| false };
            let root = fstat(&files)?;
            let mut tar = TreeTar::new(out, form);
            tar.add_all(files, b"")?;
            tar.finish().map(|_| root)
        })?
        .context("write the files of volume", &volume.name)
    }

    /// Unpacks a tar in a volume, over what is there; it may be compressed. For processes with one thread.
    ///
    /// # Errors
    /// [`Error::NoVolume`], also for one that is removed meanwhile; [`Error::NoTar`]; [`Error::Copy`] for an archive that leads
    /// out of the volume.
    pub fn import_volume(&self, name: &str, source: impl BufRead + Send) -> Result<(), Error> {
        let volume = self.volume(name)?;
        let gone = || Error::NoVolume { name: volume.name.clone() };
        let mut source = source;
        // Who writes it may take long, and it may be none: until it begins, nothing is changed.
        source.fill_buf().context("read", "the archive")?;
        let dir = File::open(self.volume_dir(&volume.name)).map_err(|_| gone())?;
        let unpacked = self.with_files(&volume, |root| {
            // Mounting is done before there is a thread that decompresses.
            let source = archive(source).map_err(|error| match error {
                Error::NoArchive => Error::NoTar { volume: volume.name.clone() },
                error => error,
            })?;
            // It is its content now, also if that is none. Nobody waits for the rest: the lock is not kept.
            match self.lock_volume(&volume.name)? {
                Some(_lock) => claim(&dir).context("prepare volume", &volume.name)?,
                None => return Err(gone()),
            }
            let owners = |uid, gid| Some((u32::try_from(uid).ok()?, u32::try_from(gid).ok()?));
            let rules = Rules { owners: &owners, replace: true, trusted: true };
            let failed = |e| Error::Copy { path: format!("to volume {}", volume.name), source: Box::new(e) };
            extract(source, &Place { root, path: std::path::PathBuf::new(), follow: false }, &rules)
                .map_err(failed)
        })?;
        unpacked?;
        if is_at(&dir, &self.volume_dir(&volume.name)) { Ok(()) } else { Err(gone()) }
    }

    /// Does something with the files of a volume, which are mounted meanwhile if they have to be.
    fn with_files<T>(&self, volume: &StoredVolume, act: impl FnOnce(OwnedFd) -> T) -> Result<T, Error> {
        let open_dir = |dir: &dyn Fn() -> rustix::io::Result<OwnedFd>| {
            dir().context("open the files of volume", &volume.name)
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Some(mount) = self.volume_mount(volume) else {
            let path = volume.mount_point();
            return Ok(act(open_dir(&|| openat(CWD, &path, flags, Mode::empty()))?));
        };
        let failed = |e| failed(&mount, e);
        // Archives that are made at the same time count once each.
        let user = format!("{ARCHIVE}{}", std::process::id());
        let tree = open(&mount, &user).map_err(failed)?;
        let done = open_dir(&|| openat(&tree, ".", flags, Mode::empty())).map(act);
        drop(tree);
        close(&mount, &user).map_err(failed)?;
        done
    }

    /// Shows a volume on its directory of the host, where it is not seen without, and returns that. For processes with one thread.
    ///
    /// # Errors
    /// [`Error::NoVolume`], [`Error::VolumeMount`].
    pub fn mount_volume(&self, name: &str) -> Result<std::path::PathBuf, Error> {
        let volume = self.volume(name)?;
        if let Some(mount) = self.volume_mount(&volume) {
            show(&mount).map_err(|e| failed(&mount, e))?;
        }
        self.tell_of_volume(What::Mount, &volume.name, &volume.labels);
        Ok(volume.mount_point())
    }

    /// Ends that; returns the volume's name. For processes with one thread.
    ///
    /// # Errors
    /// [`Error::NoVolume`]; [`Error::VolumeMount`] while it is in use there.
    pub fn unmount_volume(&self, name: &str) -> Result<String, Error> {
        let volume = self.volume(name)?;
        if let Some(mount) = self.volume_mount(&volume) {
            hide(&mount).map_err(|e| failed(&mount, e))?;
        }
        self.tell_of_volume(What::Unmount, &volume.name, &volume.labels);
        Ok(volume.name)
    }
}

fn failed(mount: &VolumeMount, error: loment_monitor::Error) -> Error {
    Error::VolumeMount { name: mount.name.clone(), source: Box::new(error) }
}
