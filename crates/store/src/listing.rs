//! What is in a directory of a layer, in whatever form it is kept.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Dir, FileType, Stat, fgetxattr, major, minor, readlinkat, statat};
use rustix::io::Errno;

use crate::erofs::{FileKind, Node};
use crate::error::{Context, Error};
use crate::owners::Owners;
use crate::unpack::rules::split;
use crate::unpack::{OPAQUE, USER_OPAQUE, is_opaque};
use crate::view::{Tree, failed, open_beneath};
use crate::xattrs::{self, Xattrs};

/// Longest mark of a directory that is looked at; longer ones are cut, and are none.
const MAX_MARK: usize = 64;

/// A directory of a layer: which one of an image; in an unpacked tree paths say that.
pub(crate) type Place = Option<Node>;

/// What of a file is in no [`Item`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Further {
    target: Vec<u8>,
    xattrs: Xattrs,
}

impl Further {
    /// As copies with these owners have it.
    pub(crate) fn with_owners(self, owners: &Owners) -> Self {
        Self { xattrs: owners.attributes(self.xattrs), ..self }
    }
}

/// What stands under a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    pub(crate) kind: FileKind,
    /// Which it is of an image; in an unpacked tree paths say that.
    pub(crate) node: Option<Node>,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: (i64, u32),
    /// When it was last changed in any way, of one on disk.
    ctime: (i64, u32),
    pub(crate) size: u64,
    pub(crate) device: (u32, u32),
}

impl Item {
    pub(crate) fn is_dir(&self) -> bool {
        self.kind == FileKind::Directory
    }

    /// Where it is, a directory.
    pub(crate) fn place(&self) -> Place {
        self.node.filter(Node::is_dir)
    }

    /// What lower layers have there is gone.
    pub(crate) fn is_whiteout(&self) -> bool {
        self.kind == FileKind::CharDevice && self.device == (0, 0)
    }

    /// Whether both are of the same kind with the same mode and owner, which is all that is compared of directories: their
    /// times change with what is in them.
    pub(crate) fn is_alike(&self, other: &Self) -> bool {
        let whole = |item: &Self| (item.kind, item.mode, item.owner);
        whole(self) == whole(other)
    }

    /// The same for what is no directory, with lengths and device numbers.
    pub(crate) fn is_as_long(&self, other: &Self) -> bool {
        let whole = |item: &Self| (item.size, item.device);
        self.is_alike(other) && whole(self) == whole(other)
    }

    /// Whether it was not changed in any way since that moment, in seconds and nanoseconds.
    pub(crate) fn is_older(&self, moment: Option<(i64, u32)>) -> bool {
        moment.is_some_and(|moment| self.ctime < moment)
    }

    /// The same of another user and group.
    pub(crate) fn with_owner(self, owner: (u32, u32)) -> Self {
        Self { owner, ..self }
    }

    fn of_node(node: Node) -> Self {
        let number = node.device();
        // As `new_decode_dev` of the kernel.
        let device = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xfff00));
        Self {
            kind: node.kind(),
            node: Some(node),
            mode: mode(node.kind(), node.mode()),
            owner: node.owner(),
            mtime: node.mtime(),
            ctime: (0, 0),
            size: node.size(),
            device,
        }
    }

    fn of_stat(stat: &Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => FileKind::Directory,
            FileType::Symlink => FileKind::Symlink,
            FileType::CharacterDevice => FileKind::CharDevice,
            FileType::BlockDevice => FileKind::BlockDevice,
            // No layer has sockets, so they are told from whatever was there.
            FileType::Fifo | FileType::Socket => FileKind::Fifo,
            _ => FileKind::File,
        };
        let is_device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
        Self {
            kind,
            node: None,
            mode: mode(kind, stat.st_mode & 0o7777),
            owner: (stat.st_uid, stat.st_gid),
            mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
            ctime: (stat.st_ctime, stat.st_ctime_nsec as u32),
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            device: if is_device { (major(stat.st_rdev), minor(stat.st_rdev)) } else { (0, 0) },
        }
    }
}

