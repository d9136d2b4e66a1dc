//! Paths inside a root file system that its owner may change at any moment.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use pathrs::flags::OpenFlags;
use pathrs::{Handle, Root};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Links followed to one file, as by the kernel (path_resolution(7)).
const MAX_LINKS: u32 = 40;

/// File systems of the kernel's objects (linux/magic.h): proc, sysfs, devpts.
const KERNELS: [i64; 3] = [0x9fa0, 0x6265_6572, 0x1cd1];

/// A root directory below which every path stays, whatever links there are (CVE-2021-30465, CVE-2019-18837).
#[derive(Debug)]
pub struct InRoot {
    root: Root,
}

impl InRoot {
    /// Takes a directory as root.
    pub fn new(fd: OwnedFd) -> Self {
        Self { root: Root::from_fd(fd) }
    }

    /// The root itself.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens what `path` names, links followed inside the root, as an `O_PATH` descriptor.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn resolve(&self, path: &Path) -> io::Result<OwnedFd> {
        self.open(path, OFlags::PATH, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    }

    /// As [`InRoot::resolve`], but any link on the way is an error: for /proc, /sys and /dev, which an image must not
    /// redirect (CVE-2019-16884, CVE-2023-27561, CVE-2026-41579).
    ///
    /// # Errors
    /// `ELOOP` when there is a link.
    pub fn resolve_no_links(&self, path: &Path) -> io::Result<OwnedFd> {
        self.open(path, OFlags::PATH, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS)
    }

    /// As [`InRoot::resolve`], but where the last name is a link, that is what is opened. One of the kernel's own objects is
    /// refused: nothing may be hidden behind what an image has there.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn resolve_last(&self, path: &Path) -> io::Result<OwnedFd> {
        // Without a slash at its end, which would follow the link.
        let path: PathBuf = path.components().collect();
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let found = self.open(&path, OFlags::PATH | OFlags::NOFOLLOW, resolve)?;
        if KERNELS.contains(&rustix::fs::fstatfs(&found)?.f_type) {
            return Err(io::Error::other("it is in a proc, sysfs or devpts file system"));
        }
        Ok(found)
    }

    /// Makes the link `path`, with `target` as its text, and its directories when missing. One that is there already with the
    /// same text is left; anything else is an error.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn make_link(&self, path: &Path, target: &CStr) -> io::Result<()> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::INVAL.into());
        };
        let dir = self.make_dir_all(parent)?;
        match rustix::fs::symlinkat(target, &dir, name) {
            Err(Errno::EXIST) => match rustix::fs::readlinkat(&dir, name, Vec::new()) {
                Ok(text) if text.as_c_str() == target => Ok(()),
                _ => Err(io::Error::other("something else than that link is there already")),
            },
            other => Ok(other?),
        }
    }

    /// Opens a directory for reading.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn open_dir(&self, path: &Path) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        self.open(path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    }

    /// Opens a regular file for reading. Whatever else an image has there is not even opened: opening a device or a pipe
    /// does things.
    ///
    /// # Errors
    /// `InvalidInput` when it is no regular file.
    pub fn open_regular(&self, path: &Path) -> io::Result<std::fs::File> {
        self.reopen_regular(path, OpenFlags::O_RDONLY)
    }

    /// As [`InRoot::open_regular`], to write at its end.
    ///
    /// # Errors
    /// `InvalidInput` when it is no regular file.
    pub fn append_regular(&self, path: &Path) -> io::Result<std::fs::File> {
        self.reopen_regular(path, OpenFlags::O_WRONLY | OpenFlags::O_APPEND)
    }

    fn reopen_regular(&self, path: &Path, flags: OpenFlags) -> io::Result<std::fs::File> {
        let fd = self.resolve(path)?;
        if FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        Handle::from_fd(fd).reopen(flags).map_err(os_error)
    }

    fn open(&self, path: &Path, flags: OFlags, resolve: ResolveFlags) -> io::Result<OwnedFd> {
        // EAGAIN: a rename raced with the walk; the kernel asks to try again (openat2(2)).
        for _ in 0..128 {
            let opened =
                rustix::fs::openat2(self.fd(), path, flags | OFlags::CLOEXEC, Mode::empty(), resolve);
            match opened {
                Err(Errno::AGAIN) => {}
                other => return Ok(other?),
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// Opens the directory `path`, making what is missing (mode 0755), component by component inside the root
    /// (CVE-2024-45310).
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn make_dir_all(&self, path: &Path) -> io::Result<OwnedFd> {
        match self.resolve(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        // Mostly one directory is missing in one that is there.
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name())
            && let Ok(parent) = self.resolve(parent)
            && rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)).is_ok()
        {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            return Ok(rustix::fs::openat(&parent, name, flags, Mode::empty())?);
        }
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        self.root.mkdir_all(path, &mode).map(OwnedFd::from).map_err(os_error)
    }

    /// Opens the file `path`, making it (empty, mode 0644) and its directories when missing.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn make_file(&self, path: &Path) -> io::Result<OwnedFd> {
        self.make_file_through(path, 0)
    }

    /// A link whose target is missing is followed by hand: the file is made where it points to, inside the root.
    fn make_file_through(&self, path: &Path, links: u32) -> io::Result<OwnedFd> {
        match self.resolve(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::INVAL.into());
        };
        let dir = self.make_dir_all(parent)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&dir, name, flags, Mode::from_raw_mode(0o644)) {
            Ok(_) => self.resolve(path),
            Err(Errno::EXIST) if links < MAX_LINKS => {
                let target = rustix::fs::readlinkat(&dir, name, Vec::new())?;
                let target = Path::new(std::ffi::OsStr::from_bytes(target.as_bytes()));
                self.make_file_through(&normal(&parent.join(target)), links + 1)
            }
            Err(Errno::EXIST) => Err(Errno::LOOP.into()),
            Err(e) => Err(e.into()),
        }
    }
}

/// Without `.` and `..`; the latter stops at the root.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::ParentDir => drop(out.pop()),
            Component::Normal(name) => out.push(name),
            _ => {}
        }
    }
    out
}

fn os_error(error: pathrs::error::Error) -> io::Error {
    match error.kind() {
        pathrs::error::ErrorKind::OsError(Some(n)) => io::Error::from_raw_os_error(n),
        _ => io::Error::other(error.to_string()),
    }
}
