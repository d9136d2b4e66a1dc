//! Archives as files, in a tree that is in use.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, chownat,
    fchmod, fchown, fsetxattr, fstat, ftruncate, futimens, linkat, makedev, mkdirat, mknodat, openat,
    openat2, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::{Entry, Kind, TarLog, TarReader};
use crate::unpack::{UnpackError, device};

/// How often a walk is tried again that somebody's rename disturbed (openat2(2)).
const TRIES: u32 = 128;

/// Where files go.
#[derive(Debug)]
pub struct Place {
    /// Nothing leaves this directory, whatever links there are.
    pub root: OwnedFd,
    /// The directory in it.
    pub path: PathBuf,
    /// Links on the way are followed, inside of the root. Without, one is an error: who made it could lead anywhere.
    pub follow: bool,
}

/// What becomes of owners, and of what is in the way.
pub struct Rules<'r> {
    /// Who an owner in the archive is in the tree; `None` leaves the file to whoever makes it.
    pub owners: &'r dyn Fn(u64, u64) -> Option<(u32, u32)>,
    /// A directory takes the place of a file, and a file that of a directory with all that is in it.
    pub replace: bool,
    /// Devices are made, and programs keep what runs them as their owner. Not where their owner or maker is not trusted.
    pub trusted: bool,
}

/// Why an archive could not be put somewhere.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// It is none, or ends in the middle.
    #[error(transparent)]
    Tar(#[from] UnpackError),
    /// The kernel refused the one who is to make files.
    #[error(transparent)]
    Other(#[from] io::Error),
    /// The kernel refused something.
    #[error("cannot {operation} {entry:?}")]
    Io {
        /// Its name in the archive.
        entry: String,
        /// What was tried.
        operation: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

/// Makes the files of an archive. What is there already and of the same kind is replaced, directories get what is in theirs; what was
/// made stays when something fails.
///
/// # Errors
/// [`ExtractError`] for the first entry that cannot be made.
pub fn extract(source: impl BufRead, place: &Place, rules: &Rules<'_>) -> Result<(), ExtractError> {
    let log = TarLog::new(io::sink()).map_err(UnpackError::Log)?;
    let mut reader = TarReader::new(source, log);
    // Directories get their times when all is in them.
    let mut directories: Vec<(PathBuf, OwnedFd, Timestamps)> = Vec::new();
    while let Some(entry) = reader.next()? {
        let name = String::from_utf8_lossy(&entry.path).into_owned();
        let failed = |(operation, source): Fault| ExtractError::Io { entry: name.clone(), operation, source };
        let Some(path) = inside(&entry.path).map_err(|e| failed(("take", e)))? else { continue };
        let maker = Maker { place, rules, entry: &entry };
        while let Some((_, dir, times)) = directories.pop_if(|(dir, ..)| !path.starts_with(dir)) {
            // Whoever owns the file system may not allow it.
            let _ = futimens(&dir, &times);
        }
        if !rules.trusted && matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice) {
            continue;
        }
        match entry.kind {
            Kind::File => {
                let file = maker.file(&path).map_err(failed)?;
                fill(&mut reader, &entry, &file).map_err(|error| match error {
                    Fill::Tar(error) => error.into(),
                    Fill::Io(source) => failed(("write", source)),
                })?;
                maker.finish(&file.into()).map_err(failed)?;
            }
            Kind::Directory => {
                let dir = maker.directory(&path).map_err(failed)?;
                maker.finish(&dir).map_err(failed)?;
                // As many as there are levels: those that are complete are done.
                directories.push((path, dir, times(&entry)));
            }
            _ => maker.other(&path).map_err(failed)?,
        }
    }
    for (_, dir, times) in directories.iter().rev() {
        let _ = futimens(dir, times);
    }
    Ok(())
}

/// Removes what has a path, with all that is in it. What is not there is left at that.
///
/// # Errors
/// [`ExtractError::Io`], also for a path that leads out of the place, or through a link where those are not followed.
pub fn remove_path(place: &Place, path: &[u8]) -> Result<(), ExtractError> {
    let name = String::from_utf8_lossy(path).into_owned();
    let failed = |source| ExtractError::Io { entry: name.clone(), operation: "remove", source };
    let Some(path) = inside(path).map_err(failed)? else { return Ok(()) };
    let parent = path.parent().unwrap_or(Path::new(""));
    let parent = match place.open(parent, OFlags::PATH | OFlags::DIRECTORY) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        opened => opened.map_err(|errno| failed(errno.into()))?,
    };
    let name = path.file_name().unwrap_or_default();
    let removed = match unlinkat(&parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => remove_tree(&parent, name),
        removed => removed,
    };
    match removed {
        Err(Errno::NOENT) => Ok(()),
        removed => removed.map_err(|errno| failed(errno.into())),
    }
}

type Fault = (&'static str, io::Error);

enum Fill {
    Tar(UnpackError),
    Io(io::Error),
}

/// Writes the content of an entry, and leaves holes where it has them.
fn fill<S: BufRead, W: Write>(reader: &mut TarReader<S, W>, entry: &Entry, file: &File) -> Result<(), Fill> {
    let mut failure = None;
    let mut write = |bytes: &[u8]| {
        let mut file = file;
        // The rest is read, so that the failure is the one that is told.
        if failure.is_none() {
            failure = file.write_all(bytes).err();
        }
        Ok(())
    };
    match &entry.sparse {
        None => reader.content(entry.size, &mut write).map_err(Fill::Tar)?,
        Some(extents) => {
            for extent in extents {
                let mut at = file;
                at.seek(SeekFrom::Start(extent.offset)).map_err(Fill::Io)?;
                reader.content(extent.length, &mut write).map_err(Fill::Tar)?;
            }
            ftruncate(file, entry.size).map_err(|e| Fill::Io(e.into()))?;
        }
    }
    failure.map_or(Ok(()), |error| Err(Fill::Io(error)))
}

/// A path of an archive as one below the place; `None` for the place itself. Like tar(1) it takes an absolute one for one below.
fn inside(path: &[u8]) -> io::Result<Option<PathBuf>> {
    let mut clean = PathBuf::new();
    for part in path.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(io::Error::other("it leaves the directory")),
            part => clean.push(OsStr::from_bytes(part)),
        }
    }
    Ok((!clean.as_os_str().is_empty()).then_some(clean))
}

