//! Writing a process's number to a file.

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::{CWD, Mode, OFlags};

/// A file that is to be written: its directory is held open, because by then this process may be in a container's mount
/// namespace.
#[derive(Debug)]
pub(crate) struct PidFile {
    dir: OwnedFd,
    name: OsString,
    path: PathBuf,
}

impl PidFile {
    pub(crate) fn new(path: &Path) -> anyhow::Result<Self> {
        let doing = || format!("write pid file {}", path.display());
        let name = path.file_name().context("it names no file").with_context(doing)?.to_owned();
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(CWD, parent, flags, Mode::empty()).with_context(doing)?;
        Ok(Self { dir, name, path: path.to_owned() })
    }

    /// Written whole: whoever waits for the file must not read half a number.
    pub(crate) fn write(&self, pid: i32) -> anyhow::Result<()> {
        let mut new = OsString::from(".");
        new.push(&self.name);
        let write = || -> std::io::Result<()> {
            let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(&self.dir, &new, flags, Mode::from_raw_mode(0o644))?;
            std::fs::File::from(fd).write_all(pid.to_string().as_bytes())?;
            Ok(rustix::fs::renameat(&self.dir, &new, &self.dir, &self.name)?)
        };
        write().with_context(|| format!("write pid file {}", self.path.display()))
    }
}
