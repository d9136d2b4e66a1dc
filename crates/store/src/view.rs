//! Directories of a layer, in whatever form it is kept.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{
    Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, fchmod, fchown, fsetxattr, fstat,
    futimens, openat2,
};
use rustix::io::Errno;

use crate::disk;
use crate::erofs::{Image, ReadError};
use crate::error::{Context, Error};
use crate::layer::{self, Form, Layer};
use crate::unpack::is_opaque;
use crate::xattrs::{self, Xattrs};

/// The tree of a layer, or of the changes of a container, which have the form of an unpacked one.
pub(crate) enum Tree<'l> {
    Dir(Unpacked<'l>, OwnedFd),
    Erofs(&'l Layer, Image<File>),
}

/// Where a tree is.
pub(crate) struct Unpacked<'l> {
    /// Whose it is; of a container's changes, nobody's.
    layer: Option<&'l Layer>,
    path: PathBuf,
}

impl Unpacked<'_> {
    /// Whether a container may change it while it is looked at.
    pub(crate) fn is_changing(&self) -> bool {
        self.layer.is_none()
    }

    pub(crate) fn join(&self, path: &[u8]) -> PathBuf {
        self.path.join(disk::os_path(path))
    }
}

/// What stands at a path.
pub(crate) enum Found {
    Missing,
    /// A whiteout, a file or a link.
    NoDirectory,
    Directory(Look),
}

/// What a directory looks like.
pub(crate) struct Look {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: (i64, u32),
    xattrs: Xattrs,
}

impl<'l> Tree<'l> {
    pub(crate) fn of(layer: &'l Layer) -> Result<Self, Error> {
        Ok(match layer.form() {
            Form::Dir => {
                let path = layer.fs();
                let root = layer::open_dir(&path)?;
                Self::Dir(Unpacked { layer: Some(layer), path }, root)
            }
            Form::Erofs => {
                let file = File::open(layer.image()).during("open", &layer.image())?;
                Self::Erofs(layer, Image::open(file).map_err(|e| failed(layer, e))?)
            }
        })
    }

    /// What a container has changed.
    pub(crate) fn of_changes(path: PathBuf) -> Result<Self, Error> {
        let root = layer::open_dir(&path)?;
        Ok(Self::Dir(Unpacked { layer: None, path }, root))
    }

    /// Whose it is, if it is a layer's.
    pub(crate) fn layer(&self) -> Option<&'l Layer> {
        match self {
            Self::Dir(unpacked, _) => unpacked.layer,
            Self::Erofs(layer, _) => Some(layer),
        }
    }

    /// Looks at a directory; no component is a link or leaves the layer.
    pub(crate) fn directory(&self, path: &[u8]) -> Result<Found, Error> {
        match self {
            Self::Dir(unpacked, root) => match open_beneath(root.as_fd(), path) {
                Ok(dir) => Look::at(&dir).map(Found::Directory),
                Err(Errno::NOENT) => Ok(Found::Missing),
                Err(Errno::NOTDIR | Errno::LOOP) => Ok(Found::NoDirectory),
                Err(errno) => Err(errno),
            }
            .during("look at", &unpacked.join(path)),
            Self::Erofs(layer, image) => match image.find(path) {
                Ok(None) => Ok(Found::Missing),
                Ok(Some(node)) if !node.is_dir() => Ok(Found::NoDirectory),
                Ok(Some(node)) => image.xattrs(&node).map(|xattrs| {
                    let (mode, owner, mtime) = (node.mode(), node.owner(), node.mtime());
                    Found::Directory(Look { mode, owner, mtime, xattrs })
                }),
                Err(error) => Err(error),
            }
            .map_err(|e| failed(layer, e)),
        }
    }
}

/// An error of reading the image of `layer`.
pub(crate) fn failed(layer: &Layer, error: ReadError) -> Error {
    match error {
        ReadError::Io(source) => Error::Io { operation: "read", path: layer.image(), source },
        ReadError::Damaged(problem) => Error::CorruptLayer { layer: layer.diff_id().clone(), problem },
    }
}

/// Opens a directory; no component is a link or leaves `root`.
pub(crate) fn open_beneath(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let path = if path.is_empty() { b"." } else { path };
    // A layer keeps its times of access. Only who owns a file may ask for that.
    match openat2(root, path, flags | OFlags::NOATIME, Mode::empty(), resolve) {
        Err(Errno::PERM) => openat2(root, path, flags, Mode::empty(), resolve),
        opened => opened,
    }
}

impl Look {
    fn at(dir: &OwnedFd) -> Result<Self, Errno> {
        let stat = fstat(dir)?;
        Ok(Self {
            mode: stat.st_mode & 0o7777,
            owner: (stat.st_uid, stat.st_gid),
            mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
            xattrs: xattrs::of(dir)?,
        })
    }

    /// Hides what lower layers have there.
    pub(crate) fn is_opaque(&self) -> bool {
        self.xattrs.iter().any(|(name, value)| is_opaque(name, value))
    }

    /// Owner, mode, extended attributes and times, in an order in which none undoes another.
    ///
    /// Not the attributes of the overlay, which are about the layer and not the directory, nor the labels of
    /// the host's security modules, which the new directory already has.
    pub(crate) fn copy_to(&self, to: &OwnedFd) -> Result<(), Errno> {
        fchown(to, Some(Uid::from_raw(self.owner.0)), Some(Gid::from_raw(self.owner.1)))?;
        fchmod(to, Mode::from_raw_mode(self.mode))?;
        for (name, value) in &self.xattrs {
            if xattrs::belongs(name) {
                fsetxattr(to, name.as_slice(), value, XattrFlags::empty())?;
            }
        }
        let modified = Timespec { tv_sec: self.mtime.0, tv_nsec: self.mtime.1.into() };
        futimens(to, &Timestamps { last_access: modified, last_modification: modified })
    }
}