impl Place {
    fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let links = match self.follow {
            true => ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
            false => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        };
        let path = self.path.join(path);
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { &path };
        for _ in 0..TRIES {
            match openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), links) {
                Err(Errno::AGAIN) => {}
                opened => return opened,
            }
        }
        Err(Errno::AGAIN)
    }
}

struct Maker<'m> {
    place: &'m Place,
    rules: &'m Rules<'m>,
    entry: &'m Entry,
}

impl Maker<'_> {
    /// The directory that a path is in, made where it is missing.
    fn parent(&self, path: &Path) -> Result<OwnedFd, Fault> {
        let failed = |errno: Errno| ("open the directory of", io::Error::from(errno));
        let parent = path.parent().unwrap_or(Path::new(""));
        match self.place.open(parent, OFlags::PATH | OFlags::DIRECTORY) {
            Err(Errno::NOENT) if !parent.as_os_str().is_empty() => {
                let above = self.parent(parent)?;
                match mkdirat(&above, parent.file_name().unwrap_or_default(), Mode::from_raw_mode(0o755)) {
                    Err(errno) if errno != Errno::EXIST => Err(failed(errno)),
                    _ => self.place.open(parent, OFlags::PATH | OFlags::DIRECTORY).map_err(failed),
                }
            }
            opened => opened.map_err(failed),
        }
    }

    /// Takes away what is not of the kind that is to be made there.
    fn clear(&self, parent: &OwnedFd, name: &OsStr) -> Result<(), Fault> {
        let is_dir = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(("look at", errno.into())),
            Ok(stat) => FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
        };
        let fault = |errno: Errno| ("replace", io::Error::from(errno));
        if !is_dir {
            return unlinkat(parent, name, AtFlags::empty()).map_err(fault);
        }
        if !self.rules.replace {
            return Err(("replace", io::Error::new(io::ErrorKind::AlreadyExists, "there is a directory")));
        }
        remove_tree(parent, name).map_err(fault)
    }

    fn file(&self, path: &Path) -> Result<File, Fault> {
        let parent = self.parent(path)?;
        let name = path.file_name().unwrap_or_default();
        match self.clear(&parent, name) {
            // Something is mounted there, such as /etc/hosts: its content is replaced.
            Err((_, error)) if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {
                let flags =
                    OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = openat(&parent, name, flags, Mode::empty());
                return file.map(File::from).map_err(|errno| ("open", errno.into()));
            }
            cleared => cleared?,
        }
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&parent, name, flags, Mode::from_raw_mode(0o600));
        file.map(File::from).map_err(|errno| ("create", errno.into()))
    }

    fn directory(&self, path: &Path) -> Result<OwnedFd, Fault> {
        let parent = self.parent(path)?;
        let name = path.file_name().unwrap_or_default();
        let make = || match mkdirat(&parent, name, Mode::from_raw_mode(0o700)) {
            Err(errno) if errno != Errno::EXIST => Err(("create", io::Error::from(errno))),
            _ => Ok(()),
        };
        // Not through a link: whoever made it would choose what gets another owner.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || openat(&parent, name, flags, Mode::empty());
        make()?;
        match open() {
            Err(Errno::NOTDIR | Errno::LOOP) if self.rules.replace => {
                self.clear(&parent, name)?;
                make()?;
                open().map_err(|errno| ("open", errno.into()))
            }
            Err(Errno::NOTDIR | Errno::LOOP) => {
                Err(("replace", io::Error::new(io::ErrorKind::AlreadyExists, "there is a file or a link")))
            }
            opened => opened.map_err(|errno| ("open", errno.into())),
        }
    }

    /// Links, devices and pipes.
    fn other(&self, path: &Path) -> Result<(), Fault> {
        let parent = self.parent(path)?;
        let name = path.file_name().unwrap_or_default();
        self.clear(&parent, name)?;
        let fault = |errno: Errno| ("create", io::Error::from(errno));
        let entry = self.entry;
        let mode = self.mode();
        let node = |kind| {
            let number = device(entry.device.0, entry.device.1).map_err(|_| Errno::INVAL)?;
            mknodat(&parent, name, kind, mode, makedev(number.0, number.1))
        };
        match entry.kind {
            Kind::Symlink => symlinkat(entry.link.as_slice(), &parent, name).map_err(fault)?,
            Kind::Hardlink => {
                let first = inside(&entry.link).map_err(|e| ("take the link of", e))?.unwrap_or_default();
                let dir = self.parent(&first)?;
                let of = first.file_name().unwrap_or_default();
                return linkat(&dir, of, &parent, name, AtFlags::empty()).map_err(fault);
            }
            Kind::CharDevice => node(FileType::CharacterDevice).map_err(fault)?,
            Kind::BlockDevice => node(FileType::BlockDevice).map_err(fault)?,
            Kind::Fifo => node(FileType::Fifo).map_err(fault)?,
            Kind::File | Kind::Directory => {}
        }
        if let Some((uid, gid)) = (self.rules.owners)(entry.uid, entry.gid) {
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            chownat(&parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| ("change the owner of", errno.into()))?;
        }
        if entry.kind != Kind::Symlink {
            // The mask of this process does not hold for it; who replaced it with a link meanwhile gets nothing.
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = openat(&parent, name, flags, Mode::empty()).map_err(fault)?;
            let path = format!("/proc/self/fd/{}", made.as_raw_fd());
            rustix::fs::chmod(path, mode).map_err(|errno| ("change the mode of", errno.into()))?;
        }
        let _ = utimensat(&parent, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW);
        Ok(())
    }

    fn mode(&self) -> Mode {
        // Set-user-ID and set-group-ID.
        Mode::from_raw_mode(if self.rules.trusted { self.entry.mode } else { self.entry.mode & !0o6000 })
    }

    /// Owner, mode, attributes and times of a file or a directory.
    fn finish(&self, file: &OwnedFd) -> Result<(), Fault> {
        let entry = self.entry;
        if let Some((uid, gid)) = (self.rules.owners)(entry.uid, entry.gid) {
            fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(|errno| ("change the owner of", errno.into()))?;
        }
        fchmod(file, self.mode()).map_err(|errno| ("change the mode of", errno.into()))?;
        for (name, value) in &entry.xattrs {
            match fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
                // Not every file system has them, nor may everybody set all.
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                Err(errno) => return Err(("set an extended attribute of", errno.into())),
            }
        }
        let _ = futimens(file, &times(entry));
        Ok(())
    }
}

