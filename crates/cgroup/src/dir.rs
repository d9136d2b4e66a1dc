//! A directory of a hierarchy, held open: names below it are resolved without following links.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir};
use rustix::io::Errno;

use crate::{DIRECTORY, Error, GROUP_MODE};

/// linux/magic.h
const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
const CGROUP_SUPER_MAGIC: i64 = 0x0027_e0eb;

#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    path: String,
}

impl Dir {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        match rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Self { fd, path: name }),
            Err(e) => Err(Error::Io { operation: "open", path: name, source: e.into() }),
        }
    }

    fn io(&self, operation: &'static str, name: &str, source: impl Into<io::Error>) -> Error {
        Error::Io { operation, path: format!("{}/{name}", self.path), source: source.into() }
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    fn magic(&self) -> i64 {
        rustix::fs::fstatfs(&self.fd).map_or(0, |s| s.f_type)
    }

    pub(crate) fn is_v2(&self) -> bool {
        self.magic() == CGROUP2_SUPER_MAGIC
    }

    pub(crate) fn is_v1(&self) -> bool {
        self.magic() == CGROUP_SUPER_MAGIC
    }

    pub(crate) fn open_dir(&self, name: &str) -> Result<Self, Error> {
        match rustix::fs::openat(&self.fd, name, DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Self { fd, path: format!("{}/{name}", self.path) }),
            Err(e) => Err(self.io("open", name, e)),
        }
    }

    /// Directories directly below; links (such as cpu → cpu,cpuacct) are left out.
    pub(crate) fn subdirectories(&self) -> Result<Vec<String>, Error> {
        let listing = rustix::fs::openat(&self.fd, ".", DIRECTORY, Mode::empty());
        let listing = listing.map_err(|e| self.io("open", ".", e))?;
        let mut buffer = Vec::with_capacity(4096);
        let mut entries = RawDir::new(&listing, buffer.spare_capacity_mut());
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|e| self.io("list", ".", e))?;
            let name = entry.file_name().to_string_lossy();
            if entry.file_type() == rustix::fs::FileType::Directory && name != "." && name != ".." {
                names.push(name.into_owned());
            }
        }
        Ok(names)
    }

    /// Makes a directory; whether it is new.
    pub(crate) fn make_dir(&self, name: &str) -> Result<bool, Error> {
        match rustix::fs::mkdirat(&self.fd, name, GROUP_MODE) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(e) => Err(self.io("create", name, e)),
        }
    }

    pub(crate) fn open_file(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Error> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(&self.fd, name, flags, Mode::empty()).map_err(|e| self.io("open", name, e))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        rustix::fs::accessat(&self.fd, name, rustix::fs::Access::EXISTS, AtFlags::empty()).is_ok()
    }

    pub(crate) fn read(&self, name: &str) -> Result<String, Error> {
        let fd = self.open_file(name, OFlags::RDONLY)?;
        io::read_to_string(std::fs::File::from(fd)).map_err(|e| self.io("read", name, e))
    }

    pub(crate) fn write(&self, name: &str, value: &str) -> Result<(), Error> {
        let failed = |source: io::Error| Error::Write {
            path: format!("{}/{name}", self.path),
            value: value.to_owned(),
            source,
        };
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        rustix::io::write(fd.as_fd(), value.as_bytes()).map(drop).map_err(|e| failed(e.into()))
    }

    /// Removes a group and what is below it; gone is fine.
    pub(crate) fn remove_tree(&self, name: &str) -> Result<(), Error> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) => {}
            Err(e) => return Err(self.io("remove", name, e)),
        }
        // Either it has descendants (a container with its own cgroup tree) or its last member is not reaped yet.
        if let Ok(dir) = self.open_dir(name) {
            for child in dir.subdirectories()? {
                dir.remove_tree(&child)?;
            }
        }
        for _ in 0..100 {
            match rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::BUSY) => std::thread::sleep(std::time::Duration::from_millis(2)),
                Err(e) => return Err(self.io("remove", name, e)),
            }
        }
        Err(self.io("remove", name, Errno::BUSY))
    }
}
