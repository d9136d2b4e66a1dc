//! `descriptors.json`: what a container's standard streams were, so that those that were pipes can be given others.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::Pid;

use super::protocol::InheritFd;
use super::{Error, Images};
use crate::error::Context;

/// The file with them. The name is runc's and crun's.
pub const FILE: &str = "descriptors.json";
/// More than three links of a path's length.
const LONGEST: u64 = 64 * 1024;

/// Writes down the targets of a process's first three descriptors.
pub(super) fn save(images: &Images, pid: Pid) -> Result<(), Error> {
    let target = |fd: i32| {
        let link = std::fs::read_link(format!("/proc/{}/fd/{fd}", pid.as_raw_nonzero()));
        link.map(|l| String::from_utf8_lossy(l.as_os_str().as_bytes()).into_owned()).unwrap_or_default()
    };
    let text = serde_json::to_vec(&[0, 1, 2].map(target)).expect("strings can be written as JSON");
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY;
    let write = || images.file(FILE, flags)?.write_all(&text);
    Ok(write().context("write", images.name(FILE))?)
}

/// The streams that were pipes, and so are to be the program's own.
pub(super) fn inherited(images: &Images) -> Result<Vec<InheritFd>, Error> {
    let path = || images.name(FILE);
    let file = images.file(FILE, OFlags::RDONLY | OFlags::NONBLOCK).context("open", path())?;
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text).context("read", path())?;
    let names: Vec<String> =
        serde_json::from_slice(&text).map_err(|source| Error::Descriptors { path: path(), source })?;
    let pipes = names.into_iter().take(3).zip(0..).filter(|(name, _)| name.starts_with("pipe:"));
    Ok(pipes.map(|(key, fd)| InheritFd { key, fd }).collect())
}

/// Opens what a namespace is known by.
pub(super) fn open_namespace(path: &Path) -> Result<File, Error> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(rustix::fs::CWD, path, flags, rustix::fs::Mode::empty());
    Ok(file.context("open namespace", path.display())?.into())
}
