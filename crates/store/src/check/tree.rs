//! Whether an unpacked tree is the one its tar says, by comparison with an image made of that tar.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Stat, lgetxattr, major, minor, readlinkat, statat};
use rustix::io::Errno;

use crate::erofs::{FileKind, Image, Node, ReadError};
use crate::error::{Context, Error};
use crate::layer::{Layer, open_dir};
use crate::unpack::{OPAQUE, Rights, USER_OPAQUE};
use crate::view::{self, open_beneath};

/// Labels that belong to the machine and not to the layer.
const OF_THE_MACHINE: [&[u8]; 3] = [b"security.selinux", b"security.ima", b"security.evm"];
/// Longest value of an extended attribute (`XATTR_SIZE_MAX`).
const MAX_VALUE: usize = 64 * 1024;

/// What is wrong with the tree of `layer`, if anything is. The contents of its files are not looked at.
pub(super) fn difference(layer: &Layer, image: &Image<File>) -> Result<Option<&'static str>, Error> {
    let path = layer.fs();
    let (fs, numbers, value) = (open_dir(&path)?, HashMap::new(), vec![0; MAX_VALUE]);
    let rights = Rights::own();
    match (Comparison { image, fs, numbers, value, rights }).all() {
        Ok(()) => Ok(None),
        Err(Stop::Different(how)) => Ok(Some(how)),
        // Names that are listed and cannot be looked at.
        Err(Stop::Kernel(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => {
            Ok(Some("something of its tree is missing"))
        }
        Err(Stop::Kernel(errno)) => Err(errno).during("look into", &path),
        Err(Stop::Image(error)) => Err(view::failed(layer, error)),
    }
}

/// Why a comparison ended.
enum Stop {
    Different(&'static str),
    Kernel(Errno),
    Image(ReadError),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Kernel(errno)
    }
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Image(error)
    }
}

struct Comparison<'a> {
    image: &'a Image<File>,
    fs: OwnedFd,
    /// Inodes in the image, and which ones they are on disk.
    numbers: HashMap<u64, u64>,
    value: Vec<u8>,
    /// Of whoever has unpacked it.
    rights: Rights,
}

impl Comparison<'_> {
    fn all(&mut self) -> Result<(), Stop> {
        let mut pending = vec![(Vec::new(), self.image.root()?)];
        while let Some((path, dir)) = pending.pop() {
            let fd = open_beneath(self.fs.as_fd(), &path)?;
            self.node(fd.as_fd(), b".", &dir)?;
            let mut entries = self.image.entries(&dir)?;
            entries.retain(|(_, node)| self.is_made(node));
            if !names(&fd)?.iter().eq(entries.iter().map(|(name, _)| name)) {
                return Err(Stop::Different("a directory of its tree has other entries"));
            }
            for (name, node) in entries {
                self.node(fd.as_fd(), &name, &node)?;
                if node.is_dir() {
                    let below = if path.is_empty() { name } else { [&path, &b"/"[..], &name].concat() };
                    pending.push((below, node));
                }
            }
        }
        Ok(())
    }

    /// Whether whoever unpacked it could make it.
    fn is_made(&self, node: &Node) -> bool {
        let is_device = match node.kind() {
            FileKind::BlockDevice => true,
            // Number 0 is a whiteout.
            FileKind::CharDevice => node.device() != 0,
            _ => false,
        };
        !is_device || self.rights.makes_devices()
    }

    fn node(&mut self, dir: BorrowedFd<'_>, name: &[u8], node: &Node) -> Result<(), Stop> {
        let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if kind(&stat) != Some(node.kind()) {
            return Err(Stop::Different("an entry of its tree is of another kind"));
        }
        let number = *self.numbers.entry(node.number()).or_insert(stat.st_ino);
        if !same_attributes(&stat, node, self.rights) || number != stat.st_ino {
            return Err(Stop::Different("an entry of its tree has other attributes"));
        }
        if node.kind() == FileKind::Symlink
            && readlinkat(dir, name, Vec::new())?.as_bytes() != self.image.target(node)?
        {
            return Err(Stop::Different("a link of its tree has another target"));
        }
        for (key, expected) in self.image.xattrs(node)? {
            if OF_THE_MACHINE.contains(&key.as_slice()) {
                continue;
            }
            // There is no getxattrat before Linux 6.13; the last component is not followed.
            let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
            path.extend_from_slice(name);
            let key = if key == OPAQUE.to_bytes() { self.rights.opaque().to_bytes().to_vec() } else { key };
            match lgetxattr(path, key.as_slice(), &mut self.value[..]) {
                Ok(length) if self.value[..length] == as_shown(&key, &expected)[..] => {}
                // Some file systems have none of these, which was accepted when the layer was unpacked.
                Err(Errno::NODATA | Errno::OPNOTSUPP)
                    if key.starts_with(b"user.") && key != USER_OPAQUE.to_bytes() => {}
                _ if self.rights.leaves_out(&key) => {}
                Ok(_) | Err(Errno::NODATA) => {
                    return Err(Stop::Different("an entry of its tree has other extended attributes"));
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

/// What the kernel shows of an attribute: capabilities of a file that hold for the root of this user namespace come back in
/// version 2, which says nothing else (`cap_inode_getsecurity`).
fn as_shown<'v>(key: &[u8], value: &'v [u8]) -> Cow<'v, [u8]> {
    match value {
        [flags, 0, 0, 3, sets @ .., 0, 0, 0, 0] if key == b"security.capability" && sets.len() == 16 => {
            [&[*flags, 0, 0, 2], sets].concat().into()
        }
        _ => value.into(),
    }
}

/// What is in a directory.
fn names(dir: &OwnedFd) -> Result<BTreeSet<Vec<u8>>, Errno> {
    let mut names = BTreeSet::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            names.insert(entry.file_name().to_bytes().to_vec());
        }
    }
    Ok(names)
}

fn kind(stat: &Stat) -> Option<FileKind> {
    Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::CharacterDevice => FileKind::CharDevice,
        FileType::BlockDevice => FileKind::BlockDevice,
        FileType::Fifo => FileKind::Fifo,
        _ => return None,
    })
}

fn same_attributes(stat: &Stat, node: &Node, rights: Rights) -> bool {
    let kind = node.kind();
    let (seconds, nanoseconds) = node.mtime();
    // File systems cut what they cannot hold: times far away, and fractions.
    let holds = (0..=i64::from(i32::MAX)).contains(&seconds);
    let time =
        stat.st_mtime == seconds && (stat.st_mtime_nsec as u32 == nanoseconds || stat.st_mtime_nsec == 0);
    let sized = matches!(kind, FileKind::File | FileKind::Symlink);
    let is_device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
    // As the kernel's `new_encode_dev`.
    let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
    let device = (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12);
    if kind == FileKind::CharDevice && node.device() == 0 {
        return device == 0; // a whiteout, of which nothing else is ever seen
    }
    (kind == FileKind::Symlink || stat.st_mode & 0o7777 == node.mode())
        && (rights.has_one_id() || (stat.st_uid, stat.st_gid) == node.owner())
        && (!holds || time)
        && (!sized || stat.st_size as u64 == node.size())
        && (!is_device || device == node.device())
}
