//! Atomic files and locks: the few ways the store touches its own directories.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, retry_on_intr};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Context, Error};

/// Bytes that nearly all documents have fewer of.
const DOCUMENT: usize = 16 << 10;

/// How often somebody who waits looks whether that is still wanted.
const LOOK: Duration = Duration::from_millis(25);

/// What the store does against power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// Everything visible is on disk (the default).
    #[default]
    Full,
    /// A power cut may lose or empty what was stored last; for stores that are thrown away.
    None,
}

/// A name no other process or thread uses: process id, boot-unique by the kernel, and a counter.
pub(crate) fn unique(prefix: &str) -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}{}-{nanos:x}-{count}", std::process::id())
}

/// Creates a directory only its owner may enter; an existing one is fine.
pub(crate) fn make_dir(path: &Path) -> Result<(), Error> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.during("create", path),
    }
}

/// Flushes a directory's entries.
pub(crate) fn sync_dir(path: &Path, durability: Durability) -> Result<(), Error> {
    match durability {
        Durability::None => Ok(()),
        Durability::Full => File::open(path).and_then(|dir| dir.sync_all()).during("flush", path),
    }
}

/// Puts `bytes` at `path` as a whole: a new file in `staging`, flushed, renamed, the directory flushed.
pub(crate) fn write_file(
    staging: &Path,
    path: &Path,
    bytes: &[u8],
    durability: Durability,
) -> Result<(), Error> {
    let temporary = staging.join(unique("file-"));
    let result = write_new(&temporary, bytes, durability)
        .and_then(|()| fs::rename(&temporary, path).during("create", path));
    if result.is_err() {
        // Best effort: the next sweep takes it otherwise.
        let _ = fs::remove_file(&temporary);
        return result;
    }
    match path.parent() {
        Some(parent) => sync_dir(parent, durability),
        None => Ok(()),
    }
}

/// Writes a new file, 0600, flushed.
pub(crate) fn write_new(path: &Path, bytes: &[u8], durability: Durability) -> Result<(), Error> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).during("create", path)?;
    file.write_all(bytes).during("write", path)?;
    if durability == Durability::Full {
        file.sync_data().during("flush", path)?;
    }
    Ok(())
}

/// A document as JSON bytes.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("invariant: the store's documents have string keys and no failing types")
}

/// Reads a JSON document; `None` when there is none.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).during("read", path),
    };
    let value = serde_json::from_slice(&bytes);
    value.map(Some).map_err(|source| Error::Document { path: path.to_path_buf(), source })
}

