//! Files of images in directories: read within limits, written whole or not at all.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use oci_spec::image::Digest;
use rustix::fs::{FileType, Mode, OFlags};

use crate::destination::Incoming;
use crate::error::Error;
use crate::manifest::MAX_DOCUMENT;

/// What is being written, until it has its name.
const UNFINISHED: &str = ".loment-unfinished-";

/// Links that lead from one to the next, as for the kernel.
const MAX_LINKS: usize = 40;

/// Names the file in an error.
pub(crate) fn failed<T>(result: io::Result<T>, operation: &'static str, path: &Path) -> Result<T, Error> {
    result.map_err(|source| Error::File { operation, path: path.display().to_string(), source })
}

/// Opens what must be a regular file. Nothing else is opened at all: a pipe would be waited for, and some devices do something when
/// they are opened.
pub(crate) fn open(path: &Path) -> Result<File, Error> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from);
    failed(found.and_then(|found| reopen(found.as_fd())), "open", path)
}

/// Opens for reading what was found, if it is a regular file: that one, whatever its name means by now.
pub(crate) fn reopen(found: BorrowedFd<'_>) -> io::Result<File> {
    if FileType::from_raw_mode(rustix::fs::fstat(found)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let file = format!("/proc/self/fd/{}", found.as_raw_fd());
    Ok(rustix::fs::open(file, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?.into())
}

/// Reads a document, not more than one may be long.
pub(crate) fn read_document(path: &Path) -> Result<Vec<u8>, Error> {
    failed(read_all(open(path)?, MAX_DOCUMENT), "read", path)
}

/// Reads what has no more than `most` bytes.
pub(crate) fn read_all(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match file.take(most + 1).read_to_end(&mut bytes)? as u64 {
        size if size > most => Err(io::ErrorKind::FileTooLarge.into()),
        _ => Ok(bytes),
    }
}

/// Where a path leads that may be a link, to something or to nothing yet: what replaces a file is to replace that one, and not the
/// link. Links of others in directories where anybody may put some are not followed, as the kernel does not with
/// `fs.protected_symlinks`.
pub(crate) fn followed(path: &Path) -> Result<PathBuf, Error> {
    let mut path = failed(std::path::absolute(path), "find", path)?;
    for _ in 0..MAX_LINKS {
        match failed(link_at(&path), "follow", &path)? {
            Some(target) => path = path.parent().unwrap_or(Path::new("/")).join(target),
            None => return Ok(path),
        }
    }
    failed(Err(rustix::io::Errno::LOOP.into()), "follow", &path)
}

/// What the link at a path says; `None` when there is none.
fn link_at(path: &Path) -> io::Result<Option<PathBuf>> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    let dir = rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let link = match rustix::fs::openat(&dir, name, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        link => link?,
    };
    let (found, around) = (rustix::fs::fstat(&link)?, rustix::fs::fstat(&dir)?);
    if FileType::from_raw_mode(found.st_mode) != FileType::Symlink {
        return Ok(None);
    }
    // `may_follow_link` in fs/namei.c
    let shared = around.st_mode & 0o1002 == 0o1002 && around.st_uid != found.st_uid;
    if shared && found.st_uid != rustix::process::geteuid().as_raw() {
        return Err(rustix::io::Errno::ACCESS.into());
    }
    let target = rustix::fs::readlinkat(&link, "", Vec::new())?;
    Ok(Some(OsStr::from_bytes(target.as_bytes()).into()))
}

/// Writes a blob into `dir`; `name` says what a file of its digest is called there.
pub(crate) fn write_blob(
    dir: &Path,
    name: impl FnOnce(&Digest) -> String,
    blob: &mut Incoming<'_>,
) -> Result<(), Error> {
    let new = Unfinished::create(dir)?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = match blob.read(&mut buffer) {
            Ok(0) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result.map_err(|source| Error::Copy {
                blob: blob.descriptor().map(|d| d.digest().to_string()).unwrap_or_default(),
                source,
            })?,
        };
        new.write(&buffer[..count])?;
    }
    let (digest, _) = blob.finish(&dir.display().to_string())?;
    new.name(&dir.join(name(&digest)))
}

