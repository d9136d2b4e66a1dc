//! Beginning a new file, and how older ones are named.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::compress::Chore;
use crate::settings::Format;

/// The most files a log may have.
pub const MAX_FILES: u32 = 1000;

/// The n-th older file of a log.
pub fn numbered(path: &Path, n: u32) -> PathBuf {
    with(path, &format!(".{n}"))
}

/// The same, compressed.
pub(crate) fn packed(path: &Path, n: u32) -> PathBuf {
    with(path, &format!(".{n}.gz"))
}

/// A new file until its name is free.
fn fresh(path: &Path) -> PathBuf {
    with(path, ".new")
}

/// A compressed file until it is complete.
fn packing(path: &Path) -> PathBuf {
    with(path, ".gz.new")
}

fn with(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

pub(crate) fn append(path: &Path) -> io::Result<File> {
    File::options().append(true).read(true).create(true).mode(0o600).open(path)
}

/// What is no error when it is not there.
fn if_there(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

fn remove(path: &Path) -> io::Result<bool> {
    if_there(std::fs::remove_file(path))
}

/// Begins a new file: each moves to the next number, those past `keep` go.
///
/// The new one is made first, so that nothing has moved when there is no room for it. A kill in between leaves a number without
/// a file, or a log without its newest one; readers know both.
pub(crate) fn rotate(path: &Path, keep: u32) -> io::Result<File> {
    let fresh = fresh(path);
    remove(&fresh)?;
    let file = append(&fresh)?;
    if let Some(last) = keep.checked_sub(1).filter(|last| *last > 0) {
        // Up to the first number without a file, which only a crash leaves among others.
        let is_there = |n: &u32| numbered(path, *n).exists() || packed(path, *n).exists();
        let last = last.min((1..keep).take_while(is_there).last().map_or(1, |n| n + 1));
        // A file that is renamed replaces one of its own kind only.
        remove(&packed(path, last))?;
        if last > 1 {
            remove(&numbered(path, last))?;
        }
        for n in (1..=last).rev() {
            let is_plain = n == 1;
            if_there(std::fs::rename(
                if is_plain { path.to_path_buf() } else { numbered(path, n - 1) },
                numbered(path, n),
            ))?;
            if !is_plain {
                if_there(std::fs::rename(packed(path, n - 1), packed(path, n)))?;
            }
        }
    }
    std::fs::rename(&fresh, path)?;
    Ok(file)
}

/// Removes what a crash has left beside a log.
pub(crate) fn tidy(path: &Path) -> io::Result<()> {
    remove(&fresh(path))?;
    remove(&packing(path))?;
    for n in 1.. {
        let is_packed = packed(path, n).exists();
        if !is_packed && !numbered(path, n).exists() {
            break;
        }
        // It was compressed and not yet removed.
        if is_packed {
            remove(&numbered(path, n))?;
        }
    }
    Ok(())
}

/// The number of the oldest file that is not compressed.
pub(crate) fn next_to_compress(path: &Path, keep: u32) -> Option<u32> {
    (1..keep).take_while(|n| numbered(path, *n).exists()).last()
}

impl Chore {
    pub(crate) fn new(path: &Path, number: u32, format: Format) -> Self {
        Self { source: numbered(path, number), target: packing(path), format }
    }
}

/// Puts a compressed file into the place of that with `number`, or throws it away.
pub(crate) fn finish_compressed(path: &Path, number: Option<u32>) -> io::Result<()> {
    let packing = packing(path);
    match number {
        Some(n) => {
            std::fs::rename(&packing, packed(path, n))?;
            remove(&numbered(path, n)).map(drop)
        }
        None => remove(&packing).map(drop),
    }
}
