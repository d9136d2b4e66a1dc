//! A directory of a hierarchy, held open: names below it are resolved without following links.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, RawDir};
use rustix::io::Errno;

use crate::{DIRECTORY, Error, GROUP_MODE};

/// linux/magic.h
const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
const CGROUP_SUPER_MAGIC: i64 = 0x0027_e0eb;

/// What a directory's file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    V1,
    V2,
    Neither,
}

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

    /// Where it is on the host.
    pub(crate) fn path(&self) -> &Path {
        Path::new(&self.path)
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Whether the caller may make directories in it.
    pub(crate) fn is_writable(&self) -> bool {
        let how = Access::WRITE_OK | Access::EXEC_OK;
        rustix::fs::accessat(&self.fd, ".", how, AtFlags::EACCESS).is_ok()
    }

    /// Whether the caller may write to the file `name`.
    pub(crate) fn may_write(&self, name: &str) -> bool {
        rustix::fs::accessat(&self.fd, name, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
    }

    /// The generation of the hierarchy this is of.
    pub(crate) fn generation(&self) -> Generation {
        match rustix::fs::fstatfs(&self.fd).map_or(0, |s| s.f_type) {
            CGROUP2_SUPER_MAGIC => Generation::V2,
            CGROUP_SUPER_MAGIC => Generation::V1,
            _ => Generation::Neither,
        }
    }

    pub(crate) fn open_dir(&self, name: &str) -> Result<Self, Error> {
        match rustix::fs::openat(&self.fd, name, DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Self { fd, path: format!("{}/{name}", self.path) }),
            Err(e) => Err(self.io("open", name, e)),
        }
    }

    /// Directories directly below; links (such as cpu → cpu,cpuacct) are left out.
    pub(crate) fn subdirectories(&self) -> Result<Vec<String>, Error> {
        rustix::fs::seek(&self.fd, rustix::fs::SeekFrom::Start(0)).map_err(|e| self.io("list", ".", e))?;
        let mut buffer = Vec::with_capacity(4096);
        let mut entries = RawDir::new(&self.fd, buffer.spare_capacity_mut());
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

    /// Changes the owner of something in this directory.
    pub(crate) fn give(&self, name: &str, uid: u32) -> Result<(), Error> {
        let uid = Some(rustix::fs::Uid::from_raw(uid));
        rustix::fs::chownat(&self.fd, name, uid, None, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| self.io("change the owner of", name, e))
    }

    /// The text of the file `name`, which may be in a group below.
    pub(crate) fn read(&self, name: &str) -> Result<String, Error> {
        let fd = self.open_file(name, OFlags::RDONLY)?;
        let mut bytes = Vec::new();
        // The kernel gives a short file whole; one list of pids is as long as it is.
        loop {
            let mut chunk = [0; 4096];
            match rustix::io::read(&fd, &mut chunk) {
                Ok(0) => break,
                Ok(n) => bytes.extend_from_slice(&chunk[..n]),
                Err(Errno::INTR) => {}
                Err(e) => return Err(self.io("read", name, e)),
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes a value to the file `name`, which may be in a group below.
    pub(crate) fn write(&self, name: &str, value: &str) -> Result<(), Error> {
        self.write_each(name, [value])
    }

    /// Writes several values to a file that takes one at a time.
    pub(crate) fn write_each<V: AsRef<str>>(
        &self,
        name: &str,
        values: impl IntoIterator<Item = V>,
    ) -> Result<(), Error> {
        let failed = |value: &str, source: Errno| Error::Write {
            path: format!("{}/{name}", self.path),
            value: value.to_owned(),
            source: source.into(),
        };
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&self.fd, name, flags, Mode::empty());
        for value in values {
            let value = value.as_ref();
            let file = file.as_ref().map_err(|e| failed(value, *e))?;
            rustix::io::write(file, value.as_bytes()).map_err(|e| failed(value, e))?;
        }
        Ok(())
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