impl Tree<'_> {
    /// The root directory.
    pub(crate) fn root(&self) -> Result<Place, Error> {
        match self {
            Self::Dir(..) => Ok(None),
            Self::Erofs(layer, image) => image.root().map(Some).map_err(|e| failed(layer, e)),
        }
    }

    /// Everything in the directory at `path`, whose place that is, in no order.
    pub(crate) fn list(&self, path: &[u8], place: Place) -> Result<Vec<(Vec<u8>, Item)>, Error> {
        match self {
            Self::Dir(unpacked, root) => {
                let list = || {
                    let dir = open_beneath(root.as_fd(), path)?;
                    let mut items = Vec::new();
                    for entry in Dir::read_from(&dir)? {
                        let entry = entry?;
                        let name = entry.file_name();
                        if matches!(name.to_bytes(), b"." | b"..") {
                            continue;
                        }
                        match statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                            // The container has just removed it.
                            Err(Errno::NOENT) if unpacked.is_changing() => {}
                            stat => items.push((name.to_bytes().to_vec(), Item::of_stat(&stat?))),
                        }
                    }
                    Ok::<_, Errno>(items)
                };
                match list() {
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if unpacked.is_changing() => {
                        Ok(Vec::new())
                    }
                    listed => listed.during("list", &unpacked.join(path)),
                }
            }
            Self::Erofs(layer, image) => {
                let Some(place) = place else { return Ok(Vec::new()) };
                let entries = image.entries(&place).map_err(|e| failed(layer, e))?;
                Ok(entries.into_iter().map(|(name, node)| (name, Item::of_node(node))).collect())
            }
        }
    }

    /// Whether the directory at `path`, whose place that is, hides what lower layers have there.
    pub(crate) fn is_opaque(&self, path: &[u8], place: Place) -> Result<bool, Error> {
        match self {
            Self::Dir(unpacked, root) => {
                let look = || -> std::io::Result<bool> {
                    let dir = open_beneath(root.as_fd(), path)?;
                    for mark in [OPAQUE, USER_OPAQUE].map(|name| name.to_bytes()) {
                        if is_opaque(mark, &value_of(&dir, mark)?) {
                            return Ok(true);
                        }
                    }
                    Ok(false)
                };
                match look() {
                    Err(e) if unpacked.is_changing() && e.kind() == std::io::ErrorKind::NotFound => Ok(false),
                    looked => looked.during("look at", &unpacked.join(path)),
                }
            }
            Self::Erofs(layer, image) => {
                let Some(place) = place else { return Ok(false) };
                let xattrs = image.xattrs(&place).map_err(|e| failed(layer, e))?;
                Ok(xattrs.iter().any(|(name, value)| is_opaque(name, value)))
            }
        }
    }

    /// What of the file at `path` is in no [`Item`]: where a link points to, and the extended attributes that belong to it. Nothing of
    /// one that has gone meanwhile. No file is opened: a container could put anything there.
    pub(crate) fn further(&self, path: &[u8], item: &Item) -> Result<Further, Error> {
        let is_link = item.kind == FileKind::Symlink;
        let (target, mut xattrs) = match self {
            Self::Dir(unpacked, root) => match further_on_disk(root.as_fd(), path, is_link) {
                Err(Errno::NOENT | Errno::INVAL) if self.layer().is_none() => return Ok(Further::default()),
                found => found.during("look at", &unpacked.join(path))?,
            },
            Self::Erofs(layer, image) => {
                let Some(node) = item.node else { return Ok(Further::default()) };
                let target = if is_link { image.target(&node) } else { Ok(Vec::new()) };
                let read = target.and_then(|target| Ok((target, image.xattrs(&node)?)));
                read.map_err(|e| failed(layer, e))?
            }
        };
        xattrs.retain(|(name, _)| xattrs::belongs(name));
        xattrs.sort_unstable();
        Ok(Further { target, xattrs })
    }

    /// Whether the layer's tar only needs the directory and says nothing of it.
    pub(crate) fn only_implies(&self, path: &[u8]) -> bool {
        self.layer().is_some_and(|layer| layer.document().implied.contains(path))
    }
}

/// File systems do not agree on that of a link, and nobody asks for it.
fn mode(kind: FileKind, mode: u32) -> u32 {
    if kind == FileKind::Symlink { 0 } else { mode }
}

fn further_on_disk(root: BorrowedFd<'_>, path: &[u8], is_link: bool) -> Result<(Vec<u8>, Xattrs), Errno> {
    let (parent, name) = split(path);
    let dir = open_beneath(root, parent)?;
    let name = CString::new(name).map_err(|_| Errno::INVAL)?;
    let target = if is_link { readlinkat(&dir, &name, Vec::new())?.into_bytes() } else { Vec::new() };
    Ok((target, xattrs::at(dir.as_fd(), &name)?))
}

/// An attribute of a few bytes; nothing where there is none.
fn value_of(fd: impl AsFd, name: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; MAX_MARK];
    match fgetxattr(fd, name, &mut value[..]) {
        Ok(length) => {
            value.truncate(length);
            Ok(value)
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(errno) => Err(errno),
    }
}
