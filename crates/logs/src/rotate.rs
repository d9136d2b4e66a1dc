//! Beginning a new file, and how older ones are named.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The most files a log may have.
pub const MAX_FILES: u32 = 1000;

/// The n-th older file of a log.
pub fn numbered(path: &Path, n: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{n}"));
    name.into()
}

pub(crate) fn append(path: &Path) -> io::Result<File> {
    File::options().append(true).read(true).create(true).mode(0o600).open(path)
}

/// Begins a new file: each moves to the next number, those past `keep` go.
///
/// The new one is made first, so that nothing has moved when there is no room for it. A kill in between leaves a number without
/// a file, or a log without its newest one; readers know both.
pub(crate) fn rotate(path: &Path, keep: u32) -> io::Result<File> {
    let mut name = OsString::from(path);
    name.push(".new");
    let fresh = PathBuf::from(name);
    match std::fs::remove_file(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let file = append(&fresh)?;
    // Up to the first number without a file, which only a crash leaves among others.
    let last = (1..keep).take_while(|n| numbered(path, *n).exists()).last().map_or(1, |n| n + 1);
    for n in (1..=last.min(keep.saturating_sub(1))).rev() {
        let from = if n == 1 { path.to_path_buf() } else { numbered(path, n - 1) };
        match std::fs::rename(&from, numbered(path, n)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    std::fs::rename(&fresh, path)?;
    Ok(file)
}
