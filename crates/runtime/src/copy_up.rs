//! Filling a new directory with what it hides: `tmpcopyup`, and the first use of a volume.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, fgetxattr,
    flistxattr, flistxattr_query, fsetxattr,
};
use rustix::io::Errno;

use crate::Owners;

/// Of a path that the kernel takes at once, in bytes, with room for a name (path_resolution(7)).
const MAX_PATH: usize = 3840;
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
/// The kernel's errno; and for a directory that is moved elsewhere meanwhile.
pub fn copy_tree(from: &OwnedFd, to: &OwnedFd, owners: &Owners) -> io::Result<()> {
    Copier { top: to, owners, links: HashMap::new() }.content(from, to)
}

struct Copier<'a> {
    top: &'a OwnedFd,
    owners: &'a Owners,
    /// Files with several names, by device and inode, and where their copies are.
    links: HashMap<(u64, u64), PathBuf>,
}

/// A directory that is being copied.
struct Level {
    name: CString,
    stat: Stat,
    /// What is left in it.
    names: std::vec::IntoIter<CString>,
    /// The directories that it and its copy are in.
    above: [Inode; 2],
}

/// A directory and its copy, open.
type Pair = (OwnedFd, OwnedFd);
/// Device and inode.
type Inode = (u64, u64);

impl Copier<'_> {
    /// Two descriptors are enough for any depth: the way up is `..`, and whether it led there is looked at.
    fn content(&mut self, from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        let mut levels: Vec<Level> = Vec::new();
        let (mut path, mut names) = (PathBuf::new(), names_in(&from)?);
        loop {
            if let Some(name) = names.next() {
                path.push(as_os(&name));
                match self.entry(&from, &to, &name, &path)? {
                    Some((stat, (source, copy))) => {
                        let names = std::mem::replace(&mut names, names_in(&source)?);
                        levels.push(Level { name, stat, names, above: [inode(&from)?, inode(&to)?] });
                        (from, to) = (source, copy);
                    }
                    None => drop(path.pop()),
                }
                continue;
            }
            let Some(level) = levels.pop() else { return Ok(()) };
            let [above_from, above_to] = level.above;
            let (source, copy) = (above(&from, above_from)?, above(&to, above_to)?);
            self.copy_attributes(&copy, &level.name, &level.stat)?;
            self.copy_extended(&from, &to)?;
            (from, to) = (source, copy);
            names = level.names;
            path.pop();
        }
    }

    /// Copies one; of a directory, makes the copy, and returns both for what is in it.
    fn entry(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        name: &CStr,
        path: &Path,
    ) -> io::Result<Option<(Stat, Pair)>> {
        let open = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let stat = match rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
            // A directory of the machine's, over which a container runs, may change meanwhile.
            Err(Errno::NOENT) => return Ok(None),
            stat => stat?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                let (dir, first) = near(self.top, first)?;
                rustix::fs::linkat(&dir, first, to, name, AtFlags::empty())?;
                return Ok(None);
            }
            self.links.insert((stat.st_dev, stat.st_ino), path.to_owned());
        }
        match kind {
            FileType::Directory => {
                let source = match rustix::fs::openat(from, name, open | OFlags::DIRECTORY, Mode::empty()) {
                    Err(Errno::NOENT) => return Ok(None),
                    source => source?,
                };
                rustix::fs::mkdirat(to, name, Mode::RWXU)?;
                let copy = rustix::fs::openat(to, name, open | OFlags::DIRECTORY, Mode::empty())?;
                return Ok(Some((stat, (source, copy))));
            }
            FileType::RegularFile => {
                let source = match rustix::fs::openat(from, name, open, Mode::empty()) {
                    Err(Errno::NOENT) => return Ok(None),
                    source => source?,
                };
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let copy = rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
                let (source, copy) = (File::from(source), File::from(copy));
                copy_data(&source, &copy)?;
                self.copy_attributes(to, name, &stat)?;
                self.copy_extended(&source, &copy)?;
                return Ok(None);
            }
            FileType::Symlink => {
                rustix::fs::symlinkat(rustix::fs::readlinkat(from, name, Vec::new())?, to, name)?;
            }
            kind => rustix::fs::mknodat(to, name, kind, Mode::RUSR | Mode::WUSR, stat.st_rdev)?,
        }
        self.copy_attributes(to, name, &stat)?;
        Ok(None)
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

    fn copy_extended(&self, from: impl AsFd, to: impl AsFd) -> io::Result<()> {
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
            let value = &mut value[..length];
            self.owners.in_attribute(name, value);
            match fsetxattr(&to, name, value, XattrFlags::empty()) {
                // The other file system has none of this kind.
                Err(Errno::OPNOTSUPP) => {}
                set => set?,
            }
        }
        Ok(())
    }
}

fn as_os(name: &CStr) -> &OsStr {
    OsStr::from_bytes(name.to_bytes())
}

fn names_in(dir: &OwnedFd) -> io::Result<std::vec::IntoIter<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if ![c".", c".."].contains(&entry.file_name()) {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names.into_iter())
}

fn inode(dir: &OwnedFd) -> io::Result<Inode> {
    let stat = rustix::fs::fstat(dir)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// The directory that a directory is in, if it is still that one.
fn above(dir: &OwnedFd, expected: Inode) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let above = rustix::fs::openat(dir, c"..", flags, Mode::empty())?;
    match inode(&above)? == expected {
        true => Ok(above),
        false => Err(io::Error::other("a directory was moved while it was copied")),
    }
}

/// A directory from which what is left of a path is short enough for the kernel, and that.
fn near<'p>(top: &OwnedFd, path: &'p Path) -> io::Result<(OwnedFd, &'p Path)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (mut dir, mut left) = (top.try_clone()?, path.as_os_str().as_bytes());
    while left.len() > MAX_PATH {
        let end = left[..MAX_PATH].iter().rposition(|&b| b == b'/').ok_or(Errno::NAMETOOLONG)?;
        dir = rustix::fs::openat(&dir, &left[..end], flags, Mode::empty())?;
        left = &left[end + 1..];
    }
    Ok((dir, Path::new(OsStr::from_bytes(left))))
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

    /// A directory that deep in another one, which is too deep to be removed by its path.
    fn deep(top: &Path, levels: usize) -> OwnedFd {
        let mut dir = OwnedFd::from(File::open(top).unwrap());
        for _ in 0..levels {
            rustix::fs::mkdirat(&dir, c"d", Mode::RWXU).unwrap();
            dir = rustix::fs::openat(&dir, c"d", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        }
        dir
    }

    #[test]
    fn trees_deeper_than_descriptors_and_paths_are_copied() {
        const LEVELS: usize = 5000;
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::create_dir(&from).unwrap();
        std::fs::create_dir(&to).unwrap();
        let lowest = deep(&from, LEVELS);
        for name in [c"a", c"b"] {
            match name == c"a" {
                true => drop(rustix::fs::openat(&lowest, name, OFlags::CREATE, Mode::RUSR).unwrap()),
                false => rustix::fs::linkat(&lowest, c"a", &lowest, name, AtFlags::empty()).unwrap(),
            }
        }
        let open = |path: &Path| OwnedFd::from(File::open(path).unwrap());
        copy_tree(&open(&from), &open(&to), &Owners::default()).unwrap();
        let mut lowest = open(&to);
        for _ in 0..LEVELS {
            lowest =
                rustix::fs::openat(&lowest, c"d", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        }
        let stat = |name| rustix::fs::statat(&lowest, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        assert_eq!(stat(c"a").st_ino, stat(c"b").st_ino);
        assert_eq!(stat(c"a").st_nlink, 2);
    }
}
