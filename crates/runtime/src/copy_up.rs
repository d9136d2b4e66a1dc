//! Filling a new directory with what it hides: `tmpcopyup`, and the first use of a volume.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, fgetxattr,
    flistxattr, flistxattr_query, fsetxattr,
};
use rustix::io::Errno;

use crate::Owners;

/// Deeper trees are refused: descriptors are held on the way.
const MAX_DEPTH: usize = 128;
/// The longest list of names of attributes, and the longest value of one (xattr(7)).
const MAX_ATTRIBUTE: usize = 65536;

/// Copies the content of the directory `from` to the directory `to`, with modes, owners and times; those of the directory
/// itself if `itself`.
pub(crate) fn copy_up(from: &OwnedFd, to: &OwnedFd, itself: bool) -> io::Result<()> {
    copy_tree(from, to, &Owners::default())?;
    if itself { copy_owner_and_mode(from, to) } else { Ok(()) }
}

/// Copies the content of a directory to another one, which is empty and in which nobody else writes: with modes, owners, times,
/// extended attributes, hard links and holes. Both must be open for reading. Owners are those that `owners` says.
///
/// # Errors
/// The kernel's errno; `ELOOP` for directories more than 128 deep.
pub fn copy_tree(from: &OwnedFd, to: &OwnedFd, owners: &Owners) -> io::Result<()> {
    Copier { top: to, owners, links: HashMap::new() }.content(from, to, Path::new(""), 0)
}

struct Copier<'a> {
    top: &'a OwnedFd,
    owners: &'a Owners,
    /// Files with several names, by device and inode, and where their copies are.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Copier<'_> {
    fn content(&mut self, from: &OwnedFd, to: &OwnedFd, path: &Path, depth: usize) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(Errno::LOOP.into());
        }
        for entry in Dir::read_from(from)? {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                let path =
                    path.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name.to_bytes()));
                self.entry(from, to, name, &path, depth)?;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        name: &CStr,
        path: &Path,
        depth: usize,
    ) -> io::Result<()> {
        let open = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let stat = match rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
            // A directory of the machine's, over which a container runs, may change meanwhile.
            Err(Errno::NOENT) => return Ok(()),
            stat => stat?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                return Ok(rustix::fs::linkat(self.top, first, to, name, AtFlags::empty())?);
            }
            self.links.insert((stat.st_dev, stat.st_ino), path.to_owned());
        }
        match kind {
            FileType::Directory => {
                let source = match rustix::fs::openat(from, name, open | OFlags::DIRECTORY, Mode::empty()) {
                    Err(Errno::NOENT) => return Ok(()),
                    source => source?,
                };
                rustix::fs::mkdirat(to, name, Mode::RWXU)?;
                let copy = rustix::fs::openat(to, name, open | OFlags::DIRECTORY, Mode::empty())?;
                self.content(&source, &copy, path, depth + 1)?;
                self.copy_attributes(to, name, &stat)?;
                return copy_extended(&source, &copy);
            }
            FileType::RegularFile => {
                let source = match rustix::fs::openat(from, name, open, Mode::empty()) {
                    Err(Errno::NOENT) => return Ok(()),
                    source => source?,
                };
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let copy = rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
                let (source, copy) = (File::from(source), File::from(copy));
                copy_data(&source, &copy)?;
                self.copy_attributes(to, name, &stat)?;
                return copy_extended(&source, &copy);
            }
            FileType::Symlink => {
                rustix::fs::symlinkat(rustix::fs::readlinkat(from, name, Vec::new())?, to, name)?;
            }
            kind => rustix::fs::mknodat(to, name, kind, Mode::RUSR | Mode::WUSR, stat.st_rdev)?,
        }
        self.copy_attributes(to, name, &stat)
    }

    fn copy_attributes(&self, to: &OwnedFd, name: &CStr, stat: &Stat) -> io::Result<()> {
        let (uid, gid) = self.owners.on_disk(stat.st_uid, stat.st_gid);
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            rustix::fs::chmodat(to, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())?;
        }
        let times = Timestamps {
            last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as _ },
            last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ },
        };
        Ok(rustix::fs::utimensat(to, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

/// Copies what is in a file; what is a hole stays one.
fn copy_data(mut from: &File, mut to: &File) -> io::Result<()> {
    let size = from.metadata()?.len();
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(from, rustix::fs::SeekFrom::Data(at)) {
            Err(Errno::NXIO) => break,
            // A file system that does not know where its holes are.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => at,
            found => found?,
        };
        let hole = rustix::fs::seek(from, rustix::fs::SeekFrom::Hole(data)).unwrap_or(size);
        from.seek(SeekFrom::Start(data))?;
        to.seek(SeekFrom::Start(data))?;
        let copied = io::copy(&mut from.take(hole.saturating_sub(data)), &mut to)?;
        if copied == 0 {
            break;
        }
        at = data + copied;
    }
    to.set_len(size)
}

fn copy_extended(from: impl AsFd, to: impl AsFd) -> io::Result<()> {
    // Most files have none.
    match flistxattr_query(&from) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(()),
        length => drop(length?),
    }
    let mut names = vec![0; MAX_ATTRIBUTE];
    let length = flistxattr(&from, &mut names[..])?;
    // Labels are what the policy of this machine says.
    let is_copied = |name: &&[u8]| !name.is_empty() && *name != b"security.selinux";
    for name in names[..length].split(|&b| b == 0).filter(is_copied) {
        let mut value = vec![0; MAX_ATTRIBUTE];
        let length = match fgetxattr(&from, name, &mut value[..]) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => continue,
            length => length?,
        };
        match fsetxattr(&to, name, &value[..length], XattrFlags::empty()) {
            // The other file system has none of this kind.
            Err(Errno::OPNOTSUPP) => {}
            set => set?,
        }
    }
    Ok(())
}

fn copy_owner_and_mode(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    rustix::fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    Ok(rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_tree_is_copied_with_links_holes_and_attributes() {
        assert!(loment_sys::process::is_root(), "this test needs root");
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::create_dir_all(from.join("d")).unwrap();
        std::fs::create_dir(&to).unwrap();
        std::fs::write(from.join("one"), "one").unwrap();
        std::fs::hard_link(from.join("one"), from.join("d/two")).unwrap();
        let sparse = File::create(from.join("sparse")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", 8 << 20).unwrap();
        rustix::fs::lsetxattr(from.join("one"), c"trusted.t", b"v", XattrFlags::empty()).unwrap();
        std::os::unix::fs::chown(from.join("d"), Some(5), Some(6)).unwrap();
        let open = |path: &Path| OwnedFd::from(File::open(path).unwrap());
        copy_tree(&open(&from), &open(&to), &Owners::default()).unwrap();
        let stat = |name: &str| std::fs::metadata(to.join(name)).unwrap();
        assert_eq!(stat("one").ino(), stat("d/two").ino());
        assert_eq!((stat("d").uid(), stat("d").gid()), (5, 6));
        assert!(stat("sparse").blocks() < 1024 && stat("sparse").len() == (8 << 20) + 3);
        let mut value = [0; 8];
        assert_eq!(rustix::fs::lgetxattr(to.join("one"), c"trusted.t", &mut value[..]).unwrap(), 1);
    }
}