/// Writes a whole file.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let new = Unfinished::create(dir)?;
    new.write(bytes)?;
    new.name(path)
}

/// Flushes everything below a directory.
pub(crate) fn flush(dir: &Path) -> Result<(), Error> {
    let result = File::open(dir).and_then(|dir| Ok(rustix::fs::syncfs(dir)?));
    failed(result, "flush", dir)
}

/// A file without its name. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Unfinished {
    path: std::path::PathBuf,
    file: File,
}

impl Unfinished {
    pub(crate) fn create(dir: &Path) -> Result<Self, Error> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("{UNFINISHED}{}-{count}", std::process::id()));
        // One that is there is of a process that was killed.
        let _ = fs::remove_file(&path);
        let file = failed(File::create_new(&path), "create", &path)?;
        Ok(Self { path, file })
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        failed((&self.file).write_all(bytes), "write", &self.path)
    }

    /// For those who write to it in other ways.
    pub(crate) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Sees to it that its content survives a power cut.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        failed(self.file.sync_data(), "flush", &self.path)
    }

    pub(crate) fn name(self, path: &Path) -> Result<(), Error> {
        failed(fs::rename(&self.path, path), "create", path)
    }

    /// Takes the place of a file, whose owner, mode and access list it gets now, before anything is in it; `false` when it may not, and
    /// then nobody else reads it.
    pub(crate) fn look_like(&self, old: &File) -> io::Result<bool> {
        let (was, is) = (old.metadata()?, self.file.metadata()?);
        let may = if (was.uid(), was.gid()) == (is.uid(), is.gid()) {
            true
        } else {
            match fchown(&self.file, Some(was.uid()), Some(was.gid())) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => false,
                result => result.map(|()| true)?,
            }
        };
        // With a list, those of the group are the most that anybody on it may.
        let list = if may { access_list(old)? } else { None };
        if let Some(list) = &list {
            rustix::fs::fsetxattr(&self.file, ACCESS_LIST, list, rustix::fs::XattrFlags::empty())?;
        }
        let mode = if may { was.permissions().mode() & 0o777 } else { 0o600 };
        self.file.set_permissions(fs::Permissions::from_mode(mode))?;
        Ok(may)
    }

    /// Takes the place of a file that is open; where only that one may have its owner, or something is mounted on it, it gets the
    /// content.
    pub(crate) fn replace(self, path: &Path, mut old: File, alike: bool) -> Result<(), Error> {
        if alike {
            match fs::rename(&self.path, path) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
                result => return failed(result, "replace", path),
            }
        }
        let mut new = failed(File::open(&self.path), "read", &self.path)?;
        let copied = old.set_len(0).and_then(|()| io::copy(&mut new, &mut old)).and_then(|_| old.sync_data());
        failed(copied, "write", path)
    }
}

/// `XATTR_NAME_POSIX_ACL_ACCESS`
const ACCESS_LIST: &str = "system.posix_acl_access";

/// Who may do what with a file besides its owner and group (acl(5)); `None` where nobody else is named.
fn access_list(file: &File) -> io::Result<Option<Vec<u8>>> {
    // `XATTR_SIZE_MAX`
    let mut list = vec![0; 64 << 10];
    match rustix::fs::fgetxattr(file, ACCESS_LIST, &mut list[..]) {
        Ok(length) => {
            list.truncate(length);
            Ok(Some(list))
        }
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It is not there any more when it has its name.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_old_file_may_be_gets_the_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "what was there, and is longer").unwrap();
        let before = fs::metadata(&path).unwrap().ino();
        for (alike, same) in [(false, true), (true, false)] {
            let new = Unfinished::create(dir.path()).unwrap();
            let old = File::options().write(true).open(&path).unwrap();
            assert!(new.look_like(&old).unwrap());
            new.write(b"new").unwrap();
            new.replace(&path, old, alike).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new");
            assert_eq!(fs::metadata(&path).unwrap().ino() == before, same);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        }
    }
}
