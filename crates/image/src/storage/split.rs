//! tar-split: a tar without the content of its files, and that content from where it was unpacked (vbatts/tar-split, `tar/storage`).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::os::fd::{AsFd, OwnedFd};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use serde::Deserialize;

use crate::files::reopen;

/// Longest entry: headers with their padding, in base64. Some writers put a megabyte of zeros at the end.
const MAX_ENTRY: u64 = 64 << 20;
/// A file.
const FILE: u8 = 1;
/// Bytes as they stand in the tar.
const SEGMENT: u8 = 2;

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(default)]
    name: String,
    /// Base64 of a name that is not UTF-8.
    #[serde(default)]
    name_raw: Option<String>,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    payload: Option<String>,
}

/// What is being delivered.
enum Current {
    Bytes(Cursor<Vec<u8>>),
    File { file: File, left: u64 },
}

/// The tar.
pub(super) struct Rebuilt<R> {
    entries: BufReader<R>,
    files: OwnedFd,
    current: Current,
}

impl<R: Read> Rebuilt<R> {
    /// The tar of `entries`, which is decompressed already; `files` is the directory with the content.
    pub(super) fn new(entries: R, files: OwnedFd) -> Self {
        Self { entries: BufReader::new(entries), files, current: Current::Bytes(Cursor::default()) }
    }

    /// Goes to the next entry that has bytes; `false` at the end.
    fn advance(&mut self) -> io::Result<bool> {
        loop {
            let mut line = Vec::new();
            let count = (&mut self.entries).take(MAX_ENTRY).read_until(b'\n', &mut line)?;
            if count == 0 {
                return Ok(false);
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            let entry: Entry = serde_json::from_slice(&line)?;
            let decode = |text: &str| BASE64_STANDARD.decode(text).map_err(io::Error::other);
            match entry.kind {
                SEGMENT => {
                    let bytes = decode(entry.payload.as_deref().unwrap_or_default())?;
                    self.current = Current::Bytes(Cursor::new(bytes));
                    return Ok(true);
                }
                FILE if entry.size > 0 => {
                    let name = match &entry.name_raw {
                        Some(raw) => decode(raw)?,
                        None => entry.name.into_bytes(),
                    };
                    self.current = Current::File { file: self.open(&name)?, left: entry.size };
                    return Ok(true);
                }
                FILE => {}
                _ => return Err(io::Error::other("tar-split has an entry of an unknown type")),
            }
        }
    }

    /// Opens a file; links in the way are the layer's own and stay inside it.
    fn open(&self, name: &[u8]) -> io::Result<File> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        reopen(openat2(&self.files, name, flags, Mode::empty(), resolve)?.as_fd())
    }
}

impl<R: Read> Read for Rebuilt<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            match &mut self.current {
                Current::Bytes(bytes) => {
                    let count = bytes.read(out)?;
                    if count > 0 {
                        return Ok(count);
                    }
                }
                Current::File { left: 0, .. } => {}
                Current::File { file, left } => {
                    let limit = usize::try_from(*left).unwrap_or(usize::MAX).min(out.len());
                    let count = file.read(&mut out[..limit])?;
                    if count == 0 {
                        return Err(io::Error::new(
                            io::ErrorKind::UnexpectedEof,
                            "a file of the layer is too short",
                        ));
                    }
                    *left -= count as u64;
                    return Ok(count);
                }
            }
            if !self.advance()? {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_and_files_make_the_tar_again() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("d/f"), "content").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("out")).unwrap();
        let read = |entries: &str| -> io::Result<String> {
            let mut tar = Rebuilt::new(entries.as_bytes(), File::open(dir.path()).unwrap().into());
            let mut text = String::new();
            tar.read_to_string(&mut text).map(|_| text)
        };
        let header = r#"{"type":2,"payload":"SEVBRA==","position":0}"#;
        let file = r#"{"type":1,"name":"./d/f","size":7,"payload":"AAAAAAAAAAA=","position":1}"#;
        let raw = r#"{"type":1,"name_raw":"ZC9m","size":3,"payload":null,"position":2}"#;
        let empty = r#"{"type":1,"name":"d/","payload":null,"position":3}"#;
        assert_eq!(
            read(&format!("{header}\n{file}\n{empty}\n{raw}\n{header}\n")).unwrap(),
            "HEADcontentconHEAD"
        );
        for bad in [
            r#"{"type":1,"name":"out","size":1}"#,
            r#"{"type":1,"name":"none","size":1}"#,
            r#"{"type":1,"name":"d/f","size":8}"#,
            r#"{"type":3}"#,
            r#"{"type":2,"payload":"!"}"#,
            "{",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