/// The JSON documents in a directory whose names are `wanted`, in the order of names. Opened by their names alone: lists read
/// thousands.
pub(crate) fn documents<T: DeserializeOwned>(
    dir: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<(String, T)>, Error> {
    let open = openat(CWD, dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let at = match open {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        other => other.during("open", dir)?,
    };
    let (mut all, mut bytes) = (Vec::new(), Vec::new());
    for name in names(dir)?.into_iter().filter(|name| wanted(name)) {
        let file = match openat(&at, name.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            // One removed since the listing.
            Err(Errno::NOENT) => continue,
            other => File::from(other.during("open", &dir.join(&name))?),
        };
        let length = read_whole(&file, &mut bytes).during("read", &dir.join(&name))?;
        let value = match serde_json::from_slice(&bytes[..length]) {
            Ok(value) => value,
            // Damaged, or of a file system that gives less than it has.
            Err(_) => match read_json(&dir.join(&name))? {
                Some(value) => value,
                None => continue,
            },
        };
        all.push((name, value));
    }
    Ok(all)
}

/// Reads a file that nobody changes to the start of a buffer, which grows as it must. What comes short of the buffer was the end, on
/// all file systems that people use: one call for each file but large ones.
fn read_whole(file: &File, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut length = 0;
    loop {
        if length == bytes.len() {
            bytes.resize(bytes.len() + DOCUMENT, 0);
        }
        let wanted = bytes.len() - length;
        length += match retry_on_intr(|| rustix::io::read(file, &mut bytes[length..]))? {
            count if count < wanted => return Ok(length + count),
            count => count,
        };
    }
}

/// Names in a directory; a missing directory is empty.
pub(crate) fn names(path: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).during("list", path),
    };
    let mut names = Vec::new();
    for entry in entries {
        // The store makes only names of its own; others are not its business.
        names.extend(entry.during("list", path)?.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}

/// An exclusive lock on a name, held by an open file and so given up by the kernel when the holder dies.
#[derive(Debug)]
pub(crate) struct NamedLock {
    path: PathBuf,
    _file: File,
}

impl NamedLock {
    /// Waits until the lock is free.
    pub(crate) fn acquire(path: PathBuf) -> Result<Self, Error> {
        loop {
            let file = Self::open(&path)?;
            file.lock().during("lock", &path)?;
            if Self::is_there(&file, &path)? {
                return Ok(Self { path, _file: file });
            }
        }
    }

    /// The same, but looks now and then whether it is still `wanted`; `None` when it is not.
    pub(crate) fn acquire_while(path: PathBuf, wanted: impl Fn() -> bool) -> Result<Option<Self>, Error> {
        loop {
            let file = Self::open(&path)?;
            loop {
                match file.try_lock() {
                    Ok(()) => break,
                    // The kernel's own waiting ends with the lock only.
                    Err(fs::TryLockError::WouldBlock) if wanted() => std::thread::sleep(LOOK),
                    Err(fs::TryLockError::WouldBlock) => return Ok(None),
                    Err(fs::TryLockError::Error(error)) => return Err(error).during("lock", &path),
                }
            }
            if Self::is_there(&file, &path)? {
                return Ok(Some(Self { path, _file: file }));
            }
        }
    }

    fn open(path: &Path) -> Result<File, Error> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.open(path).during("open lock", path)
    }

    /// The previous holder may have removed the file after it was opened here.
    fn is_there(file: &File, path: &Path) -> Result<bool, Error> {
        Ok(file.metadata().during("lock", path)?.nlink() > 0)
    }
}

impl Drop for NamedLock {
    fn drop(&mut self) {
        // While the lock is still held, so a waiter sees nlink 0 and starts over. A file left is harmless.
        let _ = fs::remove_file(&self.path);
    }
}

/// The same lock, shared with whoever does not want it alone.
#[derive(Debug)]
pub(crate) struct SharedLock {
    path: PathBuf,
    file: File,
}

impl SharedLock {
    /// Waits until nobody has the lock alone.
    pub(crate) fn acquire(path: PathBuf) -> Result<Self, Error> {
        loop {
            let file = NamedLock::open(&path)?;
            file.lock_shared().during("lock", &path)?;
            if NamedLock::is_there(&file, &path)? {
                return Ok(Self { path, file });
            }
        }
    }
}

impl Drop for SharedLock {
    fn drop(&mut self) {
        // Alone, which flock(2) makes of a shared lock, nobody else has the file: see above.
        if self.file.try_lock().is_ok() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A file name for any text: bytes outside `[A-Za-z0-9._:@-]` and a leading dot are percent-escaped. Empty text and
/// text too long for a file name become their digest, so whoever needs the text keeps it inside the file.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'.' if index == 0 => out.push_str("%2E"),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b':' | b'@' | b'-' => {
                out.push(char::from(byte))
            }
            _ => {
                out.push('%');
                for nibble in [byte >> 4, byte & 15] {
                    out.push(char::from(b"0123456789ABCDEF"[usize::from(nibble)]));
                }
            }
        }
    }
    // "%%" cannot come out of the loop above, so the two forms never meet.
    if out.is_empty() || out.len() > 240 {
        format!("%%{}", crate::digest::sha256(text.as_bytes()).digest())
    } else {
        out
    }
}

/// Bytes from a tar as a path, to be shown.
pub(crate) fn os_path(bytes: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

/// The last component of a symbolic link's target, as the store writes them; `None` also for what is no link, or an empty one,
/// which file systems have left after power cuts.
pub(crate) fn link_name(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_link(path) {
        Ok(target) => {
            Ok(target.file_name().map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned()))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {
            Ok(None)
        }
        Err(error) => Err(error).during("read", path),
    }
}

/// A file in `dir` without a name; its space is free again when it is closed.
///
/// # Errors
/// [`Error::Io`].
pub fn unnamed_file(dir: &Path) -> Result<File, Error> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    match openat(CWD, dir, flags, Mode::RUSR | Mode::WUSR) {
        // Some file systems want a name first.
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
            let path = dir.join(unique("scratch-"));
            let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
            let file = file.during("create", &path)?;
            fs::remove_file(&path).during("remove", &path)?;
            Ok(file)
        }
        result => Ok(File::from(result.during("make a file in", dir)?)),
    }
}