fn times(entry: &Entry) -> Timestamps {
    let time = |(tv_sec, nanos): (i64, u32)| Timespec { tv_sec, tv_nsec: nanos.into() };
    Timestamps { last_access: time(entry.atime), last_modification: time(entry.mtime) }
}

/// Removes a directory with all that is in it, however deep, on its own file system and without following links.
fn remove_tree(parent: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let below = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV;
    let open = |dir: &OwnedFd, name: &OsStr| openat2(dir, name, flags, Mode::empty(), below);
    let inode = |dir: &OwnedFd| fstat(dir).map(|stat| (stat.st_dev, stat.st_ino));
    let (mut dir, mut above) = (open(parent, name)?, Vec::new());
    loop {
        if let Some(child) = remove_files(&dir)? {
            let next = open(&dir, &child)?;
            above.push((inode(&dir)?, child));
            dir = next;
            continue;
        }
        let Some((expected, child)) = above.pop() else { break };
        let up = openat(&dir, c"..", flags, Mode::empty())?;
        // Whoever moves it elsewhere meanwhile does not choose what is removed there.
        if inode(&up)? != expected {
            return Err(Errno::STALE);
        }
        unlinkat(&up, &child, AtFlags::REMOVEDIR)?;
        dir = up;
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Removes what is in a directory up to the first directory, whose name that is.
fn remove_files(dir: &OwnedFd) -> Result<Option<OsString>, Errno> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match unlinkat(dir, name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => {
                return Ok(Some(OsStr::from_bytes(name.to_bytes()).to_owned()));
            }
            Err(Errno::NOENT) => {}
            removed => removed?,
        }
    }
    Ok(None)
}
